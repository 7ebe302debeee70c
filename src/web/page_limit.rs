//! The limits on pages: how many are made at once, and how many bytes of them wait for clients that read slowly.

use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// The most pages that are made at once, whatever the machine.
const AT_ONCE_MAX: usize = 4;

/// How long a request waits for others' pages.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// The most bytes of pages that are made and not yet sent, over all connections and their streams.
const UNSENT_BYTES_MAX: u32 = 64 << 20;

/// Limits the pages that are made at once and those that wait to be sent.
pub(super) struct PageLimit {
    making: Arc<Semaphore>,
    /// A permit is a byte.
    unsent: Arc<Semaphore>,
    unsent_max: u32,
}

impl PageLimit {
    fn new(at_once: usize, unsent_max: u32) -> Self {
        let unsent = Semaphore::new(unsent_max as usize);
        Self { making: Arc::new(Semaphore::new(at_once)), unsent: Arc::new(unsent), unsent_max }
    }

    /// Waits for a permit to make a page, in the order of the calls; none after [`WAIT_MAX`].
    pub(super) async fn acquire(&self) -> Option<OwnedSemaphorePermit> {
        timeout(WAIT_MAX, Arc::clone(&self.making).acquire_owned()).await.ok()?.ok()
    }

    /// The page, counted until its last byte is sent or given up; none if others leave no room for [`WAIT_MAX`].
    pub(super) async fn unsent(&self, page: Vec<u8>) -> Option<Bytes> {
        let bytes = u32::try_from(page.len()).unwrap_or(u32::MAX).min(self.unsent_max);
        let room = timeout(WAIT_MAX, Arc::clone(&self.unsent).acquire_many_owned(bytes)).await.ok()?.ok()?;
        Some(Bytes::from_owner(Unsent { page, _room: room }))
    }
}

impl Default for PageLimit {
    fn default() -> Self {
        Self::new(at_once(), UNSENT_BYTES_MAX)
    }
}

/// A page and the room that it takes, which is given back when the connection drops the last of its bytes.
struct Unsent {
    page: Vec<u8>,
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Unsent {
    fn as_ref(&self) -> &[u8] {
        &self.page
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
        let limit = PageLimit::new(2, 0);
        let (first, second) = (limit.acquire().await, limit.acquire().await);
        assert!(first.is_some() && second.is_some());
        assert!(limit.acquire().await.is_none());
        drop(first);
        assert!(limit.acquire().await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn pages_that_nobody_reads_take_bounded_memory() {
        let limit = PageLimit::new(1, 100);
        let mut first = limit.unsent(vec![1; 60]).await.unwrap();
        assert!(limit.unsent(vec![2; 41]).await.is_none());
        let small = limit.unsent(vec![3; 40]).await;
        assert!(small.is_some());
        // What is sent in part is in memory as a whole.
        drop(first.split_to(59));
        drop(small);
        assert!(limit.unsent(vec![4; 41]).await.is_none());
        drop(first);
        // One that is larger than the limit has to be alone.
        let large = limit.unsent(vec![5; 1_000]).await;
        assert!(large.is_some() && limit.unsent(vec![6; 1]).await.is_none());
    }
}
