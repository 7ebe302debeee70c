//! Text that must not be seen.

/// A password or token. It has neither `Debug` nor `Display`, so that no log, error or panic can print it; what
/// needs the text says so by asking for it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(Box<str>);

impl Secret {
    /// Wraps the text.
    pub(crate) fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// The text, for the one request that needs it.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}
