//! The only writer of the state file: a thread, since writing blocks.

use parking_lot::{Condvar, Mutex, MutexGuard, RwLock};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tracing::{debug, info, warn};

use super::batch::Batch;
use super::catch_panic::catch_panic;
use super::error::StoreError;
use super::file::File;
use super::relocate;

/// The least time between two writes.
const PAUSE: Duration = Duration::from_secs(1);

/// The most time between two attempts to write: after each failure it doubles up to this.
const PAUSE_MAX: Duration = Duration::from_mins(1);

/// What the writer shares with the store's clones.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Locked only to look up or to insert, never during I/O.
    queue: Mutex<Queue>,
    wake: Condvar,
    /// None in memory, and while the file cannot be opened. Locked for writing only to reopen it.
    pub(super) file: RwLock<Option<File>>,
    /// Whether it was logged that the file cannot be read.
    pub(super) unreadable: AtomicBool,
    /// Whether the file is open and the last write succeeded.
    pub(super) persistent: Arc<AtomicBool>,
}

/// The writer's queue.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) waiting: Batch,
    /// The batch being written: readers look here until the file has it.
    pub(super) writing: Arc<Batch>,
    flushes: Vec<oneshot::Sender<()>>,
    stop: bool,
}

impl Shared {
    pub(super) fn new(file: Option<File>) -> Self {
        let persistent = Arc::new(AtomicBool::new(file.is_some()));
        Self { file: RwLock::new(file), persistent, ..Self::default() }
    }

    pub(super) fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock()
    }

    /// Adds to the waiting batch. Only the first addition wakes the writer, which then waits for the next write's time
    /// by itself.
    pub(super) fn add(&self, add: impl FnOnce(&mut Batch)) {
        let mut queue = self.queue();
        let first = queue.waiting.is_empty();
        add(&mut queue.waiting);
        drop(queue);
        if first {
            self.wake.notify_all();
        }
    }

    /// Resolves once everything in the queue is written, or could not be written.
    pub(super) fn flush(&self) -> oneshot::Receiver<()> {
        let (done, written) = oneshot::channel();
        self.queue().flushes.push(done);
        self.wake.notify_all();
        written
    }

    pub(super) fn stop(&self) {
        self.queue().stop = true;
        self.wake.notify_all();
    }

    /// Whether there is a file to read and write.
    pub(super) fn is_open(&self) -> bool {
        self.file.read().is_some()
    }

    /// Whether the open file was removed or replaced, so that writes to it are lost.
    fn is_displaced(&self) -> bool {
        self.file.read().as_ref().is_some_and(|file| !file.is_in_place())
    }

    /// Whether something else has written into the open file: what redb then reads and writes makes no sense.
    fn is_overwritten(&self) -> bool {
        self.file.read().as_ref().is_some_and(File::is_overwritten)
    }

    /// Replaces the open file by one with the same content. Readers wait only while the old one is closed.
    fn replace(&self, new: File) {
        let mut file = self.file.write();
        close(&mut file);
        *file = Some(new);
    }

    /// Closes the file. Called after the writer has ended.
    pub(super) fn close(&self) {
        close(&mut self.file.write());
    }
}

/// Writes batches until told to stop, and once more then. `error` is why the file is not open yet.
pub(super) fn run(shared: &Shared, path: &Path, mut error: Option<String>) {
    let mut pause = if error.is_some() { PAUSE * 2 } else { PAUSE };
    let mut not_before = Instant::now();
    loop {
        let (batch, flushes, stop) = next(shared, not_before);
        let was_open = shared.is_open();
        if !was_open {
            reopen_and_log(shared, path, &mut error);
        }
        match write(shared, &batch) {
            Ok(()) => {
                if batch.sweep.is_some() {
                    compact(shared);
                }
                shared.persistent.store(shared.is_open(), Ordering::Relaxed);
                shared.queue().writing = Arc::default();
                if pause > PAUSE && !batch.is_empty() {
                    info!(path = %path.display(), "the state file can be written again");
                    pause = PAUSE;
                }
            }
            Err(why) => {
                shared.persistent.store(false, Ordering::Relaxed);
                if pause == PAUSE {
                    warn!(error = why, "cannot write the state file: continuing in memory, retrying every minute");
                }
                pause = (pause * 2).min(PAUSE_MAX);
                put_back(shared, batch);
                // A displaced file stays open: it has the full content.
                if was_open && !shared.is_displaced() {
                    reopen_and_log(shared, path, &mut error);
                }
            }
        }
        not_before = Instant::now() + pause;
        for flush in flushes {
            // A caller that no longer waits needs no answer.
            let _ = flush.send(());
        }
        if stop {
            return;
        }
    }
}

