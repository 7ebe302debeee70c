//! What the dates of tags do not say. Pure.

use std::collections::{BTreeMap, HashMap};

use super::history_report::{Note, NoteReason, NotedTag};
use super::moment::Millis;
use super::read::ReadRepository;
use super::timeline::{Dated, created};
use crate::image::{FIRST_IMAGE_SECONDS, Image};
use crate::oci::{Digest, Repository, Tag};
use crate::target::{Candidate, CandidateState, NewestBy, Target};

const FIRST_IMAGE: Millis = FIRST_IMAGE_SECONDS as Millis * 1000;

/// The notes of one repository.
pub(super) struct Notes<'a> {
    repository: &'a Repository,
    notes: BTreeMap<(Option<String>, NoteReason), Vec<NotedTag>>,
}

impl<'a> Notes<'a> {
    pub(super) fn new(repository: &'a Repository) -> Self {
        Self { repository, notes: BTreeMap::new() }
    }

    fn add(&mut self, target: Option<&Target>, reason: NoteReason, tag: &Tag, created: Option<Millis>) {
        let key = (target.map(|target| target.name.to_string()), reason);
        self.notes.entry(key).or_default().push(NotedTag { tag: tag.to_string(), created });
    }

    pub(super) fn finish(self) -> Vec<Note> {
        let repository = self.repository.to_string();
        let note = |((target, reason), tags)| Note { repository: repository.clone(), target, reason, tags };
        self.notes.into_iter().map(note).collect()
    }

    /// The tags with a date that can be one; notes the others.
    pub(super) fn dated<'r>(&mut self, read: &'r ReadRepository, now: Millis) -> BTreeMap<&'r Tag, Dated<'r>> {
        let mut dated = BTreeMap::new();
        for (tag, reading) in &read.tags {
            if reading.images.is_empty() {
                continue;
            }
            let at = created(reading);
            let usable = match at {
                None => Err(NoteReason::Undated),
                Some(at) if at < FIRST_IMAGE => Err(NoteReason::TooOld),
                Some(at) if at > now => Err(NoteReason::Future),
                Some(at) => Ok(at),
            };
            match usable {
                Err(reason) => self.add(None, reason, tag, at),
                Ok(at) => {
                    if reading.images.iter().any(|image| Image::compressed_bytes(image).is_none()) {
                        self.add(None, NoteReason::UnknownSize, tag, Some(at));
                    }
                    dated.insert(tag, Dated { at, reading });
                }
            }
        }
        dated
    }

    /// Notes the releases whose dates contradict their order.
    pub(super) fn order(
        &mut self,
        target: &Target,
        by: NewestBy,
        candidates: &[Candidate],
        dated: &BTreeMap<&Tag, Dated<'_>>,
    ) {
        let state = |tag: &Tag| match dated.get(tag) {
            #[expect(clippy::cast_precision_loss, reason = "it is only compared, and dates are far below 2^53 ms")]
            Some(dated) => CandidateState::Read(*dated, Some(dated.at as f64)),
            None => CandidateState::Unread,
        };
        // Of several with one date the first is the newest.
        let mut first: HashMap<Millis, &Digest> = HashMap::new();
        for (tag, release) in by.releases(candidates, state) {
            let digest = *first.entry(release.at).or_insert(&release.reading.digest);
            if *digest != release.reading.digest {
                self.add(Some(target), NoteReason::SameDate, tag, Some(release.at));
            }
        }
        // By version, highest first, whatever the target's order is: one that was rebuilt shows in both.
        let mut oldest: Option<(Millis, &Digest)> = None;
        for (tag, release) in NewestBy::Semver.releases(candidates, state) {
            let digest = &release.reading.digest;
            match oldest {
                Some((at, higher)) if release.at > at && digest != higher => {
                    self.add(Some(target), NoteReason::AfterHigherVersion, tag, Some(release.at));
                }
                Some((at, _)) if release.at >= at => {}
                _ => oldest = Some((release.at, digest)),
            }
        }
    }
}
