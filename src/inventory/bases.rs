//! What each image is built on. Its annotations say so; without them it is the watched image whose layers are the longest
//! beginning of its own.
//!
//! What was found stays when the base's tag moves on: it is remembered by the manifest of the image, here and in the store.
//! Only repositories are looked at of which an image, a base of an image, or the tag of such a base has changed.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::num::NonZeroU32;

use super::Inventory;
use super::layer_table::StoredImage;
use super::snapshot::BaseView;
use super::stale::StalePart;
use super::tag_state::TagState;
use crate::oci::{Platform, Repository, Tag};
use crate::tag::{Base, BaseName};
use crate::target::Version;

/// At a start all repositories are looked at: what is found is applied after so many.
const REPOSITORIES_AT_ONCE: usize = 256;

/// An image under a tag, as a base of others.
struct Candidate<'a> {
    repository: &'a Repository,
    tag: &'a Tag,
    state: &'a TagState,
    image: &'a StoredImage,
    version: Option<Version>,
}

/// The candidates, each looked up once.
#[derive(Default)]
struct Candidates<'a> {
    by_end: HashMap<NonZeroU32, Vec<Candidate<'a>>>,
    /// By the numbers of repositories.
    walked: HashMap<u32, Walked<'a>>,
}

/// An image with its tag.
type TaggedImage<'a> = (&'a Tag, &'a TagState, &'a StoredImage);

/// A repository of candidates.
#[derive(Default)]
struct Walked<'a> {
    /// How often all of its images were walked.
    times: usize,
    /// Its images by where they end, once that was often.
    by_end: HashMap<NonZeroU32, Vec<TaggedImage<'a>>>,
}

/// How often a repository is walked before its images are sorted: walking is faster for a few bases, and of a repository
/// whose images are built on each other there may be thousands.
const WALKS_MAX: usize = 8;

/// What an image is built on now.
struct Found {
    tag: Tag,
    /// The image's position in the tag's content.
    at: usize,
    base: Option<Base>,
    is_current: Option<bool>,
}

impl Inventory {
    /// Updates the bases of images that may have another one now, and has the views of those that do be made again. Returns
    /// how many repositories it looked at.
    pub(super) fn refresh_bases(&mut self) -> usize {
        let stale: Vec<u32> = self.bases.take_stale().into_iter().collect();
        for numbers in stale.chunks(REPOSITORIES_AT_ONCE) {
            let mut candidates = Candidates::default();
            let found = numbers.iter().filter_map(|&number| {
                let name = self.bases.repository(number)?;
                Some((number, name.clone(), self.find_bases(name, &mut candidates)))
            });
            let found: Vec<(u32, Repository, Vec<Found>)> = found.collect();
            drop(candidates);
            for (number, name, found) in found.into_iter().filter(|(.., found)| !found.is_empty()) {
                self.set_bases_of(number, &name, found);
            }
        }
        stale.len()
    }

    fn set_bases_of(&mut self, number: u32, name: &Repository, found: Vec<Found>) {
        let Some(registry) = self.registries.get_mut(name.registry()) else { return };
        let Some(repository) = registry.repositories.get_mut(name) else { return };
        for Found { tag, at, base, is_current } in found {
            let content = repository.tags.get_mut(&tag).and_then(|state| state.content.as_mut());
            let Some(image) = content.and_then(|content| content.images.get_mut(at)) else { continue };
            image.link.is_current = is_current;
            if image.link.base.as_deref() != base.as_ref() {
                self.bases.set(number, &mut image.link, base);
                // Of what only annotations say there is nothing to remember.
                let learnt = image.link.base.as_ref().filter(|base| base.bytes.is_some() || base.layers > 0);
                self.bases_found.extend(learnt.map(|base| (image.summary.digest.clone(), base.clone())));
            }
        }
        registry.stale.mark_with(&mut repository.stale, StalePart::View);
    }

