//! The prediction against a registry that is simulated blob by blob, link by link.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

/// A registry as distribution stores one: blobs, and in each repository links to manifests and tags.
#[derive(Clone, Debug, Default)]
struct Store {
    blobs: BTreeMap<u32, u64>,
    /// What each manifest or index names.
    named: BTreeMap<u32, Vec<u32>>,
    revisions: BTreeSet<(usize, u32)>,
    tags: BTreeMap<(usize, usize), u32>,
}

impl Store {
    /// Puts a manifest into a repository, and what it reaches.
    fn link(&mut self, repository: usize, document: u32) {
        self.revisions.insert((repository, document));
        for child in self.named[&document].clone() {
            if self.named.contains_key(&child) {
                self.link(repository, child);
            }
        }
    }

    fn reached(&self, document: u32) -> BTreeSet<u32> {
        let mut reached = BTreeSet::from([document]);
        for child in &self.named[&document] {
            if self.named.contains_key(child) {
                reached.extend(self.reached(*child));
            }
        }
        reached
    }

    /// `DELETE /v2/<repository>/manifests/<digest>`, which deletes the tags as well.
    fn delete(&mut self, repository: usize, document: u32) {
        self.revisions.remove(&(repository, document));
        self.tags.retain(|(of, _), digest| (*of, *digest) != (repository, document));
    }

    /// `garbage-collect`, without `--delete-untagged`: what each linked manifest names is marked, one level.
    fn collect_garbage(&mut self) {
        let mut marked = BTreeSet::new();
        for (_, document) in &self.revisions {
            marked.insert(*document);
            marked.extend(&self.named[document]);
        }
        self.blobs.retain(|blob, _| marked.contains(blob));
    }

    fn bytes(&self) -> u64 {
        self.blobs.values().sum()
    }

    fn documents(&self, root: u32) -> Vec<Document> {
        let document = |of: u32| Document {
            digest: digest(of),
            bytes: self.blobs[&of],
            blobs: self.named[&of]
                .iter()
                .filter(|blob| !self.named.contains_key(blob))
                .map(|blob| Blob { digest: digest(*blob), bytes: self.blobs.get(blob).copied() })
                .collect(),
        };
        self.reached(root).into_iter().map(document).collect()
    }
}

fn digest(number: u32) -> Digest {
    Digest::sha256_of(&number.to_be_bytes())
}

/// A registry of three repositories: manifests of blobs from a small pool, so that most are shared; indexes of manifests
/// and of other indexes; tags of which several point at one digest; a blob that is named and not there.
fn store() -> impl Strategy<Value = Store> {
    let manifests = prop::collection::vec(prop::collection::vec(0_u32..13, 1..5), 1..8);
    let indexes = prop::collection::vec(prop::collection::vec(any::<Index>(), 1..4), 0..4);
    let tags = prop::collection::vec((0_usize..3, any::<Index>()), 1..14);
    (manifests, indexes, tags).prop_map(|(manifests, indexes, tags)| {
        let mut store = Store::default();
        // Blob 12 is named and never pushed: a foreign layer, or a child of a sparse index.
        for named in manifests.iter().flatten().filter(|blob| **blob < 12) {
            store.blobs.insert(*named, 1 << named);
        }
        let mut documents: Vec<u32> = Vec::new();
        for (number, named) in (100..).zip(manifests) {
            store.blobs.insert(number, 1 << (number - 80));
            store.named.insert(number, named);
            documents.push(number);
        }
        for (number, children) in (200..).zip(indexes) {
            let children = children.iter().map(|child| *child.get(&documents)).chain([12]).collect();
            store.blobs.insert(number, 1 << (number - 160));
            store.named.insert(number, children);
            documents.push(number);
        }
        for (at, (repository, root)) in tags.into_iter().enumerate() {
            let root = *root.get(&documents);
            store.tags.insert((repository, at), root);
            store.link(repository, root);
        }
        // What no tag reaches was collected before.
        store.collect_garbage();
        store
    })
}

/// Deletes from these repositories what may be deleted, collects the garbage, and returns the bytes that are gone.
fn deleted(store: &Store, gone: &BTreeSet<(usize, usize)>, from: &[usize]) -> u64 {
    let mut after = store.clone();
    for &repository in from {
        let contents: Vec<(bool, Vec<Document>)> = store
            .tags
            .iter()
            .filter(|((of, _), _)| *of == repository)
            .map(|(tag, root)| (gone.contains(tag), store.documents(*root)))
            .collect();
        let kept = contents.iter().filter(|(is_gone, _)| !is_gone).map(|(_, documents)| documents.as_slice());
        let held = documents_held(kept);
        let numbers: BTreeMap<Digest, u32> = store.named.keys().map(|number| (digest(*number), *number)).collect();
        for document in contents.iter().filter(|(is_gone, _)| *is_gone).flat_map(|(_, documents)| documents) {
            if !held.contains(&document.digest) {
                after.delete(repository, numbers[&document.digest]);
            }
        }
    }
    after.collect_garbage();
    // No tag that stays is broken.
    for (tag, root) in store.tags.iter().filter(|(tag, _)| !gone.contains(tag)) {
        assert_eq!(after.tags.get(tag), Some(root));
        for document in store.reached(*root) {
            assert!(after.revisions.contains(&(tag.0, document)) && after.blobs.contains_key(&document));
            let there = |blob: &u32| after.blobs.contains_key(blob) || !store.blobs.contains_key(blob);
            assert!(store.named[&document].iter().all(there));
        }
    }
    store.bytes() - after.bytes()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn what_is_freed_is_what_a_registry_is_rid_of(store in store(), chosen in prop::collection::vec(any::<bool>(), 14)) {
        let gone: BTreeSet<(usize, usize)> = store.tags.keys().filter(|(_, at)| chosen[*at]).copied().collect();
        let contents: Vec<((usize, usize), Vec<Document>)> =
            store.tags.iter().map(|(tag, root)| (*tag, store.documents(*root))).collect();
        let tags = contents.iter().map(|(tag, documents)| TaggedContent {
            repository: tag.0,
            is_gone: gone.contains(tag),
            documents,
        });
        let predicted = freed(tags, 3);
        prop_assert_eq!(predicted.bytes, deleted(&store, &gone, &[0, 1, 2]));
        for repository in 0..3 {
            let own = gone.iter().filter(|(of, _)| *of == repository).copied().collect();
            prop_assert_eq!(predicted.repositories[repository], deleted(&store, &own, &[repository]));
        }
    }
}

#[test]
fn where_documents_disagree_the_smallest_size_counts() {
    let document =
        |name: u32, bytes| Document { digest: digest(name), bytes: 10, blobs: vec![Blob { digest: digest(9), bytes }] };
    let (one, other) = ([document(1, Some(100))], [document(2, Some(70))]);
    let of = |is_gone, documents| TaggedContent { repository: 0, is_gone, documents };
    assert_eq!(freed([of(true, &one[..]), of(true, &other[..])], 1).bytes, 90);
    assert_eq!(freed([of(true, &one[..]), of(false, &other[..])], 1).bytes, 10);
}
