//! The life of one tag: what each outcome of a reading changes, and what it leaves.

use std::sync::Arc;

use super::layer_table::{LayerTable, StoredImage, TagContent};
use super::policy::{TagPolicy, covers};
use crate::image::{Image, Timestamp};
use crate::oci::{Digest, Reason};
use crate::tag::{Child, Known, Outcome, Reading, TagRecord};

/// What is known of one tag that is meant.
pub(super) struct TagState {
    pub(super) meaning: Arc<TagPolicy>,
    pub(super) turn: Turn,
    /// Whether it takes part in sums: not while all that mean it are targets whose first pass has not ended.
    pub(super) in_sums: bool,
    /// The last that is known for sure.
    pub(super) held: Option<TagContent>,
    /// Whether the last reading read all that it meant; none before the first.
    pub(super) up: Option<bool>,
    /// Whether the registry said that there is no such tag.
    pub(super) gone: bool,
    /// Why the last reading did not find what is held, or anything at all, where it does not say that it is gone.
    failing: Option<Reason>,
    /// What was held before it was let go of.
    last: Option<Digest>,
    pub(super) last_success: Option<Timestamp>,
    pub(super) changed: Option<Timestamp>,
}

/// Whether a tag's owner has to read it in its next scan.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nobody has been given it to read.
    Open,
    /// Its owner has been.
    Given,
    /// The target from which its owner took it over has been, and reads it for this once: two targets that find it by
    /// listing do not both ask for it.
    TakenOver,
}

/// What an outcome changed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing at all.
    None,
    /// Timestamps, and whether the tag is up.
    Times,
    /// What is held.
    TagContent,
}

impl TagState {
    pub(super) fn new(meaning: Arc<TagPolicy>) -> Self {
        Self {
            meaning,
            turn: Turn::Open,
            in_sums: false,
            held: None,
            up: None,
            gone: false,
            failing: None,
            last: None,
            last_success: None,
            changed: None,
        }
    }

    /// What was known before the program started.
    pub(super) fn restore(
        &mut self,
        kept: &TagRecord,
        image_of: impl Fn(&Digest) -> Option<Arc<Image>>,
        holdings: &mut LayerTable,
    ) {
        self.forget(holdings);
        let mut held = holdings.hold(&kept.known.reading(image_of), kept.confirmed);
        held.is_all = held.images.len() == kept.known.images.len();
        self.held = Some(held);
        self.up = Some(kept.up);
        self.last_success = kept.last_success;
        self.changed = kept.changed;
    }

    /// Another target joins those that mean it, or one leaves.
    pub(super) fn mean(&mut self, meaning: Arc<TagPolicy>) {
        let is_enough = covers(&self.meaning.platforms, &meaning.platforms);
        if self.turn == Turn::Given && self.meaning.owner != meaning.owner && is_enough {
            self.turn = Turn::TakenOver;
        }
        self.meaning = meaning;
    }

    /// Whether its owner, which begins a scan, has to read it.
    pub(super) fn give(&mut self) -> bool {
        std::mem::replace(&mut self.turn, Turn::Given) != Turn::TakenOver
    }

    /// What one reading found, or did not.
    pub(super) fn record(&mut self, at: Timestamp, outcome: &Outcome, holdings: &mut LayerTable) -> Effect {
        match outcome {
            Outcome::Unchanged => self.confirm(at),
            Outcome::Read(reading) if self.must_wait(reading) => self.fail(Reason::Network),
            Outcome::Read(reading) => self.replace(at, reading, holdings),
            Outcome::Failed(reason) => self.fail(*reason),
            Outcome::Gone => {
                let effect = if self.forget(holdings) { Effect::TagContent } else { Effect::Times };
                self.gone = true;
                self.failing = None;
                self.up = Some(false);
                effect
            }
        }
    }

    /// Drops what has been unreadable since before `deadline`; whether it did.
    pub(super) fn expire(&mut self, deadline: Timestamp, holdings: &mut LayerTable) -> bool {
        let expired = self.failing.is_some() && self.held.as_ref().is_some_and(|held| held.confirmed < deadline);
        expired && self.forget(holdings)
    }

    /// Lets go of what is held; whether anything was.
    pub(super) fn forget(&mut self, holdings: &mut LayerTable) -> bool {
        match self.held.take() {
            Some(held) => {
                self.last = Some(held.known.digest.clone());
                holdings.release(held);
                true
            }
            None => false,
        }
    }

