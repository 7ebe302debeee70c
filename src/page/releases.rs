//! The newest releases of repositories, and how they grew.

use serde::Serialize;

use super::address::{Address, ImageName, Place};
use crate::image::Timestamp;
use crate::inventory::snapshot::{NewestView, RepositoryView};

/// The newest release of a repository for one target and platform.
#[derive(Debug, Serialize)]
pub(super) struct Release {
    pub(super) repository: String,
    pub(super) target: String,
    pub(super) platform: String,
    pub(super) tag: String,
    pub(super) compressed_bytes: u64,
    /// When the image was made.
    pub(super) created: Option<Timestamp>,
    pub(super) previous_tag: Option<String>,
    pub(super) previous_compressed_bytes: Option<u64>,
    /// Bytes that a node with the previous release fetches.
    pub(super) update_bytes: Option<u64>,
    #[serde(skip)]
    pub(super) links: Links,
}

/// Where a release's parts lead.
#[derive(Debug, Default)]
pub(super) struct Links {
    pub(super) repository: String,
    pub(super) image: String,
    /// The comparison with the release before.
    pub(super) compare: Option<String>,
}

impl Release {
    pub(super) fn new(view: &RepositoryView, newest: &NewestView) -> Self {
        let platform = Some(newest.platform.as_str());
        let name = |tag| ImageName::new(&view.repository, tag);
        let compare = newest.previous.as_ref().map(|before| {
            Address::of(Place::Compare(Some(name(&before.tag)), Some(name(&newest.release.tag)))).on(platform).link()
        });
        let repository = view.repository.to_string();
        Self {
            links: Links {
                repository: Address::of(Place::Repository(repository.clone())).link(),
                image: Address::of(Place::Image(name(&newest.release.tag))).on(platform).link(),
                compare,
            },
            repository,
            target: newest.target.to_string(),
            platform: newest.platform.to_string(),
            tag: newest.release.tag.to_string(),
            compressed_bytes: newest.release.compressed_bytes,
            created: created(view, newest),
            previous_tag: newest.previous.as_ref().map(|before| before.tag.to_string()),
            previous_compressed_bytes: newest.previous.as_ref().map(|before| before.compressed_bytes),
            update_bytes: newest.update_bytes,
        }
    }
}

/// When the image of a newest release was made.
pub(super) fn created(view: &RepositoryView, newest: &NewestView) -> Option<Timestamp> {
    let place = view.tags.binary_search_by(|tag| tag.tag.cmp(&newest.release.tag)).ok()?;
    let image = view.tags[place].images.iter().find(|image| image.platform == newest.platform)?;
    image.image.created
}

/// Bytes by which a release grew; 0 where it shrank or is the first.
pub(super) fn growth(newest: &NewestView) -> u64 {
    let before = newest.previous.as_ref().map_or(u64::MAX, |before| before.compressed_bytes);
    newest.release.compressed_bytes.saturating_sub(before)
}
