//! The store's interface: memory, or the writer's queue and what is behind it.

use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::AtomicBool;
use std::sync::mpsc;
use std::sync::{Arc, Once, Weak};
use std::time::Duration;

use tracing::warn;

use super::backend::Backend;
use super::batch::{Batch, LISTINGS_WAITING_MAX, Sweep, WAITING_MAX};
use super::error::StoreError;
use super::file::tables::File;
use super::locations::Locations;
use super::queue::Queue;
use super::single_flight::{Flight, SingleFlight};
use super::stored::{FactsOf, LayerRecord, Stored};
use super::sweep::sweep_memory;
use crate::files::{Skeleton, Unknowable};
use crate::image::{Commands, ConfigFacts, Timestamp};
use crate::oci::text::beginning;
use crate::oci::{Digest, Registry, Repository, Tag};
use crate::tag::{Base, BaseNames, CountsElsewhere, ShardCounts, TagChange, TagRecord};

/// How long closing waits for the writer.
const TO_END_MAX: Duration = Duration::from_secs(5);

/// The most bytes that are stored of the reason why a layer cannot be measured.
const REASON_BYTES_MAX: usize = 1_024;

/// The store. Cheap to clone. When the last clone is dropped, the queue is written and the file closed.
#[derive(Clone, Debug)]
pub struct Store(Arc<Inner>);

/// The store for readers that must not keep it open.
#[derive(Clone, Debug)]
pub struct StoreReader(Weak<Inner>);

impl StoreReader {
    /// [`Store::commands`]; none once the store is closed.
    pub fn commands(&self, config: &Digest) -> Option<Commands> {
        Store(self.0.upgrade()?).commands(config)
    }
}

#[derive(Debug)]
struct Inner {
    queue: Arc<Queue>,
    backend: Backend,
    /// Disconnected when the writer has ended; none in memory.
    writer: Option<Mutex<mpsc::Receiver<()>>>,
    closing: Once,
    /// Without a file: since when a digest has been unused.
    unused: Mutex<HashMap<Digest, Timestamp>>,
    /// Manifests and indexes that are being fetched.
    documents: SingleFlight,
    /// Configs and layers that are being fetched.
    blobs: SingleFlight,
    locations: Locations,
}

impl Store {
    pub(super) fn new(queue: Arc<Queue>, backend: Backend, writer: Option<mpsc::Receiver<()>>) -> Self {
        Self(Arc::new(Inner {
            queue,
            backend,
            writer: writer.map(Mutex::new),
            closing: Once::new(),
            unused: Mutex::default(),
            documents: SingleFlight::default(),
            blobs: SingleFlight::default(),
            locations: Locations::default(),
        }))
    }

    /// Whether changes survive a restart, kept up to date: false while the file cannot be opened or written. `None` for
    /// a store in memory.
    pub fn persistent(&self) -> Option<Arc<AtomicBool>> {
        self.0.writer.is_some().then(|| Arc::clone(&self.0.queue.persistent))
    }

    /// The document with this digest.
    pub fn document(&self, digest: &Digest) -> Option<Stored> {
        self.find(|batch| batch.documents.get(digest).cloned(), |file| file.document(digest))
    }

    /// Has [`Self::document`] find what a database has of these digests. Without one there is nothing to wait for.
    pub async fn load_documents(&self, digests: &[Digest]) {
        self.0.backend.load(digests, FactsOf::Documents).await;
    }

    /// The same for [`Self::layer`] and [`Self::listing`].
    pub async fn load_layers(&self, digests: &[Digest]) {
        self.0.backend.load(digests, FactsOf::Layers).await;
    }

    /// Stores a document.
    pub fn remember(&self, digest: &Digest, stored: Stored) {
        self.put(|batch| &mut batch.documents, digest, stored);
    }

    /// Notes, until the process ends, that a repository has this manifest. Its content may come from another one.
    pub fn add_location(&self, repository: &Repository, digest: &Digest) {
        self.0.locations.insert(repository, digest);
    }

