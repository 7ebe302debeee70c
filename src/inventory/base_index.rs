//! Which images are built on which: an index over the images of all registries, kept up to date by each one that comes
//! or goes. It also says of which repositories a base may have changed since, so that no other is looked at.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::num::NonZeroU32;
use std::sync::Arc;

use super::chains::Chains;
use crate::image::Image;
use crate::oci::{Digest, Repository, Tag};
use crate::tag::{Base, BaseName, BaseNames};

/// Looks up what is stored by a digest.
pub type Lookup<T> = Box<dyn Fn(&Digest) -> Option<Arc<T>> + Send + Sync>;

/// Looks up what is stored about bases, by the digests of manifests and indexes.
pub struct BaseSource {
    /// The bases that a document's annotations name.
    pub names: Lookup<BaseNames>,
    /// The base that was found for an image.
    pub bases: Lookup<Base>,
}

impl Default for BaseSource {
    /// Nothing is stored.
    fn default() -> Self {
        Self { names: Box::new(|_| None), bases: Box::new(|_| None) }
    }
}

/// The bases of all watched images.
#[derive(Default)]
pub(super) struct BaseIndex {
    pub(super) source: BaseSource,
    pub(super) chains: Chains,
    numbers: HashMap<Repository, u32>,
    repositories: Vec<Option<Repository>>,
    free: Vec<u32>,
    /// By the tag that bases are named by: the repositories of the images that are built on them, and how many of each.
    built_on: HashMap<(Repository, Tag), BTreeMap<u32, u32>>,
    /// Where images began to end, or ceased to.
    touched: HashSet<NonZeroU32>,
    /// The repositories with an image whose base may have changed.
    stale: BTreeSet<u32>,
    /// Images share their bases: one allocation for each.
    pool: HashSet<Arc<Base>>,
    names: HashSet<Arc<BaseName>>,
    /// How many of both there were when unused ones were removed.
    pooled: usize,
}

/// What an image has to do with bases.
#[derive(Default)]
pub(super) struct BaseLink {
    /// Where its layers end in [`BaseIndex::chains`]; none for what is no container image.
    pub(super) end: Option<NonZeroU32>,
    /// What its annotations say.
    pub(super) named: Option<Arc<BaseName>>,
    /// What it is built on.
    pub(super) base: Option<Arc<Base>>,
    /// Whether the base's tag still has it; `None` where that is unknown.
    pub(super) is_current: Option<bool>,
}

/// A tag, and its repository's number.
#[derive(Clone, Copy)]
pub(super) struct TagPlace<'a> {
    pub(super) number: u32,
    pub(super) repository: &'a Repository,
    pub(super) tag: &'a Tag,
}

/// So many unused bases and names are kept beside as many used ones.
const UNUSED_MIN: usize = 1_000;

impl BaseIndex {
    /// The number of a repository.
    pub(super) fn number(&mut self, repository: &Repository) -> u32 {
        if let Some(&number) = self.numbers.get(repository) {
            return number;
        }
        let number = if let Some(number) = self.free.pop() {
            self.repositories[number as usize] = Some(repository.clone());
            number
        } else {
            self.repositories.push(Some(repository.clone()));
            u32::try_from(self.repositories.len() - 1)
                .expect("four thousand million repositories do not fit into memory")
        };
        self.numbers.insert(repository.clone(), number);
        number
    }

    /// Forgets a repository, of which no image is left.
    pub(super) fn forget(&mut self, repository: &Repository) {
        if let Some(number) = self.numbers.remove(repository) {
            self.repositories[number as usize] = None;
            self.free.push(number);
        }
    }

    /// The repository of a number.
    pub(super) fn repository(&self, number: u32) -> Option<&Repository> {
        self.repositories.get(number as usize)?.as_ref()
    }

    /// Notes that a tag's content changes.
    pub(super) fn touch(&mut self, place: TagPlace<'_>) {
        self.stale.insert(place.number);
        if let Some(built_on_it) = self.built_on.get(&(place.repository.clone(), place.tag.clone())) {
            self.stale.extend(built_on_it.keys());
        }
    }

    /// Adds an image. `by_index`: what the annotations of its index say.
    pub(super) fn insert(&mut self, place: TagPlace<'_>, image: &Image, by_index: Option<&BaseNames>) -> BaseLink {
        if !image.artifact_type.is_empty() {
            return BaseLink::default();
        }
        let layers = image.layers.iter().map(|layer| layer.diff_id.as_ref().unwrap_or(&layer.digest));
        let end = self.chains.insert(layers, place.number);
        self.touched.extend(end);
        let by_manifest = (self.source.names)(&image.digest);
        let named = BaseNames::of_image(by_manifest.as_deref(), by_index, &image.digest).cloned();
        let link = BaseLink {
            end,
            named: named.map(|name| share(&mut self.names, name)),
            base: (self.source.bases)(&image.digest).map(|base| share(&mut self.pool, (*base).clone())),
            is_current: None,
        };
        self.count(place.number, &link);
        link
    }

    /// Removes an image.
    pub(super) fn remove(&mut self, place: TagPlace<'_>, link: &BaseLink) {
        if let Some(end) = link.end {
            self.chains.remove(end, place.number);
            self.touched.insert(end);
        }
        self.discount(place.number, link);
    }

    /// Sets what an image of a repository is built on.
    pub(super) fn set(&mut self, number: u32, link: &mut BaseLink, base: Option<Base>) {
        self.discount(number, link);
        link.base = base.map(|base| share(&mut self.pool, base));
        self.count(number, link);
    }

    /// The repositories with an image whose base may have changed since the last call.
    pub(super) fn take_stale(&mut self) -> BTreeSet<u32> {
        for end in std::mem::take(&mut self.touched) {
            for on_top in self.chains.on_top(end) {
                self.stale.extend(self.chains.repositories(on_top));
            }
        }
        if self.pool.len() + self.names.len() > 2 * self.pooled + UNUSED_MIN {
            self.pool.retain(|base| Arc::strong_count(base) > 1);
            self.names.retain(|name| Arc::strong_count(name) > 1);
            self.pooled = self.pool.len() + self.names.len();
        }
        std::mem::take(&mut self.stale)
    }

    fn count(&mut self, number: u32, link: &BaseLink) {
        if let Some(tag) = link.tag() {
            *self.built_on.entry(tag).or_default().entry(number).or_default() += 1;
        }
    }

    fn discount(&mut self, number: u32, link: &BaseLink) {
        let Some(tag) = link.tag() else { return };
        let Some(repositories) = self.built_on.get_mut(&tag) else { return };
        if let Some(images) = repositories.get_mut(&number) {
            *images -= 1;
            if *images == 0 {
                repositories.remove(&number);
            }
        }
        if repositories.is_empty() {
            self.built_on.remove(&tag);
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.chains.is_empty() && self.built_on.is_empty()
    }
}

impl BaseLink {
    /// The tag whose content says whether the base is current.
    fn tag(&self) -> Option<(Repository, Tag)> {
        let name = self.named.as_deref().or_else(|| Some(&self.base.as_ref()?.name))?;
        Some((name.repository.clone(), name.tag.clone()?))
    }
}

fn share<T: Eq + std::hash::Hash>(pool: &mut HashSet<Arc<T>>, value: T) -> Arc<T> {
    if let Some(shared) = pool.get(&value) {
        return Arc::clone(shared);
    }
    let shared = Arc::new(value);
    pool.insert(Arc::clone(&shared));
    shared
}
