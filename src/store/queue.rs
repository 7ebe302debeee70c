//! The queue of what is to be written, and who waits for it. A writer takes batches from it, in a thread of its own, since
//! writing blocks.

use parking_lot::{Condvar, Mutex, MutexGuard};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::batch::Batch;

/// The least time between two writes.
pub(super) const PAUSE: Duration = Duration::from_secs(1);

/// The most time between two attempts to write: after each failure it doubles up to this.
pub(super) const PAUSE_MAX: Duration = Duration::from_mins(1);

/// What the store's clones share with the writer.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Locked only to look up or to insert, never during I/O.
    queued: Mutex<Queued>,
    wake: Condvar,
    /// Whether what is written survives a restart: the last write succeeded.
    pub(super) persistent: Arc<AtomicBool>,
}

/// What is queued. In memory, `waiting` is the store: nothing takes it.
#[derive(Debug, Default)]
pub(super) struct Queued {
    pub(super) waiting: Batch,
    /// The batch being written: readers look here until the file or the database has it.
    pub(super) writing: Arc<Batch>,
    flushes: Vec<oneshot::Sender<()>>,
    stop: bool,
}

/// What a writer is to do.
pub(super) struct Turn {
    pub(super) batch: Arc<Batch>,
    pub(super) flushes: Vec<oneshot::Sender<()>>,
    /// It is the last one.
    pub(super) stop: bool,
}

impl Queue {
    pub(super) fn lock(&self) -> MutexGuard<'_, Queued> {
        self.queued.lock()
    }

    /// Looks in both batches, newest first.
    pub(super) fn find<T>(&self, in_batch: impl Fn(&Batch) -> Option<T>) -> Option<T> {
        let queued = self.lock();
        in_batch(&queued.waiting).or_else(|| in_batch(&queued.writing))
    }

    /// Adds to the waiting batch. Only the first addition wakes the writer, which then waits for the next write's time
    /// by itself.
    pub(super) fn add(&self, add: impl FnOnce(&mut Batch)) {
        let mut queued = self.lock();
        let first = queued.waiting.is_empty();
        add(&mut queued.waiting);
        drop(queued);
        if first {
            self.wake.notify_all();
        }
    }

    /// Resolves once everything in the queue is written, or could not be written.
    pub(super) fn flush(&self) -> oneshot::Receiver<()> {
        let (done, written) = oneshot::channel();
        self.lock().flushes.push(done);
        self.wake.notify_all();
        written
    }

    pub(super) fn stop(&self) {
        self.lock().stop = true;
        self.wake.notify_all();
    }

    /// Waits for a batch that is due at `not_before`, or at once for a flush or the end. With nothing to write it waits until
    /// `idle_until` at most, and returns an empty batch then.
    pub(super) fn next(&self, not_before: Instant, idle_until: Option<Instant>) -> Turn {
        let mut queued = self.lock();
        loop {
            let now = Instant::now();
            let urgent = queued.stop || !queued.flushes.is_empty();
            let is_due = if queued.waiting.is_empty() {
                idle_until.is_some_and(|until| until.max(not_before) <= now)
            } else {
                not_before <= now
            };
            if urgent || is_due {
                let batch = Arc::new(std::mem::take(&mut queued.waiting));
                queued.writing = Arc::clone(&batch);
                return Turn { batch, flushes: std::mem::take(&mut queued.flushes), stop: queued.stop };
            }
            let until =
                if queued.waiting.is_empty() { idle_until.map(|at| at.max(not_before)) } else { Some(not_before) };
            match until {
                Some(until) => drop(self.wake.wait_until(&mut queued, until)),
                None => self.wake.wait(&mut queued),
            }
        }
    }

    /// Whether somebody waits for the writer.
    #[cfg(feature = "postgres")]
    pub(super) fn is_urgent(&self) -> bool {
        let queued = self.lock();
        queued.stop || !queued.flushes.is_empty()
    }

    /// Notes that the batch of the last turn was written.
    pub(super) fn written(&self) {
        self.lock().writing = Arc::default();
    }

    /// Puts a batch that could not be written back.
    pub(super) fn put_back(&self, batch: Arc<Batch>) {
        let mut queued = self.lock();
        queued.writing = Arc::default();
        queued.waiting.put_back(Arc::unwrap_or_clone(batch));
    }

    pub(super) fn set_persistent(&self, persistent: bool) {
        self.persistent.store(persistent, Ordering::Relaxed);
    }
}

impl Turn {
    /// Answers those who wait for it.
    pub(super) fn end(flushes: Vec<oneshot::Sender<()>>) {
        for flush in flushes {
            // A caller that no longer waits needs no answer.
            let _ = flush.send(());
        }
    }
}
