//! One layer, streamed: compressed pieces in, its uncompressed and unpacked sizes out, proved by a digest.

use bytes::Bytes;

use super::decompress::Decompressor;
use super::hasher::{Hasher, Mismatch, Proof, Verdict};
use super::tar::{Tar, TarError};
use super::unpack;
use super::unpack::{TooManyPaths, Tree};
use crate::image::{LayerContent, Unpacked};
use crate::oci::Digest;

/// Bytes that are decompressed before they are looked at.
pub(crate) const BUFFER_BYTES: usize = 256 << 10;

/// Bytes of a layer's tar: beyond, it is a bomb or a mistake.
const TAR_BYTES_MAX: u64 = 1 << 40;

/// From here on a layer may not be more than [`RATIO_MAX`] times its compressed size.
const RATIO_BYTES_MIN: u64 = 1 << 30;

/// Just above what deflate can reach (1032): zstd can reach 30 times that, which only bombs do.
const RATIO_MAX: u64 = 1100;

/// Why a layer could not be measured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MeasureError {
    /// The compressed stream ends too early.
    #[error("the layer is truncated: its compressed stream ends in the middle")]
    Truncated,
    /// Broken gzip.
    #[error("the layer is broken gzip: {0}")]
    Gzip(&'static str),
    /// Broken zstd.
    #[error("the layer is broken zstd: {0}")]
    Zstd(String),
    /// A zstd frame that asks for too much memory.
    #[error("a zstd frame of the layer needs a window of more than 128 MiB: compress it with a smaller one")]
    Window,
    /// A compression that layers hardly ever have.
    #[error("the layer is compressed with {0}, which is not supported: use gzip or zstd")]
    Compression(&'static str),
    /// Decompressed, it is no tar.
    #[error("the layer is not a tar: {0}")]
    Tar(String),
    /// Too many paths to keep track of.
    #[error("the layer has more than {max} paths", max = unpack::PATHS_MAX)]
    TooManyPaths,
    /// Far too much comes out of it.
    #[error("the layer is a decompression bomb: {compressed_bytes} bytes of it are already {tar_bytes} bytes of tar")]
    Bomb {
        /// Compressed bytes that were read.
        compressed_bytes: u64,
        /// What they became.
        tar_bytes: u64,
    },
    /// What came is not what was asked for, whatever else is wrong with it.
    #[error("the layer's content does not match: expected {expected}, found {found}")]
    Mismatch {
        /// The blob's digest, or the `diff_id` where the blob's cannot be verified.
        expected: Digest,
        /// By the bytes.
        found: Digest,
    },
    /// It is the blob that was asked for, and has another tar than the config says.
    #[error("the layer's tar does not match its config: expected {expected}, found {found}")]
    DiffId {
        /// As the config says.
        expected: Digest,
        /// By the bytes.
        found: Digest,
        /// What the blob is nevertheless.
        content: LayerContent,
    },
    /// A digest by an algorithm that is unknown here.
    #[error("the layer's content cannot be verified against {0}: only sha256 and sha512 are supported")]
    Unverifiable(Digest),
}

impl MeasureError {
    /// Whether the blob itself is to blame, so that the same will come of it for whoever has it. To be asked of an error
    /// of [`Measure::finish`] and [`Measure::finish_failed`]: before them nobody knows whose bytes they were.
    pub fn is_definite(&self) -> bool {
        !matches!(self, Self::Mismatch { .. } | Self::DiffId { .. } | Self::Unverifiable(_))
    }
}

/// Measures one layer while it streams by. Nothing of it is kept but a megabyte or two, the window of a zstd frame
/// (at most 128 MiB, mostly 2 to 8) and, of each path, some 40 bytes.
pub struct Measure {
    decompressor: Decompressor,
    output: Output,
}

/// Where decompressed bytes go: the tar parser here, digest and checksums on a thread of their own.
pub(crate) struct Output {
    buffer: Vec<u8>,
    hasher: Hasher,
    tar: Tar,
    /// None once overlay2 would refuse the layer.
    tree: Option<Tree>,
    tar_bytes: u64,
    compressed_bytes: u64,
}

impl Measure {
    /// For the layer whose compressed blob has `digest` and whose tar, if a verified config says so, has `diff_id`.
    /// Both prove the content, as far as their algorithms are known.
    pub fn new(digest: &Digest, diff_id: Option<&Digest>) -> Result<Self, MeasureError> {
        let (blob, tar) = (Proof::new(digest), diff_id.and_then(Proof::new));
        if blob.is_none() && tar.is_none() {
            return Err(MeasureError::Unverifiable(digest.clone()));
        }
        let output = Output {
            buffer: vec![0; BUFFER_BYTES],
            hasher: Hasher::start(blob, tar),
            tar: Tar::new(),
            tree: Some(Tree::new()),
            tar_bytes: 0,
            compressed_bytes: 0,
        };
        Ok(Self { decompressor: Decompressor::new(), output })
    }

    /// Takes the next bytes of the compressed blob. Blocks while they are decompressed: not for an async thread.
    pub fn feed(&mut self, compressed: &Bytes) -> Result<(), MeasureError> {
        self.output.compressed_bytes += compressed.len() as u64;
        self.output.hasher.compressed(compressed);
        self.decompressor.feed(compressed, &mut self.output)
    }

    /// Takes the next bytes after an error, only to learn whether they are those that were asked for.
    pub fn skip(&mut self, compressed: &Bytes) {
        self.output.hasher.compressed(compressed);
    }

    /// What the layer is, once all of it was fed: nothing unless all of it is right.
    pub fn finish(mut self) -> Result<LayerContent, MeasureError> {
        let ended = self.decompressor.finish(&mut self.output);
        let Output { hasher, tar, tree, tar_bytes, .. } = self.output;
        let Verdict { blob, tar: same_tar, checksums } = hasher.finish();
        let is_verified = blob.is_some();
        blob.unwrap_or(Ok(()))?;
        ended?;
        checksums?;
        let unpacked = tree.map_or(Unpacked::Refused, |tree| Unpacked::Bytes(tree.unpacked_bytes()));
        let content = LayerContent { uncompressed_bytes: tar_bytes, estimated: false, unpacked };
        let ended = tar.finish().map_err(MeasureError::from);
        match same_tar {
            Ok(()) => ended.map(|()| content),
            Err(Mismatch { expected, found }) if is_verified => {
                ended.and(Err(MeasureError::DiffId { expected, found, content }))
            }
            Err(mismatch) => Err(mismatch.into()),
        }
    }

    /// What to say of a layer that failed with `error`, once the rest of it was skipped: the same unless it is known to be another
    /// blob than was asked for.
    pub fn finish_failed(self, error: MeasureError) -> MeasureError {
        match self.output.hasher.finish().blob {
            Some(Err(mismatch)) => mismatch.into(),
            Some(Ok(())) | None => error,
        }
    }

    /// Compressed bytes that were fed.
    pub fn compressed_bytes(&self) -> u64 {
        self.output.compressed_bytes
    }
}

impl Output {
    /// Where to write decompressed bytes.
    pub(crate) fn space(&mut self) -> &mut [u8] {
        &mut self.buffer
    }

    /// So many bytes were written there; `checksum` if they belong to a member whose CRC-32 will follow.
    pub(crate) fn wrote(&mut self, count: usize, checksum: bool) -> Result<(), MeasureError> {
        if count == 0 {
            return Ok(());
        }
        let buffer = std::mem::take(&mut self.buffer);
        self.read_tar(&buffer[..count])?;
        self.buffer = self.hasher.tar(buffer, count, checksum);
        Ok(())
    }

    /// A member ends whose bytes have this CRC-32.
    pub(crate) fn member_ends(&mut self, crc32: u32) {
        self.hasher.member_ends(crc32);
    }

    /// Takes bytes that were not compressed at all.
    pub(crate) fn pass(&mut self, bytes: &Bytes) -> Result<(), MeasureError> {
        self.read_tar(bytes)?;
        self.hasher.plain(bytes);
        Ok(())
    }

    fn read_tar(&mut self, bytes: &[u8]) -> Result<(), MeasureError> {
        let tree = &mut self.tree;
        self.tar.feed(bytes, |entry| {
            if let Some(unpacking) = tree
                && !unpacking.insert(&entry)?
            {
                *tree = None;
            }
            Ok::<_, MeasureError>(())
        })?;
        self.tar_bytes += bytes.len() as u64;
        let bomb = self.tar_bytes > RATIO_BYTES_MIN && self.tar_bytes / RATIO_MAX > self.compressed_bytes;
        if bomb || self.tar_bytes > TAR_BYTES_MAX {
            let Self { compressed_bytes, tar_bytes, .. } = *self;
            return Err(MeasureError::Bomb { compressed_bytes, tar_bytes });
        }
        Ok(())
    }
}

impl From<Mismatch> for MeasureError {
    fn from(mismatch: Mismatch) -> Self {
        let Mismatch { expected, found } = mismatch;
        Self::Mismatch { expected, found }
    }
}

impl From<TooManyPaths> for MeasureError {
    fn from(_: TooManyPaths) -> Self {
        Self::TooManyPaths
    }
}

impl From<TarError> for MeasureError {
    fn from(error: TarError) -> Self {
        Self::Tar(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(blob: &[u8]) -> String {
        let mut measure = Measure::new(&Digest::sha256_of(blob), None).unwrap();
        let fed = measure.feed(&Bytes::copy_from_slice(blob));
        fed.and_then(|()| measure.finish().map(|_| ())).unwrap_err().to_string()
    }

    #[test]
    fn frames_of_zstd_before_1_0_are_refused_wherever_they_stand() {
        // Half of an empty tar as zstd 0.7 writes it: no flags, a window of 1 KiB, one block stored as it is, the end.
        let half_tar = [0; 512];
        let mut old = [&[0x27, 0xb5, 0x2f, 0xfd, 0, 0, 0x40, 2, 0][..], &half_tar, &[0xc0, 0, 0]].concat();
        let behind = [zstd::bulk::compress(&half_tar, 1).unwrap(), old.clone()].concat();
        assert_eq!(refused(&behind), "the layer is broken zstd: Unknown frame descriptor");
        for magic in [0x1e, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27] {
            old[0] = magic;
            assert_eq!(
                refused(&old),
                "the layer is compressed with a zstd before 1.0, which is not supported: use gzip or zstd"
            );
        }
    }
}
