//! Opens a state file: checks it, and sets it aside if it is damaged or foreign.

use std::cell::Cell;
use std::collections::HashSet;
use std::io::{self, Read as _};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use redb::{Builder, ReadableDatabase, TableDefinition, TableError, TableHandle as _};
use tracing::warn;

use super::catch_panic::catch_panic;
use super::definitions::TABLES;
use super::tables::{File, is_endless_link};
use crate::store::encoding::VERSION;
use crate::store::error::StoreError;

const META: TableDefinition<'static, &'static str, u32> = TableDefinition::new("meta");
const VERSION_KEY: &str = "version";

/// redb's page cache, bytes. Little is read twice, since the inventory holds everything in use.
const CACHE_BYTES: usize = 1 << 20;

/// How a state file was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// There was none: it was created.
    Fresh,
    /// It existed. Writes of the last second before a kill may be missing.
    Existing,
    /// It could not be used and was renamed. A new one was created.
    SetAside {
        /// Its new name.
        moved_to: PathBuf,
        /// What is wrong with it, as a predicate of "the state file": "is damaged: …", "has version 1, …".
        why: String,
    },
}

impl File {
    /// Opens the state file, or creates it. A file that cannot be used is set aside by renaming it; `now`, in seconds
    /// since the Unix epoch, is part of the new name. A file that is no redb database is not touched.
    pub(in crate::store) fn open(path: &Path, now: u64) -> Result<(Self, Opened), StoreError> {
        if let Some(kind) = special_kind(path) {
            return Err(StoreError::Special { path: path.to_owned(), kind });
        }
        if is_foreign(path) {
            return Err(StoreError::NotState { path: path.to_owned() });
        }
        let existed = path.metadata().is_ok_and(|metadata| metadata.len() > 0);
        let unusable = match open_or_create(path) {
            Ok(file) => return Ok((file, if existed { Opened::Existing } else { Opened::Fresh })),
            Err(NotOpened::Unusable(_)) if was_never_finished(path) => {
                // It is empty, and no process has it open: otherwise the error would be `InUse`.
                let _ = std::fs::remove_file(path);
                return open_or_create(path)
                    .map(|file| (file, Opened::Fresh))
                    .map_err(|refused| refused.into_error(path));
            }
            Err(NotOpened::Unusable(unusable)) => unusable,
            Err(NotOpened::Failed(error)) => {
                remove_unfinished(path, existed, &error);
                return Err(error);
            }
        };
        let Unusable { why, suffix } = unusable;
        let moved_to = set_aside(path, suffix, now).map_err(|source| StoreError::Unusable {
            path: path.to_owned(),
            why: why.clone(),
            source,
        })?;
        match open_or_create(path) {
            Ok(file) => Ok((file, Opened::SetAside { moved_to, why })),
            Err(refused) => {
                warn!(path = %path.display(), moved_to = %moved_to.display(), "the state file {why}: it was set aside");
                let error = refused.into_error(path);
                remove_unfinished(path, false, &error);
                Err(error)
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

    fn has_all_tables(&self) -> Result<bool, redb::Error> {
        let transaction = self.database.begin_read()?;
        let names: HashSet<String> = transaction.list_tables()?.map(|table| table.name().to_owned()).collect();
        Ok(TABLES.iter().all(|table| names.contains(table.name())))
    }

    fn make_tables(&self) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        transaction.open_table(META)?.insert(VERSION_KEY, VERSION)?;
        for table in TABLES {
            transaction.open_table(table)?;
        }
        transaction.commit()?;
        self.note_written();
        Ok(())
    }
}

fn open_or_create(path: &Path) -> Result<File, NotOpened> {
    catch_panic(|| open_or_create_unguarded(path)).unwrap_or_else(|panic| Err(NotOpened::damaged(&panic)))
}

fn open_or_create_unguarded(path: &Path) -> Result<File, NotOpened> {
    let refused = |error: redb::Error| NotOpened::new(path, error);
    let repaired = Rc::new(Cell::new(false));
    let is_repaired = Rc::clone(&repaired);
    let mut database = Builder::new()
        .set_cache_size(CACHE_BYTES)
        .set_repair_callback(move |_| is_repaired.set(true))
        .create(path)
        .map_err(|error| refused(error.into()))?;
    // redb's reads do not verify its checksums, and it believes which pages a closed file calls free: a damaged one would lose
    // entries unnoticed, or have pages in use overwritten. This verifies both, page by page, at half a millisecond per
    // megabyte. A repair, after a kill, has done the same already.
    if !repaired.get() && !database.check_integrity().map_err(|error| refused(error.into()))? {
        return Err(NotOpened::damaged("its pages and checksums disagree"));
    }
    let file = File::new(path, database).map_err(|error| NotOpened::new(path, error.into()))?;
    match file.version().map_err(refused)? {
        // A file of an earlier build lacks the tables that were added since.
        Some(VERSION) => {
            if !file.has_all_tables().map_err(refused)? {
                file.make_tables().map_err(refused)?;
            }
            Ok(file)
        }
        Some(version) => {
            Err(NotOpened::other(format!("has version {version}, and this program reads version {VERSION}")))
        }
        None if file.has_tables().map_err(refused)? => {
            Err(NotOpened::other("is a redb database of another program".to_owned()))
        }
        None => {
            file.make_tables().map_err(refused)?;
            Ok(file)
        }
    }
}

/// Why a file was not opened.
enum NotOpened {
    /// Its content cannot be used: it is to be set aside.
    Unusable(Unusable),
    /// Setting it aside would not help.
    Failed(StoreError),
}

struct Unusable {
    /// As a predicate of "the state file".
    why: String,
    /// Part of the name under which it is set aside.
    suffix: &'static str,
}

impl NotOpened {
    fn damaged(why: &str) -> Self {
        Self::Unusable(Unusable { why: format!("is damaged: {why}"), suffix: "corrupt" })
    }

    fn other(why: String) -> Self {
        Self::Unusable(Unusable { why, suffix: "other" })
    }

    fn new(path: &Path, error: redb::Error) -> Self {
        match error {
            redb::Error::UpgradeRequired(version) => {
                Self::other(format!("has version {version} of redb's file format, which this program does not read"))
            }
            redb::Error::TableTypeMismatch { .. } => Self::other("is a redb database of another program".to_owned()),
            redb::Error::Corrupted(why) => Self::damaged(&why),
            redb::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => Self::damaged(&error.to_string()),
            redb::Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Self::damaged("it ends too early")
            }
            error => Self::Failed(StoreError::new(path, error)),
        }
    }

    fn into_error(self, path: &Path) -> StoreError {
        match self {
            Self::Failed(error) => error,
            Self::Unusable(Unusable { why, .. }) => StoreError::Failed { path: path.to_owned(), why },
        }
    }
}

/// The kind of file at `path`, if it is neither a file nor a directory. Opening a pipe could block for ever.
pub fn special_kind(path: &Path) -> Option<&'static str> {
    let kind = match path.metadata() {
        Ok(metadata) => metadata.file_type(),
        Err(error) if is_endless_link(&error) => return Some("symbolic link that leads to itself"),
        Err(_) => return None,
    };
    if kind.is_fifo() {
        Some("named pipe")
    } else if kind.is_socket() {
        Some("socket")
    } else if kind.is_char_device() || kind.is_block_device() {
        Some("device")
    } else {
        None
    }
}

