//! Interns digests: each is stored once and numbered.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

use super::digest_list::DigestList;
use crate::oci::Digest;

/// Assigns numbers to digests, from 0. The number of a digest that is no longer used goes to the next new one.
#[derive(Default)]
pub(super) struct Interner {
    numbers: HashTable<u32>,
    digests: DigestList,
    /// Beside the digests, since policies look at the use counts of most numbers, and at nothing else.
    uses: Vec<u32>,
    free: Vec<u32>,
    hasher: RandomState,
    renumbered: Option<Renumbered>,
}

/// In turn, the numbers that were given to a digest, and those that this digest released.
pub(super) type Renumbered = Vec<(u32, Option<Digest>)>;

impl Interner {
    /// The digest's number, with its use count raised, and whether it is new.
    pub(super) fn intern(&mut self, digest: &Digest) -> (u32, bool) {
        let hash = self.hasher.hash_one(digest);
        if let Some(&number) = self.numbers.find(hash, |&number| self.digest(number) == digest) {
            self.uses[number as usize] += 1;
            return (number, false);
        }
        let number = if let Some(number) = self.free.pop() {
            self.digests.replace(number, digest.clone());
            self.uses[number as usize] = 1;
            number
        } else {
            self.digests.push(digest.clone());
            self.uses.push(1);
            u32::try_from(self.digests.len() - 1).expect("four thousand million digests do not fit into memory")
        };
        let (digests, hasher) = (&self.digests, &self.hasher);
        self.numbers.insert_unique(hash, number, |&number| hasher.hash_one(&digests[number]));
        if let Some(renumbered) = &mut self.renumbered {
            renumbered.push((number, None));
        }
        (number, true)
    }

    /// Lowers the use count; returns whether that was the last use.
    pub(super) fn release(&mut self, number: u32) -> bool {
        let uses = &mut self.uses[number as usize];
        *uses -= 1;
        if *uses > 0 {
            return false;
        }
        let hash = self.hasher.hash_one(self.digest(number));
        if let Ok(found) = self.numbers.find_entry(hash, |&other| other == number) {
            found.remove();
        }
        self.free.push(number);
        if let Some(renumbered) = &mut self.renumbered {
            renumbered.push((number, Some(self.digests[number].clone())));
        }
        true
    }

    /// Whether it notes which numbers are given and released.
    pub(super) fn note_renumbered(&mut self, notes: bool) {
        self.renumbered = notes.then(|| self.take_renumbered());
    }

    /// What was noted since the last call.
    pub(super) fn take_renumbered(&mut self) -> Renumbered {
        self.renumbered.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// The numbers in use, with their digests.
    pub(super) fn all(&self) -> impl Iterator<Item = (u32, &Digest)> {
        let used = (0_u32..).zip(&self.uses).filter(|(_, uses)| **uses > 0);
        used.map(|(number, _)| (number, self.digest(number)))
    }

    /// The number of a digest in use.
    pub(super) fn number(&self, digest: &Digest) -> Option<u32> {
        let hash = self.hasher.hash_one(digest);
        self.numbers.find(hash, |&number| self.digest(number) == digest).copied()
    }

    /// The digest of a number in use.
    pub(super) fn digest(&self, number: u32) -> &Digest {
        &self.digests[number]
    }

    /// All digests, also of numbers that are not in use.
    pub(super) fn digests(&self) -> &DigestList {
        &self.digests
    }

    /// By number, how often its digest was interned and not released.
    pub(super) fn uses(&self) -> &[u32] {
        &self.uses
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.numbers.is_empty() && self.free.len() == self.digests.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_keeps_its_number_while_it_is_used() {
        let (a, b, c) = (Digest::sha256_of(b"a"), Digest::sha256_of(b"b"), Digest::sha256_of(b"c"));
        let mut interner = Interner::default();
        assert_eq!([interner.intern(&a), interner.intern(&b), interner.intern(&a)], [(0, true), (1, true), (0, false)]);
        assert!(!interner.release(0));
        assert_eq!((interner.number(&a), interner.digest(0)), (Some(0), &a));
        assert!(interner.release(0));
        assert_eq!(interner.number(&a), None);
        assert_eq!(interner.intern(&c), (0, true));
        assert_eq!((interner.number(&c), interner.number(&b), interner.digests().len()), (Some(0), Some(1), 2));
    }
}
