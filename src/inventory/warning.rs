//! Warnings for the operator.

use std::fmt;

use super::Inventory;
use crate::oci::{Digest, Registry, Repository};
use crate::target::TargetName;

/// Warnings for the operator. Each is reported once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// Manifests of one registry disagree about one layer's size: the smallest counts for storage.
    SizesDisagree {
        /// The registry.
        registry: Registry,
        /// The layer.
        digest: Digest,
        /// The smallest of the sizes, in bytes.
        bytes: u64,
    },
    /// Two targets give one repository different values for one label: the first in the file wins.
    LabelsDisagree {
        /// The first repository where they differ.
        repository: Repository,
        /// The label, without its `label_` prefix.
        label: String,
        /// The target whose value is published.
        counts: TargetName,
        /// The target whose value is ignored.
        ignored: TargetName,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SizesDisagree { registry, digest, bytes } => write!(
                f,
                "manifests on {registry} disagree about the size of layer {digest}: the smallest, {bytes} bytes, counts for storage"
            ),
            Self::LabelsDisagree { repository, label, counts, ignored } => write!(
                f,
                "targets `{counts}` and `{ignored}` give {repository} different labels `{label}`: that of `{counts}`, the first in the file, counts"
            ),
        }
    }
}

impl Inventory {
    /// Warns of targets of a repository that give one label two values, once of each pair.
    pub(super) fn compare_labels(&mut self, repository: &Repository, targets: &[u32]) {
        for (position, &ignored) in targets.iter().enumerate() {
            let ignored = self.targets.get(ignored);
            for (label, value) in &ignored.labels {
                let first = targets[..position]
                    .iter()
                    .map(|&first| self.targets.get(first))
                    .find_map(|first| Some((first, first.labels.get(label)?)));
                let Some((counts, _)) = first.filter(|(_, first)| *first != value) else { continue };
                if self.warned_labels.insert((label.clone(), counts.name.clone(), ignored.name.clone())) {
                    self.warnings.push(Warning::LabelsDisagree {
                        repository: repository.clone(),
                        label: label.clone(),
                        counts: counts.name.clone(),
                        ignored: ignored.name.clone(),
                    });
                }
            }
        }
    }
}
