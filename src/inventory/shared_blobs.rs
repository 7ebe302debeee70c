//! The blobs that a policy lets go and that several repositories have, or may have: each is freed once nothing else has it.

use std::collections::HashMap;

use super::blob_exchange::OfKind;
use super::holders::HeldBlob;

/// Layers, or documents.
#[derive(Default)]
pub(super) struct SharedBlobs {
    blobs: HashMap<u32, SharedBlob>,
    /// Bytes of those that nothing else has.
    freed_bytes: u128,
    /// Those that were added or taken away since they were last settled.
    changed: Vec<u32>,
}

#[derive(Default)]
struct SharedBlob {
    /// How often it is named by what goes.
    gone: u32,
    /// Its bytes by what goes.
    sizes: Sizes,
    /// Its part in `freed_bytes`.
    freed_bytes: u64,
}

/// Bytes, and how many repositories say so.
enum Sizes {
    /// As nearly always.
    Same { bytes: u64, repositories: u32 },
    /// Manifests disagree.
    Differing(Vec<(u64, u32)>),
}

impl SharedBlobs {
    /// Adds what goes in a repository.
    pub(super) fn add(&mut self, of: &[HeldBlob]) {
        for held in of {
            let blob = self.blobs.entry(held.number).or_default();
            blob.gone += held.uses;
            blob.sizes.add(held.bytes);
            self.changed.push(held.number);
        }
    }

    /// Takes away what was added.
    pub(super) fn subtract(&mut self, of: &[HeldBlob]) {
        for held in of {
            let Some(blob) = self.blobs.get_mut(&held.number) else { continue };
            blob.gone -= held.uses;
            blob.sizes.subtract(held.bytes);
            if blob.gone == 0 {
                self.freed_bytes -= u128::from(blob.freed_bytes);
                self.blobs.remove(&held.number);
            }
            self.changed.push(held.number);
        }
    }

    /// Takes into account what changed, of these blobs too. `others`: what other shards say, and of which policy.
    pub(super) fn settle(&mut self, uses: &[u32], changed: &[u32], others: Option<(&OfKind, usize)>) {
        for number in changed.iter().copied().chain(std::mem::take(&mut self.changed)) {
            let Some(blob) = self.blobs.get_mut(&number) else { continue };
            let here = blob.gone_here(uses[number as usize]);
            let elsewhere = others.and_then(|(others, policy)| Some((others.elsewhere(number)?, policy)));
            let all = match elsewhere {
                Some((gone, policy)) => {
                    here.filter(|_| gone.policies.contains(policy)).map(|here| here.min(gone.bytes))
                }
                None => here,
            };
            self.freed_bytes -= u128::from(blob.freed_bytes);
            blob.freed_bytes = all.unwrap_or_default();
            self.freed_bytes += u128::from(blob.freed_bytes);
        }
    }

    /// Bytes of those that nothing else has, as of when they were settled.
    pub(super) fn freed_bytes(&self) -> u128 {
        self.freed_bytes
    }

    /// Those that were added or taken away since they were last settled, some of them repeatedly.
    pub(super) fn changed(&self) -> &[u32] {
        &self.changed
    }

    /// The bytes of a blob that goes from all tags here that have it.
    pub(super) fn gone_here(&self, number: u32, uses: &[u32]) -> Option<u64> {
        self.blobs.get(&number)?.gone_here(uses[number as usize])
    }
}

impl SharedBlob {
    /// Its bytes if all of these uses go.
    fn gone_here(&self, uses: u32) -> Option<u64> {
        (self.gone == uses).then(|| self.sizes.smallest())
    }
}

impl Sizes {
    fn add(&mut self, more: u64) {
        match self {
            Self::Same { bytes, repositories: repositories @ 0 } => (*bytes, *repositories) = (more, 1),
            Self::Same { bytes, repositories } if *bytes == more => *repositories += 1,
            Self::Same { bytes, repositories } => *self = Self::Differing(vec![(*bytes, *repositories), (more, 1)]),
            Self::Differing(sizes) => match sizes.iter_mut().find(|(bytes, _)| *bytes == more) {
                Some((_, repositories)) => *repositories += 1,
                None => sizes.push((more, 1)),
            },
        }
    }

    fn subtract(&mut self, less: u64) {
        match self {
            Self::Same { repositories, .. } => *repositories -= 1,
            Self::Differing(sizes) => {
                let counted = sizes.iter_mut().filter(|(bytes, _)| *bytes == less);
                counted.for_each(|(_, repositories)| *repositories -= 1);
                sizes.retain(|(_, repositories)| *repositories > 0);
            }
        }
    }

    fn smallest(&self) -> u64 {
        match self {
            Self::Same { bytes, .. } => *bytes,
            Self::Differing(sizes) => sizes.iter().map(|(bytes, _)| *bytes).min().unwrap_or_default(),
        }
    }
}

impl Default for Sizes {
    fn default() -> Self {
        Self::Same { bytes: 0, repositories: 0 }
    }
}
