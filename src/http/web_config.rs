//! exporter-toolkit's web configuration: TLS, client certificates, basic authentication, headers.

use std::path::Path;

/// The web configuration in use.
pub struct WebConfig {}

/// Why a web configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WebConfigError {}

impl WebConfig {
    /// Reads a file, and reads it again whenever it, or a file that it names, has changed. Without one everybody is
    /// served in plain HTTP.
    pub fn open(_path: Option<&Path>) -> Result<Self, WebConfigError> {
        Ok(Self {})
    }

    pub(super) fn is_tls(&self) -> bool {
        false
    }

    /// What holds now.
    pub(super) fn current(&self) -> &Self {
        self
    }
}
