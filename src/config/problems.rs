//! The problems of a configuration: collected while it is read, each under its key.

use std::cell::RefCell;
use std::path::Path;

use super::redact::without_passwords;

/// The problems found so far.
#[derive(Default)]
pub(super) struct Problems(RefCell<Vec<Problem>>);

struct Problem {
    variable: Option<String>,
    key: String,
    message: String,
}

impl Problems {
    pub(super) fn add_to_variable(&self, name: &str, message: &str) {
        self.add(Some(name), "", message);
    }

    pub(super) fn add(&self, variable: Option<&str>, key: &str, message: &str) {
        let variable = variable.map(str::to_owned);
        let (key, message) = (without_passwords(key), without_passwords(message));
        self.0.borrow_mut().push(Problem { variable, key, message });
    }

    /// One line for each problem, in the order found.
    pub(super) fn into_lines(self, file: &Path) -> Vec<String> {
        let line = |problem: Problem| match problem.variable {
            Some(variable) => format!("{variable}: {}", problem.message),
            None => format!("{}: {}: {}", file.display(), problem.key, problem.message),
        };
        self.0.into_inner().into_iter().map(line).collect()
    }
}
