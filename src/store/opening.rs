//! Where a store is kept: in memory, in a file, or in a database.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;

use super::backend::Backend;
use super::error::StoreError;
use super::file::open::Opened;
use super::file::tables::File;
use super::file::writer::{self, OpenFile};
#[cfg(feature = "postgres")]
use super::postgres::{self, Database, Writer};
use super::queue::Queue;
use super::store::Store;
use crate::clock::since_epoch;
#[cfg(feature = "postgres")]
use crate::target::Shard;

impl Store {
    /// A store in memory, until the process ends.
    pub fn memory() -> Self {
        Self::new(Arc::default(), Backend::Memory, None)
    }

    /// A store in the file at `path`, which is created if it does not exist.
    ///
    /// A damaged file is renamed to `<path>.corrupt-<Unix time>`, one of another version or program to
    /// `<path>.other-<Unix time>`, and a new one is created.
    /// After [`StoreError::InUse`] the caller should give up; after any other error it can continue with
    /// [`Self::open_later`].
    pub fn open(path: &Path) -> Result<(Self, Opened), StoreError> {
        let (file, opened) = File::open(path, since_epoch().as_secs())?;
        Ok((Self::with_writer(path, Some(file), None)?, opened))
    }

    /// For use after an error of [`Self::open`]: a store in memory until the file can be opened, which is retried at
    /// least every minute. An error means that no thread can be started.
    pub fn open_later(path: &Path, error: &StoreError) -> Result<Self, StoreError> {
        Self::with_writer(path, None, Some(error.to_string()))
    }

    fn with_writer(path: &Path, file: Option<File>, error: Option<String>) -> Result<Self, StoreError> {
        let queue = Arc::<Queue>::default();
        let open = Arc::new(OpenFile::new(Arc::clone(&queue), file));
        let writer = {
            let (open, path) = (Arc::clone(&open), path.to_owned());
            start_writer(move || writer::run(&open, &path, error))
        };
        let ended = writer.map_err(|error| StoreError::Failed {
            path: path.to_owned(),
            why: format!("cannot start its writer: {error}"),
        })?;
        Ok(Self::new(queue, Backend::File(open), Some(ended)))
    }

    /// A store in the database whose URL is in this file. Others may have theirs in it too: documents and layers are shared,
    /// tags and scans are the shard's own.
    ///
    /// Also returns why the database cannot be used yet, in which case it is tried again at least every minute. An error
    /// means that no thread can be started. Not for an async thread.
    #[cfg(feature = "postgres")]
    pub fn database(url_file: &Path, shard: Shard) -> Result<(Self, Option<StoreError>), StoreError> {
        let no_thread = |error: std::io::Error| StoreError::Database {
            database: format!("of `{}`", url_file.display()),
            why: format!("cannot start a thread for it: {error}"),
            remedy: "raise the limit of threads",
        };
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        runtime.worker_threads(1).thread_name("database").enable_all();
        let runtime = runtime.build().map_err(no_thread)?;
        let queue = Arc::<Queue>::default();
        let database = Arc::new(Database::new(Arc::clone(&queue), url_file, shard, runtime.handle().clone()));
        let (writer, error) = Writer::open(Arc::clone(&database), &runtime);
        let why = error.as_ref().map(ToString::to_string);
        let ended = start_writer(move || postgres::run(writer, runtime, why)).map_err(no_thread)?;
        Ok((Self::new(queue, Backend::Database(database), Some(ended)), error))
    }
}

/// Starts the thread of a writer. What it returns is disconnected when the thread ends, also by a panic.
fn start_writer(write: impl FnOnce() + Send + 'static) -> std::io::Result<mpsc::Receiver<()>> {
    let (running, ended) = mpsc::channel();
    let run = move || {
        let _running: mpsc::Sender<()> = running;
        write();
    };
    std::thread::Builder::new().name("store".to_owned()).spawn(run).map(|_| ended)
}
