//! How many of the watched images share a layer, by the daemon's state file.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;

use crate::image::Image;
use crate::oci::Digest;
use crate::store::{Opened, Store, Stored};

/// How many watched images have a layer, by its digest.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sharing(HashMap<Digest, u64>);

impl Sharing {
    /// Reads a copy of a state file: a running daemon owns the file itself, and opening a state file may repair it or
    /// set it aside. `None` where there is no readable state.
    pub(super) fn from_copy(state: &Path) -> Option<Self> {
        let copy = std::env::temp_dir().join(format!("image-size-exporter-inspect-{}.redb", std::process::id()));
        let mut from = fs::File::open(state).ok()?;
        // Fails if a file or link is already there.
        let mut to = fs::File::create_new(&copy).ok()?;
        let copied = std::io::copy(&mut from, &mut to);
        let opened = copied.ok().and_then(|_| Store::open(&copy).ok());
        let sharing = match &opened {
            Some((store, Opened::Existing)) => Some(Self::from_store(store)),
            Some((_, Opened::SetAside { moved_to, .. })) => {
                let _ = fs::remove_file(moved_to);
                None
            }
            Some((_, Opened::Fresh)) | None => None,
        };
        drop(opened);
        let _ = fs::remove_file(&copy);
        sharing
    }

    /// Counts distinct manifests among the last known tags of a store.
    pub fn from_store(store: &Store) -> Self {
        let manifests: HashSet<Digest> = store
            .tags()
            .into_iter()
            .flat_map(|(_, _, kept)| kept.known.images.clone())
            .map(|(_, digest)| digest)
            .collect();
        let mut sharing = Self::default();
        for digest in manifests {
            if let Some(Stored::Image(image)) = store.document(&digest) {
                sharing.add(&image);
            }
        }
        sharing
    }

    /// How many images have the layer.
    pub(super) fn count(&self, layer: &Digest) -> u64 {
        self.0.get(layer).copied().unwrap_or(0)
    }

    fn add(&mut self, image: &Image) {
        let distinct: HashSet<&Digest> = image.layers.iter().map(|layer| &layer.digest).collect();
        for digest in distinct {
            *self.0.entry(digest.clone()).or_default() += 1;
        }
    }
}
