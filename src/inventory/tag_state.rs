//! The state machine of one tag.

use std::sync::Arc;

use super::contents::Contents;
use super::layer_table::{StoredImage, TagContent};
use super::snapshot::Past;
use super::tag_settings::TagSettings;
use crate::image::{Image, Timestamp};
use crate::oci::{Digest, Reason, Repository, Tag};
use crate::tag::{Child, Known, Outcome, Reading, TagRecord, TagRequest};

/// Each such reading of a tag that does not exist asks as if nothing were known of it: a HEAD alone may be wrong for ever.
const GONE_CONFIRMED_EACH: u32 = 12;

/// The state of one selected tag.
pub(super) struct TagState {
    pub(super) settings: Arc<TagSettings>,
    assigned: Assigned,
    /// Whether it enters sums: not before one of the targets that select it has ended its first scan.
    pub(super) in_sums: bool,
    /// Its content when it was last read.
    pub(super) content: Option<TagContent>,
    /// Whether the last reading was complete; `None` before the first.
    pub(super) up: Option<bool>,
    /// Whether the registry said that the tag does not exist.
    pub(super) gone: bool,
    /// How often in a row it said so.
    gone_times: u32,
    /// Why the last reading did not confirm `content`, unless the tag is gone.
    failing: Option<Reason>,
    /// The digest of the last content, once that was dropped.
    last_digest: Option<Digest>,
    pub(super) last_success: Option<Timestamp>,
    pub(super) changed: Option<Timestamp>,
    /// What it pointed at before.
    pub(super) past: Past,
}

/// The target whose scan was assigned a tag.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Assigned {
    /// None.
    No,
    /// The tag's owner.
    ToOwner,
    /// The previous owner, which reads it for the last time: two targets that find a tag by listing do not both read
    /// it.
    ToFormerOwner,
}

/// The effect of an outcome.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing.
    None,
    /// Timestamps, and whether the tag is up.
    Times,
    /// The content.
    Content,
}

impl TagState {
    pub(super) fn new(settings: Arc<TagSettings>) -> Self {
        Self {
            settings,
            assigned: Assigned::No,
            in_sums: false,
            content: None,
            up: None,
            gone: false,
            gone_times: 0,
            failing: None,
            last_digest: None,
            last_success: None,
            changed: None,
            past: Past::default(),
        }
    }

    /// Restores a stored record.
    pub(super) fn restore(
        &mut self,
        record: &TagRecord,
        image_of: impl Fn(&Digest) -> Option<Arc<Image>>,
        contents: &mut Contents<'_>,
    ) {
        self.forget(contents);
        let mut content = contents.insert(&record.known.reading(image_of), record.confirmed);
        content.is_all = content.images.len() == record.known.images.len();
        self.content = Some(content);
        self.up = Some(record.up);
        self.last_success = record.last_success;
        self.changed = record.changed;
    }

    /// Another target selects the tag as well.
    pub(super) fn set_settings(&mut self, settings: Arc<TagSettings>) {
        let is_enough = self.settings.platforms.covers(&settings.platforms);
        if self.assigned == Assigned::ToOwner && self.settings.owner != settings.owner && is_enough {
            self.assigned = Assigned::ToFormerOwner;
        }
        self.settings = settings;
    }

    /// After a reload: the settings change, and scans under way no longer count.
    pub(super) fn reset_settings(&mut self, settings: Arc<TagSettings>) {
        self.settings = settings;
        self.assigned = Assigned::No;
    }

    /// Lets go of images of platforms that are no longer selected, so that no figure counts them. Should they be selected
    /// again, they are read again. This waits until all targets have said whether they select the tag.
    /// Returns whether there are any.
    pub(super) fn narrow(&mut self, contents: &mut Contents<'_>) -> bool {
        let platforms = &self.settings.platforms;
        let is_narrower = |content: &TagContent| {
            // A manifest is all there or not at all.
            (content.known.index_bytes == 0 || content.known.platforms.covers(platforms))
                && content.images.iter().any(|image| !platforms.includes(&image.platform))
        };
        let is_narrower = self.content.as_ref().is_some_and(is_narrower);
        if is_narrower {
            self.content = self.content.take().map(|content| contents.narrow(content, platforms));
        }
        is_narrower
    }

