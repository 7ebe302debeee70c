//! What other shards count.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::mpsc;

use super::{News, StateLoop};
use crate::inventory::Inventory;
use crate::store::Store;
use crate::tag::CountsElsewhere;

/// How long a start waits for it, so that sums over all shards are there at once.
const FIRST_MAX: Duration = Duration::from_secs(10);

/// Whether, and how, it comes.
pub(super) struct Others {
    received: Option<mpsc::Receiver<CountsElsewhere>>,
    /// The shards that were missing when that was last said.
    missing: Option<BTreeSet<u32>>,
}

impl Others {
    /// By the store, if shards share one.
    pub(super) fn of(store: &Store, inventory: &mut Inventory) -> Self {
        let received = store.counts_elsewhere();
        if received.is_some() {
            inventory.share_counts();
        }
        Self { received, missing: None }
    }

    /// Takes the first news, unless the store cannot be used yet.
    pub(super) async fn first(&mut self, inventory: &mut Inventory, store: &Store) {
        let is_usable =
            store.persistent().is_some_and(|persistent| persistent.load(std::sync::atomic::Ordering::Relaxed));
        if !is_usable || self.received.is_none() {
            return;
        }
        if let Ok(news) = tokio::time::timeout(FIRST_MAX, self.news()).await {
            inventory.learn_elsewhere(news);
        }
    }

    /// The next news; never where there is nobody to tell any.
    pub(super) async fn news(&mut self) -> CountsElsewhere {
        let next = match &mut self.received {
            Some(received) => received.recv().await,
            None => None,
        };
        match next {
            Some(news) => news,
            None => std::future::pending().await,
        }
    }

    /// Says it when it turns out that shards are yet to say what they count, and when none is any more.
    pub(super) fn say_missing(&mut self, inventory: &Inventory) {
        if self.received.is_none() {
            return;
        }
        let missing = inventory.unknown_shards();
        let Some(missing) = missing.filter(|missing| self.missing.as_ref() != Some(missing)) else { return };
        if missing.is_empty() {
            tracing::info!("all shards say what they count: sums over all repositories are published");
        } else {
            tracing::info!(
                shards = ?missing,
                "these shards have yet to say what they count, by the same configuration: sums over all repositories are not published"
            );
        }
        self.missing = Some(missing);
    }
}

impl StateLoop {
    /// Takes what other shards count.
    pub(super) fn heard(&mut self, news: CountsElsewhere) {
        if self.inventory.learn_elsewhere(news) {
            self.news = self.news.max(News::Found);
        }
    }
}
