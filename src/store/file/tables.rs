//! An open state file: its tables by digest and by tag.

use std::collections::{HashMap, HashSet};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableError, WriteTransaction};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::catch_panic::catch_panic;
use super::definitions::{
    BASE_NAMES, BASES, BLOBS, Bytes, COMMANDS, CONFIGS, DOCUMENTS, LAYERS, LISTINGS, SCANS, TABLES, TAGS, WASTED,
};
use super::sweep::sweep_unused;
use crate::files::{Skeleton, Unknowable};
use crate::image::{Commands, ConfigFacts, Timestamp};
use crate::oci::digest::TEXT_BYTES_MAX;
use crate::oci::{Digest, Repository, Tag};
use crate::store::batch::Batch;
use crate::store::encoding::{digest_key, parse_tag_key, seal, tag_key, unseal};
use crate::store::error::StoreError;
use crate::store::stored::{LayerRecord, Stored};
use crate::tag::{Base, BaseNames, TagRecord};

/// Identifies the file at a path: a replacement has another identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileIdentity {
    device: u64,
    inode: u64,
}

impl FileIdentity {
    pub(super) fn new(path: &Path) -> io::Result<Self> {
        let metadata = path.metadata()?;
        Ok(Self { device: metadata.dev(), inode: metadata.ino() })
    }
}

/// What shows that something has written into the file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct FileStamp {
    bytes: u64,
    /// The beginning, with redb's numbers of transactions.
    header: Vec<u8>,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
}

/// redb's header has 320 bytes.
const HEADER_BYTES: u64 = 512;

impl FileStamp {
    fn new(path: &Path) -> io::Result<Self> {
        let file = std::fs::File::open(path)?;
        let metadata = file.metadata()?;
        let mut header = Vec::new();
        file.take(HEADER_BYTES).read_to_end(&mut header)?;
        Ok(Self { bytes: metadata.len(), header, modified: (metadata.mtime(), metadata.mtime_nsec()) })
    }
}

/// Whether something else has written into an open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overwritten {
    No,
    Yes,
    /// Its time differs, and nothing else that was compared.
    Perhaps,
}

/// An open state file, locked against other processes.
#[derive(Debug)]
pub(in crate::store) struct File {
    pub(super) path: PathBuf,
    pub(super) database: Database,
    pub(super) identity: FileIdentity,
    /// As this process left it after its last write; `None` where that could not be determined.
    stamp: Mutex<Option<FileStamp>>,
    /// Whether its time shows writes: some file systems set it late.
    pub(super) trusts_time: bool,
}

impl File {
    /// The database that was just opened at `path`.
    pub(super) fn new(path: &Path, database: Database) -> io::Result<Self> {
        let (identity, stamp) = (FileIdentity::new(path)?, Mutex::default());
        let file = Self { path: path.to_owned(), database, identity, stamp, trusts_time: true };
        file.note_written();
        Ok(file)
    }

    /// Notes that this process has written the file.
    pub(super) fn note_written(&self) {
        *self.stamp.lock() = FileStamp::new(&self.path).ok();
    }

    /// Whether something else has written into the file since, although the lock says that it is open.
    pub(super) fn is_overwritten(&self) -> Overwritten {
        let stamp = self.stamp.lock();
        let Some((then, now)) = stamp.as_ref().zip(FileStamp::new(&self.path).ok()) else { return Overwritten::No };
        if (then.bytes, &then.header) != (now.bytes, &now.header) {
            Overwritten::Yes
        } else if self.trusts_time && then.modified != now.modified {
            Overwritten::Perhaps
        } else {
            Overwritten::No
        }
    }

    pub(in crate::store) fn document(&self, digest: &Digest) -> Result<Option<Stored>, StoreError> {
        self.get(DOCUMENTS, &digest_key(digest))
    }

    pub(in crate::store) fn config(&self, digest: &Digest) -> Result<Option<Arc<ConfigFacts>>, StoreError> {
        self.get(CONFIGS, &digest_key(digest))
    }

    pub(in crate::store) fn commands(&self, config: &Digest) -> Result<Option<Commands>, StoreError> {
        self.get(COMMANDS, &digest_key(config))
    }

    pub(in crate::store) fn blob_bytes(&self, digest: &Digest) -> Result<Option<u64>, StoreError> {
        self.get(BLOBS, &digest_key(digest))
    }

    pub(in crate::store) fn layer(&self, digest: &Digest) -> Result<Option<LayerRecord>, StoreError> {
        self.get(LAYERS, &digest_key(digest))
    }

    pub(in crate::store) fn listing(
        &self,
        digest: &Digest,
    ) -> Result<Option<Result<Arc<Skeleton>, Unknowable>>, StoreError> {
        self.get(LISTINGS, &digest_key(digest))
    }

    /// Whether there is a listing, which is not read.
    pub(in crate::store) fn has_listing(&self, digest: &Digest) -> Result<Option<bool>, StoreError> {
        self.checked(|| {
            let table = self.database.begin_read()?.open_table(LISTINGS)?;
            Ok(Some(table.get(&*digest_key(digest))?.is_some()))
        })
    }

    pub(in crate::store) fn wasted(&self, digest: &Digest) -> Result<Option<Result<u64, Unknowable>>, StoreError> {
        self.get(WASTED, &digest_key(digest))
    }

    pub(in crate::store) fn base_names(&self, document: &Digest) -> Result<Option<Arc<BaseNames>>, StoreError> {
        self.get(BASE_NAMES, &digest_key(document))
    }

    pub(in crate::store) fn base(&self, image: &Digest) -> Result<Option<Arc<Base>>, StoreError> {
        self.get(BASES, &digest_key(image))
    }

