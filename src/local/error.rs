//! Why a local image could not be read.

use std::io;
use std::path::Path;

use super::location::Location;
use crate::layer::{MeasureError, TarError};

/// Why a local image could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocalError {
    /// It does not exist.
    #[error("{0}")]
    NotFound(String),
    /// This user may not read it.
    #[error("{0}")]
    Denied(String),
    /// No engine answers.
    #[error("{0}")]
    Unreachable(String),
    /// It is not what its transport says, or beyond a limit.
    #[error("{0}")]
    Invalid(String),
    /// It holds several images.
    #[error("it holds several images: add a colon and the name of one: {0}")]
    Several(String),
}

impl LocalError {
    /// A file that cannot be opened.
    pub(super) fn open(path: &Path, error: &io::Error) -> Self {
        let message = format!("cannot read {}: {error}", path.display());
        match error.kind() {
            io::ErrorKind::NotFound => Self::NotFound(message),
            io::ErrorKind::PermissionDenied => Self::Denied(message),
            _ => Self::Invalid(message),
        }
    }

    /// The same, with its place.
    pub(super) fn of(self, location: &Location) -> Self {
        let with = |message: String| format!("{location}: {message}");
        match self {
            Self::NotFound(message) => Self::NotFound(with(message)),
            Self::Denied(message) => Self::Denied(with(message)),
            Self::Unreachable(message) => Self::Unreachable(with(message)),
            Self::Invalid(message) => Self::Invalid(with(message)),
            several @ Self::Several(_) => Self::Invalid(with(several.to_string())),
        }
    }

    /// The program's exit code: that of a registry's failure of the same kind.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Denied(_) => 3,
            Self::NotFound(_) => 4,
            Self::Unreachable(_) => 5,
            Self::Invalid(_) | Self::Several(_) => 6,
        }
    }
}

impl From<TarError> for LocalError {
    fn from(error: TarError) -> Self {
        Self::Invalid(format!("not a tar: {error}"))
    }
}

/// Reading an archive: a compressed one reports its errors as [`MeasureError`]s.
impl From<io::Error> for LocalError {
    fn from(error: io::Error) -> Self {
        match error.downcast::<MeasureError>() {
            Ok(error) => error.into(),
            Err(error) => Self::Invalid(format!("cannot be read: {error}")),
        }
    }
}

/// Of a compressed archive, whose errors speak of a layer.
impl From<MeasureError> for LocalError {
    fn from(error: MeasureError) -> Self {
        Self::Invalid(error.to_string().replace("the layer", "the archive"))
    }
}
