//! What is remembered across scans and restarts: documents and layers by their digest, tags by what was last known.
//!
//! In memory, or in a state file beside which memory holds only what is not written yet. Nothing that the file
//! does makes a caller wait or fail: what cannot be read is read from the registry again, what cannot be written is
//! kept in memory and tried again. Deliberately not here: what a tag's values mean, and when they stop to be true.

mod batch;
mod catch_panic;
mod encoding;
mod error;
mod file;
mod locations;
mod open;
mod single_flight;
mod sweep;
mod writer;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::clock::since_epoch;
use crate::image::{ConfigFacts, Image, LayerContent, Timestamp};
use crate::oci::{Digest, MediaType, Platform, Registry, Repository, Tag};
use crate::tag::{TagChange, TagRecord};

use batch::{Batch, Sweep, WAITING_MAX};
pub use error::StoreError;
use file::File;
use locations::Places;
pub use single_flight::Claim;
use single_flight::Claims;
use writer::Shared;

/// How long something may be out of use before it is removed, in seconds: a fortnight, so that a branch that sleeps
/// over the holidays wakes for free.
const SECONDS_UNUSED_MAX: f64 = 14.0 * 86_400.0;

/// What is remembered. Cheap to clone; when the last clone goes, what waits is written and the file is closed.
#[derive(Clone, Debug)]
pub struct Store(Arc<Inner>);

/// How a state file was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// There was none.
    Fresh,
    /// It is as it was left, but for what was being written in its last second.
    Existing,
    /// It could not be used and was renamed. A new one was begun.
    SetAside {
        /// Its new name.
        moved_to: PathBuf,
        /// What is wrong with it, to stand after "the state file": "is damaged: …", "has version 2, …".
        why: String,
    },
}

/// What was read under a digest. Immutable, like all that a digest names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Stored {
    /// A manifest and its config. The platform is the config's.
    Image(Arc<Image>),
    /// An index.
    Index(Arc<StoredIndex>),
}

/// An index, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredIndex {
    /// Of the index itself.
    pub media_type: MediaType,
    /// Bytes of the index itself.
    pub bytes: u64,
    /// In the index's order.
    pub entries: Vec<IndexEntry>,
}

/// What an index says of one of its children.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IndexEntry {
    /// Of the child.
    pub digest: Digest,
    /// Of the child; empty where the index does not say.
    pub media_type: MediaType,
    /// Bytes of the child's manifest, as the index says.
    pub bytes: u64,
    /// In normal form; none where the entry has none.
    pub platform: Option<Platform>,
    /// Whether it is an attestation, which is no image.
    pub attestation: bool,
    /// What kind of artifact the child is; empty where the index does not say.
    pub artifact_type: Arc<str>,
}

/// What is known of a layer's inside, by the blob's digest or by its `diff_id`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum LayerRecord {
    /// It was read.
    Known(LayerContent),
    /// It cannot be read, and asking again soon would not help.
    Failed {
        /// Why, for people.
        reason: String,
        /// When that was found.
        at: Timestamp,
    },
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    /// The file's writer; none in memory.
    writer: Option<JoinHandle<()>>,
    /// Without a file: since when a digest has not been in use.
    unused: parking_lot::Mutex<HashMap<Digest, Timestamp>>,
    /// Manifests and indexes that are being read.
    documents: Claims,
    /// Configs and layers that are being read.
    blobs: Claims,
    places: Places,
}

impl Store {
    /// Remembers in memory, until the process ends.
    pub fn memory() -> Self {
        Self(Arc::new(Inner {
            shared: Arc::new(Shared::new(None)),
            writer: None,
            unused: parking_lot::Mutex::default(),
            documents: Claims::default(),
            blobs: Claims::default(),
            places: Places::default(),
        }))
    }

    /// Remembers in the file at `path`, which is made if it is not there.
    ///
    /// A file that is damaged is renamed to `<path>.corrupt-<Unix time>`, one of another version or program to
    /// `<path>.other-<Unix time>`, and a new one is begun.
    /// After [`StoreError::InUse`] the caller should give up; after any other error it can go on with [`Self::later`].
    pub fn open(path: &Path) -> Result<(Self, Opened), StoreError> {
        let (file, opened) = File::open(path, since_epoch().as_secs())?;
        Ok((Self::written_to(path, Some(file), None)?, opened))
    }

