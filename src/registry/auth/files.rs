//! The files of credentials: read when they are needed, up to a limit. No error quotes their content.

use std::path::Path;

use super::secret::Secret;

/// The most that is read of a file.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Why a file could not be read.
pub(crate) struct Unreadable {
    pub(crate) problem: String,
    /// Permission was denied.
    pub(crate) forbidden: bool,
}

pub(crate) fn at(path: &Path, problem: impl std::fmt::Display) -> String {
    format!("{}: {problem}", path.display())
}

/// The secret in the file that `key` names, of the configuration or the environment.
pub(crate) fn secret(key: &str, path: &Path) -> Result<Secret, String> {
    let text = without_newline(self::text(key, path)?);
    // It would be sent as part of the secret, which the registry would refuse, and editors do not show it.
    if text.starts_with('\u{feff}') {
        return Err(format!("{key} {} starts with a byte order mark: save it as UTF-8 without one", path.display()));
    }
    // The file may be in the middle of a rewrite: an empty password would be refused, and might lock the account.
    if text.is_empty() {
        return Err(format!("{key} {} is empty: write the secret into it", path.display()));
    }
    Ok(Secret::new(text))
}

/// The text of the file that `key` names.
pub(crate) fn text(key: &str, path: &Path) -> Result<String, String> {
    match text_if_there(path) {
        Ok(Some(text)) => Ok(text),
        Ok(None) => Err(format!("{key} {}: no such file: put it back, or correct the path", path.display())),
        Err(Unreadable { problem, forbidden: true }) => {
            Err(format!("{key} {problem}: let the user that runs this program read it"))
        }
        Err(Unreadable { problem, forbidden: false }) => Err(format!("{key} {problem}")),
    }
}

/// `None` where there is no such file. Blocks: reading a small local file takes no longer than taking a lock.
pub(crate) fn text_if_there(path: &Path) -> Result<Option<String>, Unreadable> {
    use std::io::{Error, ErrorKind, Read as _};
    let unreadable = |error: Error| Unreadable {
        forbidden: error.kind() == ErrorKind::PermissionDenied,
        problem: at(path, format!("cannot be read: {error}")),
    };
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(unreadable(Error::other(format!("longer than {FILE_BYTES_MAX} bytes"))));
    }
    String::from_utf8(bytes).map(Some).map_err(|error| {
        let is_utf16 = matches!(error.as_bytes(), [0xff, 0xfe, ..] | [0xfe, 0xff, ..]);
        let found = if is_utf16 { "is UTF-16 text" } else { "is not UTF-8 text" };
        Unreadable { forbidden: false, problem: format!("{} {found}: save it as UTF-8", path.display()) }
    })
}

/// A newline at the end of a file is not part of the secret.
pub(crate) fn without_newline(mut text: String) -> String {
    text.truncate(text.trim_end_matches(['\r', '\n']).len());
    text
}
