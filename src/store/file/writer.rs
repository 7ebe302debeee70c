//! The only writer of the state file: a thread, since writing blocks.

use parking_lot::RwLock;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tracing::{debug, info, warn};

use super::catch_panic::catch_panic;
use super::relocate;
use super::tables::{File, Overwritten};
use crate::store::batch::Batch;
use crate::store::error::StoreError;
use crate::store::queue::{PAUSE, PAUSE_MAX, Queue, Turn};

/// What the writer shares with the store's clones.
#[derive(Debug)]
pub(in crate::store) struct OpenFile {
    queue: Arc<Queue>,
    /// None while the file cannot be opened. Locked for writing only to reopen it.
    file: RwLock<Option<File>>,
    /// Whether it was logged that the file cannot be read.
    unreadable: AtomicBool,
}

impl OpenFile {
    pub(in crate::store) fn new(queue: Arc<Queue>, file: Option<File>) -> Self {
        queue.set_persistent(file.is_some());
        Self { queue, file: RwLock::new(file), unreadable: AtomicBool::default() }
    }

    /// Reads from the file, if it is open and can be read.
    pub(in crate::store) fn read<T>(&self, read: impl Fn(&File) -> Result<T, StoreError>) -> Option<T> {
        let file = self.file.read();
        match read(file.as_ref()?) {
            Ok(value) => Some(value),
            Err(error) => {
                if !self.unreadable.swap(true, Ordering::Relaxed) {
                    warn!(%error, "cannot read all of the state file: asking the registry for what is missing");
                }
                None
            }
        }
    }

    /// Whether there is a file to read and write.
    pub(in crate::store) fn is_open(&self) -> bool {
        self.file.read().is_some()
    }

    /// Closes the file. Called after the writer has ended.
    pub(in crate::store) fn close(&self) {
        let mut file = self.file.write();
        let overwritten = file.as_ref().filter(|file| file.is_in_place() && file.is_overwritten() != Overwritten::No);
        match overwritten.map(relocate::take_out) {
            Some(Ok(taken)) => {
                close(&mut file);
                relocate::put_back(taken);
            }
            // Closing would write into what was put there.
            Some(Err(_)) => std::mem::forget(file.take()),
            None => close(&mut file),
        }
    }

    /// Whether the open file was removed or replaced, so that writes to it are lost.
    fn is_displaced(&self) -> bool {
        self.file.read().as_ref().is_some_and(|file| !file.is_in_place())
    }

    /// Whether something else has written into the open file: what redb then reads and writes makes no sense.
    fn is_overwritten(&self) -> Overwritten {
        self.file.read().as_ref().map_or(Overwritten::No, File::is_overwritten)
    }

    /// Replaces the open file by one with the same content. Readers wait only while the old one is closed.
    fn replace(&self, new: File) {
        let mut file = self.file.write();
        close(&mut file);
        *file = Some(new);
    }
}

/// Writes batches until told to stop, and once more then. `error` is why the file is not open yet.
pub(in crate::store) fn run(open: &OpenFile, path: &Path, mut error: Option<String>) {
    let mut pause = if error.is_some() { PAUSE * 2 } else { PAUSE };
    let mut not_before = Instant::now();
    loop {
        let Turn { batch, flushes, stop } = open.queue.next(not_before, None);
        let was_open = open.is_open();
        if !was_open {
            reopen_and_log(open, path, &mut error);
        }
        match write(open, &batch) {
            Ok(()) => {
                if batch.sweep.is_some() {
                    compact(open);
                }
                open.queue.set_persistent(open.is_open());
                open.queue.written();
                if pause > PAUSE && !batch.is_empty() {
                    info!(path = %path.display(), "the state file can be written again");
                    pause = PAUSE;
                }
            }
            Err(why) => {
                open.queue.set_persistent(false);
                if pause == PAUSE {
                    warn!(error = why, "cannot write the state file: continuing in memory, retrying every minute");
                }
                pause = (pause * 2).min(PAUSE_MAX);
                open.queue.put_back(batch);
                // A displaced file stays open: it has the full content.
                if was_open && !open.is_displaced() {
                    reopen_and_log(open, path, &mut error);
                }
            }
        }
        not_before = Instant::now() + pause;
        Turn::end(flushes);
        if stop {
            return;
        }
    }
}

fn write(open: &OpenFile, batch: &Batch) -> Result<(), String> {
    if batch.is_empty() {
        return Ok(());
    }
    if open.is_displaced() {
        follow(open).map_err(|error| error.to_string())?;
    } else {
        let overwritten = open.is_overwritten();
        if overwritten != Overwritten::No {
            read_anew(open, overwritten).map_err(|error| error.to_string())?;
        }
    }
    let file = open.file.read();
    match &*file {
        Some(file) => file.write(batch).map_err(|error| error.to_string()),
        None => Err("it could not be opened".to_owned()),
    }
}

/// Copies everything to the file that replaced the open one, or to a new one.
fn follow(open: &OpenFile) -> Result<(), StoreError> {
    let (new, path) = match &*open.file.read() {
        Some(file) => (relocate::follow(file)?, file.path.clone()),
        None => return Ok(()),
    };
    open.replace(new);
    warn!(path = %path.display(), "the state file was removed or replaced while it was open: everything known was written again");
    Ok(())
}

/// Opens the file again after something else has written into it. What it has now is used if it is a state file, and set
/// aside if it is a damaged one. Opening checks its content: where only its time had changed and it is whole, the time shows
/// nothing.
fn read_anew(open: &OpenFile, overwritten: Overwritten) -> Result<(), StoreError> {
    let (taken, path) = match &*open.file.read() {
        Some(file) => (relocate::take_out(file), file.path.clone()),
        None => return Ok(()),
    };
    let mut file = open.file.write();
    close(&mut file);
    if let Ok(taken) = taken {
        relocate::put_back(taken);
    }
    let (mut new, is_whole) = relocate::open_as(&path)?;
    let is_the_same = is_whole && overwritten == Overwritten::Perhaps;
    new.trusts_time = !is_the_same;
    *file = Some(new);
    drop(file);
    open.unreadable.store(false, Ordering::Relaxed);
    if is_the_same {
        debug!(path = %path.display(), "the state file's time changed while it was open, and its content is whole");
    } else {
        warn!(path = %path.display(), "something else has written into the state file while it was open: it was read anew; what it lacks now is stored again when it is read from the registries");
    }
    Ok(())
}

/// Compacts the file if most of it is free. A failure, for example for lack of space, is harmless.
fn compact(open: &OpenFile) {
    let compacted = match &*open.file.read() {
        Some(file) => relocate::compacted(file),
        None => return,
    };
    match compacted {
        Ok(Some(file)) => open.replace(file),
        Ok(None) => {}
        Err(error) => debug!(%error, "cannot compact the state file"),
    }
}

/// Reopens the file, which redb needs after an error. Logs why that fails, once for each reason.
fn reopen_and_log(open: &OpenFile, path: &Path, last: &mut Option<String>) {
    let failed = reopen(open, path).err().map(|error| error.to_string());
    if failed != *last
        && let Some(error) = &failed
    {
        warn!(error, "cannot open the state file yet");
    }
    *last = failed;
}

fn reopen(open: &OpenFile, path: &Path) -> Result<(), StoreError> {
    let mut file = open.file.write();
    close(&mut file);
    *file = Some(relocate::open(path)?);
    open.unreadable.store(false, Ordering::Relaxed);
    Ok(())
}

/// Closes the file. If that fails, the next opening checks its content.
fn close(file: &mut Option<File>) {
    let _ = catch_panic(|| drop(file.take()));
}