/// The first bytes of every redb file.
const MAGIC: [u8; 9] = *b"redb\x1a\x0a\xa9\x0d\x0a";

/// Up to so many differing bytes count as damage.
const MAGIC_DAMAGED_MAX: usize = 4;

/// Whether the file does not begin like a state file, damaged and unfinished ones included. Then it is another
/// program's file, which a mistaken path must not destroy.
pub fn is_foreign(path: &Path) -> bool {
    let Ok(file) = std::fs::File::open(path) else { return false };
    // Reading from a pipe would consume its content.
    if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return false;
    }
    let mut first = Vec::new();
    if file.take(MAGIC.len() as u64).read_to_end(&mut first).is_err() {
        return false;
    }
    let differing = first.iter().zip(MAGIC).filter(|(byte, magic)| **byte != *magic).count();
    differing > MAGIC_DAMAGED_MAX * first.len() / MAGIC.len() && first.iter().any(|byte| *byte != 0)
}

/// Whether the process that created the file was killed before it had finished. redb writes the magic number last: it
/// is still zero, and so is everything after the header.
fn was_never_finished(path: &Path) -> bool {
    const HEADER: usize = 4_096;
    // A complete file with any content is longer.
    const LENGTH_MAX: u64 = 16 << 20;
    let is_zero = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0);
    path.metadata().is_ok_and(|metadata| metadata.len() <= LENGTH_MAX)
        && std::fs::read(path).is_ok_and(|bytes| {
            is_zero(&bytes[..bytes.len().min(MAGIC.len())]) && is_zero(bytes.get(HEADER..).unwrap_or_default())
        })
}

/// Removes an incomplete new file, which the next start would take for a damaged one.
fn remove_unfinished(path: &Path, existed: bool, error: &StoreError) {
    if !existed && !matches!(error, StoreError::InUse { .. }) && path.is_file() {
        // If that fails as well, the next start sets the file aside.
        let _ = std::fs::remove_file(path);
    }
}

/// Renames the file to `<name>.<suffix>-<now>`, or to the next number that is free.
fn set_aside(path: &Path, suffix: &str, now: u64) -> io::Result<PathBuf> {
    let name = |seconds: u64| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{suffix}-{seconds}"));
        PathBuf::from(name)
    };
    let free = (now..now.saturating_add(1_000)).map(name).find(|path| !path.exists()).unwrap_or_else(|| name(now));
    std::fs::rename(path, &free)?;
    Ok(free)
}