    /// Whether its owner, which begins a scan, has to read the tag.
    pub(super) fn assign(&mut self) -> bool {
        std::mem::replace(&mut self.assigned, Assigned::ToOwner) != Assigned::ToFormerOwner
    }

    /// The request to read it.
    pub(super) fn request(&self, repository: &Repository, tag: &Tag) -> TagRequest {
        TagRequest {
            repository: repository.clone(),
            tag: tag.clone(),
            known: self.content.as_ref().map(|content| Arc::clone(&content.known)),
            is_incomplete: self.is_incomplete(),
            platforms: self.settings.platforms.clone(),
            is_gone: self.gone && !self.gone_times.is_multiple_of(GONE_CONFIRMED_EACH),
            is_expected: self.settings.named,
        }
    }

    /// Applies the outcome of a reading.
    pub(super) fn record(&mut self, at: Timestamp, outcome: &Outcome, contents: &mut Contents<'_>) -> Effect {
        match outcome {
            Outcome::Unchanged => self.confirm(at),
            Outcome::Read(reading) if self.must_wait(reading) => self.fail(Reason::Network),
            Outcome::Read(reading) => self.replace(at, reading, contents),
            Outcome::Failed(reason) => self.fail(*reason),
            Outcome::Gone => {
                let effect = if self.forget(contents) { Effect::Content } else { Effect::Times };
                self.gone = true;
                self.gone_times = self.gone_times.wrapping_add(1);
                self.failing = None;
                self.up = Some(false);
                effect
            }
        }
    }

    /// Drops the content if the tag has been unreadable since before `deadline`; returns whether it did.
    pub(super) fn expire(&mut self, deadline: Timestamp, contents: &mut Contents<'_>) -> bool {
        let expired = self.failing.is_some() && self.content.as_ref().is_some_and(|last| last.confirmed < deadline);
        expired && self.forget(contents)
    }

    /// Drops the content; returns whether there was any.
    pub(super) fn forget(&mut self, contents: &mut Contents<'_>) -> bool {
        match self.content.take() {
            Some(content) => {
                self.last_digest = Some(content.known.digest.clone());
                contents.remove(content);
                true
            }
            None => false,
        }
    }

    /// The record for the store; `None` where the tag has no content.
    pub(super) fn to_record(&self) -> Option<TagRecord> {
        let content = self.content.as_ref()?;
        Some(TagRecord {
            known: Arc::clone(&content.known),
            up: self.up == Some(true),
            confirmed: content.confirmed,
            last_success: self.last_success,
            changed: self.changed,
        })
    }

    /// Whether the last reading said what the tag points at, or that it is gone.
    pub(super) fn is_confirmed(&self) -> bool {
        self.failing.is_none()
    }

    /// Whether the tag counts as selected: one that is gone does only where the configuration names it.
    pub(super) fn is_selected(&self) -> bool {
        !self.gone || self.settings.named
    }

    /// Whether the tag's content is unknown, even whether it exists; an index without a readable image counts as
    /// unknown.
    pub(super) fn is_unknown(&self) -> bool {
        let Some(content) = &self.content else { return !self.gone };
        self.images().next().is_none() && self.failed(&content.known).any(|child| child.reason.is_transient())
    }

    /// Whether the tag is unknown and another reading may change that.
    pub(super) fn is_awaited(&self) -> bool {
        self.is_unknown() && self.failing.is_none_or(Reason::is_transient)
    }

    /// The images of selected platforms.
    pub(super) fn images(&self) -> impl Iterator<Item = &StoredImage> {
        let images = self.content.iter().flat_map(|content| &content.images);
        images.filter(|image| self.settings.platforms.includes(&image.platform))
    }