    /// What the store has to remember; none where nothing is held.
    pub(super) fn kept(&self) -> Option<TagRecord> {
        let held = self.held.as_ref()?;
        Some(TagRecord {
            known: Arc::clone(&held.known),
            up: self.up == Some(true),
            confirmed: held.confirmed,
            last_success: self.last_success,
            changed: self.changed,
        })
    }

    /// Whether the tag is there for all that anybody knows: under a wildcard, or once it was listed, one that is
    /// gone is none.
    pub(super) fn is_selected(&self) -> bool {
        !self.gone || self.meaning.named
    }

    /// Whether nothing is known of it, not even that it does not exist, or of an index not one image.
    pub(super) fn is_unknown(&self) -> bool {
        let Some(held) = &self.held else { return !self.gone };
        self.images().next().is_none() && self.failed(&held.known.failed).any(|child| child.reason.is_transient())
    }

    /// Whether nothing is known of it, and another reading may tell.
    pub(super) fn is_awaited(&self) -> bool {
        self.is_unknown() && self.failing.is_none_or(Reason::is_transient)
    }

    /// The held images of wanted platforms.
    pub(super) fn images(&self) -> impl Iterator<Item = &StoredImage> {
        let held = self.held.iter().flat_map(|held| &held.images);
        held.filter(|image| self.meaning.wants(&image.platform))
    }

    /// Whether all that is wanted is held: no child failed for a reason that passes, and every layer's size is known.
    pub(super) fn is_whole(&self) -> bool {
        let Some(held) = &self.held else { return false };
        !self.failed(&held.known.failed).any(|child| child.reason.is_transient())
            && self.images().all(|image| image.is_counted)
    }

    /// Whether something that is wanted is lacking that another reading might find behind the same digest.
    pub(super) fn is_lacking(&self) -> bool {
        let Some(held) = &self.held else { return false };
        !self.was_looked_for()
            || self.failed(&held.known.failed).next().is_some()
            || self.images().any(|image| !image.is_counted)
    }

    /// Whether the reading of what is held looked for all platforms that are wanted now.
    pub(super) fn was_looked_for(&self) -> bool {
        let Some(held) = &self.held else { return false };
        covers(&held.known.platforms, &self.meaning.platforms) || held.known.index_bytes == 0 && !held.images.is_empty()
    }

    /// A tag changes all at once: what a reading found only in part does not replace what was found whole. What was
    /// itself found in part is replaced by another part of the same.
    fn must_wait(&self, reading: &Reading) -> bool {
        let Some(held) = &self.held else { return false };
        let in_part = |failed| self.failed(failed).any(|child: &Child| child.reason.is_transient());
        in_part(&reading.failed) && !(in_part(&held.known.failed) && held.known.digest == reading.digest)
    }

    fn confirm(&mut self, at: Timestamp) -> Effect {
        let Some(held) = &mut self.held else { return Effect::None };
        held.confirmed = at;
        self.settle(at);
        Effect::Times
    }

    fn replace(&mut self, at: Timestamp, reading: &Reading, holdings: &mut LayerTable) -> Effect {
        // The new is taken before the old is let go, so that what is in both keeps its numbers and facts.
        let held = holdings.hold(reading, at);
        let old = self.held.replace(held);
        let last = self.last.take();
        if old.as_ref().map(|old| &old.known.digest).or(last.as_ref()).is_some_and(|before| *before != reading.digest) {
            self.changed = Some(at);
        }
        if let Some(old) = old {
            holdings.release(old);
        }
        self.settle(at);
        Effect::TagContent
    }

    /// After a reading that found what is held now.
    fn settle(&mut self, at: Timestamp) {
        let up = self.held.as_ref().is_some_and(|held| self.is_up(&held.known));
        // A layer of unknown size, which schema 1 may name, was not read.
        let up = up && self.images().all(|image| image.is_counted);
        self.up = Some(up);
        self.gone = false;
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

    /// Whether all was read that is meant: a sparse index's missing children are none of it.
    fn is_up(&self, known: &Known) -> bool {
        self.failed(&known.failed).all(|child| child.reason == Reason::NotFound)
    }

    fn failed<'a>(&'a self, children: &'a [Child]) -> impl Iterator<Item = &'a Child> {
        children.iter().filter(|child| self.meaning.wants(&child.platform))
    }
}
