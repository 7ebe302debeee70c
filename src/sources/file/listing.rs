//! The files of a pattern, and their lines.

use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use glob::{MatchOptions, Pattern};

use super::super::SourceError;
use super::super::rules::CONTAINERS_MAX;
use crate::oci::Reason;

/// The most files of one source.
const FILES_MAX: usize = 1000;

/// The most bytes of all files of one source.
const BYTES_MAX: u64 = 32 << 20;

/// As in a shell: a wildcard neither crosses directories nor finds hidden files, such as what programs write beside a file
/// before they rename it, and the directories in which Kubernetes keeps a volume's generations.
pub const SHELL: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

/// What tells a file that changed: device, inode, length, and when it was written, in nanoseconds.
type Stamp = (PathBuf, u64, u64, u64, i64, i64);

/// The files as they were when they were read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stamps(Vec<Stamp>);

/// What a look found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// Nothing has changed.
    Unchanged,
    /// These references.
    Read { stamps: Stamps, images: Vec<String> },
}

/// Why a text is not a pattern of files.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFilePattern {
    /// There is no file name in it.
    #[error("names no file: write for example \"images/*.txt\"")]
    NoFile,
    /// A wildcard before the last segment.
    #[error("has a wildcard in a directory's name: `*` and `?` stand only in the last segment, as in \"images/*.txt\"")]
    Directory,
    /// It is not understood.
    #[error("is not a pattern of files: {0}: write for example \"images/*.txt\"")]
    Pattern(&'static str),
}

/// Checks a path or pattern.
///
/// # Errors
/// What to write instead.
pub fn check_pattern(path: &Path) -> Result<(), InvalidFilePattern> {
    if path.file_name().is_none() {
        return Err(InvalidFilePattern::NoFile);
    }
    if path.parent().is_some_and(|directory| is_wild(&directory.to_string_lossy())) {
        return Err(InvalidFilePattern::Directory);
    }
    let name = path.file_name().map(OsStr::to_string_lossy).unwrap_or_default();
    match Pattern::new(&name) {
        Err(error) if is_wild(&name) => Err(InvalidFilePattern::Pattern(error.msg)),
        _ => Ok(()),
    }
}

