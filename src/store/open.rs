//! Opening a state file, with distrust.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use redb::{Builder, ReadableDatabase, TableDefinition, TableError};
use tracing::warn;

use super::catch_panic::guard;
use super::encoding::VERSION;
use super::file::{BY_DIGEST, File, PASSES, TAGS, UNUSED};
use super::{Opened, StoreError};

const META: TableDefinition<'static, &'static str, u32> = TableDefinition::new("meta");
const VERSION_KEY: &str = "version";

/// Bytes of pages that redb keeps in memory. What is wanted often stands in the inventory anyway.
const CACHE_BYTES: usize = 1 << 20;

impl File {
    /// Opens the state file, made anew if there is none. One that cannot be used is set aside by renaming it; `now`,
    /// in seconds since the Unix epoch, is part of its new name. A file that never was one is not touched.
    pub(super) fn open(path: &Path, now: u64) -> Result<(Self, Opened), StoreError> {
        if is_something_else(path) {
            return Err(StoreError::NotState { path: path.to_owned() });
        }
        let existed = path.metadata().is_ok_and(|metadata| metadata.len() > 0);
        let unusable = match open_or_create(path) {
            Ok(file) => return Ok((file, if existed { Opened::Existing } else { Opened::Fresh })),
            Err(Refused::Unusable(_)) if was_never_finished(path) => {
                // Nothing is in it, and nobody has it open, or it would be in use.
                let _ = std::fs::remove_file(path);
                return open_or_create(path)
                    .map(|file| (file, Opened::Fresh))
                    .map_err(|refused| refused.into_error(path));
            }
            Err(Refused::Unusable(unusable)) => unusable,
            Err(Refused::For(error)) => {
                forget_beginning(path, existed, &error);
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
                forget_beginning(path, false, &error);
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

    fn make_tables(&self) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        transaction.open_table(META)?.insert(VERSION_KEY, VERSION)?;
        for table in BY_DIGEST.into_iter().chain([TAGS, UNUSED, PASSES]) {
            transaction.open_table(table)?;
        }
        transaction.commit()?;
        Ok(())
    }
}

fn open_or_create(path: &Path) -> Result<File, Refused> {
    guard(|| open_or_create_unguarded(path)).unwrap_or_else(|panic| Err(Refused::damaged(&panic)))
}

fn open_or_create_unguarded(path: &Path) -> Result<File, Refused> {
    let refused = |error: redb::Error| Refused::new(path, error);
    let mut database =
        Builder::new().set_cache_size(CACHE_BYTES).create(path).map_err(|error| refused(error.into()))?;
    // Reads do not look at redb's checksums. This does, page by page, in milliseconds a megabyte.
    if !database.check_integrity().map_err(|error| refused(error.into()))? {
        return Err(Refused::damaged("its pages and checksums disagree"));
    }
    let file = File { path: path.to_owned(), database };
    match file.version().map_err(refused)? {
        Some(VERSION) => Ok(file),
        Some(version) => {
            Err(Refused::other(format!("has version {version}, and this program reads version {VERSION}")))
        }
        None if file.has_tables().map_err(refused)? => {
            Err(Refused::other("is a redb database, but none of this program's".to_owned()))
        }
        None => {
            file.make_tables().map_err(refused)?;
            Ok(file)
        }
    }
}

/// Why a file was not opened.
enum Refused {
    /// It cannot be used, and is in the way.
    Unusable(Unusable),
    /// Something else, which setting it aside would not help.
    For(StoreError),
}

struct Unusable {
    /// To stand after "the state file".
    why: String,
    /// To stand in the name under which it is set aside.
    suffix: &'static str,
}

impl Refused {
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
            redb::Error::TableTypeMismatch { .. } => {
                Self::other("is a redb database, but none of this program's".to_owned())
            }
            redb::Error::Corrupted(why) => Self::damaged(&why),
            redb::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => Self::damaged(&error.to_string()),
            redb::Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Self::damaged("it ends too early")
            }
            error => Self::For(StoreError::new(path, error)),
        }
    }

    fn into_error(self, path: &Path) -> StoreError {
        match self {
            Self::For(error) => error,
            Self::Unusable(Unusable { why, .. }) => StoreError::Failed { path: path.to_owned(), why },
        }
    }
}

/// What redb's files begin with.
const MAGIC: [u8; 9] = *b"redb\x1a\x0a\xa9\x0d\x0a";

/// Of so many bytes of it that differ, a disk may be the cause.
const MAGIC_DAMAGED_MAX: usize = 4;

/// Whether the file begins with other contents than a state file's, be that damaged or unfinished: somebody's, which a
/// mistaken path must not cost them.
fn is_something_else(path: &Path) -> bool {
    let Ok(file) = std::fs::File::open(path) else { return false };
    // Of a pipe, what is read is gone.
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

/// Whether the file is what a process leaves that is killed while it makes one. redb writes the first bytes last: they
/// are still zero, and so is everything after the header.
fn was_never_finished(path: &Path) -> bool {
    const HEADER: usize = 4_096;
    // A finished file is longer, as soon as it holds anything worth keeping.
    const LENGTH_MAX: u64 = 16 << 20;
    let is_zero = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0);
    path.metadata().is_ok_and(|metadata| metadata.len() <= LENGTH_MAX)
        && std::fs::read(path).is_ok_and(|bytes| {
            is_zero(&bytes[..bytes.len().min(MAGIC.len())]) && is_zero(bytes.get(HEADER..).unwrap_or_default())
        })
}

/// Removes the beginning of a new file, which would be taken for a damaged one at the next start.
fn forget_beginning(path: &Path, existed: bool, error: &StoreError) {
    if !existed && !matches!(error, StoreError::InUse { .. }) && path.is_file() {
        // If it cannot be removed either, it is set aside at the next start.
        let _ = std::fs::remove_file(path);
    }
}

/// Renames the file to `<name>.<suffix>-<now>`, or a higher number if that is taken.
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
