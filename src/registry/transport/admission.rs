//! When a request to one registry may be sent: the limit on concurrent requests, the circuit breaker and the throttle.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::circuit_breaker::{CircuitBreaker, Rejection};
use super::retry::{RETRIES_PER_REQUEST, RETRIES_PER_SECOND, RETRIES_SAVED_MAX};
use super::throttle::{Throttle, ThrottlePermit, TokenBucket};
use crate::registry::settings::Settings;

/// The limits on one registry's requests, shared by everything that sends requests to it.
pub(crate) struct Admission {
    permits: Arc<Semaphore>,
    breaker: CircuitBreaker,
    throttle: Throttle,
    retries: Mutex<TokenBucket>,
}

/// Permission to send a request. It counts as concurrent until it is dropped.
pub(crate) struct Admitted {
    _concurrency: OwnedSemaphorePermit,
    rate: ThrottlePermit,
}

impl Admission {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(settings.concurrency.clamp(1, Semaphore::MAX_PERMITS))),
            breaker: CircuitBreaker::default(),
            throttle: Throttle::new(settings.requests_per_second),
            retries: Mutex::new(TokenBucket::new(RETRIES_PER_SECOND, RETRIES_SAVED_MAX)),
        }
    }

    /// Waits until a request may be sent.
    pub(crate) async fn admit(&self) -> Result<Admitted, Rejection> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.expect("the semaphore is never closed");
        loop {
            // Checked before the throttle, whose wait may be long, and after it: requests that a pause stopped go
            // through the throttle again, so that they are not all sent when the pause ends.
            self.breaker.ready().await?;
            let rate = self.throttle.acquire().await;
            if self.breaker.try_admit()?.is_none() {
                return Ok(Admitted { _concurrency: permit, rate });
            }
        }
    }

    /// Waits until a token may be requested. Another server answers it, on behalf of a request that already counts:
    /// neither the limit on concurrent requests nor the throttle applies.
    pub(crate) async fn admit_token(&self) -> Result<(), Rejection> {
        self.breaker.admit().await
    }

    /// The server answered, whatever the answer.
    pub(crate) fn answered(&self) {
        self.breaker.answered();
    }

    /// The server could not be reached, or did not answer in time.
    pub(crate) fn unanswered(&self, problem: &str) {
        self.breaker.failed(problem);
    }

    /// The answer was not 429. Returns the learnt rate where it has changed.
    pub(crate) fn accepted(&self, admitted: &Admitted) -> Option<f64> {
        self.breaker.accepted(admitted.rate.at());
        self.throttle.accepted(admitted.rate)
    }

    /// The answer was 429. Returns for how long requests pause, and the learnt rate where it has changed.
    pub(crate) fn refused(
        &self,
        admitted: Option<&Admitted>,
        retry_after: Option<Duration>,
    ) -> (Duration, Option<f64>) {
        let pause = self.breaker.rate_limited(retry_after, admitted.map(|admitted| admitted.rate.at()));
        // Without a `Retry-After`, the pauses so far show over which time the registry counts.
        let window = if retry_after.is_some() { pause } else { (2 * pause).saturating_sub(Duration::from_secs(1)) };
        (pause, admitted.and_then(|admitted| self.throttle.refused(admitted.rate, window)))
    }

    /// Waits until a request may be tried of a registry that was unreachable a moment ago.
    pub(crate) async fn reachable_again(&self) {
        self.breaker.reachable_again().await;
    }

    /// Notes a first try, which adds its share to the retry budget.
    pub(crate) fn save_retries(&self) {
        self.retries.lock().take(-RETRIES_PER_REQUEST);
    }

    /// Whether a failed request may be sent again. Retries must not multiply the load of a registry that fails most
    /// requests.
    pub(crate) fn may_retry(&self) -> bool {
        !self.breaker.is_unreachable() && self.retries.lock().try_take()
    }

    /// Whether so many requests failed lately that a retry would only delay others.
    pub(crate) fn is_unreachable(&self) -> bool {
        self.breaker.is_unreachable()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::super::retry::{PATIENCE_MAX, TRIES_MAX};
    use super::*;

    /// A registry that allows so many requests in each period of its clock, and its counts.
    #[derive(Clone, Copy)]
    struct Registry {
        allows: u32,
        period: Duration,
        retry_after: Option<Duration>,
        now: u128,
        asked: u32,
        requests: u32,
        refused: u32,
    }

    impl Registry {
        fn allows(&mut self, now: Duration) -> bool {
            let period = now.as_millis() / self.period.as_millis();
            if period != self.now {
                (self.now, self.asked) = (period, 0);
            }
            self.requests += 1;
            self.asked += 1;
            self.refused += u32::from(self.asked > self.allows);
            self.asked <= self.allows
        }

        /// Its counts since the last call.
        fn take_counts(&mut self) -> (u32, u32) {
            (std::mem::take(&mut self.requests), std::mem::take(&mut self.refused))
        }
    }

    /// One tag is read as `send` does it, with three tries. Returns whether it was read.
    async fn read_tag(admission: &Admission, registry: &Mutex<Registry>, started: Instant) -> bool {
        for _ in 0..TRIES_MAX {
            let Ok(admitted) = admission.admit().await else { return false };
            tokio::time::sleep(Duration::from_millis(10)).await;
            let is_allowed = registry.lock().allows(started.elapsed());
            tokio::time::sleep(Duration::from_millis(10)).await;
            if is_allowed {
                admission.accepted(&admitted);
                return true;
            }
            let retry_after = registry.lock().retry_after;
            let (pause, _) = admission.refused(Some(&admitted), retry_after);
            if pause > PATIENCE_MAX {
                return false;
            }
        }
        false
    }

    /// Four targets of so many tags, each scanned every ten seconds for five minutes. Returns how many tags were not
    /// read, and the requests and refusals of the first minute and of the others.
    async fn scan(tags: usize, registry: Registry) -> (usize, (u32, u32), (u32, u32)) {
        let admission = Arc::new(Admission::new(&Settings::default()));
        let registry = Arc::new(Mutex::new(registry));
        let started = Instant::now();
        let targets = (0..4).map(|target| {
            let (admission, registry) = (Arc::clone(&admission), Arc::clone(&registry));
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_secs(target)).await;
                let (mut unread, mut ticks) = (0, tokio::time::interval(Duration::from_secs(10)));
                while started.elapsed() < Duration::from_mins(5) {
                    ticks.tick().await;
                    let reads = (0..tags).map(|_| read_tag(&admission, &registry, started));
                    unread += futures_util::future::join_all(reads).await.iter().filter(|read| !**read).count();
                }
                unread
            })
        });
        let targets: Vec<_> = targets.collect();
        tokio::time::sleep(Duration::from_mins(1)).await;
        let first_minute = registry.lock().take_counts();
        let mut unread = 0;
        for target in targets {
            unread += target.await.unwrap();
        }
        let others = registry.lock().take_counts();
        (unread, first_minute, others)
    }

    fn that_allows(allows: u32, period: Duration, retry_after: Option<Duration>) -> Registry {
        Registry { allows, period, retry_after, now: 0, asked: 0, requests: 0, refused: 0 }
    }

    #[tokio::test(start_paused = true)]
    async fn a_registry_that_counts_by_the_second_refuses_few_requests_and_every_tag_is_read() {
        let second = Duration::from_secs(1);
        // 2.4 requests a second are needed, and 9.6, which is more than there are.
        for (tags, retry_after) in [(6, Some(second)), (24, Some(second)), (6, None), (24, None)] {
            let (unread, first, others) = scan(tags, that_allows(5, second, retry_after)).await;
            let shown = format!(
                "{tags} tags, {retry_after:?}: {unread} unread, {} of {} refused, then {} of {}",
                first.1, first.0, others.1, others.0
            );
            assert_eq!(unread, 0, "{shown}");
            assert!(first.1 * 100 <= first.0 * 8, "{shown}");
            assert!(others.1 * 100 < others.0 * 2, "{shown}");
            // Nor is the rate lower than the registry allows.
            assert!(tags == 6 || others.0 > 4 * 240, "{shown}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_rate_of_a_registry_that_counts_by_the_minute_is_found_although_it_says_nothing() {
        // 2.4 requests a second are needed, and 2 allowed.
        let (_, _, others) = scan(6, that_allows(120, Duration::from_mins(1), None)).await;
        assert!(others.1 * 100 < others.0 * 5 && others.0 > 240, "{} of {} refused", others.1, others.0);
    }

    #[tokio::test(start_paused = true)]
    async fn retries_are_a_tenth_of_the_requests() {
        let admission = Admission::new(&Settings::default());
        let may_retry = |requests: u32| {
            let save = |_: &u32| admission.save_retries();
            (0..requests).inspect(save).filter(|_| admission.may_retry()).count()
        };
        assert_eq!(may_retry(10), 10, "some are saved up");
        let retries = may_retry(1000);
        assert!((100..=110).contains(&retries), "{retries}");
    }
}
