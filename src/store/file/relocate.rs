//! Moves the state to another file: to a new one after the old one was removed or replaced, or to a compacted one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tracing::warn;

use super::catch_panic::catch_panic;
use super::open::Opened;
use super::tables::File;
use crate::clock::since_epoch;
use crate::store::error::StoreError;

/// Smaller files are not worth compacting.
const COMPACTED_BYTES_MIN: u64 = 4 << 20;

/// Opens the file at `path`, and logs if one was set aside.
pub(super) fn open(path: &Path) -> Result<File, StoreError> {
    Ok(open_as(path)?.0)
}

/// As [`open`]; also returns whether the file was there, and a state file.
pub(super) fn open_as(path: &Path) -> Result<(File, bool), StoreError> {
    let (file, how) = File::open(path, since_epoch().as_secs())?;
    if let Opened::SetAside { moved_to, why } = &how {
        warn!(path = %path.display(), moved_to = %moved_to.display(), "the state file {why}: it was set aside");
    }
    Ok((file, how == Opened::Existing))
}

/// Opens the file that is now at the path of a removed or replaced one, and copies everything into it.
pub(super) fn follow(file: &File) -> Result<File, StoreError> {
    let new = open(&file.path)?;
    new.add_all_of(file)?;
    Ok(new)
}

/// Takes what something else has written into the open file out of the way of its closing, which writes into it. Returns
/// where it is, for [`put_back`].
pub(super) fn take_out(file: &File) -> io::Result<(PathBuf, PathBuf)> {
    // A symbolic link is not replaced.
    let path = file.path.canonicalize()?;
    let temporary = temporary(&path);
    let taken = fs::copy(&path, &temporary);
    if taken.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    taken.map(|_| (temporary, path))
}

/// Puts it in the place of the file, which is closed.
pub(super) fn put_back((temporary, path): (PathBuf, PathBuf)) {
    if fs::rename(&temporary, &path).is_err() {
        let _ = fs::remove_file(&temporary);
    }
}

/// A compacted copy of the file at its path, if most of the file is free. Readers use the old file until the caller
/// replaces it.
pub(super) fn compacted(file: &File) -> Result<Option<File>, StoreError> {
    let failed = |error: io::Error| StoreError::new(&file.path, error.into());
    let metadata = file.path.metadata().map_err(failed)?;
    // Counting pages reads the whole file, so only large files are considered.
    if metadata.len() < COMPACTED_BYTES_MIN || file.used_bytes()? > metadata.len() / 2 {
        return Ok(None);
    }
    // A symbolic link is not replaced.
    let path = file.path.canonicalize().map_err(failed)?;
    let temporary = temporary(&path);
    let copy = copy(file, &temporary).and_then(|mut copy| {
        fs::set_permissions(&temporary, metadata.permissions()).map_err(failed)?;
        // A file that replaced it meanwhile is not overwritten: the next batch goes to that one.
        if !file.is_in_place() {
            return Err(failed(io::ErrorKind::NotFound.into()));
        }
        // The copy is durable. Nothing after this may fail, or the next batch would go to the old file.
        fs::rename(&temporary, &path).map_err(failed)?;
        sync_directory(&path);
        copy.path.clone_from(&file.path);
        Ok(copy)
    });
    if copy.is_err() {
        // If it is still there, the next attempt removes it.
        let _ = fs::remove_file(&temporary);
    }
    copy.map(Some)
}

fn copy(file: &File, to: &Path) -> Result<File, StoreError> {
    // Left by a killed process.
    let _ = fs::remove_file(to);
    let mut copy = open(to)?;
    copy.add_all_of(file)?;
    match catch_panic(|| copy.database.compact()) {
        Ok(Ok(_)) => {
            copy.note_written();
            Ok(copy)
        }
        Ok(Err(error)) => Err(StoreError::Failed { path: to.to_owned(), why: error.to_string() }),
        Err(why) => Err(StoreError::Failed { path: to.to_owned(), why }),
    }
}

/// Makes a rename survive a loss of power, on file systems that can sync a directory.
fn sync_directory(path: &Path) {
    if let Some(directory) = path.parent() {
        let _ = fs::File::open(directory).and_then(|directory| directory.sync_all());
    }
}

fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".compacting");
    name.into()
}
