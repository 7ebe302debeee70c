//! Why a state file, or a database, cannot be used.

use std::io;
use std::path::{Path, PathBuf};

/// Why a state file or a database cannot be used. Each message says what to do next.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it open. The only error after which a daemon must not continue: two would overwrite each
    /// other's state.
    #[error(
        "state file {} is in use by another process: stop that one, or give this one its own `path` under [state]",
        path.display()
    )]
    InUse {
        /// The state file.
        path: PathBuf,
    },
    /// It can be neither created nor written.
    #[error(
        "state file {} cannot be written: {source}; its directory must exist and be writable for this user",
        path.display()
    )]
    NotWritable {
        /// The state file.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// It is a directory.
    #[error("state file {} is a directory: name a file in it as `path` under [state]", path.display())]
    Directory {
        /// The path.
        path: PathBuf,
    },
    /// It is a pipe, a device, a socket or an endless symbolic link.
    #[error("state file {} is a {kind}: name an ordinary file as `path` under [state]", path.display())]
    Special {
        /// The path.
        path: PathBuf,
        /// The kind of file.
        kind: &'static str,
    },
    /// It is another program's file, which is left as it is.
    #[error(
        "{} is not a state file: it is left as it is; give the state its own `path` under [state], or move that file away",
        path.display()
    )]
    NotState {
        /// The file.
        path: PathBuf,
    },
    /// The disk is full.
    #[error("no room for state file {}: {source}; free some space on its disk", path.display())]
    Full {
        /// The state file.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// It is damaged or of another version, and could not be set aside.
    #[error("state file {} {why}, and cannot be set aside: {source}; move it away by hand", path.display())]
    Unusable {
        /// The state file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
        /// Why it could not be renamed.
        source: io::Error,
    },
    /// Reading or writing it failed.
    #[error("state file {} failed: {why}; look at the disk that it is on", path.display())]
    Failed {
        /// The state file.
        path: PathBuf,
        /// What failed.
        why: String,
    },
    /// The database cannot be used.
    #[cfg(feature = "postgres")]
    #[error("database {database}: {why}; {remedy}")]
    Database {
        /// Where it is: host, port and name, without user and password.
        database: String,
        /// What failed.
        why: String,
        /// What the operator can do.
        remedy: &'static str,
    },
}

impl StoreError {
    pub(super) fn new(path: &Path, error: redb::Error) -> Self {
        use io::ErrorKind as Kind;
        let path = path.to_owned();
        match error {
            redb::Error::DatabaseAlreadyOpen => Self::InUse { path },
            redb::Error::Io(source) => match source.kind() {
                Kind::StorageFull | Kind::QuotaExceeded | Kind::FileTooLarge => Self::Full { path, source },
                Kind::PermissionDenied | Kind::ReadOnlyFilesystem | Kind::NotFound | Kind::NotADirectory => {
                    Self::NotWritable { path, source }
                }
                Kind::IsADirectory => Self::Directory { path },
                _ => Self::Failed { path, why: source.to_string() },
            },
            error => Self::Failed { path, why: error.to_string() },
        }
    }
}
