//! Digests by number, in chunks that snapshots share with the inventory.

use std::fmt;
use std::sync::Arc;

use crate::oci::Digest;

/// Digests in a chunk: a change after a snapshot copies one chunk, and a snapshot copies none.
const CHUNK: usize = 512;

/// Digests by number, from 0. A clone shares them all, and keeps what it has when the other one changes.
#[derive(Clone, Default)]
pub struct DigestList {
    /// All of them full, except the last.
    chunks: Vec<Arc<Vec<Digest>>>,
}

impl DigestList {
    /// The digest of a number.
    pub fn get(&self, number: u32) -> Option<&Digest> {
        let number = number as usize;
        self.chunks.get(number / CHUNK)?.get(number % CHUNK)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.chunks.last().map_or(0, |last| (self.chunks.len() - 1) * CHUNK + last.len())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Adds one under the next number.
    pub(super) fn push(&mut self, digest: Digest) {
        match self.chunks.last_mut() {
            Some(last) if last.len() < CHUNK => Arc::make_mut(last).push(digest),
            _ => self.chunks.push(Arc::new(vec![digest])),
        }
    }

    /// Replaces the digest of a number in use.
    pub(super) fn replace(&mut self, number: u32, digest: Digest) {
        let number = number as usize;
        Arc::make_mut(&mut self.chunks[number / CHUNK])[number % CHUNK] = digest;
    }
}

impl std::ops::Index<u32> for DigestList {
    type Output = Digest;

    fn index(&self, number: u32) -> &Digest {
        let number = number as usize;
        &self.chunks[number / CHUNK][number % CHUNK]
    }
}

/// Always equal: numbers follow the order of readings, which is not part of what is published.
impl PartialEq for DigestList {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl fmt::Debug for DigestList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} digests", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_keeps_what_it_has_when_the_list_changes() {
        let digest = |number: u32| Digest::sha256_of(&number.to_le_bytes());
        let mut list = DigestList::default();
        assert_eq!((list.len(), list.is_empty(), list.get(0)), (0, true, None));
        let count = 2 * u32::try_from(CHUNK).unwrap() + 7;
        (0..count).for_each(|number| list.push(digest(number)));
        let before = list.clone();
        list.replace(600, digest(1_000_000));
        list.push(digest(count));
        assert_eq!((before.len(), list.len()), (count as usize, count as usize + 1));
        assert_eq!((before.get(count), list.get(count)), (None, Some(&digest(count))));
        assert!((0..count).all(|number| before[number] == digest(number)));
        assert_eq!(list[600], digest(1_000_000));
        assert!(Arc::ptr_eq(&before.chunks[0], &list.chunks[0]), "what does not change is shared");
    }
}
