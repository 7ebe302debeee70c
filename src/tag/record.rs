//! The state of a tag that the store keeps across restarts.

use std::sync::Arc;

use super::Known;
use crate::image::Timestamp;
use crate::oci::{Repository, Tag};

/// The last known state of a tag: small, since it is written after every reading. Its images are in the store, by
/// digest.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct TagRecord {
    /// What the tag pointed at.
    pub known: Arc<Known>,
    /// Whether the last reading read everything that is selected.
    pub up: bool,
    /// When a reading last found this state, complete or not. A tag that stays unreadable for too long after it is
    /// dropped.
    pub confirmed: Timestamp,
    /// When a reading last read everything that is selected.
    pub last_success: Option<Timestamp>,
    /// When this exporter saw the digest change.
    pub changed: Option<Timestamp>,
}

/// A change of a tag's record in the store.
#[derive(Clone, Debug, PartialEq)]
pub struct TagChange {
    /// The tag's repository.
    pub repository: Repository,
    /// The tag.
    pub tag: Tag,
    /// The new record; `None` deletes it.
    pub kept: Option<TagRecord>,
}
