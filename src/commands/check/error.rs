//! Why `check` gives no verdict, and its exit codes.

use std::io;

use crate::commands::inspect::InspectError;
use crate::local::LocalError;
use crate::oci::Reason;

/// Why `check` gives no verdict.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// An image on a registry cannot be read.
    #[error(transparent)]
    Registry(#[from] InspectError),
    /// An image elsewhere cannot be read.
    #[error(transparent)]
    Local(#[from] LocalError),
    /// Two images without a platform in common.
    #[error("{old} and {new} have no platform in common")]
    Incomparable {
        /// The old one.
        old: String,
        /// The new one.
        new: String,
    },
    /// `newest:TARGET` cannot be used.
    #[error("{0}")]
    Target(String),
    /// The target's tags cannot be listed.
    #[error(transparent)]
    Discovery(#[from] crate::scan::discovery::DiscoveryError),
    /// The result cannot be written.
    #[error("cannot write: {0}")]
    Output(#[from] io::Error),
}

impl CheckError {
    /// Whether this says that there is no such image, rather than that it cannot be read.
    pub(super) fn is_missing(&self) -> bool {
        match self {
            Self::Registry(InspectError::Read { source, .. }) => source.reason() == Reason::NotFound,
            Self::Registry(InspectError::Platform { .. }) | Self::Local(LocalError::NotFound(_)) => true,
            Self::Discovery(error) => error.reason() == Reason::NotFound,
            _ => false,
        }
    }

    /// The program's exit code: see the module of the command.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Registry(error) => error.exit_code(),
            Self::Local(error) => error.exit_code(),
            Self::Discovery(error) => error.reason().exit_code(),
            Self::Target(_) => 64,
            Self::Incomparable { .. } | Self::Output(_) => 1,
        }
    }
}