    /// Whether a repository is known to have this manifest, by [`Self::add_location`] or by its restored tags.
    pub fn has_location(&self, repository: &Repository, digest: &Digest) -> bool {
        self.0.locations.contains(repository, digest)
    }

    /// The stored facts of a config.
    pub fn config(&self, digest: &Digest) -> Option<Arc<ConfigFacts>> {
        self.find(|batch| batch.configs.get(digest).cloned(), |file| file.config(digest))
    }

    /// Stores the facts of a config, which several manifests may list.
    pub fn remember_config(&self, digest: &Digest, config: Arc<ConfigFacts>) {
        self.put(|batch| &mut batch.configs, digest, config);
    }

    /// A reader that does not keep the file open.
    pub fn reader(&self) -> StoreReader {
        StoreReader(Arc::downgrade(&self.0))
    }

    /// The commands that made an image's layers, by its config's digest. None where the config has no usable history, or
    /// was read by a version that did not keep them.
    pub fn commands(&self, config: &Digest) -> Option<Commands> {
        self.find(|batch| batch.commands.get(config).cloned(), |file| file.commands(config))
    }

    /// Stores the commands of a config.
    pub fn remember_commands(&self, config: &Digest, commands: Commands) {
        self.put(|batch| &mut batch.commands, config, commands);
    }

    /// A blob's size in bytes as the registry reported it, for schema 1 manifests, which list no sizes.
    pub fn blob_bytes(&self, digest: &Digest) -> Option<u64> {
        self.find(|batch| batch.blobs.get(digest).copied(), |file| file.blob_bytes(digest))
    }

    /// Stores a blob's size in bytes.
    pub fn remember_blob_bytes(&self, digest: &Digest, bytes: u64) {
        self.put(|batch| &mut batch.blobs, digest, bytes);
    }

    /// The record of a layer's content, by its digest or its `diff_id`.
    pub fn layer(&self, digest: &Digest) -> Option<LayerRecord> {
        self.find(|batch| batch.layers.get(digest).cloned(), |file| file.layer(digest))
    }

    /// Stores a layer's content, or that it cannot be measured.
    pub fn remember_layer(&self, digest: &Digest, mut layer: LayerRecord) {
        if let LayerRecord::Failed { reason, .. } = &mut layer {
            reason.truncate(beginning(reason, REASON_BYTES_MAX).len());
        }
        self.put(|batch| &mut batch.layers, digest, layer);
    }

    /// A layer's listing, by its digest or its `diff_id`; an error where its files cannot be listed.
    pub fn listing(&self, digest: &Digest) -> Option<Result<Arc<Skeleton>, Unknowable>> {
        self.find(|batch| batch.listings.get(digest).cloned(), |file| file.listing(digest))
    }

    /// Whether [`Self::listing`] has one, or knows that there is none.
    pub fn has_listing(&self, digest: &Digest) -> bool {
        let in_batch = |batch: &Batch| batch.listings.contains_key(digest).then_some(true);
        self.find(in_batch, |file| file.has_listing(digest)).unwrap_or_default()
    }

    /// Stores a layer's listing, or that its files cannot be listed.
    pub fn remember_listing(&self, digest: &Digest, listing: Result<Arc<Skeleton>, Unknowable>) {
        self.0.queue.add(|waiting| {
            if self.0.writer.is_none() || waiting.listings.len() < LISTINGS_WAITING_MAX {
                waiting.listings.insert(digest.clone(), listing);
            }
        });
    }

    /// The bytes that an image wastes, by its manifest's digest; an error where they cannot be known.
    pub fn wasted(&self, image: &Digest) -> Option<Result<u64, Unknowable>> {
        self.find(|batch| batch.wasted.get(image).copied(), |file| file.wasted(image))
    }

