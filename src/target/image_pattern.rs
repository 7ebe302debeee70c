//! Regular expressions over whole references of images, as sources have them.

use std::str::FromStr;

use super::pattern::compile;

/// A regular expression over references, such as `docker.io/library/nginx:1.27`: searched, not anchored.
#[derive(Clone, Debug)]
pub struct ImagePattern(regex::Regex);

/// Why a text is not a regular expression, in one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a regular expression: {why}")]
pub struct InvalidImagePattern {
    text: String,
    why: String,
}

impl ImagePattern {
    /// Whether the expression is found anywhere in the reference.
    pub fn finds(&self, reference: &str) -> bool {
        self.0.is_match(reference)
    }

    /// The reference with what is found first replaced; `None` where nothing is.
    pub fn replace(&self, reference: &str, with: &str) -> Option<String> {
        self.finds(reference).then(|| self.0.replace(reference, with).into_owned())
    }

    /// The expression as written.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl FromStr for ImagePattern {
    type Err = InvalidImagePattern;

    fn from_str(text: &str) -> Result<Self, InvalidImagePattern> {
        compile(text).map(Self).map_err(|why| InvalidImagePattern { text: text.to_owned(), why })
    }
}

impl PartialEq for ImagePattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}
