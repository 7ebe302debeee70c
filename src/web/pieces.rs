//! Bytes in several pieces, which are written with one call and never copied together.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

/// Bytes that are sent at a time.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    /// None of them empty.
    pieces: VecDeque<Bytes>,
    bytes: usize,
}

impl From<Vec<Bytes>> for Pieces {
    fn from(mut pieces: Vec<Bytes>) -> Self {
        pieces.retain(|piece| !piece.is_empty());
        Self { bytes: pieces.iter().map(Bytes::len).sum(), pieces: pieces.into() }
    }
}

impl From<Bytes> for Pieces {
    fn from(bytes: Bytes) -> Self {
        vec![bytes].into()
    }
}

impl Pieces {
    pub(super) fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.bytes += piece.len();
            self.pieces.push_back(piece);
        }
    }
}

impl Buf for Pieces {
    fn remaining(&self) -> usize {
        self.bytes
    }

    fn chunk(&self) -> &[u8] {
        self.pieces.front().map(|piece| &**piece).unwrap_or_default()
    }

    fn advance(&mut self, mut count: usize) {
        assert!(count <= self.bytes, "advanced by {count} of {} bytes", self.bytes);
        self.bytes -= count;
        while let Some(first) = self.pieces.front_mut()
            && count > 0
        {
            if count < first.len() {
                first.advance(count);
                return;
            }
            count -= first.len();
            self.pieces.pop_front();
        }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let filled = self.pieces.iter().zip(slices).map(|(piece, slice)| *slice = IoSlice::new(piece));
        filled.count()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pieces_are_read_as_what_they_are_together(
            pieces: Vec<Vec<u8>>, steps in proptest::collection::vec(0_usize..20, 0..20), slots in 0_usize..5,
        ) {
            let mut whole = Bytes::from(pieces.concat());
            let mut read: Pieces = pieces.into_iter().map(Bytes::from).collect::<Vec<_>>().into();
            for step in steps {
                prop_assert_eq!(read.remaining(), whole.len());
                prop_assert_eq!(read.chunk().is_empty(), whole.is_empty());
                let mut slices = vec![IoSlice::new(&[]); slots];
                let count = read.chunks_vectored(&mut slices);
                prop_assert!(count == slots || count == read.pieces.len());
                prop_assert!(whole.starts_with(&slices[..count].iter().flat_map(|slice| slice.to_vec()).collect::<Vec<_>>()));
                let step = step.min(whole.len());
                read.advance(step);
                whole.advance(step);
            }
            prop_assert_eq!(read.copy_to_bytes(whole.len()), whole);
        }
    }
}