    /// Stores the bytes that an image wastes, or that they cannot be known.
    pub fn remember_wasted(&self, image: &Digest, bytes: Result<u64, Unknowable>) {
        self.put(|batch| &mut batch.wasted, image, bytes);
    }

    /// The bases that the annotations of a manifest or index name.
    pub fn base_names(&self, document: &Digest) -> Option<Arc<BaseNames>> {
        self.find(|batch| batch.base_names.get(document).cloned(), |file| file.base_names(document))
    }

    /// Stores the bases that a document's annotations name.
    pub fn remember_base_names(&self, document: &Digest, names: BaseNames) {
        self.put(|batch| &mut batch.base_names, document, Arc::new(names));
    }

    /// The base that was found for an image, by its manifest's digest.
    pub fn base(&self, image: &Digest) -> Option<Arc<Base>> {
        self.find(|batch| batch.bases.get(image).cloned(), |file| file.base(image))
    }

    /// Stores the bases of images, by their manifests' digests.
    pub fn remember_bases(&self, bases: Vec<(Digest, Arc<Base>)>) {
        if !bases.is_empty() {
            self.0.queue.add(|waiting| waiting.bases.extend(bases));
        }
    }

    /// The record of every tag, in no particular order. For the start.
    pub fn tags(&self) -> Vec<(Repository, Tag, TagRecord)> {
        let (writing, waiting) = {
            let queued = self.0.queue.lock();
            (Arc::clone(&queued.writing), queued.waiting.tags.clone())
        };
        let mut newer = writing.tags.clone();
        newer.extend(waiting);
        let mut tags = self.0.backend.tags();
        if !newer.is_empty() {
            tags.retain(|(repository, tag, _)| !newer.contains_key(&(repository.clone(), tag.clone())));
        }
        tags.extend(newer.into_iter().filter_map(|((repository, tag), record)| Some((repository, tag, record?))));
        for (repository, _, record) in &tags {
            record.known.images.iter().for_each(|(_, digest)| self.0.locations.insert(repository, digest));
        }
        tags
    }

    /// Stores or deletes tags' records.
    pub fn keep(&self, changes: Vec<TagChange>) {
        let in_memory = self.0.writer.is_none();
        self.0.queue.add(|waiting| {
            for change in changes {
                match change.kept {
                    // Without a file there is nothing to delete.
                    None if in_memory => drop(waiting.tags.remove(&(change.repository, change.tag))),
                    _ => waiting.change(change),
                }
            }
        });
    }

    /// What other shards count, as it comes; the first is all of it. `None` where there is nobody to tell, and after the first
    /// call.
    pub fn counts_elsewhere(&self) -> Option<tokio::sync::mpsc::Receiver<CountsElsewhere>> {
        match &self.0.backend {
            #[cfg(feature = "postgres")]
            Backend::Database(database) => database.counts_elsewhere(),
            _ => None,
        }
    }

    /// Tells other shards what this one counts.
    pub fn tell(&self, counts: ShardCounts) {
        self.0.queue.add(|waiting| waiting.counts.then(counts.into()));
    }

    /// Notes a completed scan under a key of the caller's: after a restart it distinguishes a completely read target
    /// from one whose first scan was interrupted.
    pub fn remember_scan(&self, key: &Digest, at: Timestamp) {
        if !self.has_scanned(key) {
            self.put(|batch| &mut batch.scans, key, at);
        }
    }

    /// Whether the scan under this key completed.
    pub fn has_scanned(&self, key: &Digest) -> bool {
        self.find(|batch| batch.has_scanned(key), |file| file.has_scanned(key)).unwrap_or_default()
    }

    /// Deletes every completed scan except those under these keys: tags of the others may be deleted from now on.
    pub fn retain_scans(&self, keys: &HashSet<Digest>) {
        self.0.queue.add(|waiting| waiting.retain_scans(keys));
    }

