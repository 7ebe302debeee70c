//! `--web.max-requests`: how many scrapes may be under way at once.
//!
//! A client that does not read keeps its answer until it times out, but not its slot: 40 such clients would keep
//! Prometheus out for as long as they like. Who finds all slots taken waits for one, in the order of asking: slots that
//! stall are free soon, and however many ask only to stall, it is everybody's turn within a second.

use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, interval, sleep};

/// An answer none of which was taken for so long does not count any more: another scrape in its place costs no more
/// than if it had ended.
const STALL_MAX: Duration = Duration::from_millis(20);

/// Neither does one that has taken so long altogether: it is slow, and costs little at a time.
const AGE_MAX: Duration = Duration::from_secs(2);

/// How long to wait for a slot. Half of Prometheus' usual patience.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// The slots.
pub(super) struct Slots {
    free: Arc<Semaphore>,
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
    /// None once the scrape does not count any more.
    permit: Option<OwnedSemaphorePermit>,
}

/// One slot. Given back when dropped.
pub(super) struct Slot {
    number: u64,
    taken: Arc<Mutex<Taken>>,
}

impl Slots {
    /// So many slots; 0: no limit.
    pub(super) fn new(max: usize) -> Self {
        let max = if max == 0 { Semaphore::MAX_PERMITS } else { max.min(Semaphore::MAX_PERMITS) };
        Self { free: Arc::new(Semaphore::new(max)), taken: Arc::default() }
    }

    /// A slot, as soon as it is this caller's turn; none if that takes too long.
    pub(super) async fn take(&self) -> Option<Slot> {
        let mut turn = pin!(Arc::clone(&self.free).acquire_owned());
        let mut patience = pin!(sleep(WAIT_MAX));
        let mut look = interval(STALL_MAX);
        let permit = loop {
            tokio::select! {
                biased;
                permit = turn.as_mut() => break permit.ok()?,
                _ = look.tick() => self.pass_over_slow_ones(),
                () = patience.as_mut() => return None,
            }
        };
        let now = Instant::now();
        let mut taken = lock(&self.taken);
        let number = taken.next;
        taken.next += 1;
        taken.by_number.insert(number, Scrape { began: now, progress: now, permit: Some(permit) });
        drop(taken);
        Some(Slot { number, taken: Arc::clone(&self.taken) })
    }

    fn pass_over_slow_ones(&self) {
        let now = Instant::now();
        for scrape in lock(&self.taken).by_number.values_mut() {
            if now - scrape.progress >= STALL_MAX || now - scrape.began >= AGE_MAX {
                scrape.permit = None;
            }
        }
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
    taken.lock()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long a caller waits for a slot; none if it gets none.
    async fn waits(slots: &Slots) -> Option<(Slot, Duration)> {
        let asked = Instant::now();
        slots.take().await.map(|slot| (slot, asked.elapsed()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_free_slot_is_had_at_once_and_a_stalled_one_soon() {
        let slots = Slots::new(1);
        let (first, waited) = waits(&slots).await.expect("free");
        assert_eq!(waited, Duration::ZERO);
        drop(first);
        let (second, waited) = waits(&slots).await.expect("given back");
        assert_eq!(waited, Duration::ZERO);
        let (third, waited) = waits(&slots).await.expect("the second stalls");
        assert!((STALL_MAX..STALL_MAX * 2).contains(&waited), "{waited:?}");
        drop(second);
        assert_eq!(slots.free.available_permits(), 0, "what stalled gives nothing back twice");
        drop(third);
        assert_eq!(slots.free.available_permits(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_a_little_at_a_time_has_a_slot_only_for_a_while() {
        let slots = Slots::new(1);
        let dripping = slots.take().await.expect("free");
        let mut drip = interval(STALL_MAX / 2);
        let (_, waited) = tokio::select! {
            slot = waits(&slots) => slot.expect("freed"),
            () = async { loop { drip.tick().await; dripping.progress(); } } => unreachable!("it goes on"),
        };
        assert!((AGE_MAX..AGE_MAX + STALL_MAX).contains(&waited), "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn hundreds_that_ask_and_do_not_read_keep_nobody_out() {
        let slots = Arc::new(Slots::new(40));
        let crowd: Vec<_> = (0..511)
            .map(|_| {
                tokio::spawn({
                    let slots = Arc::clone(&slots);
                    async move { slots.take().await }
                })
            })
            .collect();
        tokio::task::yield_now().await;
        let (_, waited) = waits(&slots).await.expect("a turn");
        assert!(waited < Duration::from_millis(500), "{waited:?}");
        for one in crowd {
            assert!(one.await.unwrap().is_some());
        }
    }

    #[tokio::test]
    async fn zero_is_unlimited_and_any_number_is_taken() {
        for max in [0, usize::MAX] {
            let slots = Slots::new(max);
            let mut taken = Vec::new();
            for _ in 0..100 {
                taken.extend(slots.take().await);
            }
            assert_eq!(taken.len(), 100);
        }
    }
}