    /// Remembers in memory, after an error of [`Self::open`], until the file can be opened after all: it is tried
    /// again, every minute at the latest. An error means that no thread can be started.
    pub fn later(path: &Path, error: &StoreError) -> Result<Self, StoreError> {
        Self::written_to(path, None, Some(error.to_string()))
    }

    fn written_to(path: &Path, file: Option<File>, said: Option<String>) -> Result<Self, StoreError> {
        let shared = Arc::new(Shared::new(file));
        let writer = {
            let (shared, path) = (Arc::clone(&shared), path.to_owned());
            std::thread::Builder::new().name("store".to_owned()).spawn(move || writer::run(&shared, &path, said))
        };
        let writer = writer.map_err(|error| StoreError::Failed {
            path: path.to_owned(),
            why: format!("cannot start its writer: {error}"),
        })?;
        Ok(Self(Arc::new(Inner {
            shared,
            writer: Some(writer),
            unused: parking_lot::Mutex::default(),
            documents: Claims::default(),
            blobs: Claims::default(),
            places: Places::default(),
        })))
    }

    /// Whether what is learnt survives a restart, now and whenever it is looked at: not while the file cannot be opened or
    /// written. None of a store that was never meant to outlive the process.
    pub fn persistent(&self) -> Option<Arc<AtomicBool>> {
        self.0.writer.is_some().then(|| Arc::clone(&self.0.shared.persistent))
    }

    /// What was read under `digest`.
    pub fn document(&self, digest: &Digest) -> Option<Stored> {
        self.find(|batch| batch.documents.get(digest).cloned(), |file| file.document(digest))
    }

    /// Remembers what was read under `digest`.
    pub fn remember(&self, digest: &Digest, stored: Stored) {
        self.put(|batch| &mut batch.documents, digest, stored);
    }

    /// Notes that a repository has this manifest, until the process ends: what is known of it may come from another one.
    pub fn saw(&self, repository: &Repository, digest: &Digest) {
        self.0.places.insert(repository, digest);
    }

    /// Whether it is known to have it: by what was noted, and by its tags that were kept.
    pub fn was_seen(&self, repository: &Repository, digest: &Digest) -> bool {
        self.0.places.contains(repository, digest)
    }

    /// What sizes need of a config.
    pub fn config(&self, digest: &Digest) -> Option<Arc<ConfigFacts>> {
        self.find(|batch| batch.configs.get(digest).cloned(), |file| file.config(digest))
    }

    /// Remembers what sizes need of a config: several manifests may name it.
    pub fn remember_config(&self, digest: &Digest, config: Arc<ConfigFacts>) {
        self.put(|batch| &mut batch.configs, digest, config);
    }

    /// Bytes of a blob, as the registry said when it was asked: schema 1 manifests do not say.
    pub fn blob_bytes(&self, digest: &Digest) -> Option<u64> {
        self.find(|batch| batch.blobs.get(digest).copied(), |file| file.blob_bytes(digest))
    }

    /// Remembers a blob's size in bytes.
    pub fn remember_blob_bytes(&self, digest: &Digest, bytes: u64) {
        self.put(|batch| &mut batch.blobs, digest, bytes);
    }

    /// What is known of a layer's inside, by its digest or its `diff_id`.
    pub fn layer(&self, digest: &Digest) -> Option<LayerRecord> {
        self.find(|batch| batch.layers.get(digest).cloned(), |file| file.layer(digest))
    }

    /// Remembers what is inside a layer, or that nobody can tell.
    pub fn remember_layer(&self, digest: &Digest, layer: LayerRecord) {
        self.put(|batch| &mut batch.layers, digest, layer);
    }

    /// The last that is known of every tag, in no particular order. For the start: nothing else should need it.
    pub fn tags(&self) -> Vec<(Repository, Tag, TagRecord)> {
        let (writing, waiting) = {
            let queue = self.0.shared.queue();
            (Arc::clone(&queue.writing), queue.waiting.tags.clone())
        };
        let mut newer = writing.tags.clone();
        newer.extend(waiting);
        let mut tags = self.read(File::tags).unwrap_or_default();
        tags.retain(|(repository, tag, _)| !newer.contains_key(&(repository.clone(), tag.clone())));
        tags.extend(newer.into_iter().filter_map(|((repository, tag), kept)| Some((repository, tag, kept?))));
        for (repository, _, kept) in &tags {
            kept.known.images.iter().for_each(|(_, digest)| self.0.places.insert(repository, digest));
        }
        tags
    }