    /// What has changed about the bases of a repository's images.
    fn find_bases<'a>(&'a self, name: &Repository, candidates: &mut Candidates<'a>) -> Vec<Found> {
        let mut changed = Vec::new();
        for (tag, state) in self.repository(name).into_iter().flat_map(|repository| &repository.tags) {
            let images = state.content.iter().flat_map(|content| &content.images);
            for (at, image) in images.enumerate() {
                let base = self.find_base(name, image, candidates);
                let is_current = base.as_ref().and_then(|base| self.is_current(base, image));
                if image.link.base.as_deref() != base.as_ref() || image.link.is_current != is_current {
                    changed.push(Found { tag: tag.clone(), at, base, is_current });
                }
            }
        }
        changed
    }

    fn find_base<'a>(&'a self, name: &Repository, image: &StoredImage, seen: &mut Candidates<'a>) -> Option<Base> {
        let below = image.link.end.and_then(|end| self.bases.chains.below(end));
        let candidates = match below {
            Some(end) => {
                let Candidates { by_end, walked } = seen;
                &**by_end.entry(end).or_insert_with(|| self.candidates(end, walked))
            }
            None => &[],
        };
        match &image.link.named {
            Some(named) => Some(self.named(named, image, candidates)),
            // The longest beginning may be an image of another shard.
            None if self.is_sharded() => None,
            None => self.by_layers(name, image, candidates),
        }
    }

    /// The base that annotations name: they win over the layers, which may be squashed.
    fn named(&self, named: &BaseName, image: &StoredImage, candidates: &[Candidate<'_>]) -> Base {
        let known = image.link.base.as_deref();
        let of_tag = named.tag.as_ref().and_then(|tag| self.candidate(&named.repository, tag, image));
        let Some(digest) = &named.digest else {
            let is_below = |base: &&StoredImage| {
                base.link.end.zip(image.link.end).is_some_and(|(base, end)| self.bases.chains.is_below(base, end))
            };
            let fits =
                of_tag.filter(|(_, base)| is_below(base)).map(|(state, base)| self.base(named, state, base, image));
            // What the tag had when its layers were the image's first ones.
            let known =
                known.filter(|known| (&known.name.repository, &known.name.tag) == (&named.repository, &named.tag));
            return fits.or_else(|| known.cloned()).unwrap_or_else(|| unread(named));
        };
        if let Some((state, base)) = of_tag.filter(|(state, _)| state.has_digest(digest)) {
            return Base { name: named.clone(), ..self.base(named, state, base, image) };
        }
        let was_read = |known: &&Base| known.bytes.is_some() || known.layers > 0;
        if let Some(known) = known.filter(|known| known.name == *named).filter(was_read) {
            return known.clone();
        }
        // A mirror may have it under another name.
        let mirrored = candidates.iter().find(|candidate| candidate.state.has_digest(digest));
        match mirrored {
            Some(Candidate { state, image: base, .. }) => {
                Base { name: named.clone(), ..self.base(named, state, base, image) }
            }
            None => unread(named),
        }
    }

    /// The base by its layers: what is watched now, or what was found before.
    fn by_layers(&self, name: &Repository, image: &StoredImage, candidates: &[Candidate<'_>]) -> Option<Base> {
        let known = image.link.base.as_deref();
        let best = candidates.iter().min_by_key(|candidate| candidate.rank(name, &image.platform));
        let Some(best) = best else { return known.cloned() };
        if let Some(known) = known {
            let best_layers = layers(best.image);
            let tag = known.name.tag.as_ref();
            let is_still_there = |of: &Candidate<'_>| *of.repository == known.name.repository && Some(of.tag) == tag;
            let has_moved = self.tag(&known.name).is_some_and(|state| state.content.is_some())
                && !candidates.iter().any(is_still_there);
            // The tag moved on, which is to be seen, although another tag may have stayed.
            if has_moved && known.layers >= best_layers {
                return Some(known.clone());
            }
        }
        let name = BaseName { repository: best.repository.clone(), tag: Some(best.tag.clone()), digest: None };
        Some(self.base(&name, best.state, best.image, image))
    }

    /// A base that is watched.
    fn base(&self, name: &BaseName, state: &TagState, base: &StoredImage, image: &StoredImage) -> Base {
        let digest = state.content.as_ref().map(|content| content.known.digest.clone());
        let ends = base.link.end.zip(image.link.end);
        let is_below = ends.is_some_and(|(base, end)| self.bases.chains.is_below(base, end));
        Base {
            name: BaseName { digest, ..name.clone() },
            bytes: base.summary.compressed_bytes,
            layers: if is_below { layers(base) } else { 0 },
        }
    }

    /// Whether a base's tag still has it. `None` where nothing is known of the tag, or not of the image's platform.
    fn is_current(&self, base: &Base, image: &StoredImage) -> Option<bool> {
        let state = self.tag(&base.name)?;
        let content = state.content.as_ref()?;
        if state.has_digest(base.name.digest.as_ref()?) {
            return Some(true);
        }
        // It was built after the tag was last read: on what the tag has since, for all that is known.
        if image.summary.created.is_some_and(|created| created > content.confirmed) {
            return None;
        }
        let is_known = |other: &StoredImage| other.platform == image.platform;
        (content.known.index_bytes == 0 || content.images.iter().any(is_known)).then_some(false)
    }

    fn tag(&self, name: &BaseName) -> Option<&TagState> {
        self.repository(&name.repository)?.tags.get(name.tag.as_ref()?)
    }

    /// The image of a tag that one for the same platform is built on.
    fn candidate(&self, repository: &Repository, tag: &Tag, image: &StoredImage) -> Option<(&TagState, &StoredImage)> {
        let state = self.repository(repository)?.tags.get(tag)?;
        let content = state.content.as_ref()?;
        let named = image.link.named.as_ref().and_then(|named| named.digest.as_ref());
        let has_digest = |one: &&StoredImage| Some(&one.summary.digest) == named;
        let found = content.images.iter().find(has_digest);
        Some((state, found.or_else(|| content.images.iter().find(|one| one.platform == image.platform))?))
    }

    /// The images that end at a place in the chains.
    fn candidates<'a>(&'a self, end: NonZeroU32, walked: &mut HashMap<u32, Walked<'a>>) -> Vec<Candidate<'a>> {
        let mut candidates = Vec::new();
        for number in self.bases.chains.repositories(end) {
            let Some(name) = self.bases.repository(number) else { continue };
            let images = walked.entry(number).or_default().at(end, || self.images(name));
            candidates.extend(images.into_iter().map(|(tag, state, image)| Candidate {
                repository: name,
                tag,
                state,
                image,
                version: Version::parse(tag.as_str()),
            }));
        }
        candidates
    }

    /// All images of a repository.
    fn images(&self, name: &Repository) -> impl Iterator<Item = TaggedImage<'_>> {
        let tags = self.repository(name).into_iter().flat_map(|repository| &repository.tags);
        tags.flat_map(|(tag, state)| {
            let images = state.content.iter().flat_map(|content| &content.images);
            images.map(move |image| (tag, state, image))
        })
    }
}

