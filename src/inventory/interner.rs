//! Interns digests: each is stored once and numbered.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

use crate::oci::Digest;

/// Assigns numbers to digests, from 0. The number of a digest that is no longer used goes to the next new one.
#[derive(Default)]
pub(super) struct Interner {
    numbers: HashTable<u32>,
    entries: Vec<Interned>,
    free: Vec<u32>,
    hasher: RandomState,
}

struct Interned {
    digest: Digest,
    uses: u32,
}

impl Interner {
    /// The digest's number, with its use count raised, and whether it is new.
    pub(super) fn intern(&mut self, digest: &Digest) -> (u32, bool) {
        let hash = self.hasher.hash_one(digest);
        if let Some(&number) = self.numbers.find(hash, |&number| self.entry(number).digest == *digest) {
            self.entries[number as usize].uses += 1;
            return (number, false);
        }
        let entry = Interned { digest: digest.clone(), uses: 1 };
        let number = if let Some(number) = self.free.pop() {
            self.entries[number as usize] = entry;
            number
        } else {
            self.entries.push(entry);
            u32::try_from(self.entries.len() - 1).expect("four thousand million digests do not fit into memory")
        };
        let (entries, hasher) = (&self.entries, &self.hasher);
        self.numbers.insert_unique(hash, number, |&number| hasher.hash_one(&entries[number as usize].digest));
        (number, true)
    }

    /// Lowers the use count; returns whether that was the last use.
    pub(super) fn release(&mut self, number: u32) -> bool {
        let entry = &mut self.entries[number as usize];
        entry.uses -= 1;
        if entry.uses > 0 {
            return false;
        }
        let hash = self.hasher.hash_one(&entry.digest);
        if let Ok(found) = self.numbers.find_entry(hash, |&other| other == number) {
            found.remove();
        }
        self.free.push(number);
        true
    }

    /// The number of a digest in use.
    pub(super) fn number(&self, digest: &Digest) -> Option<u32> {
        let hash = self.hasher.hash_one(digest);
        self.numbers.find(hash, |&number| self.entry(number).digest == *digest).copied()
    }

    /// The digest of a number in use.
    pub(super) fn digest(&self, number: u32) -> &Digest {
        &self.entry(number).digest
    }

    /// How often a digest in use was interned and not released.
    pub(super) fn uses(&self, number: u32) -> u32 {
        self.entry(number).uses
    }

    /// All numbers are below this.
    pub(super) fn end(&self) -> usize {
        self.entries.len()
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.numbers.is_empty() && self.free.len() == self.entries.len()
    }

    fn entry(&self, number: u32) -> &Interned {
        &self.entries[number as usize]
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
        assert_eq!((interner.number(&c), interner.number(&b), interner.end()), (Some(0), Some(1), 2));
    }
}
