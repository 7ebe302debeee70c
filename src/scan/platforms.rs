//! Tags of which no platform is wanted: a slip in `platforms`, most likely, that would else look like success.

use std::fmt;

use crate::oci::{Digest, Location, Platform};
use crate::store::{IndexEntry, Store, Stored};
use crate::tag::{Outcome, TagRequest};

use super::children::means;

/// A tag that was read, and of whose platforms none is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoPlatform {
    /// `repository:tag`
    tag: String,
    /// Those that it has; at least one.
    platforms: Vec<Platform>,
}

impl NoPlatform {
    /// Of a tag that was read now, or found unchanged.
    pub fn of(store: &Store, wanted: &TagRequest, outcome: &Outcome) -> Option<Self> {
        if wanted.platforms.is_empty() {
            return None;
        }
        let means = |platform: &Platform| means(&wanted.platforms, platform);
        let (digest, is_whole, has_wanted) = match outcome {
            Outcome::Read(reading) => {
                let has_wanted = reading.images.iter().any(|image| means(&image.platform));
                (&reading.digest, reading.failed.is_empty(), has_wanted)
            }
            Outcome::Unchanged => {
                let known = wanted.known.as_ref()?;
                let has_wanted = known.images.iter().any(|(platform, _)| means(platform));
                (&known.digest, known.failed.is_empty(), has_wanted)
            }
            Outcome::Failed(_) | Outcome::Gone => return None,
        };
        if is_whole && !has_wanted { Self::of_document(store, wanted, digest) } else { None }
    }

    /// Of an index of which nothing is known but its entries.
    pub fn of_entries(wanted: &TagRequest, entries: &[IndexEntry]) -> Option<Self> {
        let of_images = || entries.iter().filter(|entry| !entry.attestation);
        // Of what has no platform here, its config would tell.
        if wanted.platforms.is_empty() || of_images().any(|entry| entry.platform.is_none()) {
            return None;
        }
        let platforms: Vec<Platform> = of_images().filter_map(|entry| entry.platform.clone()).collect();
        Self::new(wanted, platforms)
    }

    fn of_document(store: &Store, wanted: &TagRequest, digest: &Digest) -> Option<Self> {
        match store.document(digest)? {
            Stored::Image(image) => Self::new(wanted, vec![image.platform.clone()]),
            Stored::Index(index) => Self::of_entries(wanted, &index.entries),
        }
    }

    fn new(wanted: &TagRequest, platforms: Vec<Platform>) -> Option<Self> {
        let lacks = !platforms.is_empty() && !platforms.iter().any(|platform| means(&wanted.platforms, platform));
        lacks.then(|| Self { tag: Location::tag(&wanted.repository, &wanted.tag).to_string(), platforms })
    }

    /// One line for all of a target's.
    pub fn summary(all: &[Self]) -> Option<String> {
        let (first, others) = all.split_first()?;
        let others = match others.len() {
            0 => String::new(),
            1 => ", nor is one of another tag's".to_owned(),
            more => format!(", nor is one of {more} other tags'"),
        };
        Some(format!("{first}{others}"))
    }
}

impl fmt::Display for NoPlatform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let platforms: Vec<&str> = self.platforms.iter().map(Platform::as_str).collect();
        write!(f, "none of the platforms of {} ({}) is among the target's `platforms`", self.tag, platforms.join(", "))
    }
}
