//! Paths in the configuration: resolves them and checks that the files exist.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use super::problems::{Refusal, Severity};
use super::schema::Purpose;
use super::source::Environment;
use crate::store;

/// The file system and environment as a configuration refers to them.
pub(super) struct Files<'a> {
    config_file: PathBuf,
    directory: PathBuf,
    environment: &'a Environment,
    purpose: Purpose,
}

impl<'a> Files<'a> {
    pub(super) fn new(config_file: &Path, environment: &'a Environment, purpose: Purpose) -> Self {
        let directory = config_file.parent().map(Path::to_owned).unwrap_or_default();
        Self { config_file: config_file.to_owned(), directory, environment, purpose }
    }

    /// Whether the content of what is there is to be read too.
    pub(super) fn are_checked(&self) -> bool {
        self.purpose != Purpose::Run
    }

    /// The refusal of what may be otherwise where the program runs: of what is not there, for example. Where a configuration
    /// is only checked it is a warning.
    pub(super) fn lenient(&self, message: String) -> Refusal {
        let severity = match self.purpose {
            Purpose::Check => Severity::Warning,
            Purpose::Run | Purpose::StrictCheck => Severity::Error,
        };
        Refusal { severity, message }
    }

    /// A path, relative to the configuration file's directory, or to the home directory if it starts with `~/`.
    pub(super) fn path(&self, text: &str) -> Result<PathBuf, String> {
        if text.is_empty() {
            return Err("is empty: write a path, or leave the key out".to_owned());
        }
        let Some(rest) = text.strip_prefix('~') else { return Ok(self.directory.join(text)) };
        let Some(rest) = rest.strip_prefix('/') else {
            return Err(format!("`{text}`: only `~/` is expanded: write an absolute path, or `./{text}`"));
        };
        match self.environment.get("HOME").filter(|home| !home.is_empty()) {
            Some(home) => Ok(Path::new(home).join(rest)),
            None => Err(format!("`{text}`: HOME is not set: write an absolute path")),
        }
    }

    /// The path of a file that can be opened.
    pub(super) fn readable(&self, text: &str) -> Result<PathBuf, Refusal> {
        let path = self.path(text)?;
        let shown = path.display();
        let opened = File::open(&path).and_then(|file| file.metadata());
        match opened {
            Ok(metadata) if metadata.is_dir() => Err(format!("`{shown}` is a directory: name a file in it").into()),
            Ok(_) => Ok(path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(self.lenient(format!("`{shown}`: no such file: create it, or correct the path")))
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Err(format!("`{shown}` cannot be read: give the user that runs this program read permission").into())
            }
            Err(error) => Err(format!("`{shown}` cannot be read: {error}").into()),
        }
    }

    /// The path of a secret's file, which can be opened and is not empty.
    pub(super) fn secret(&self, text: &str) -> Result<PathBuf, Refusal> {
        let path = self.readable(text)?;
        // Only regular files have a length, and a pipe can be read only once.
        match path.metadata() {
            Ok(metadata) if metadata.is_file() && metadata.len() == 0 => {
                Err(format!("`{}` is empty: write the secret into it", path.display()).into())
            }
            _ => Ok(path),
        }
    }

    /// The path of the state file, which need not exist, but is neither a directory, a pipe, a device or a socket, nor the
    /// configuration.
    pub(super) fn state(&self, text: &str) -> Result<PathBuf, Refusal> {
        let path = self.path(text)?;
        let shown = path.display();
        if path.is_dir() {
            return Err(format!("`{shown}` is a directory: name a file in it").into());
        }
        if let Some(kind) = store::special_kind(&path) {
            return Err(format!("`{shown}` is a {kind}: name an ordinary file, which need not exist yet").into());
        }
        match (path.canonicalize(), self.config_file.canonicalize()) {
            (Ok(state), Ok(config)) if state == config => {
                Err(format!("`{shown}` is this configuration file: name another one, which need not exist yet").into())
            }
            _ if self.are_checked() => self.writable(path),
            _ => Ok(path),
        }
    }

    /// The path of a state file that can be written, or be created in its directory. Asks the system and writes nothing.
    /// The daemon itself goes on in memory where it cannot be written.
    fn writable(&self, path: PathBuf) -> Result<PathBuf, Refusal> {
        const REMEDY: &str = "give the user that runs this program write permission, or name another path";
        if path.exists() {
            return match access(&path, Access::READ_OK | Access::WRITE_OK) {
                Ok(()) if store::is_foreign(&path) => Err(self.lenient(format!(
                    "`{}` is not a state file, and would be left as it is: name another path, or move that file away",
                    path.display()
                ))),
                Ok(()) => Ok(path),
                Err(error) => Err(format!("`{}` cannot be written: {error}: {REMEDY}", path.display()).into()),
            };
        }
        // A bare file name has an empty parent.
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if !directory.exists() {
            return Err(self.lenient(format!("`{}`: no such directory: create it", directory.display())));
        }
        match access(directory, Access::WRITE_OK | Access::EXEC_OK) {
            Ok(()) => Ok(path),
            Err(error) => Err(format!("no file can be created in `{}`: {error}: {REMEDY}", directory.display()).into()),
        }
    }

    /// The name of a variable that is set and not empty.
    pub(super) fn variable(&self, name: &str) -> Result<String, Refusal> {
        match self.environment.get(name) {
            Some(value) if !value.is_empty() => Ok(name.to_owned()),
            Some(_) => Err(format!("environment variable `{name}` is empty: put the secret into it").into()),
            None => {
                Err(self.lenient(format!("no such environment variable: set it, or correct the name ({NOT_SHOWN})")))
            }
        }
    }

    /// Applies `parse` to a path that may be the secret itself by mistake: of a path that does not exist only the
    /// existing part is quoted.
    pub(super) fn unquoted(
        &self,
        text: &str,
        parse: impl FnOnce(&Self, &str) -> Result<PathBuf, Refusal>,
    ) -> Result<PathBuf, Refusal> {
        if text.is_empty() {
            return parse(self, text);
        }
        let Ok(path) = self.path(text) else {
            return Err(format!("only `~/` is expanded, to HOME: write an absolute path ({NOT_SHOWN})").into());
        };
        let Err(error) = path.symlink_metadata() else { return parse(self, text) };
        let exists = |path: &&Path| path.symlink_metadata().is_ok();
        let location = match path.ancestors().skip(1).find(exists) {
            Some(directory) => format!("below `{}`", directory.display()),
            None => "in the working directory".to_owned(),
        };
        Err(match error.kind() {
            io::ErrorKind::NotFound => {
                self.lenient(format!("no such file {location}: create it, or correct the path ({NOT_SHOWN})"))
            }
            io::ErrorKind::PermissionDenied => format!(
                "a file {location} cannot be read: give the user that runs this program read permission ({NOT_SHOWN})"
            )
            .into(),
            _ => format!("no such file {location}: {error} ({NOT_SHOWN})").into(),
        })
    }
}

/// Why a message does not quote the value.
const NOT_SHOWN: &str = "not shown, because it may be the secret itself";
