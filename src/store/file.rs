//! The state file: a redb database, opened with distrust.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};

use redb::{Builder, Database, ReadableDatabase, ReadableTable, ReadableTableMetadata};
use redb::{TableDefinition, TableError, WriteTransaction};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::batch::{Batch, Sweep};
use super::guard::guard;
use super::record::{VERSION, digest_key, parse_tag_key, seal, tag_key, unseal};
use super::{LayerRecord, Opened, SECONDS_UNUSED_MAX, StoreError, Stored};
use crate::image::Timestamp;
use crate::inventory::observation::Kept;
use crate::oci::{Digest, Repository, Tag};

type Bytes = TableDefinition<'static, &'static [u8], &'static [u8]>;

const META: TableDefinition<'static, &'static str, u32> = TableDefinition::new("meta");
const VERSION_KEY: &str = "version";
const DOCUMENTS: Bytes = TableDefinition::new("documents");
const BLOBS: Bytes = TableDefinition::new("blobs");
const LAYERS: Bytes = TableDefinition::new("layers");
const TAGS: Bytes = TableDefinition::new("tags");
/// Since when a digest has not been in use: what is in use has no entry, so that use costs no writing.
const UNUSED: Bytes = TableDefinition::new("unused");

/// The tables of what is remembered by digest.
const BY_DIGEST: [Bytes; 3] = [DOCUMENTS, BLOBS, LAYERS];

/// Bytes of pages that redb keeps in memory. What is wanted often stands in the inventory anyway.
const CACHE_BYTES: usize = 1 << 20;

/// An open state file. Nobody else has it open.
#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
    database: Database,
}

impl File {
    /// Opens the state file, made anew if there is none. One that is damaged or of another version is set aside by
    /// renaming it, `now` being part of its new name.
    pub(super) fn open(path: &Path, now: u64) -> Result<(Self, Opened), StoreError> {
        let existed = path.metadata().is_ok_and(|metadata| metadata.len() > 0);
        let why = match Self::open_or_create(path) {
            Ok(file) => return Ok((file, if existed { Opened::Existing } else { Opened::Fresh })),
            Err(Refused::For(error)) => return Err(error),
            Err(Refused::Damaged(why)) => why,
        };
        let moved_to = set_aside(path, now).map_err(|source| StoreError::Unusable {
            path: path.to_owned(),
            why: why.clone(),
            source,
        })?;
        match Self::open_or_create(path) {
            Ok(file) => Ok((file, Opened::SetAside { moved_to, why })),
            Err(Refused::For(error)) => Err(error),
            Err(Refused::Damaged(why)) => Err(StoreError::Failed { path: path.to_owned(), why }),
        }
    }

    fn open_or_create(path: &Path) -> Result<Self, Refused> {
        guard(|| Self::open_or_create_unguarded(path))
            .unwrap_or_else(|panic| Err(Refused::Damaged(format!("is damaged: {panic}"))))
    }

    fn open_or_create_unguarded(path: &Path) -> Result<Self, Refused> {
        let refused = |error: redb::Error| Refused::new(path, error);
        let mut database =
            Builder::new().set_cache_size(CACHE_BYTES).create(path).map_err(|error| refused(error.into()))?;
        // Reads do not look at redb's checksums. This does, page by page, and costs milliseconds a megabyte.
        if !database.check_integrity().map_err(|error| refused(error.into()))? {
            return Err(Refused::Damaged("is damaged: its pages and checksums disagree".to_owned()));
        }
        let file = Self { path: path.to_owned(), database };
        match file.version().map_err(refused)? {
            Some(VERSION) => Ok(file),
            Some(version) => {
                Err(Refused::Damaged(format!("has version {version}, and this program reads version {VERSION}")))
            }
            None if file.has_tables().map_err(refused)? => {
                Err(Refused::Damaged("is a redb database, but none of this program's".to_owned()))
            }
            None => {
                file.make_tables().map_err(refused)?;
                Ok(file)
            }
        }
    }