fn is_wild(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// Reads the files again if one has changed, come or gone. Everything or nothing: a file that cannot be read may hold
/// anything.
pub(super) fn look(patterns: &[PathBuf], before: Option<&Stamps>) -> Result<Look, SourceError> {
    let mut stamps = Vec::new();
    for pattern in patterns {
        for path in files(pattern)? {
            let metadata = fs::metadata(&path).map_err(|error| failed(&path, &error))?;
            let (device, inode) = (metadata.dev(), metadata.ino());
            stamps.push((path, device, inode, metadata.len(), metadata.mtime(), metadata.mtime_nsec()));
            if stamps.len() > FILES_MAX {
                return Err(limit(format_args!("`{}` and others are more than {FILES_MAX} files", pattern.display())));
            }
        }
    }
    stamps.sort_unstable();
    stamps.dedup();
    let stamps = Stamps(stamps);
    if before == Some(&stamps) {
        return Ok(Look::Unchanged);
    }
    let (mut images, mut left) = (Vec::new(), BYTES_MAX);
    for (path, ..) in &stamps.0 {
        let text = read(path, &mut left)?;
        images.extend(lines(&text).map(str::to_owned));
        // More are only counted.
        if images.len() > CONTAINERS_MAX.saturating_mul(2) {
            return Err(limit(format_args!("the files have more than {} references", CONTAINERS_MAX * 2)));
        }
    }
    Ok(Look::Read { stamps, images })
}

/// The references of a file.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.trim_start_matches('\u{feff}').lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

fn read(path: &Path, left: &mut u64) -> Result<String, SourceError> {
    let file = File::open(path).map_err(|error| failed(path, &error))?;
    let mut bytes = Vec::new();
    file.take(*left + 1).read_to_end(&mut bytes).map_err(|error| failed(path, &error))?;
    *left = left.checked_sub(bytes.len() as u64).ok_or_else(|| {
        limit(format_args!("`{}` and the files before it have more than {BYTES_MAX} bytes", path.display()))
    })?;
    String::from_utf8(bytes).map_err(|_| SourceError {
        reason: Reason::Invalid,
        message: format!("`{}` is not text in UTF-8: write a reference a line", path.display()),
    })
}

/// The files that a pattern stands for. One without a wildcard has to be there.
fn files(pattern: &Path) -> Result<Vec<PathBuf>, SourceError> {
    let name = pattern.file_name().map(OsStr::to_string_lossy).unwrap_or_default();
    if !is_wild(&name) {
        return Ok(vec![pattern.to_owned()]);
    }
    let directory = pattern.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let pattern_of_names = Pattern::new(&name).map_err(|error| SourceError {
        reason: Reason::Invalid,
        message: format!("`{}` is not a pattern of files: {}", pattern.display(), error.msg),
    })?;
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(|error| failed(directory, &error))? {
        let entry = entry.map_err(|error| failed(directory, &error))?;
        let file_name = entry.file_name();
        let file_name = file_name.to_string_lossy();
        if pattern_of_names.matches_with(&file_name, SHELL) && !entry.path().is_dir() {
            found.push(entry.path());
        }
        if found.len() > FILES_MAX {
            return Err(limit(format_args!("`{}` stands for more than {FILES_MAX} files", pattern.display())));
        }
    }
    Ok(found)
}

fn failed(path: &Path, error: &io::Error) -> SourceError {
    let (reason, remedy) = match error.kind() {
        io::ErrorKind::NotFound => (Reason::NotFound, ": create it, or correct `file`"),
        io::ErrorKind::PermissionDenied => (Reason::Denied, ": give the user that runs this program read permission"),
        _ => (Reason::Server, ""),
    };
    SourceError { reason, message: format!("`{}` cannot be read: {error}{remedy}", path.display()) }
}

fn limit(message: impl fmt::Display) -> SourceError {
    SourceError { reason: Reason::Limit, message: format!("{message}: write several sources") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_a_reference_a_line() {
        let text = "\u{feff}nginx:1\r\n\n  # why\n quay.io/a/b:2  \n#c\nlast";
        assert_eq!(lines(text).collect::<Vec<_>>(), ["nginx:1", "quay.io/a/b:2", "last"]);
    }

    #[test]
    fn wildcards_belong_to_files() {
        assert_eq!(check_pattern(Path::new("a/*.txt")), Ok(()));
        assert_eq!(check_pattern(Path::new("a/*/b.txt")), Err(InvalidFilePattern::Directory));
        assert_eq!(check_pattern(Path::new("/")), Err(InvalidFilePattern::NoFile));
        assert_eq!(check_pattern(Path::new("a/..")), Err(InvalidFilePattern::NoFile));
        assert!(matches!(check_pattern(Path::new("a/[b.txt")), Err(InvalidFilePattern::Pattern(_))));
    }

    #[test]
    fn files_are_read_again_when_they_change_come_or_go() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("a.txt"), "one\n").unwrap();
        fs::write(path(".b.txt"), "hidden\n").unwrap();
        let patterns = [path("*.txt")];
        let Ok(Look::Read { stamps, images }) = look(&patterns, None) else { panic!("is read") };
        assert_eq!(images, ["one"]);
        assert_eq!(look(&patterns, Some(&stamps)), Ok(Look::Unchanged));
        fs::write(path("b.txt"), "two\n").unwrap();
        let Ok(Look::Read { stamps, images }) = look(&patterns, Some(&stamps)) else { panic!("is read") };
        assert_eq!(images, ["one", "two"]);
        fs::remove_file(path("a.txt")).unwrap();
        fs::remove_file(path("b.txt")).unwrap();
        let Ok(Look::Read { stamps, images }) = look(&patterns, Some(&stamps)) else { panic!("is read") };
        assert_eq!(images, Vec::<String>::new(), "a directory without such files says that nothing runs");
        drop(stamps);
        let missing = look(&[path("a.txt")], None).unwrap_err();
        assert_eq!(missing.reason, Reason::NotFound);
        fs::write(path("c.txt"), b"\xff\xfe").unwrap();
        assert_eq!(look(&patterns, None).unwrap_err().reason, Reason::Invalid);
    }
}