    pub(in crate::store) fn has_scanned(&self, key: &Digest) -> Result<Option<bool>, StoreError> {
        Ok(self.get::<Timestamp>(SCANS, &digest_key(key))?.map(|_| true))
    }

    /// The number of documents.
    pub(in crate::store) fn documents(&self) -> Result<u64, StoreError> {
        self.checked(|| Ok(self.database.begin_read()?.open_table(DOCUMENTS)?.len()?))
    }

    fn get<T: DeserializeOwned>(&self, table: Bytes, key: &[u8]) -> Result<Option<T>, StoreError> {
        self.checked(|| {
            let table = match self.database.begin_read()?.open_table(table) {
                Err(TableError::TableDoesNotExist(_)) => return Ok(None),
                table => table?,
            };
            Ok(table.get(key)?.and_then(|value| unseal(key, value.value())))
        })
    }

    /// Every tag whose record is readable.
    pub(in crate::store) fn tags(&self) -> Result<Vec<(Repository, Tag, TagRecord)>, StoreError> {
        self.checked(|| {
            let mut tags = Vec::new();
            for entry in self.database.begin_read()?.open_table(TAGS)?.iter()? {
                let (key, value) = entry?;
                if let (Some((repository, tag)), Some(record)) =
                    (parse_tag_key(key.value()), unseal::<TagRecord>(key.value(), value.value()))
                    && record.known.header.as_ref().is_none_or(|header| header.len() <= TEXT_BYTES_MAX)
                {
                    tags.push((repository, tag, record));
                }
            }
            Ok(tags)
        })
    }

    /// Writes a batch in one transaction, and returns once it is on the disk.
    pub(super) fn write(&self, batch: &Batch) -> Result<(), StoreError> {
        self.checked(|| {
            let transaction = self.database.begin_write()?;
            put_all(&transaction, DOCUMENTS, &batch.documents)?;
            put_all(&transaction, CONFIGS, &batch.configs)?;
            put_all(&transaction, COMMANDS, &batch.commands)?;
            put_all(&transaction, BLOBS, &batch.blobs)?;
            put_all(&transaction, LAYERS, &batch.layers)?;
            put_all(&transaction, LISTINGS, &batch.listings)?;
            put_all(&transaction, WASTED, &batch.wasted)?;
            put_all(&transaction, BASE_NAMES, &batch.base_names)?;
            put_all(&transaction, BASES, &batch.bases)?;
            put_tags(&transaction, &batch.tags)?;
            if let Some(retained) = &batch.scans_retained {
                let retained: HashSet<Vec<u8>> = retained.iter().map(digest_key).collect();
                transaction.open_table(SCANS)?.retain(|key, _| retained.contains(key))?;
            }
            put_all(&transaction, SCANS, &batch.scans)?;
            if let Some(sweep) = &batch.sweep {
                sweep_unused(&transaction, sweep)?;
            }
            transaction.commit()?;
            self.note_written();
            Ok(())
        })
    }

    /// Whether its path still leads to it: false once it was removed or replaced. True if that cannot be determined.
    pub(super) fn is_in_place(&self) -> bool {
        match FileIdentity::new(&self.path) {
            Ok(identity) => identity == self.identity,
            Err(error) if is_endless_link(&error) => false,
            Err(error) => !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory),
        }
    }

    /// Copies everything from another file, whose values are newer.
    pub(super) fn add_all_of(&self, other: &Self) -> Result<(), StoreError> {
        self.checked(|| {
            let (from, to) = (other.database.begin_read()?, self.database.begin_write()?);
            for table in TABLES {
                let mut to = to.open_table(table)?;
                let from = match from.open_table(table) {
                    Err(TableError::TableDoesNotExist(_)) => continue,
                    table => table?,
                };
                for entry in from.iter()? {
                    let (key, value) = entry?;
                    to.insert(key.value(), value.value())?;
                }
            }
            to.commit()?;
            self.note_written();
            Ok(())
        })
    }

    /// Bytes of the pages that are in use.
    pub(super) fn used_bytes(&self) -> Result<u64, StoreError> {
        self.checked(|| {
            let transaction = self.database.begin_write()?;
            let stats = transaction.stats()?;
            transaction.abort()?;
            self.note_written();
            Ok(stats.allocated_pages() * stats.page_size() as u64)
        })
    }

    fn checked<T>(&self, f: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, StoreError> {
        match catch_panic(f) {
            Ok(result) => result.map_err(|error| StoreError::new(&self.path, error)),
            Err(panic) => Err(StoreError::Failed { path: self.path.clone(), why: panic }),
        }
    }
}

/// Whether the path is a symbolic link that leads to itself (`ELOOP`).
pub(super) fn is_endless_link(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}

fn put_all<T: Serialize>(
    transaction: &WriteTransaction,
    table: Bytes,
    values: &HashMap<Digest, T>,
) -> Result<(), redb::Error> {
    if values.is_empty() {
        return Ok(());
    }
    let mut table = transaction.open_table(table)?;
    for (digest, value) in values {
        let key = digest_key(digest);
        table.insert(&*key, &*seal(&key, value))?;
    }
    Ok(())
}

fn put_tags(
    transaction: &WriteTransaction,
    tags: &HashMap<(Repository, Tag), Option<TagRecord>>,
) -> Result<(), redb::Error> {
    let mut table = transaction.open_table(TAGS)?;
    for ((repository, tag), record) in tags {
        let key = tag_key(repository, tag);
        match record {
            Some(record) => table.insert(&*key, &*seal(&key, record))?,
            None => table.remove(&*key)?,
        };
    }
    Ok(())
}
