//! Which images begin with which others' layers: a tree of layers, in which images that share their first layers share a
//! path from the root.
//!
//! It finds the longest image that is the beginning of another one by walking towards the root, and the images that stand
//! on one by walking away from it: neither looks at any other image.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU32;

use hashbrown::HashTable;

use crate::oci::Digest;

/// No node: the end of a list.
const NONE: u32 = u32::MAX;
/// The node of no layers.
const ROOT: u32 = 0;

/// The layers of all watched images, from their first ones on.
pub(super) struct Chains {
    nodes: Vec<Node>,
    free: Vec<u32>,
    by_hash: HashTable<u32>,
    /// The nodes at which images end: few of all.
    ends: HashMap<u32, End>,
    /// Seeded by chance, so that nobody can choose digests whose hashes collide: among a million layers two do with a
    /// probability of one in thirty million.
    hasher: RandomState,
}

/// A layer on top of certain others.
struct Node {
    /// Of its digest and all below.
    hash: u64,
    parent: u32,
    /// The first layer on top of it.
    child: u32,
    /// The layers that stand on the same one, in a list.
    next: u32,
    previous: u32,
}

/// The images that end at a node, by repository: how many.
enum End {
    /// Of one repository, as at most nodes.
    One { repository: u32, images: u32 },
    #[expect(clippy::box_collection, reason = "few are of several, and the others need half of the memory so")]
    Several(Box<BTreeMap<u32, u32>>),
}

impl Default for Chains {
    fn default() -> Self {
        let root = Node { hash: 0, parent: NONE, child: NONE, next: NONE, previous: NONE };
        Self {
            nodes: vec![root],
            free: Vec::new(),
            by_hash: HashTable::new(),
            ends: HashMap::new(),
            hasher: RandomState::new(),
        }
    }
}

impl Chains {
    /// Adds an image of a repository, by its layers, bottom first; returns where it ends. `None` for one without layers.
    pub(super) fn insert<'a>(
        &mut self,
        layers: impl Iterator<Item = &'a Digest>,
        repository: u32,
    ) -> Option<NonZeroU32> {
        let mut at = ROOT;
        for layer in layers {
            let hash = self.hasher.hash_one((self.node(at).hash, layer));
            let known = self.by_hash.find(hash, |&node| self.node(node).hash == hash).copied();
            at = known.unwrap_or_else(|| self.add(at, hash));
        }
        if at == ROOT {
            return None;
        }
        self.ends.entry(at).or_insert(End::One { repository, images: 0 }).add(repository);
        NonZeroU32::new(at)
    }

    /// Removes an image of a repository that ends there, and the layers that no other image has in that place.
    pub(super) fn remove(&mut self, end: NonZeroU32, repository: u32) {
        let mut at = end.get();
        if self.ends.get_mut(&at).is_some_and(|end| end.subtract(repository)) {
            self.ends.remove(&at);
        }
        while at != ROOT && self.node(at).child == NONE && !self.ends.contains_key(&at) {
            at = self.drop(at);
        }
    }

    /// Where the longest image ends whose layers are the first ones of the image that ends here, and not all of them.
    pub(super) fn below(&self, end: NonZeroU32) -> Option<NonZeroU32> {
        self.path(end).find(|at| self.ends.contains_key(&at.get()))
    }

    /// Whether the image that ends at `base` is the beginning of the one that ends at `end`, and not all of it.
    pub(super) fn is_below(&self, base: NonZeroU32, end: NonZeroU32) -> bool {
        self.path(end).any(|at| at == base)
    }

    /// The nodes towards the root, without the first one.
    fn path(&self, end: NonZeroU32) -> impl Iterator<Item = NonZeroU32> {
        std::iter::successors(Some(end), |at| NonZeroU32::new(self.node(at.get()).parent)).skip(1)
    }

    /// Where the images end that stand directly on what ends here: no other image is between the two.
    pub(super) fn on_top(&self, end: NonZeroU32) -> Vec<NonZeroU32> {
        let mut found = Vec::new();
        let mut open = vec![self.node(end.get()).child];
        while let Some(at) = open.pop() {
            if at == NONE {
                continue;
            }
            let node = self.node(at);
            open.push(node.next);
            if self.ends.contains_key(&at) {
                found.extend(NonZeroU32::new(at));
            } else {
                open.push(node.child);
            }
        }
        found
    }

    /// The repositories of the images that end here, ascending.
    pub(super) fn repositories(&self, end: NonZeroU32) -> Vec<u32> {
        match self.ends.get(&end.get()) {
            Some(End::One { repository, .. }) => vec![*repository],
            Some(End::Several(several)) => several.keys().copied().collect(),
            None => Vec::new(),
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.by_hash.is_empty() && self.ends.is_empty() && self.free.len() + 1 == self.nodes.len()
    }

    fn node(&self, at: u32) -> &Node {
        &self.nodes[at as usize]
    }

    fn add(&mut self, parent: u32, hash: u64) -> u32 {
        let next = self.node(parent).child;
        let node = Node { hash, parent, child: NONE, next, previous: NONE };
        let number = if let Some(number) = self.free.pop() {
            self.nodes[number as usize] = node;
            number
        } else {
            self.nodes.push(node);
            u32::try_from(self.nodes.len() - 1).expect("four thousand million layers do not fit into memory")
        };
        self.nodes[parent as usize].child = number;
        if next != NONE {
            self.nodes[next as usize].previous = number;
        }
        let nodes = &self.nodes;
        self.by_hash.insert_unique(hash, number, |&node| nodes[node as usize].hash);
        number
    }

    /// Removes a node that has no child; returns its parent.
    fn drop(&mut self, at: u32) -> u32 {
        let &Node { hash, parent, next, previous, .. } = self.node(at);
        match previous {
            NONE => self.nodes[parent as usize].child = next,
            previous => self.nodes[previous as usize].next = next,
        }
        if next != NONE {
            self.nodes[next as usize].previous = previous;
        }
        if let Ok(found) = self.by_hash.find_entry(hash, |&node| node == at) {
            found.remove();
        }
        self.free.push(at);
        parent
    }
}

