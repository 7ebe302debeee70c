//! exporter-toolkit's web configuration: TLS, client certificates, basic authentication, headers.

use std::path::Path;

/// The web configuration in use.
pub struct WebConfig {}

/// Why a web configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WebConfigError {}

impl WebConfig {
    /// Plain HTTP for everybody.
    pub fn none() -> Self {
        Self {}
    }

    /// Reads a file, and reads it again whenever it, or a file that it names, has changed.
    pub fn open(_path: &Path) -> Result<Self, WebConfigError> {
        Ok(Self {})
    }
}
