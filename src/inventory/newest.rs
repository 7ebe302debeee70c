//! The newest release of a repository for one target, and the release before it.
//!
//! The newest release is one tag; a platform that it lacks has no series. The release before it is, for each platform,
//! the next one that has the platform and is a different image: `1.27` and `latest` beside `1.27.3` name the same
//! release.

use std::collections::BTreeMap;

use super::largest_change::{CommandsOf, largest_change};
use super::layer_table::{LayerTable, StoredImage};
use super::snapshot::{NewestView, ReleaseView};
use super::tag_state::TagState;
use crate::image::Timestamp;
use crate::oci::{Platform, Tag};
use crate::target::{Candidate, CandidateState, Target};

/// The newest release for a target, one for each of its platforms.
pub(super) fn newest(
    target: &Target,
    candidates: &[Candidate],
    tags: &BTreeMap<Tag, TagState>,
    layers: &LayerTable,
    commands_of: CommandsOf<'_>,
) -> Vec<NewestView> {
    let Some(by) = target.newest else { return Vec::new() };
    let releases = by.releases(candidates, |tag| state_of(tags.get(tag)));
    let Some((newest, before)) = releases.split_first() else { return Vec::new() };
    let images = newest.1.images().filter(|image| target.platforms.includes(&image.platform));
    images
        .filter_map(|image| {
            let on_platform = before.iter().filter_map(|release| Some((release, on(release.1, &image.platform)?)));
            let previous = on_platform
                .filter(|(_, other)| other.summary.digest != image.summary.digest)
                .find_map(|(release, other)| Some((view(release, other)?, other)));
            Some(NewestView {
                target: target.name.clone(),
                platform: image.platform.clone(),
                release: view(newest, image)?,
                update_bytes: previous.as_ref().map(|(_, other)| layers.update_bytes(image, other)),
                largest_change: previous
                    .as_ref()
                    .and_then(|(_, other)| largest_change(layers, image, other, commands_of)),
                previous: previous.map(|(release, _)| release),
            })
        })
        .collect()
}

/// A release's image for a platform.
fn on<'a>(state: &'a TagState, platform: &Platform) -> Option<&'a StoredImage> {
    state.images().find(|image| image.platform == *platform)
}

fn view((tag, state): &(&Tag, &TagState), image: &StoredImage) -> Option<ReleaseView> {
    Some(ReleaseView {
        tag: (*tag).clone(),
        digest: state.content.as_ref()?.known.digest.clone(),
        compressed_bytes: image.summary.compressed_bytes?,
    })
}

fn state_of(state: Option<&TagState>) -> CandidateState<&TagState> {
    match state {
        Some(state) if state.gone => CandidateState::Gone,
        Some(state) if state.is_complete() => CandidateState::Read(state, created(state)),
        _ => CandidateState::Unread,
    }
}

/// When the latest of a tag's images was created.
fn created(state: &TagState) -> Option<Timestamp> {
    state.images().filter_map(|image| image.summary.created).max_by(f64::total_cmp)
}
