//! The database as the store's clones see it: memory that is loaded from it.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::claims::{self, Claim};
use super::connection::Connector;
use super::elsewhere::Watch;
use super::facts::Kind;
use super::known::{Known, RestoredTag};
use super::reader::Reader;
use super::restore::Restored;
use crate::oci::{Digest, Registry};
use crate::store::batch::Batch;
use crate::store::queue::Queue;
use crate::store::stored::FactsOf;
use crate::tag::CountsElsewhere;
use crate::target::Shard;

/// What the store's clones and the writer share.
pub(in crate::store) struct Database {
    pub(super) queue: Arc<Queue>,
    pub(super) connector: Arc<Connector>,
    pub(super) shard: Shard,
    pub(super) known: Mutex<Known>,
    reader: Arc<Reader>,
    /// Of the database's own threads: its connections do not depend on the caller's runtime, which may end before them.
    handle: Handle,
    /// Until the store asks for them.
    restored: Mutex<Vec<RestoredTag>>,
    /// The number of documents, as it was counted last.
    pub(super) documents: Arc<AtomicU64>,
    is_watched: AtomicBool,
}

/// How many pieces of news from other shards may wait.
const NEWS_WAITING_MAX: usize = 2;

impl Database {
    pub(in crate::store) fn new(queue: Arc<Queue>, url_file: &Path, shard: Shard, handle: Handle) -> Self {
        let connector = Arc::new(Connector::new(url_file.to_owned()));
        Self {
            queue,
            reader: Arc::new(Reader::new(Arc::clone(&connector))),
            connector,
            shard,
            known: Mutex::default(),
            handle,
            restored: Mutex::default(),
            documents: Arc::default(),
            is_watched: AtomicBool::default(),
        }
    }

    /// What other shards count, from now on; `None` where there are none, and after the first call.
    pub(in crate::store) fn counts_elsewhere(&self) -> Option<mpsc::Receiver<CountsElsewhere>> {
        if self.shard.is_only() || self.is_watched.swap(true, Ordering::Relaxed) {
            return None;
        }
        let (news, received) = mpsc::channel(NEWS_WAITING_MAX);
        self.handle.spawn(Watch::new(Arc::clone(&self.connector), self.shard, news).run());
        Some(received)
    }

    /// Takes what a start has restored.
    pub(super) fn set_restored(&self, Restored { tags, known }: Restored) {
        self.known.lock().restored(&tags, known);
        *self.restored.lock() = tags;
    }

    /// Looks in memory.
    pub(in crate::store) fn find<T>(&self, in_batch: impl Fn(&Batch) -> Option<T>) -> Option<T> {
        self.known.lock().find(in_batch)
    }

    /// Brings into memory what the database has of these digests and memory lacks.
    pub(in crate::store) async fn load(&self, digests: &[Digest], facts: FactsOf) {
        let digests: Vec<Digest> = digests.iter().filter(|digest| !self.is_known(digest, facts)).cloned().collect();
        if digests.is_empty() {
            return;
        }
        let reader = Arc::clone(&self.reader);
        // It ends without an answer only when the program does.
        if let Ok(loaded) = self.handle.spawn(async move { reader.load(&digests, Kind::of(facts)).await }).await {
            self.known.lock().take(loaded);
        }
    }

    /// As [`Self::load`], for one digest that a registry is about to be asked for. Waits while another exporter asks for it.
    /// Returns the right to ask, if this one is to do so; none where memory has it now, and while the database is away.
    pub(in crate::store) async fn claim(&self, registry: &Registry, digest: &Digest, facts: FactsOf) -> Option<Claim> {
        let key = claims::key(registry, digest, facts);
        let give_up = Instant::now() + claims::WAIT_MAX;
        loop {
            self.load(std::slice::from_ref(digest), facts).await;
            // What cannot be written now would let others wait in vain.
            let may_claim = self.queue.persistent.load(Ordering::Relaxed) && Instant::now() < give_up;
            if !may_claim || self.is_known(digest, facts) {
                return None;
            }
            let (reader, asked) = (Arc::clone(&self.reader), key.clone());
            let answer = self.handle.spawn(async move {
                let claimed = reader.claim(&asked).await;
                if claimed == Some(false) {
                    tokio::time::sleep(claims::LOOK_EVERY).await;
                }
                claimed
            });
            match answer.await {
                Ok(Some(true)) => {
                    let claim = Claim::new(&self.queue, &self.reader, &self.handle, key);
                    // The one that had it before may have ended between the two questions.
                    self.load(std::slice::from_ref(digest), facts).await;
                    return Some(claim).filter(|_| !self.is_known(digest, facts));
                }
                Ok(Some(false)) => {}
                Ok(None) | Err(_) => return None,
            }
        }
    }

    /// Tells this process's claims from others'.
    pub(super) fn claimant(&self) -> i64 {
        self.reader.claimant()
    }

    fn is_known(&self, digest: &Digest, facts: FactsOf) -> bool {
        let has = |batch: &Batch| Kind::that_suffice(facts).iter().any(|kind| kind.is_in(batch, digest)).then_some(());
        self.queue.find(has).or_else(|| self.find(has)).is_some()
    }

    /// The tags that were restored, once.
    pub(in crate::store) fn tags(&self) -> Vec<RestoredTag> {
        std::mem::take(&mut self.restored.lock())
    }

    /// The number of documents, as it was counted last.
    pub(in crate::store) fn documents(&self) -> u64 {
        self.documents.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database")
            .field("at", &self.connector.shown())
            .field("shard", &self.shard)
            .finish_non_exhaustive()
    }
}
