//! What a source sees running, by image.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::oci::{Digest, Repository, Tag};

/// The images of the containers that a source sees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Running {
    /// Sorted by repository and tag, each once.
    pub images: Vec<Arc<RunningImage>>,
    /// Containers that are not counted: their image is no reference, or they are beyond a limit.
    pub skipped: u64,
    /// What runs under other names than those of `images`: what rules leave out, or read elsewhere. Digests are tags too.
    pub unwatched: BTreeMap<Repository, BTreeSet<Tag>>,
    /// Whether a part of the source was never read: more may run.
    pub is_part: bool,
}

/// An image that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningImage {
    /// Its repository.
    pub repository: Repository,
    /// Its tag, or the digest that it is named by.
    pub tag: Tag,
    /// How many containers run it.
    pub containers: u64,
    /// How many nodes they are on; `None` where the source knows none.
    pub nodes: Option<u64>,
    /// The digests that they run, each with the number of its containers. Containers of which no digest is known are left
    /// out.
    pub digests: BTreeMap<Digest, u64>,
    /// What they are part of, sorted, each once.
    pub parts: Vec<RunningPart>,
}

/// A container of a workload: one of them for all of its replicas. Empty where the source does not know.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunningPart {
    /// The workload's namespace.
    pub namespace: Arc<str>,
    /// `Deployment`, for example.
    pub workload_kind: Arc<str>,
    /// The workload's name.
    pub workload: Arc<str>,
    /// The container's name.
    pub container: Arc<str>,
}

impl Running {
    /// The image of a repository and tag.
    pub fn image(&self, repository: &Repository, tag: &Tag) -> Option<&Arc<RunningImage>> {
        let found = self.images.binary_search_by(|image| (&image.repository, &image.tag).cmp(&(repository, tag)));
        found.ok().map(|at| &self.images[at])
    }

    /// Leaves out the images of other repositories.
    pub fn keep(&mut self, is_kept: impl Fn(&Repository) -> bool) {
        self.images.retain(|image| is_kept(&image.repository));
        self.unwatched.retain(|repository, _| is_kept(repository));
    }

    /// Whether this is everything that runs.
    pub fn is_whole(&self) -> bool {
        !self.is_part && self.skipped == 0
    }

    /// Whether a tag runs: by its name, or since a digest does that it points at, or that its index lists.
    pub fn runs(&self, repository: &Repository, tag: &Tag, digests: &[&Digest]) -> bool {
        if let Some(unwatched) = self.unwatched.get(repository)
            && (unwatched.contains(tag) || digests.iter().any(|digest| unwatched.contains(&Tag::of_digest(digest))))
        {
            return true;
        }
        let first = self.images.partition_point(|image| image.repository < *repository);
        let mut images = self.images[first..].iter().take_while(|image| image.repository == *repository);
        images.any(|image| {
            let named = image.tag.digest();
            let is_digest = |digest: &&Digest| image.digests.contains_key(*digest) || named.as_ref() == Some(*digest);
            image.tag == *tag || digests.iter().any(is_digest)
        })
    }

    /// Whether these are the same images, whatever runs them.
    pub fn has_same_images(&self, other: &Self) -> bool {
        let mut both = self.images.iter().zip(&other.images);
        self.images.len() == other.images.len() && both.all(|(a, b)| (&a.repository, &a.tag) == (&b.repository, &b.tag))
    }
}
