//! Paths in the configuration: resolves them and checks that the files exist.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::source::Environment;

/// The file system and environment as a configuration refers to them.
pub(super) struct Files<'a> {
    config_file: PathBuf,
    directory: PathBuf,
    environment: &'a Environment,
}

impl<'a> Files<'a> {
    pub(super) fn new(config_file: &Path, environment: &'a Environment) -> Self {
        let directory = config_file.parent().map(Path::to_owned).unwrap_or_default();
        Self { config_file: config_file.to_owned(), directory, environment }
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
    pub(super) fn readable(&self, text: &str) -> Result<PathBuf, String> {
        let path = self.path(text)?;
        let shown = path.display();
        let opened = File::open(&path).and_then(|file| file.metadata());
        match opened {
            Ok(metadata) if metadata.is_dir() => Err(format!("`{shown}` is a directory: name a file in it")),
            Ok(_) => Ok(path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(format!("`{shown}`: no such file: create it, or correct the path"))
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Err(format!("`{shown}` cannot be read: give the user that runs this program read permission"))
            }
            Err(error) => Err(format!("`{shown}` cannot be read: {error}")),
        }
    }

    /// The path of a secret's file, which can be opened and is not empty.
    pub(super) fn secret(&self, text: &str) -> Result<PathBuf, String> {
        let path = self.readable(text)?;
        // Only regular files have a length, and a pipe can be read only once.
        match path.metadata() {
            Ok(metadata) if metadata.is_file() && metadata.len() == 0 => {
                Err(format!("`{}` is empty: write the secret into it", path.display()))
            }
            _ => Ok(path),
        }
    }

    /// The path of the state file, which need not exist, but is neither a directory nor the configuration.
    pub(super) fn state(&self, text: &str) -> Result<PathBuf, String> {
        let path = self.path(text)?;
        if path.is_dir() {
            return Err(format!("`{}` is a directory: name a file in it", path.display()));
        }
        match (path.canonicalize(), self.config_file.canonicalize()) {
            (Ok(state), Ok(config)) if state == config => Err(format!(
                "`{}` is this configuration file: name another one, which need not exist yet",
                path.display()
            )),
            _ => Ok(path),
        }
    }

    /// The name of a variable that is set and not empty.
    pub(super) fn variable(&self, name: &str) -> Result<String, String> {
        match self.environment.get(name) {
            Some(value) if !value.is_empty() => Ok(name.to_owned()),
            Some(_) => Err(format!("environment variable `{name}` is empty: put the secret into it")),
            None => Err(format!("no such environment variable: set it, or correct the name ({NOT_SHOWN})")),
        }
    }

    /// Applies `parse` to a path that may be the secret itself by mistake: of a path that does not exist only the
    /// existing part is quoted.
    pub(super) fn unquoted(
        &self,
        text: &str,
        parse: impl FnOnce(&Self, &str) -> Result<PathBuf, String>,
    ) -> Result<PathBuf, String> {
        if text.is_empty() {
            return parse(self, text);
        }
        let Ok(path) = self.path(text) else {
            return Err(format!("only `~/` is expanded, to HOME: write an absolute path ({NOT_SHOWN})"));
        };
        let Err(error) = path.symlink_metadata() else { return parse(self, text) };
        let exists = |path: &&Path| path.symlink_metadata().is_ok();
        let location = match path.ancestors().skip(1).find(exists) {
            Some(directory) => format!("below `{}`", directory.display()),
            None => "in the working directory".to_owned(),
        };
        Err(match error.kind() {
            io::ErrorKind::NotFound => {
                format!("no such file {location}: create it, or correct the path ({NOT_SHOWN})")
            }
            io::ErrorKind::PermissionDenied => {
                format!(
                    "a file {location} cannot be read: give the user that runs this program read permission ({NOT_SHOWN})"
                )
            }
            _ => format!("no such file {location}: {error} ({NOT_SHOWN})"),
        })
    }
}

/// Why a message does not quote the value.
const NOT_SHOWN: &str = "not shown, because it may be the secret itself";