/// Waits for a batch that is due at `not_before`, or at once for a flush or the end.
fn next(shared: &Shared, not_before: Instant) -> (Arc<Batch>, Vec<oneshot::Sender<()>>, bool) {
    let mut queue = shared.queue();
    loop {
        let wait = not_before.saturating_duration_since(Instant::now());
        let urgent = queue.stop || !queue.flushes.is_empty();
        if urgent || !queue.waiting.is_empty() && wait.is_zero() {
            let batch = Arc::new(std::mem::take(&mut queue.waiting));
            queue.writing = Arc::clone(&batch);
            return (batch, std::mem::take(&mut queue.flushes), queue.stop);
        }
        if queue.waiting.is_empty() {
            shared.wake.wait(&mut queue);
        } else {
            shared.wake.wait_for(&mut queue, wait);
        }
    }
}

fn write(shared: &Shared, batch: &Batch) -> Result<(), String> {
    if batch.is_empty() {
        return Ok(());
    }
    if shared.is_displaced() {
        follow(shared).map_err(|error| error.to_string())?;
    } else if shared.is_overwritten() {
        read_anew(shared).map_err(|error| error.to_string())?;
    }
    let file = shared.file.read();
    match &*file {
        Some(file) => file.write(batch).map_err(|error| error.to_string()),
        None => Err("it could not be opened".to_owned()),
    }
}

/// Copies everything to the file that replaced the open one, or to a new one.
fn follow(shared: &Shared) -> Result<(), StoreError> {
    let (new, path) = match &*shared.file.read() {
        Some(file) => (relocate::follow(file)?, file.path.clone()),
        None => return Ok(()),
    };
    shared.replace(new);
    warn!(path = %path.display(), "the state file was removed or replaced while it was open: everything known was written again");
    Ok(())
}

/// Opens the file again after something else has written into it. What it has now is used if it is a state file, and set
/// aside if it is a damaged one.
fn read_anew(shared: &Shared) -> Result<(), StoreError> {
    let (taken, path) = match &*shared.file.read() {
        Some(file) => (relocate::take_out(file), file.path.clone()),
        None => return Ok(()),
    };
    {
        let mut file = shared.file.write();
        close(&mut file);
        if let Ok(taken) = taken {
            relocate::put_back(taken);
        }
        *file = Some(relocate::open(&path)?);
    }
    shared.unreadable.store(false, Ordering::Relaxed);
    warn!(path = %path.display(), "something else has written into the state file while it was open: it was read anew; what it lacks now is stored again when it is read from the registries");
    Ok(())
}

/// Compacts the file if most of it is free. A failure, for example for lack of space, is harmless.
fn compact(shared: &Shared) {
    let compacted = match &*shared.file.read() {
        Some(file) => relocate::compacted(file),
        None => return,
    };
    match compacted {
        Ok(Some(file)) => shared.replace(file),
        Ok(None) => {}
        Err(error) => debug!(%error, "cannot compact the state file"),
    }
}

/// Puts a batch that could not be written back into the queue.
fn put_back(shared: &Shared, batch: Arc<Batch>) {
    let mut queue = shared.queue();
    queue.writing = Arc::default();
    queue.waiting.put_back(Arc::unwrap_or_clone(batch));
}

/// Reopens the file, which redb needs after an error. Logs why that fails, once for each reason.
fn reopen_and_log(shared: &Shared, path: &Path, last: &mut Option<String>) {
    let failed = reopen(shared, path).err().map(|error| error.to_string());
    if failed != *last
        && let Some(error) = &failed
    {
        warn!(error, "cannot open the state file yet");
    }
    *last = failed;
}

fn reopen(shared: &Shared, path: &Path) -> Result<(), StoreError> {
    let mut file = shared.file.write();
    close(&mut file);
    *file = Some(relocate::open(path)?);
    shared.unreadable.store(false, Ordering::Relaxed);
    Ok(())
}

/// Closes the file. If that fails, the next opening checks its content.
fn close(file: &mut Option<File>) {
    let _ = catch_panic(|| drop(file.take()));
}
