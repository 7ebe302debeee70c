//! Which of a repository's tags is the newest release, and which the one before it.
//!
//! Only tags that were read whole qualify. The choice is one tag for the repository; a platform that it lacks has no
//! newest release. The release before it is, for each platform, the next that has the platform and is a different
//! image: `1.27` and `latest` beside `1.27.3` are names of one release, not releases before it.

use std::collections::BTreeMap;

use super::policy::wants;
use super::snapshot::NewestView;
use super::tag_state::TagState;
use crate::image::Timestamp;
use crate::oci::{Digest, Platform, Tag};
use crate::target::{NewestBy, Target, Version};

/// A tag that may be the newest release.
pub(super) struct Candidate {
    pub(super) tag: Tag,
    pub(super) is_version: bool,
    pub(super) is_prerelease: bool,
}

impl Candidate {
    pub(super) fn of(tag: &Tag) -> Self {
        let version = Version::parse(tag.as_str());
        Self {
            tag: tag.clone(),
            is_version: version.is_some(),
            is_prerelease: version.is_some_and(|version| version.is_prerelease()),
        }
    }
}

/// The newest release for a target, one for each platform that it has.
pub(super) fn newest(target: &Target, candidates: &[Candidate], tags: &BTreeMap<Tag, TagState>) -> Vec<NewestView> {
    let Some(by) = target.newest else { return Vec::new() };
    let releases = releases(by, candidates, tags);
    let Some(((tag, state), before)) = releases.split_first() else { return Vec::new() };
    let Some(held) = &state.held else { return Vec::new() };
    let image = |state: &TagState, platform: &Platform| -> Option<(Digest, u64)> {
        let image = state.images().find(|image| image.platform == *platform)?;
        Some((image.summary.digest.clone(), image.summary.compressed_bytes?))
    };
    let wanted = state.images().filter(|image| wants(&target.platforms, &image.platform));
    wanted
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
                digest: held.known.digest.clone(),
            })
        })
        .collect()
}

/// The candidates that qualify, newest first: releases, or pre-releases where there is no release at all, read or not.
fn releases<'a>(
    by: NewestBy,
    candidates: &'a [Candidate],
    tags: &'a BTreeMap<Tag, TagState>,
) -> Vec<(&'a Tag, &'a TagState)> {
    let state = |candidate: &Candidate| tags.get(&candidate.tag);
    let there = |candidate: &&Candidate| {
        let is_gone = state(candidate).is_some_and(|state| state.gone);
        !is_gone && (candidate.is_version || by == NewestBy::Created)
    };
    let any_release = candidates.iter().filter(there).any(|candidate| !candidate.is_prerelease);
    let mut releases: Vec<_> = candidates
        .iter()
        .filter(there)
        .filter(|candidate| candidate.is_prerelease != any_release)
        .filter_map(|candidate| Some((&candidate.tag, state(candidate)?)))
        .filter(|(_, state)| state.is_whole())
        .collect();
    if by == NewestBy::Created {
        releases.retain(|(_, state)| created(state).is_some());
        releases.sort_by(|(_, a), (_, b)| created(b).partial_cmp(&created(a)).unwrap_or(std::cmp::Ordering::Equal));
    }
    releases
}

/// When the latest of a tag's images was made.
fn created(state: &TagState) -> Option<Timestamp> {
    state.images().filter_map(|image| image.summary.created).max_by(f64::total_cmp)
}
