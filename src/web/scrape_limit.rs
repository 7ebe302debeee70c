//! `--web.max-requests`: the limit on concurrent scrapes.
//!
//! A client that does not read keeps its answer until the deadline, but not its permit: otherwise 40 such clients
//! would keep Prometheus out. When no permit is free, scrapes queue in the order of their requests. Stalled scrapes
//! lose their permits soon, so that even behind hundreds of clients that never read a scrape waits less than a second.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, interval, sleep};

/// A scrape of which the client read nothing for this long no longer counts: it costs nothing meanwhile.
const STALL_MAX: Duration = Duration::from_millis(20);

/// Nor does one that has lasted this long: a slow reader costs little.
const AGE_MAX: Duration = Duration::from_secs(2);

/// How long to wait for a permit. Half of Prometheus' default scrape timeout.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// Limits concurrent scrapes.
pub(super) struct ScrapeLimit {
    free: Arc<Semaphore>,
    running: Arc<Mutex<RunningScrapes>>,
}

#[derive(Debug, Default)]
struct RunningScrapes {
    next: u64,
    by_number: BTreeMap<u64, Scrape>,
}

#[derive(Debug)]
struct Scrape {
    began: Instant,
    progress: Instant,
    /// `None` once the scrape no longer counts.
    permit: Option<OwnedSemaphorePermit>,
}

/// The permission to answer one scrape. Released when dropped.
#[derive(Debug)]
pub(super) struct ScrapePermit {
    number: u64,
    running: Arc<Mutex<RunningScrapes>>,
}

impl ScrapeLimit {
    /// At most `max` scrapes at once; 0: no limit.
    pub(super) fn new(max: usize) -> Self {
        let max = if max == 0 { Semaphore::MAX_PERMITS } else { max.min(Semaphore::MAX_PERMITS) };
        Self { free: Arc::new(Semaphore::new(max)), running: Arc::default() }
    }

    /// Waits for a permit, in the order of the calls; none after [`WAIT_MAX`].
    pub(super) async fn acquire(&self) -> Option<ScrapePermit> {
        let mut queued = pin!(Arc::clone(&self.free).acquire_owned());
        let mut too_long = pin!(sleep(WAIT_MAX));
        let mut check = interval(STALL_MAX);
        let permit = loop {
            tokio::select! {
                biased;
                permit = queued.as_mut() => break permit.ok()?,
                _ = check.tick() => self.discount_slow(),
                () = too_long.as_mut() => return None,
            }
        };
        let now = Instant::now();
        let mut running = self.running.lock();
        let number = running.next;
        running.next += 1;
        running.by_number.insert(number, Scrape { began: now, progress: now, permit: Some(permit) });
        drop(running);
        Some(ScrapePermit { number, running: Arc::clone(&self.running) })
    }

    /// Frees the permits of stalled and slow scrapes.
    fn discount_slow(&self) {
        let now = Instant::now();
        for scrape in self.running.lock().by_number.values_mut() {
            if now - scrape.progress >= STALL_MAX || now - scrape.began >= AGE_MAX {
                scrape.permit = None;
            }
        }
    }
}

impl ScrapePermit {
    /// Notes that the client read some of the answer.
    pub(super) fn progress(&self) {
        if let Some(scrape) = self.running.lock().by_number.get_mut(&self.number) {
            scrape.progress = Instant::now();
        }
    }
}

impl Drop for ScrapePermit {
    fn drop(&mut self) {
        self.running.lock().by_number.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A permit and how long it took.
    async fn timed(limit: &ScrapeLimit) -> Option<(ScrapePermit, Duration)> {
        let asked = Instant::now();
        limit.acquire().await.map(|permit| (permit, asked.elapsed()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_free_permit_is_granted_at_once_and_a_stalled_one_soon() {
        let limit = ScrapeLimit::new(1);
        let (first, waited) = timed(&limit).await.expect("free");
        assert_eq!(waited, Duration::ZERO);
        drop(first);
        let (second, waited) = timed(&limit).await.expect("returned");
        assert_eq!(waited, Duration::ZERO);
        let (third, waited) = timed(&limit).await.expect("the second stalls");
        assert!((STALL_MAX..STALL_MAX * 2).contains(&waited), "{waited:?}");
        drop(second);
        assert_eq!(limit.free.available_permits(), 0, "a stalled scrape returns its permit once");
        drop(third);
        assert_eq!(limit.free.available_permits(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_a_little_at_a_time_loses_its_permit() {
        let limit = ScrapeLimit::new(1);
        let dripping = limit.acquire().await.expect("free");
        let mut drip = interval(STALL_MAX / 2);
        let (_, waited) = tokio::select! {
            permit = timed(&limit) => permit.expect("freed"),
            () = async { loop { drip.tick().await; dripping.progress(); } } => unreachable!("an endless loop"),
        };
        assert!((AGE_MAX..AGE_MAX + STALL_MAX).contains(&waited), "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn hundreds_of_clients_that_do_not_read_keep_no_scrape_out() {
        let limit = Arc::new(ScrapeLimit::new(40));
        let crowd: Vec<_> = (0..511)
            .map(|_| {
                tokio::spawn({
                    let limit = Arc::clone(&limit);
                    async move { limit.acquire().await }
                })
            })
            .collect();
        tokio::task::yield_now().await;
        let (_, waited) = timed(&limit).await.expect("a permit");
        assert!(waited < Duration::from_millis(500), "{waited:?}");
        for one in crowd {
            assert!(one.await.unwrap().is_some());
        }
    }

    #[tokio::test]
    async fn zero_is_unlimited_and_any_number_is_accepted() {
        for max in [0, usize::MAX] {
            let limit = ScrapeLimit::new(max);
            let mut permits = Vec::new();
            for _ in 0..100 {
                permits.extend(limit.acquire().await);
            }
            assert_eq!(permits.len(), 100);
        }
    }
}
