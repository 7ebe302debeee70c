//! The state file's one writer: a thread of its own, since it waits for disks.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tracing::{info, warn};

use super::batch::Batch;
use super::file::File;
use super::{Opened, unix_seconds};

/// At most about once so often is the disk waited for.
const PAUSE: Duration = Duration::from_secs(1);

/// How long to wait before writing again what could not be written; doubled up to the second with every failure.
const RETRY: Duration = Duration::from_secs(2);
const RETRY_MAX: Duration = Duration::from_mins(1);

/// What the writer and everybody else share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Held for as long as it takes to look up or insert, never while a disk is waited for.
    queue: Mutex<Queue>,
    wake: Condvar,
    /// None in memory, and while a file that failed cannot be opened again. Written only to open it again.
    pub(super) file: RwLock<Option<File>>,
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
        Self { file: RwLock::new(file), ..Self::default() }
    }

    pub(super) fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the writer that something waits.
    pub(super) fn wake(&self) {
        self.wake.notify_all();
    }

    /// What answers once all that waits now is written, or could not be.
    pub(super) fn flush(&self) -> oneshot::Receiver<()> {
        let (done, written) = oneshot::channel();
        self.queue().flushes.push(done);
        self.wake();
        written
    }

    pub(super) fn stop(&self) {
        self.queue().stop = true;
        self.wake();
    }
}

/// Writes what waits until told to stop, and once more then.
pub(super) fn run(shared: &Shared, path: &std::path::Path) {
    let mut pause = PAUSE;
    let mut last = Instant::now().checked_sub(PAUSE);
    loop {
        let (batch, flushes, stop) = next(shared, last.map(|last| last + pause));
        let written = if batch.is_empty() { Ok(()) } else { write(shared, &batch) };
        last = Some(Instant::now());
        match written {
            Ok(()) => {
                if pause > PAUSE {
                    info!(path = %path.display(), "the state file is written again");
                }
                pause = PAUSE;
                shared.queue().writing = Arc::default();
            }
            Err(why) => {
                if pause == PAUSE {
                    warn!(path = %path.display(), error = why, "cannot write the state file: going on in memory, and trying again");
                }
                pause = (pause * 2).clamp(RETRY, RETRY_MAX);
                let mut queue = shared.queue();
                let older = std::mem::take(&mut queue.writing);
                drop(batch);
                queue.waiting.put_back(Arc::unwrap_or_clone(older));
                drop(queue);
                reopen(shared, path);
            }
        }
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
fn next(shared: &Shared, not_before: Option<Instant>) -> (Arc<Batch>, Vec<oneshot::Sender<()>>, bool) {
    let mut queue = shared.queue();
    loop {
        let now = Instant::now();
        let wait = not_before.map_or(Duration::ZERO, |time| time.saturating_duration_since(now));
        let urgent = queue.stop || !queue.flushes.is_empty();
        if urgent || !queue.waiting.is_empty() && wait.is_zero() {
            let batch = Arc::new(std::mem::take(&mut queue.waiting));
            queue.writing = Arc::clone(&batch);
            return (batch, std::mem::take(&mut queue.flushes), queue.stop);
        }
        queue = if queue.waiting.is_empty() {
            shared.wake.wait(queue).unwrap_or_else(PoisonError::into_inner)
        } else {
            shared.wake.wait_timeout(queue, wait).unwrap_or_else(PoisonError::into_inner).0
        };
    }
}

fn write(shared: &Shared, batch: &Batch) -> Result<(), String> {
    let file = shared.file.read().unwrap_or_else(PoisonError::into_inner);
    match &*file {
        Some(file) => file.write(batch).map_err(|error| error.to_string()),
        None => Err("it could not be opened again".to_owned()),
    }
}

/// Opens the file again: after an error redb wants nothing else.
fn reopen(shared: &Shared, path: &std::path::Path) {
    let mut file = shared.file.write().unwrap_or_else(PoisonError::into_inner);
    *file = None;
    match File::open(path, unix_seconds()) {
        Ok((opened, how)) => {
            if let Opened::SetAside { moved_to, why } = how {
                warn!(path = %path.display(), moved_to = %moved_to.display(), "the state file {why}: it was set aside");
            }
            *file = Some(opened);
        }
        Err(error) => tracing::debug!(%error, "cannot open the state file again yet"),
    }
}