impl<'a> Walked<'a> {
    /// Those of a repository's images that end at a place in the chains.
    fn at<Images: Iterator<Item = TaggedImage<'a>>>(
        &mut self,
        end: NonZeroU32,
        images: impl Fn() -> Images,
    ) -> Vec<TaggedImage<'a>> {
        if self.times < WALKS_MAX {
            self.times += 1;
            return images().filter(|(_, _, image)| image.link.end == Some(end)).collect();
        }
        if self.by_end.is_empty() {
            for tagged in images() {
                if let Some(end) = tagged.2.link.end {
                    self.by_end.entry(end).or_default().push(tagged);
                }
            }
        }
        self.by_end.get(&end).cloned().unwrap_or_default()
    }
}

impl Candidate<'_> {
    /// Of several the one with the lowest rank names the base: for the same platform; with a tag and not by a digest; on the
    /// same registry; in another repository; with a version, of these the least exact one, since its tag moves when the base
    /// is built again, as a Dockerfile's mostly does; the newest; the first by name.
    fn rank(&self, of: &Repository, platform: &Platform) -> impl Ord + use<'_> {
        (
            self.image.platform != *platform,
            self.tag.digest().is_some(),
            self.repository.registry() != of.registry(),
            self.repository == of,
            self.version.as_ref().map_or(usize::MAX, Version::exactness),
            Reverse(self.version.as_ref()),
            self.repository,
            self.tag,
        )
    }
}

/// A base of which only the name is known.
fn unread(named: &BaseName) -> Base {
    Base { name: named.clone(), bytes: None, layers: 0 }
}

fn layers(image: &StoredImage) -> u32 {
    u32::try_from(image.summary.layers).unwrap_or(u32::MAX)
}

/// What is published of an image's base.
pub(super) fn view(image: &StoredImage) -> Option<BaseView> {
    image.link.base.as_ref().map(|base| BaseView { base: base.clone(), is_current: image.link.is_current })
}