impl End {
    /// Adds an image of a repository.
    fn add(&mut self, of: u32) {
        match self {
            Self::One { repository, images } if *repository == of => *images += 1,
            Self::One { repository, images } => {
                *self = Self::Several(Box::new(BTreeMap::from([(*repository, *images), (of, 1)])));
            }
            Self::Several(several) => *several.entry(of).or_default() += 1,
        }
    }

    /// Removes an image of a repository; returns whether none is left.
    fn subtract(&mut self, of: u32) -> bool {
        match self {
            Self::One { images, .. } => {
                *images -= 1;
                *images == 0
            }
            Self::Several(several) => {
                if let Some(images) = several.get_mut(&of) {
                    *images -= 1;
                    if *images == 0 {
                        several.remove(&of);
                    }
                }
                if let (1, Some((&repository, &images))) = (several.len(), several.first_key_value()) {
                    *self = Self::One { repository, images };
                }
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn layers(numbers: &[u8]) -> Vec<Digest> {
        numbers.iter().map(|number| Digest::sha256_of(&[*number])).collect()
    }

    proptest! {
        #[test]
        fn the_tree_says_what_comparing_all_images_would(
            images in prop::collection::vec((prop::collection::vec(0..3_u8, 1..6), 1..4_u32), 0..12),
            kept in prop::collection::vec(any::<bool>(), 12),
        ) {
            let mut chains = Chains::default();
            let ends: Vec<NonZeroU32> =
                images.iter().map(|(numbers, of)| chains.insert(layers(numbers).iter(), *of).unwrap()).collect();
            for ((end, (_, of)), _) in ends.iter().zip(&images).zip(&kept).filter(|(_, kept)| !**kept) {
                chains.remove(*end, *of);
            }
            let left: Vec<(&[u8], u32, NonZeroU32)> = images.iter().zip(&ends).zip(&kept).filter(|(_, kept)| **kept)
                .map(|(((numbers, of), end), _)| (&**numbers, *of, *end)).collect();
            let is_below = |a: &[u8], b: &[u8]| b.starts_with(a) && b != a;
            for (numbers, _, end) in &left {
                let below = left.iter().filter(|(base, ..)| is_below(base, numbers)).max_by_key(|(base, ..)| base.len());
                prop_assert_eq!(chains.below(*end), below.map(|(_, _, end)| *end));
                for (other, _, other_end) in &left {
                    prop_assert_eq!(chains.is_below(*end, *other_end), is_below(numbers, other));
                }
                let on_top: BTreeSet<NonZeroU32> = left.iter().filter(|(other, ..)| is_below(numbers, other)
                    && !left.iter().any(|(between, ..)| is_below(numbers, between) && is_below(between, other)))
                    .map(|(_, _, end)| *end).collect();
                prop_assert_eq!(chains.on_top(*end).into_iter().collect::<BTreeSet<_>>(), on_top);
                let of: BTreeSet<u32> = left.iter().filter(|one| one.2 == *end).map(|one| one.1).collect();
                prop_assert_eq!(chains.repositories(*end).into_iter().collect::<BTreeSet<_>>(), of);
            }
            for (_, of, end) in left {
                chains.remove(end, of);
            }
            prop_assert!(chains.is_empty());
        }
    }

    #[test]
    fn an_image_without_layers_ends_nowhere() {
        assert_eq!(Chains::default().insert([].into_iter(), 1), None);
    }
}
