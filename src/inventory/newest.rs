//! The newest release of a repository for one target, and the release before it.
//!
//! The newest release is one tag; a platform that it lacks has no series. The release before it is, for each platform,
//! the next one that has the platform and is a different image: `1.27` and `latest` beside `1.27.3` name the same
//! release.

use std::collections::BTreeMap;

use super::snapshot::NewestView;
use super::tag_state::TagState;
use crate::image::Timestamp;
use crate::oci::{Digest, Platform, Tag};
use crate::target::{Candidate, CandidateState, Target};

/// The newest release for a target, one for each of its platforms.
pub(super) fn newest(target: &Target, candidates: &[Candidate], tags: &BTreeMap<Tag, TagState>) -> Vec<NewestView> {
    let Some(by) = target.newest else { return Vec::new() };
    let releases = by.releases(candidates, |tag| state_of(tags.get(tag)));
    let Some(((tag, state), before)) = releases.split_first() else { return Vec::new() };
    let Some(content) = &state.content else { return Vec::new() };
    let image = |state: &TagState, platform: &Platform| -> Option<(Digest, u64)> {
        let image = state.images().find(|image| image.platform == *platform)?;
        Some((image.summary.digest.clone(), image.summary.compressed_bytes?))
    };
    let selected = state.images().filter(|image| target.platforms.includes(&image.platform));
    selected
        .filter_map(|newest| {
            let previous = before
                .iter()
                .filter_map(|(_, state)| image(state, &newest.platform))
                .find(|(digest, _)| *digest != newest.summary.digest);
            Some(NewestView {
                target: target.name.clone(),
                platform: newest.platform.clone(),
                compressed_bytes: newest.summary.compressed_bytes?,
                previous_compressed_bytes: previous.map(|(_, bytes)| bytes),
                tag: (*tag).clone(),
                digest: content.known.digest.clone(),
            })
        })
        .collect()
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
