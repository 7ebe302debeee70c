//! A layer's tar while it is decompressed: one buffer at a time, which goes on to the hasher.

use std::io::{self, BufRead, Read};

use super::error::MeasureError;
use super::hasher::Hasher;

/// Bytes of a layer's tar: a longer one is a decompression bomb or a mistake.
const TAR_BYTES_MAX: u64 = 1 << 40;

/// A longer tar may not be more than [`RATIO_MAX`] times its compressed size.
const RATIO_BYTES_MIN: u64 = 1 << 30;

/// Just above deflate's highest ratio (1032). Zstd reaches 30 times that, but only for bombs.
const RATIO_MAX: u64 = 1100;

pub(crate) struct TarStream<'a> {
    decompressed: Box<dyn Read + 'a>,
    hasher: &'a Hasher,
    buffer: Vec<u8>,
    /// The bytes of the buffer that are decompressed, and how many of them were consumed.
    filled: usize,
    consumed: usize,
    tar_bytes: u64,
}

impl<'a> TarStream<'a> {
    pub(crate) fn new(decompressed: Box<dyn Read + 'a>, hasher: &'a Hasher) -> Self {
        Self { decompressed, hasher, buffer: hasher.buffer(), filled: 0, consumed: 0, tar_bytes: 0 }
    }

    /// Decompresses and hashes the rest. Returns the bytes of the whole tar.
    pub(crate) fn finish(mut self) -> Result<u64, MeasureError> {
        loop {
            let count = self.fill_buf()?.len();
            if count == 0 {
                return Ok(self.tar_bytes);
            }
            self.consume(count);
        }
    }
}

impl BufRead for TarStream<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.consumed == self.filled {
            if self.filled > 0 {
                let buffer = std::mem::replace(&mut self.buffer, self.hasher.buffer());
                self.hasher.tar(buffer, self.filled);
            }
            (self.filled, self.consumed) = (0, 0);
            self.filled = self.decompressed.read(&mut self.buffer)?;
            self.tar_bytes += self.filled as u64;
            let (tar_bytes, compressed_bytes) = (self.tar_bytes, self.hasher.blob_bytes());
            let bomb = tar_bytes > RATIO_BYTES_MIN && tar_bytes / RATIO_MAX > compressed_bytes;
            if bomb || tar_bytes > TAR_BYTES_MAX {
                return Err(MeasureError::Bomb { compressed_bytes, tar_bytes }.into());
            }
        }
        Ok(&self.buffer[self.consumed..self.filled])
    }

    fn consume(&mut self, count: usize) {
        self.consumed += count;
    }
}

impl Read for TarStream<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(into)?;
        self.consume(count);
        Ok(count)
    }
}