    /// Removes entries that every sweep of a fortnight found unused: to be called periodically. In use are the digests
    /// in `in_use` and those that the stored tags need.
    pub fn sweep(&self, in_use: &HashSet<Digest>, now: Timestamp) {
        self.0.locations.retain(in_use);
        if !self.0.backend.is_open() {
            sweep_memory(&mut self.0.queue.lock().waiting, &mut self.0.unused.lock(), in_use, now);
            return;
        }
        self.0.queue.add(|waiting| waiting.sweep = Some(Sweep { in_use: in_use.clone(), now }));
    }

    /// The number of stored documents. One that is being rewritten counts twice until it is written.
    pub fn documents(&self) -> u64 {
        let waiting = {
            let queued = self.0.queue.lock();
            queued.waiting.documents.len() + queued.writing.documents.len()
        };
        waiting as u64 + self.0.backend.documents()
    }

    /// Single-flight: waits until no other task is fetching the document `digest` from `registry`. Check the store again
    /// afterwards.
    pub async fn document_flight(&self, registry: &Registry, digest: &Digest) -> Flight {
        let flight = self.0.documents.begin(registry, digest).await;
        self.among_all(flight, registry, digest, FactsOf::Documents).await
    }

    /// As [`Self::document_flight`], for a config or layer. A task may begin a blob's flight within a document's, never the
    /// other way round: no task then waits for itself, whatever digests a registry's headers name.
    pub async fn blob_flight(&self, registry: &Registry, digest: &Digest) -> Flight {
        let flight = self.0.blobs.begin(registry, digest).await;
        self.among_all(flight, registry, digest, FactsOf::Blobs).await
    }

    /// Makes a flight the only one among the processes that share a database, or has the store find what another one fetched.
    #[cfg(feature = "postgres")]
    async fn among_all(&self, mut flight: Flight, registry: &Registry, digest: &Digest, facts: FactsOf) -> Flight {
        if let Backend::Database(database) = &self.0.backend {
            flight.claim = database.claim(registry, digest, facts).await;
        }
        flight
    }

    #[cfg(not(feature = "postgres"))]
    #[expect(clippy::unused_async, reason = "only databases are waited for")]
    async fn among_all(&self, flight: Flight, _registry: &Registry, _digest: &Digest, _facts: FactsOf) -> Flight {
        flight
    }

    /// Waits until all earlier changes are on the disk, or could not be written, which is logged. May wait for a
    /// hanging disk: the caller sets a deadline.
    pub async fn flush(&self) {
        if self.0.writer.is_some() {
            // The writer answers until this store is closed.
            let _ = self.0.queue.flush().await;
        }
    }

    /// Writes the queue and closes the file although clones may be left, of which nothing can be asked or written from then
    /// on: for the end of the program. Blocks, and gives up on a writer that does not respond.
    pub fn close(&self) {
        self.0.close();
    }

    fn put<T>(&self, map: impl Fn(&mut Batch) -> &mut HashMap<Digest, T>, digest: &Digest, value: T) {
        self.0.queue.add(|waiting| {
            let map = map(waiting);
            if self.0.writer.is_none() || map.len() < WAITING_MAX {
                map.insert(digest.clone(), value);
            }
        });
    }

    /// Looks in the queue, newest first, then behind it.
    fn find<T>(
        &self,
        in_batch: impl Fn(&Batch) -> Option<T>,
        in_file: impl Fn(&File) -> Result<Option<T>, StoreError>,
    ) -> Option<T> {
        self.0.queue.find(&in_batch).or_else(|| self.0.backend.find(&in_batch, in_file))
    }
}

impl Inner {
    fn close(&self) {
        self.closing.call_once(|| {
            self.queue.stop();
            let Some(ended) = &self.writer else { return };
            match ended.lock().recv_timeout(TO_END_MAX) {
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    warn!("{} does not respond: exiting without the last changes", self.backend.written_to());
                }
                _ => self.backend.close(),
            }
        });
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}
