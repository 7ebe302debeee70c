//! The state file's one writer: a thread of its own, since it waits for disks.

use parking_lot::{Condvar, Mutex, MutexGuard, RwLock};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tracing::{info, warn};

use super::batch::Batch;
use super::catch_panic::guard;
use super::file::File;
use super::{Opened, StoreError};
use crate::clock::since_epoch;

/// At most about once so often is the disk waited for.
const PAUSE: Duration = Duration::from_secs(1);

/// After a failure it is tried again, at first after twice as long, then less and less often down to this.
const PAUSE_MAX: Duration = Duration::from_mins(1);

/// What the writer and everybody else share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Held for as long as it takes to look up or insert, never while a disk is waited for.
    queue: Mutex<Queue>,
    wake: Condvar,
    /// None in memory, and while the file cannot be opened. Written only to open it again.
    pub(super) file: RwLock<Option<File>>,
    /// Whether it was said that the file cannot be read.
    pub(super) unreadable: AtomicBool,
    /// Whether what is learnt now comes to the file: it is open, and the last writing went well.
    pub(super) persistent: Arc<AtomicBool>,
}

/// What waits.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) waiting: Batch,
    /// What is being written, for readers until the file has it.
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

    /// Lets something wait. The writer is woken for the first of a batch only, since it counts the time itself then.
    pub(super) fn add(&self, add: impl FnOnce(&mut Batch)) {
        let mut queue = self.queue();
        let first = queue.waiting.is_empty();
        add(&mut queue.waiting);
        drop(queue);
        if first {
            self.wake.notify_all();
        }
    }

    /// What answers once all that waits now is written, or could not be.
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

    /// Closes the file, once the writer has ended.
    pub(super) fn close(&self) {
        close(&mut self.file.write());
    }
}

/// Writes what waits until told to stop, and once more then. `said` is why the file is not open yet.
pub(super) fn run(shared: &Shared, path: &Path, mut said: Option<String>) {
    let mut pause = if said.is_some() { PAUSE * 2 } else { PAUSE };
    let mut not_before = Instant::now();
    loop {
        let (batch, flushes, stop) = next(shared, not_before);
        let was_open = shared.is_open();
        if !was_open {
            open_again(shared, path, &mut said);
        }
        match write(shared, &batch) {
            Ok(()) => {
                shared.persistent.store(shared.is_open(), Ordering::Relaxed);
                shared.queue().writing = Arc::default();
                if pause > PAUSE && !batch.is_empty() {
                    info!(path = %path.display(), "the state file can be written now");
                    pause = PAUSE;
                }
            }
            Err(why) => {
                shared.persistent.store(false, Ordering::Relaxed);
                if pause == PAUSE {
                    warn!(error = why, "cannot write the state file: going on in memory, trying again every minute");
                }
                pause = (pause * 2).min(PAUSE_MAX);
                put_back(shared, batch);
                if was_open {
                    open_again(shared, path, &mut said);
                }
            }
        }
        not_before = Instant::now() + pause;
        for flush in flushes {
            // Whoever does not wait any more needs no answer.
            let _ = flush.send(());
        }
        if stop {
            return;
        }
    }
}

/// Waits until there is something to do: a batch that has waited until `not_before`, or at once when somebody waits
/// for it.
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
    let file = shared.file.read();
    match &*file {
        Some(file) => file.write(batch).map_err(|error| error.to_string()),
        None => Err("it could not be opened".to_owned()),
    }
}

/// Lets what could not be written wait again.
fn put_back(shared: &Shared, batch: Arc<Batch>) {
    let mut queue = shared.queue();
    queue.writing = Arc::default();
    queue.waiting.put_back(Arc::unwrap_or_clone(batch));
}

/// Opens the file again: after an error redb wants nothing else. Why that fails is said when it is news.
fn open_again(shared: &Shared, path: &Path, said: &mut Option<String>) {
    let failed = reopen(shared, path).err().map(|error| error.to_string());
    if failed != *said
        && let Some(error) = &failed
    {
        warn!(error, "cannot open the state file yet");
    }
    *said = failed;
}

fn reopen(shared: &Shared, path: &Path) -> Result<(), StoreError> {
    let mut file = shared.file.write();
    close(&mut file);
    let (opened, how) = File::open(path, since_epoch().as_secs())?;
    if let Opened::SetAside { moved_to, why } = how {
        warn!(path = %path.display(), moved_to = %moved_to.display(), "the state file {why}: it was set aside");
    }
    *file = Some(opened);
    shared.unreadable.store(false, Ordering::Relaxed);
    Ok(())
}

/// Closes the file. If that fails, the next opening finds out what of it is good.
fn close(file: &mut Option<File>) {
    let _ = guard(|| drop(file.take()));
}
