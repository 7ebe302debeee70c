//! The limit on pages that are made at once.

use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// The most pages that are made at once, whatever the machine.
const AT_ONCE_MAX: usize = 4;

/// How long a request waits for others' pages.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// Limits the pages that are made at once.
pub(super) struct PageLimit(Arc<Semaphore>);

impl PageLimit {
    fn new(max: usize) -> Self {
        Self(Arc::new(Semaphore::new(max)))
    }

    /// Waits for a permit, in the order of the calls; none after [`WAIT_MAX`].
    pub(super) async fn acquire(&self) -> Option<OwnedSemaphorePermit> {
        timeout(WAIT_MAX, Arc::clone(&self.0).acquire_owned()).await.ok()?.ok()
    }
}

impl Default for PageLimit {
    fn default() -> Self {
        Self::new(at_once())
    }
}

/// One for each two processors: scans and scrapes keep the others.
fn at_once() -> usize {
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    (processors / 2).clamp(1, AT_ONCE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_page_waits_for_others_and_not_for_ever() {
        assert!((1..=AT_ONCE_MAX).contains(&at_once()));
        let limit = PageLimit::new(2);
        let (first, second) = (limit.acquire().await, limit.acquire().await);
        assert!(first.is_some() && second.is_some());
        assert!(limit.acquire().await.is_none());
        drop(first);
        assert!(limit.acquire().await.is_some());
    }
}