    /// Whether everything selected is known: no child failed for a transient reason, and every layer's size is known.
    pub(super) fn is_complete(&self) -> bool {
        let Some(content) = &self.content else { return false };
        !self.failed(&content.known).any(|child| child.reason.is_transient())
            && self.images().all(|image| image.is_sized)
    }

    /// Whether the tag points at a digest, or at an index that lists it.
    pub(super) fn has_digest(&self, digest: &Digest) -> bool {
        self.content.as_ref().is_some_and(|content| {
            content.known.digest == *digest
                || content.images.iter().any(|image| image.summary.digest == *digest)
                || content.known.failed.iter().any(|child| child.digest == *digest)
        })
    }

    /// Whether a selected child that the registry has could not be read, for any reason.
    pub(super) fn has_unread(&self) -> bool {
        let Some(content) = &self.content else { return false };
        self.failed(&content.known).any(|child| child.reason != Reason::NotFound)
    }

    /// Whether something selected is missing that another reading may find behind the same digest.
    pub(super) fn is_incomplete(&self) -> bool {
        let Some(content) = &self.content else { return false };
        !self.covers_selection()
            || self.failed(&content.known).next().is_some()
            || self.images().any(|image| !image.is_sized)
    }

    /// Whether the reading behind the content covered all platforms that are selected now.
    pub(super) fn covers_selection(&self) -> bool {
        let Some(content) = &self.content else { return false };
        let is_manifest = content.known.index_bytes == 0 && !content.images.is_empty();
        is_manifest || content.known.platforms.covers(&self.settings.platforms)
    }

    /// A tag changes atomically: a partial reading does not replace a complete one, only another partial reading of the
    /// same digest.
    fn must_wait(&self, reading: &Reading) -> bool {
        let Some(content) = &self.content else { return false };
        let is_partial = self.failed(reading).any(|child| child.reason.is_transient());
        let was_partial = self.failed(&content.known).any(|child| child.reason.is_transient());
        is_partial && !(was_partial && content.known.digest == reading.digest)
    }

    fn confirm(&mut self, at: Timestamp) -> Effect {
        let Some(content) = &mut self.content else { return Effect::None };
        content.confirmed = at;
        self.finish(at);
        Effect::Times
    }

    fn replace(&mut self, at: Timestamp, reading: &Reading, contents: &mut Contents<'_>) -> Effect {
        // The new content is added before the old one is removed, so that layers in both keep their numbers and facts.
        let content = contents.insert(reading, at);
        let old = self.content.replace(content);
        let last = self.last_digest.take();
        if old.as_ref().map(|old| &old.known.digest).or(last.as_ref()).is_some_and(|before| *before != reading.digest) {
            self.changed = Some(at);
        }
        if let Some(old) = old {
            if old.known.digest != reading.digest {
                self.past = self.past.and(old.past(at));
            }
            contents.remove(old);
        }
        self.finish(at);
        Effect::Content
    }

    /// Notes the end of a reading that found the current content.
    fn finish(&mut self, at: Timestamp) {
        let up = self.content.as_ref().is_some_and(|content| self.is_up(&content.known));
        // A layer of unknown size, which schema 1 may list, counts as not read.
        let up = up && self.images().all(|image| image.is_sized);
        self.up = Some(up);
        self.gone = false;
        self.gone_times = 0;
        self.failing = None;
        if up {
            self.last_success = Some(at);
        }
    }

    fn fail(&mut self, reason: Reason) -> Effect {
        let before = (self.up, self.failing.is_some());
        self.up = Some(false);
        self.failing = Some(reason);
        if before == (self.up, true) { Effect::None } else { Effect::Times }
    }

    /// Whether everything that is selected was read. A sparse index's missing children are not selected.
    fn is_up(&self, known: &Known) -> bool {
        self.failed(known).all(|child| child.reason == Reason::NotFound)
    }

    /// The failed children of selected platforms.
    fn failed<'a, I>(&'a self, reading: &'a Reading<I>) -> impl Iterator<Item = &'a Child> {
        reading.failed.iter().filter(|child| self.settings.platforms.includes(&child.platform))
    }
}