    /// Remembers what is known of tags now, or forgets them.
    pub fn keep(&self, changes: Vec<TagChange>) {
        let in_memory = self.0.writer.is_none();
        self.0.shared.add(|waiting| {
            for change in changes {
                match change.kept {
                    // There is no file that has to forget it as well.
                    None if in_memory => drop(waiting.tags.remove(&(change.repository, change.tag))),
                    _ => waiting.change(change),
                }
            }
        });
    }

    /// Remembers that something was scanned whole, under a key of the caller's: after a restart it tells a target of
    /// which everything is known from one whose first scan was cut short.
    pub fn remember_pass(&self, key: &Digest, at: Timestamp) {
        if !self.has_passed(key) {
            self.put(|batch| &mut batch.passes, key, at);
        }
    }

    /// Whether it was.
    pub fn has_passed(&self, key: &Digest) -> bool {
        self.find(|batch| batch.has_passed(key), |file| file.has_passed(key)).unwrap_or_default()
    }

    /// Forgets all that was scanned whole but what these keys stand for: of the rest, tags may be forgotten from now on.
    pub fn keep_passes(&self, keys: &HashSet<Digest>) {
        self.0.shared.add(|waiting| waiting.keep_passes(keys));
    }

    /// Removes what has not been in use for a fortnight, by the sweeps that saw it: to be called now and then. In use
    /// is what is in `in_use`, and what the tags that are kept need.
    pub fn sweep(&self, in_use: &HashSet<Digest>, now: Timestamp) {
        self.0.places.keep_only(in_use);
        if !self.0.shared.is_open() {
            self.sweep_memory(in_use, now);
            return;
        }
        self.0.shared.add(|waiting| waiting.sweep = Some(Sweep { in_use: in_use.clone(), now }));
    }

    /// How many documents are remembered. One that is being written again counts twice until it is.
    pub fn documents(&self) -> u64 {
        let waiting = {
            let queue = self.0.shared.queue();
            queue.waiting.documents.len() + queue.writing.documents.len()
        };
        waiting as u64 + self.read(File::documents).unwrap_or(0)
    }

    /// Waits until nobody else is reading from `registry` what `digest` names: who holds the claim looks for it here again, since the
    /// one before has probably found it.
    pub async fn claim(&self, registry: &Registry, digest: &Digest) -> Claim {
        self.0.documents.claim(registry, digest).await
    }

    /// The same for a config or layer. Whoever claims a document may claim a blob as well, but never the other way
    /// round: nobody waits for a claim of its own, whatever digests a registry's headers name.
    pub async fn claim_blob(&self, registry: &Registry, digest: &Digest) -> Claim {
        self.0.blobs.claim(registry, digest).await
    }

    /// Waits until all that was remembered before is on the disk, or could not be written: then it was warned of.
    pub async fn flush(&self) {
        if self.0.writer.is_some() {
            // The writer answers as long as this store holds it.
            let _ = self.0.shared.flush().await;
        }
    }

    fn put<T>(&self, map: impl Fn(&mut Batch) -> &mut HashMap<Digest, T>, digest: &Digest, value: T) {
        self.0.shared.add(|waiting| {
            let map = map(waiting);
            if self.0.writer.is_none() || map.len() < WAITING_MAX {
                map.insert(digest.clone(), value);
            }
        });
    }

    /// Looks among what waits, newest first, then in the file.
    fn find<T>(
        &self,
        in_batch: impl Fn(&Batch) -> Option<T>,
        in_file: impl Fn(&File) -> Result<Option<T>, StoreError>,
    ) -> Option<T> {
        let found = {
            let queue = self.0.shared.queue();
            in_batch(&queue.waiting).or_else(|| in_batch(&queue.writing))
        };
        found.or_else(|| self.read(in_file).flatten())
    }

    fn read<T>(&self, read: impl Fn(&File) -> Result<T, StoreError>) -> Option<T> {
        let file = self.0.shared.file.read();
        match read(file.as_ref()?) {
            Ok(value) => Some(value),
            Err(error) => {
                if !self.0.shared.unreadable.swap(true, Ordering::Relaxed) {
                    warn!(%error, "cannot read all of the state file: asking the registry for what is missing");
                }
                None
            }
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.stop();
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has said so; there is nothing to add at the end.
            let _ = writer.join();
            self.shared.close();
        }
    }
}

#[cfg(test)]
mod tests;
