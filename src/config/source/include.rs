//! Files that the configuration includes: they add targets and sources to its own.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use glob::Pattern;

use super::super::problems::{ConfigError, Problems, Severity};
use super::Environment;
use super::tree::{Dict, Kind, Origin, Value};
use crate::sources::file::SHELL;

/// The key of the main file.
const KEY: &str = "include";

/// What an included file may have.
const ADDS: [&str; 2] = ["targets", "sources"];

/// The most files of a configuration.
const FILES_MAX: usize = 10_000;

/// Adds what the included files have to the tree of the main file. What is wrong with one of them is noted, and the others
/// are read too.
pub(super) fn add(tree: &mut Dict, main: &Path, problems: &Problems) {
    let patterns: Vec<(String, String, Origin)> = match tree.get(KEY) {
        Some(Value { kind: Kind::List(items), .. }) => items
            .iter()
            .enumerate()
            .filter_map(|(at, item)| Some((format!("{KEY}[{at}]"), item.text().ok()?, item.origin.clone())))
            .collect(),
        Some(value) => value.text().ok().map(|text| (KEY.to_owned(), text, value.origin.clone())).into_iter().collect(),
        None => return,
    };
    // The main file may match a wildcard.
    let mut seen: BTreeSet<PathBuf> = main.canonicalize().into_iter().collect();
    for (key, text, origin) in patterns {
        let note = |severity, message: &str| problems.add(severity, &origin, &key, message);
        let files = match files(main, &text) {
            Ok(files) => files,
            Err(message) => {
                note(Severity::Error, &message);
                continue;
            }
        };
        if files.is_empty() {
            note(Severity::Warning, &format!("no file matches `{text}`"));
        }
        for file in files {
            if !seen.insert(file.canonicalize().unwrap_or_else(|_| file.clone())) {
                continue;
            }
            if seen.len() > FILES_MAX {
                note(Severity::Error, &format!("more than {FILES_MAX} files: put several targets into one"));
                return;
            }
            match read(&file, problems) {
                Ok(entries) => add_one(tree, entries, problems),
                Err(error) => note(Severity::Error, &message(&error)),
            }
        }
    }
}

/// The files of a pattern, in the order of their names. Relative ones are in the main file's directory.
fn files(main: &Path, text: &str) -> Result<Vec<PathBuf>, String> {
    if text.is_empty() {
        return Err("is empty: write for example \"conf.d/*.toml\"".to_owned());
    }
    let directory = main.parent().unwrap_or(Path::new(""));
    if !text.contains(['*', '?', '[']) {
        let path = directory.join(text);
        return match path.metadata() {
            Ok(metadata) if metadata.is_dir() => Err(format!(
                "`{}` is a directory: write for example \"{}/*.toml\"",
                path.display(),
                text.trim_end_matches('/')
            )),
            // Reading says what is wrong.
            _ => Ok(vec![path]),
        };
    }
    let directory = Pattern::escape(&directory.to_string_lossy());
    let pattern =
        if text.starts_with('/') { text.to_owned() } else { Path::new(&directory).join(text).display().to_string() };
    let found = glob::glob_with(&pattern, SHELL).map_err(|error| {
        format!("`{text}` is not a pattern of files: {}: write for example \"conf.d/*.toml\"", error.msg)
    })?;
    let mut files = Vec::new();
    for path in found {
        let path = path.map_err(|error| {
            format!(
                "`{}` cannot be read: {}: give the user that runs this program read permission",
                error.path().display(),
                error.error()
            )
        })?;
        if !path.is_dir() {
            files.push(path);
        }
    }
    Ok(files)
}

fn read(file: &Path, problems: &Problems) -> Result<Dict, ConfigError> {
    // Variables override values of the main file.
    super::read_one(file, problems.add_file(file), &Environment::new(), problems)
}

/// What is wrong with a file, by name.
fn message(error: &ConfigError) -> String {
    match error {
        ConfigError::Missing(path) => format!("`{}`: no such file: create it, or correct the path", path.display()),
        ConfigError::TooLong(path, bytes) => format!("`{}` is longer than {bytes} bytes: divide it", path.display()),
        other => other.to_string(),
    }
}

/// Adds what one file has.
fn add_one(tree: &mut Dict, entries: Dict, problems: &Problems) {
    for (key, value) in entries {
        if !ADDS.contains(&key.as_str()) {
            let message = "stands in the main file only: an included file has nothing but [[targets]] and [[sources]]";
            problems.add_error(&value.origin, &key, message);
            continue;
        }
        let found = value.found();
        let Value { kind: Kind::List(mut items), origin } = value else {
            problems.add_error(&value.origin, &key, &format!("{found}: write [[{key}]] above the keys of each one"));
            continue;
        };
        match tree.get_mut(&key).map(|value| &mut value.kind) {
            Some(Kind::List(all)) => all.append(&mut items),
            // It is wrong, which its reader says.
            Some(_) => {}
            None => {
                tree.insert(key, Value { kind: Kind::List(items), origin });
            }
        }
    }
}
