//! Tags without a selected platform: probably a mistake in `platforms`, which would otherwise look like success.

use std::fmt;

use crate::oci::{Digest, Location, Platform};
use crate::store::{IndexEntry, Store, Stored};
use crate::tag::{Outcome, TagRequest};

/// A tag that was read and has none of the selected platforms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoPlatform {
    /// `repository:tag`
    tag: String,
    /// The platforms that it has; at least one.
    platforms: Vec<Platform>,
}

impl NoPlatform {
    /// Checks a tag that was read or is unchanged.
    pub async fn check(store: &Store, wanted: &TagRequest, outcome: &Outcome) -> Option<Self> {
        if wanted.platforms.is_all() {
            return None;
        }
        let (digest, is_complete, has_selected) = match outcome {
            Outcome::Read(reading) => {
                let has_selected = reading.images.iter().any(|image| wanted.platforms.includes(&image.platform));
                (&reading.digest, reading.failed.is_empty(), has_selected)
            }
            Outcome::Unchanged => {
                let known = wanted.known.as_ref()?;
                let has_selected = known.images.iter().any(|(platform, _)| wanted.platforms.includes(platform));
                (&known.digest, known.failed.is_empty(), has_selected)
            }
            Outcome::Failed(_) | Outcome::Gone => return None,
        };
        if !is_complete || has_selected {
            return None;
        }
        store.load_documents(std::slice::from_ref(digest)).await;
        Self::check_document(store, wanted, digest)
    }

    /// Checks an index whose children were not read.
    pub fn check_entries(wanted: &TagRequest, entries: &[IndexEntry]) -> Option<Self> {
        let of_images = || entries.iter().filter(|entry| !entry.attestation);
        // The config of an entry without a platform may have a selected platform.
        if wanted.platforms.is_all() || of_images().any(|entry| entry.platform.is_none()) {
            return None;
        }
        let platforms: Vec<Platform> = of_images().filter_map(|entry| entry.platform.clone()).collect();
        Self::new(wanted, platforms)
    }

    fn check_document(store: &Store, wanted: &TagRequest, digest: &Digest) -> Option<Self> {
        match store.document(digest)? {
            Stored::Image(image) => Self::new(wanted, vec![image.platform.clone()]),
            Stored::Index(index) => Self::check_entries(wanted, &index.entries),
        }
    }

    fn new(wanted: &TagRequest, platforms: Vec<Platform>) -> Option<Self> {
        let mut distinct: Vec<Platform> = Vec::with_capacity(platforms.len());
        for platform in platforms {
            if !distinct.contains(&platform) {
                distinct.push(platform);
            }
        }
        let platforms = distinct;
        let lacks = !platforms.is_empty() && !platforms.iter().any(|platform| wanted.platforms.includes(platform));
        lacks.then(|| Self { tag: Location::tag(&wanted.repository, &wanted.tag).to_string(), platforms })
    }

    /// One line for all tags of a target.
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
