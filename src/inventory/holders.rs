//! Which blobs of a registry only one repository has.
//!
//! It is kept up to date by what changes: whether the tags of a repository are all who have a blob depends on that
//! repository alone while no other has it, so that the others need not be looked at. What is in other shards counts as one
//! repository.

use std::cmp::Ordering;

use super::layer_table::{StoredImage, TagContent};

/// Which repositories have the layers, and the documents, of a registry.
#[derive(Default)]
pub(super) struct Holders {
    pub(super) layers: HoldersByBlob,
    /// Manifests, configs and indexes.
    pub(super) documents: HoldersByBlob,
    /// The last number that a repository was given; none has 0.
    last: u32,
}

/// By blob.
#[derive(Default)]
pub(super) struct HoldersByBlob {
    holders: Vec<Holder>,
    /// The only repositories to have a blob that several had, or that several have now.
    outdated: Vec<u32>,
    /// The blobs of repositories that changed.
    changed: Vec<u32>,
}

/// The number of all repositories in other shards together.
const ELSEWHERE: u32 = u32::MAX;

/// The repositories that have one blob.
#[derive(Clone, Copy, Default)]
struct Holder {
    repositories: u32,
    /// Their numbers, combined by exclusive or: that of the only one, if there is one.
    numbers: u32,
}

/// The distinct blobs that a repository's tags have, ascending.
#[derive(Default)]
pub(super) struct Held {
    layers: Box<[u32]>,
    documents: Box<[u32]>,
}

/// A blob that some tags of a repository have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct HeldBlob {
    pub(super) number: u32,
    /// How often they name it.
    pub(super) uses: u32,
    /// Where manifests disagree, the smallest.
    pub(super) bytes: u64,
}

/// The distinct layers, and the distinct documents, of these tags, ascending.
pub(super) fn blobs<'a>(contents: impl Iterator<Item = &'a TagContent>) -> (Vec<HeldBlob>, Vec<HeldBlob>) {
    let (mut layers, mut documents) = (Vec::new(), Vec::new());
    let blob = |(number, bytes)| HeldBlob { number, uses: 1, bytes };
    for content in contents {
        documents.extend(content.documents().map(blob));
        layers.extend(content.images.iter().flat_map(StoredImage::held_layers).map(blob));
    }
    (distinct(layers), distinct(documents))
}

fn distinct(mut blobs: Vec<HeldBlob>) -> Vec<HeldBlob> {
    blobs.sort_unstable_by_key(|blob| blob.number);
    blobs.dedup_by(|next, first| {
        let is_same = next.number == first.number;
        if is_same {
            first.uses += next.uses;
            first.bytes = first.bytes.min(next.bytes);
        }
        is_same
    });
    blobs
}

impl Held {
    /// What these tags have.
    pub(super) fn new<'a>(contents: impl Iterator<Item = &'a TagContent>) -> Self {
        let numbers = |blobs: Vec<HeldBlob>| blobs.into_iter().map(|blob| blob.number).collect();
        let (layers, documents) = blobs(contents);
        Self { layers: numbers(layers), documents: numbers(documents) }
    }
}

impl Holders {
    /// A number for a repository that has none.
    pub(super) fn number(&mut self) -> u32 {
        self.last += 1;
        self.last
    }

    /// Notes that a repository has other blobs than before.
    pub(super) fn replace(&mut self, repository: u32, before: &Held, now: &Held) {
        self.layers.replace(repository, &before.layers, &now.layers);
        self.documents.replace(repository, &before.documents, &now.documents);
    }

    /// The repositories of which blobs became their own, or ceased to be, ascending.
    pub(super) fn take_outdated(&mut self) -> Vec<u32> {
        let mut outdated = std::mem::take(&mut self.layers.outdated);
        outdated.append(&mut self.documents.outdated);
        outdated.sort_unstable();
        outdated.dedup();
        outdated
    }

    /// All changes are taken into account.
    pub(super) fn settle(&mut self) {
        self.layers.changed.clear();
        self.documents.changed.clear();
    }
}

impl HoldersByBlob {
    /// Whether one repository has it, and no other.
    pub(super) fn is_ones_own(&self, blob: u32) -> bool {
        self.holders[blob as usize].repositories == 1
    }

    /// The blobs of which the use may have changed, some of them repeatedly.
    pub(super) fn changed(&self) -> &[u32] {
        &self.changed
    }

    /// Notes that what other shards say of a blob changed, and whether they had it before and have it now.
    pub(super) fn note_elsewhere(&mut self, blob: u32, before: bool, now: bool) {
        self.changed.push(blob);
        match (before, now) {
            (false, true) => self.change(ELSEWHERE, blob, |repositories| repositories + 1),
            (true, false) => self.change(ELSEWHERE, blob, |repositories| repositories - 1),
            _ => {}
        }
    }

    fn replace(&mut self, repository: u32, before: &[u32], now: &[u32]) {
        self.changed.extend_from_slice(before);
        self.changed.extend_from_slice(now);
        let (mut old, mut new) = (before.iter().copied().peekable(), now.iter().copied().peekable());
        loop {
            let order = match (old.peek(), new.peek()) {
                (Some(a), Some(b)) => a.cmp(b),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => break,
            };
            if order != Ordering::Greater
                && let Some(blob) = old.next()
                && order == Ordering::Less
            {
                self.change(repository, blob, |repositories| repositories - 1);
            }
            if order != Ordering::Less
                && let Some(blob) = new.next()
                && order == Ordering::Greater
            {
                self.change(repository, blob, |repositories| repositories + 1);
            }
        }
    }

    fn change(&mut self, repository: u32, blob: u32, count: impl Fn(u32) -> u32) {
        let end = blob as usize + 1;
        if self.holders.len() < end {
            self.holders.resize(end, Holder::default());
        }
        let holder = &mut self.holders[blob as usize];
        let before = *holder;
        *holder = Holder { repositories: count(before.repositories), numbers: before.numbers ^ repository };
        let alone = [before, *holder].into_iter().filter(|holder| holder.repositories == 1);
        self.outdated.extend(alone.map(|holder| holder.numbers).filter(|&alone| alone != repository));
    }
}
