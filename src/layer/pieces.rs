//! Pieces of a stream, as they arrive, as a reader.

use std::io::{self, BufRead, Read};

use bytes::{Buf as _, Bytes};

/// Reads the pieces of an iterator, one after the other.
pub(crate) struct Pieces<I> {
    piece: Bytes,
    rest: I,
}

impl<I: Iterator<Item = Bytes>> Pieces<I> {
    pub(crate) fn new(pieces: I) -> Self {
        Self { piece: Bytes::new(), rest: pieces }
    }
}

impl<I: Iterator<Item = Bytes>> BufRead for Pieces<I> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.piece.is_empty() {
            match self.rest.next() {
                Some(piece) => self.piece = piece,
                None => break,
            }
        }
        Ok(&self.piece)
    }

    fn consume(&mut self, count: usize) {
        self.piece.advance(count);
    }
}

impl<I: Iterator<Item = Bytes>> Read for Pieces<I> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(into)?;
        self.consume(count);
        Ok(count)
    }
}
