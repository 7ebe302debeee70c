//! `--web.max-requests`: how many scrapes may be under way at once.
//!
//! A client that does not read keeps its answer until it times out, but not its slot: 40 such clients would keep
//! Prometheus out for as long as they like.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// An answer none of which was taken for so long does not count any more.
const STALL_MAX: Duration = Duration::from_secs(2);

/// Neither does one that has taken so long altogether.
const AGE_MAX: Duration = Duration::from_secs(10);

/// The slots.
pub(super) struct Slots {
    /// 0: unlimited.
    max: usize,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Default)]
struct Taken {
    next: u64,
    by_number: BTreeMap<u64, Scrape>,
}

struct Scrape {
    began: Instant,
    progress: Instant,
}

/// One slot. Given back when dropped.
pub(super) struct Slot {
    number: u64,
    taken: Arc<Mutex<Taken>>,
}

impl Slots {
    pub(super) fn new(max: usize) -> Self {
        Self { max, taken: Arc::default() }
    }

    /// A slot, if one is free.
    pub(super) fn take(&self) -> Option<Slot> {
        let now = Instant::now();
        let mut taken = lock(&self.taken);
        if self.max > 0 && taken.by_number.len() >= self.max {
            taken.by_number.retain(|_, scrape| now - scrape.progress < STALL_MAX && now - scrape.began < AGE_MAX);
            if taken.by_number.len() >= self.max {
                return None;
            }
        }
        let number = taken.next;
        taken.next += 1;
        taken.by_number.insert(number, Scrape { began: now, progress: now });
        drop(taken);
        Some(Slot { number, taken: Arc::clone(&self.taken) })
    }
}

impl Slot {
    /// The client took some of the answer.
    pub(super) fn progress(&self) {
        if let Some(scrape) = lock(&self.taken).by_number.get_mut(&self.number) {
            scrape.progress = Instant::now();
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        lock(&self.taken).by_number.remove(&self.number);
    }
}

/// A panic elsewhere leaves nothing half done here: the map is usable.
fn lock(taken: &Mutex<Taken>) -> MutexGuard<'_, Taken> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_slot_is_free_again_when_its_answer_ends_or_stalls() {
        let slots = Slots::new(1);
        let first = slots.take().expect("free");
        assert!(slots.take().is_none());
        drop(first);
        let second = slots.take().expect("given back");
        tokio::time::advance(STALL_MAX / 2).await;
        second.progress();
        tokio::time::advance(STALL_MAX / 2).await;
        assert!(slots.take().is_none(), "it makes progress");
        tokio::time::advance(STALL_MAX).await;
        let third = slots.take().expect("stalled");
        drop(second);
        assert!(slots.take().is_none(), "what stalled gives nothing back twice");
        drop(third);
    }

    #[tokio::test(start_paused = true)]
    async fn who_reads_a_little_at_a_time_has_a_slot_only_for_a_while() {
        let slots = Slots::new(1);
        let slow = slots.take().expect("free");
        for _ in 0..AGE_MAX.as_secs() {
            assert!(slots.take().is_none());
            slow.progress();
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert!(slots.take().is_some());
    }

    #[test]
    fn zero_is_unlimited() {
        let slots = Slots::new(0);
        let taken: Vec<_> = (0..100).map(|_| slots.take()).collect();
        assert!(taken.iter().all(Option::is_some));
    }
}
