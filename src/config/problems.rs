//! The problems of a configuration: collected while it is read, each with its place and key.

mod error;
mod redact;
mod suggest;

use std::cell::RefCell;
use std::fmt::Display;
use std::path::{Path, PathBuf};

use super::source::tree::{FileNumber, Origin};

pub use error::ConfigError;
pub(super) use redact::{redacted_url, without_passwords};
pub(super) use suggest::nearest;

/// The problems found so far, and the files that they are in.
#[derive(Default)]
pub(super) struct Problems {
    found: RefCell<Vec<Problem>>,
    files: RefCell<Vec<PathBuf>>,
}

struct Problem {
    severity: Severity,
    origin: Origin,
    key: String,
    message: String,
}

/// Whether a configuration with this problem can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Severity {
    Error,
    /// Valid, but probably a mistake; or not to be judged where it was checked.
    Warning,
}

/// Why a value is refused. A `Severity::Warning` goes on without the value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) severity: Severity,
    pub(super) message: String,
}

/// Any message refuses the value.
impl<E: Display> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self { severity: Severity::Error, message: error.to_string() }
    }
}

impl Problems {
    /// A further file of the configuration; the first is the one that was named.
    pub(super) fn add_file(&self, path: &Path) -> FileNumber {
        let mut files = self.files.borrow_mut();
        files.push(path.to_owned());
        FileNumber(files.len() - 1)
    }

    /// The path of a file.
    pub(super) fn path(&self, file: FileNumber) -> PathBuf {
        self.files.borrow()[file.0].clone()
    }

    pub(super) fn add_error(&self, origin: &Origin, key: &str, message: &str) {
        self.add(Severity::Error, origin, key, message);
    }

    pub(super) fn add(&self, severity: Severity, origin: &Origin, key: &str, message: &str) {
        let (key, message) = (without_passwords(key), without_passwords(message));
        self.found.borrow_mut().push(Problem { severity, origin: origin.clone(), key, message });
    }

    /// One line for each problem, in the order of the files and below one line in the order found, variables first.
    pub(super) fn into_lines(self) -> Lines {
        let (mut problems, files) = (self.found.into_inner(), self.files.into_inner());
        let place = |problem: &Problem| match problem.origin {
            Origin::Line(file, line) => (Some(file), line),
            Origin::File(file) => (Some(file), 0),
            Origin::Variable(_) => (None, 0),
        };
        problems.sort_by_key(place);
        let (errors, warnings) = problems.iter().partition::<Vec<_>, _>(|problem| problem.severity == Severity::Error);
        let shown = |problems: Vec<&Problem>| problems.into_iter().map(|problem| problem.line(&files)).collect();
        Lines { errors: shown(errors), warnings: shown(warnings) }
    }

    pub(super) fn has_errors(&self) -> bool {
        self.found.borrow().iter().any(|problem| problem.severity == Severity::Error)
    }
}

/// The problems as lines.
pub(super) struct Lines {
    pub(super) errors: Vec<String>,
    pub(super) warnings: Vec<String>,
}

impl Problem {
    fn line(&self, files: &[PathBuf]) -> String {
        let message = match self.key.as_str() {
            "" => self.message.clone(),
            key => format!("{key}: {}", self.message),
        };
        match &self.origin {
            Origin::Variable(variable) => format!("{variable}: {}", self.message),
            Origin::Line(file, line) => format!("{}:{line}: {message}", files[file.0].display()),
            Origin::File(file) => format!("{}: {message}", files[file.0].display()),
        }
    }
}