    fn version(&self) -> Result<Option<u32>, redb::Error> {
        match self.database.begin_read()?.open_table(META) {
            Ok(meta) => Ok(meta.get(VERSION_KEY)?.map(|version| version.value())),
            Err(TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn has_tables(&self) -> Result<bool, redb::Error> {
        let transaction = self.database.begin_read()?;
        Ok(transaction.list_tables()?.next().is_some() || transaction.list_multimap_tables()?.next().is_some())
    }

    fn make_tables(&self) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        transaction.open_table(META)?.insert(VERSION_KEY, VERSION)?;
        for table in BY_DIGEST.into_iter().chain([TAGS, UNUSED]) {
            transaction.open_table(table)?;
        }
        transaction.commit()?;
        Ok(())
    }

    pub(super) fn document(&self, digest: &Digest) -> Result<Option<Stored>, StoreError> {
        self.get(DOCUMENTS, &digest_key(digest))
    }

    pub(super) fn blob_bytes(&self, digest: &Digest) -> Result<Option<u64>, StoreError> {
        self.get(BLOBS, &digest_key(digest))
    }

    pub(super) fn layer(&self, digest: &Digest) -> Result<Option<LayerRecord>, StoreError> {
        self.get(LAYERS, &digest_key(digest))
    }

    /// How many documents there are.
    pub(super) fn documents(&self) -> Result<u64, StoreError> {
        self.guarded(|| Ok(self.database.begin_read()?.open_table(DOCUMENTS)?.len()?))
    }

    fn get<T: DeserializeOwned>(&self, table: Bytes, key: &[u8]) -> Result<Option<T>, StoreError> {
        self.guarded(|| {
            let table = self.database.begin_read()?.open_table(table)?;
            Ok(table.get(key)?.and_then(|value| unseal(key, value.value())))
        })
    }

    /// Every tag whose record can be read.
    pub(super) fn tags(&self) -> Result<Vec<(Repository, Tag, Kept)>, StoreError> {
        self.guarded(|| {
            let mut tags = Vec::new();
            for entry in self.database.begin_read()?.open_table(TAGS)?.iter()? {
                let (key, value) = entry?;
                if let (Some((repository, tag)), Some(kept)) =
                    (parse_tag_key(key.value()), unseal(key.value(), value.value()))
                {
                    tags.push((repository, tag, kept));
                }
            }
            Ok(tags)
        })
    }

    /// Writes a batch, all of it or nothing, and returns once the disk has it.
    pub(super) fn write(&self, batch: &Batch) -> Result<(), StoreError> {
        self.guarded(|| {
            let transaction = self.database.begin_write()?;
            put_all(&transaction, DOCUMENTS, &batch.documents)?;
            put_all(&transaction, BLOBS, &batch.blobs)?;
            put_all(&transaction, LAYERS, &batch.layers)?;
            put_tags(&transaction, &batch.tags)?;
            if let Some(sweep) = &batch.sweep {
                sweep_unused(&transaction, sweep)?;
            }
            transaction.commit()?;
            Ok(())
        })
    }

    fn guarded<T>(&self, f: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, StoreError> {
        match guard(f) {
            Ok(result) => result.map_err(|error| failed(&self.path, error)),
            Err(panic) => Err(StoreError::Failed { path: self.path.clone(), why: panic }),
        }
    }
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
    tags: &HashMap<(Repository, Tag), Option<Kept>>,
) -> Result<(), redb::Error> {
    let mut table = transaction.open_table(TAGS)?;
    for ((repository, tag), kept) in tags {
        let key = tag_key(repository, tag);
        match kept {
            Some(kept) => table.insert(&*key, &*seal(&key, kept))?,
            None => table.remove(&*key)?,
        };
    }
    Ok(())
}

/// Notes what is not in use, and removes what was noted long enough ago. What a tag's record needs is in use.
fn sweep_unused(transaction: &WriteTransaction, sweep: &Sweep) -> Result<(), redb::Error> {
    let mut in_use: HashSet<Vec<u8>> = sweep.in_use.iter().map(digest_key).collect();
    needed_by_tags(transaction, &mut in_use)?;
    let mut unused = transaction.open_table(UNUSED)?;
    let mut since: HashMap<Vec<u8>, Timestamp> = HashMap::new();
    for entry in unused.iter()? {
        let (key, value) = entry?;
        since.insert(key.value().to_vec(), unseal(key.value(), value.value()).unwrap_or(sweep.now));
    }
    let mut noted = HashSet::new();
    for table in BY_DIGEST {
        let mut table = transaction.open_table(table)?;
        for entry in table.extract_if(|key, _| {
            !in_use.contains(key) && since.get(key).is_some_and(|since| sweep.now - since >= SECONDS_UNUSED_MAX)
        })? {
            entry?;
        }
        for entry in table.iter()? {
            let key = entry?.0.value().to_vec();
            if !in_use.contains(&key) {
                noted.insert(key);
            }
        }
    }
    unused.retain(|key, _| noted.contains(key))?;
    for key in noted.iter().filter(|key| !since.contains_key(*key)) {
        unused.insert(&**key, &*seal(key, &sweep.now))?;
    }
    Ok(())
}

/// Adds what the kept tags need. A tag's record that cannot be read is of no use to anybody, and goes.
fn needed_by_tags(transaction: &WriteTransaction, in_use: &mut HashSet<Vec<u8>>) -> Result<(), redb::Error> {
    let documents = transaction.open_table(DOCUMENTS)?;
    let mut tags = transaction.open_table(TAGS)?;
    let mut unreadable = Vec::new();
    for entry in tags.iter()? {
        let (key, value) = entry?;
        let Some(kept) = unseal::<Kept>(key.value(), value.value()) else {
            unreadable.push(key.value().to_vec());
            continue;
        };
        for digest in super::documents_needed(&kept) {
            let key = digest_key(digest);
            let document = documents.get(&*key)?.and_then(|document| unseal(&key, document.value()));
            if let Some(Stored::Image(image)) = document {
                in_use.extend(super::layers_needed(&image).map(digest_key));
            }
            in_use.insert(key);
        }
    }
    for key in unreadable {
        tags.remove(&*key)?;
    }
    Ok(())
}

/// Why a file was not opened.
enum Refused {
    /// What is in it cannot be used: it is set aside.
    Damaged(String),
    /// Something else, which setting it aside would not help.
    For(StoreError),
}

impl Refused {
    fn new(path: &Path, error: redb::Error) -> Self {
        match error {
            redb::Error::UpgradeRequired(version) => {
                Self::Damaged(format!("has redb's file format {version}, which this program does not read"))
            }
            redb::Error::Corrupted(why) => Self::Damaged(format!("is damaged: {why}")),
            redb::Error::TableTypeMismatch { .. } => {
                Self::Damaged("is a redb database, but none of this program's".to_owned())
            }
            redb::Error::Io(error) if matches!(error.kind(), io::ErrorKind::InvalidData) => {
                Self::Damaged(format!("is damaged: {error}"))
            }
            redb::Error::Io(error) if matches!(error.kind(), io::ErrorKind::UnexpectedEof) => {
                Self::Damaged("is damaged: it ends too early".to_owned())
            }
            error => Self::For(failed(path, error)),
        }
    }
}

fn failed(path: &Path, error: redb::Error) -> StoreError {
    use io::ErrorKind as Kind;
    let path = path.to_owned();
    match error {
        redb::Error::DatabaseAlreadyOpen => StoreError::InUse { path },
        redb::Error::Io(source) => match source.kind() {
            Kind::StorageFull | Kind::QuotaExceeded | Kind::FileTooLarge => StoreError::Full { path, source },
            Kind::PermissionDenied
            | Kind::ReadOnlyFilesystem
            | Kind::NotFound
            | Kind::NotADirectory
            | Kind::IsADirectory => StoreError::NotWritable { path, source },
            _ => StoreError::Failed { path, why: source.to_string() },
        },
        error => StoreError::Failed { path, why: error.to_string() },
    }
}

/// Renames the file to `<name>.corrupt-<now>`, or a higher number if that is taken.
fn set_aside(path: &Path, now: u64) -> io::Result<PathBuf> {
    let name = |seconds: u64| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".corrupt-{seconds}"));
        PathBuf::from(name)
    };
    let free = (now..now.saturating_add(1_000)).map(name).find(|path| !path.exists()).unwrap_or_else(|| name(now));
    std::fs::rename(path, &free)?;
    Ok(free)
}
