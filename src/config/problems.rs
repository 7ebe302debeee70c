//! The problems of a configuration: collected while it is read, each with its place and key.

mod error;
mod redact;
mod suggest;

use std::cell::RefCell;
use std::fmt::Display;
use std::path::Path;

use super::source::tree::Origin;

pub use error::ConfigError;
pub(super) use redact::{redacted_url, without_passwords};
pub(super) use suggest::nearest;

/// The problems found so far.
#[derive(Default)]
pub(super) struct Problems(RefCell<Vec<Problem>>);

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
    pub(super) fn add_error(&self, origin: &Origin, key: &str, message: &str) {
        self.add(Severity::Error, origin, key, message);
    }

    pub(super) fn add(&self, severity: Severity, origin: &Origin, key: &str, message: &str) {
        let (key, message) = (without_passwords(key), without_passwords(message));
        self.0.borrow_mut().push(Problem { severity, origin: origin.clone(), key, message });
    }

    /// One line for each problem, in the order of the file and below one line in the order found, variables first.
    pub(super) fn into_lines(self, file: &Path) -> Lines {
        let mut problems = self.0.into_inner();
        let line = |problem: &Problem| match problem.origin {
            Origin::Line(line) => line,
            Origin::File | Origin::Variable(_) => 0,
        };
        problems.sort_by_key(line);
        let (errors, warnings) = problems.iter().partition::<Vec<_>, _>(|problem| problem.severity == Severity::Error);
        let shown = |problems: Vec<&Problem>| problems.into_iter().map(|problem| problem.line(file)).collect();
        Lines { errors: shown(errors), warnings: shown(warnings) }
    }

    pub(super) fn has_errors(&self) -> bool {
        self.0.borrow().iter().any(|problem| problem.severity == Severity::Error)
    }
}

/// The problems as lines.
pub(super) struct Lines {
    pub(super) errors: Vec<String>,
    pub(super) warnings: Vec<String>,
}

impl Problem {
    fn line(&self, file: &Path) -> String {
        let (file, key, message) = (file.display(), &self.key, &self.message);
        match &self.origin {
            Origin::Variable(variable) => format!("{variable}: {message}"),
            Origin::Line(line) => format!("{file}:{line}: {key}: {message}"),
            Origin::File => format!("{file}: {key}: {message}"),
        }
    }
}
