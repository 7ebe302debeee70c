//! The repositories of a registry, as they were listed.

use crate::oci::Repository;
use crate::registry::error::RegistryError;

/// Repositories of one list.
pub(super) const REPOSITORIES_MAX: usize = 100_000;

/// The repositories of a registry, as far as they could be read.
#[derive(Debug)]
pub struct RepositoryList {
    /// In the registry's order, each once.
    pub repositories: Vec<Repository>,
    /// Why the list ends early, if it does: a repository that it lacks may still exist.
    pub stopped: Option<RegistryError>,
    /// Whether there are more repositories than are read.
    pub cut: bool,
}
