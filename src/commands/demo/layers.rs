//! Sample layers: real ones, gzipped tars, made from a recipe for each request, so that none is kept in memory.

use bytes::Bytes;
use flate2::{Compress, Compression, FlushCompress, Status};
use sha2::{Digest as _, Sha256};

use crate::oci::Digest;

/// What makes a layer: the same recipe always gives the same bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct LayerRecipe {
    /// Makes layers differ.
    pub(super) seed: u64,
    /// Bytes of a file that does not compress; the layer has another of the same size that does, so that it unpacks
    /// to about twice what it transfers.
    pub(super) noise_bytes: usize,
}

/// A layer and what manifests and configs say of it.
pub(super) struct SampleLayer {
    pub(super) recipe: LayerRecipe,
    pub(super) digest: Digest,
    pub(super) diff_id: Digest,
    pub(super) bytes: u64,
}

impl LayerRecipe {
    /// Makes the layer once, to learn its digests and its size.
    pub(super) fn measure(self) -> SampleLayer {
        let (mut tar, mut blob, mut bytes) = (Sha256::new(), Sha256::new(), 0);
        self.make(
            |piece| tar.update(piece),
            |piece| {
                blob.update(&piece);
                bytes += piece.len() as u64;
                true
            },
        );
        SampleLayer {
            recipe: self,
            digest: Digest::from_sha256(blob.finalize().into()),
            diff_id: Digest::from_sha256(tar.finalize().into()),
            bytes,
        }
    }

    /// Makes the layer as it is transferred, piece by piece, for as long as `blob` wants more.
    pub(super) fn transfer(self, blob: impl FnMut(Bytes) -> bool) {
        self.make(|_| {}, blob);
    }

    /// One gzip member around a tar of two files. What does not compress is stored: to try would take all the time
    /// that there is.
    fn make(self, mut tar: impl FnMut(&[u8]), blob: impl FnMut(Bytes) -> bool) {
        let noise = fresh_noise(self.seed);
        let text = vec![b'\n'; noise.len()];
        let mut gzip = GzipWriter::begin(blob);
        for (extension, content, level) in [("bin", &noise, Compression::none()), ("txt", &text, Compression::fast())] {
            gzip.compress(level);
            let mut write = |piece: &[u8]| {
                tar(piece);
                gzip.write(piece);
            };
            write(&header(&format!("opt/{:x}.{extension}", self.seed), self.noise_bytes));
            let mut missing = self.noise_bytes;
            while missing > 0 {
                let piece = &content[..missing.min(content.len())];
                write(piece);
                missing -= piece.len();
            }
            write(&[0; BLOCK][..self.noise_bytes.next_multiple_of(BLOCK) - self.noise_bytes]);
        }
        // The end of an archive: two empty blocks.
        let end = [0; 2 * BLOCK];
        tar(&end);
        gzip.write(&end);
        gzip.finish();
    }
}

/// Of a tar.
const BLOCK: usize = 512;

/// One gzip member (RFC 1952) as it is written. `blob` gets its pieces, and says whether it wants more.
struct GzipWriter<F> {
    compress: Compress,
    checksum: crc32fast::Hasher,
    /// Bytes of the tar so far.
    bytes: u32,
    blob: F,
    is_wanted: bool,
}

impl<F: FnMut(Bytes) -> bool> GzipWriter<F> {
    fn begin(mut blob: F) -> Self {
        // No name, no time, unknown system.
        let is_wanted = blob(Bytes::from_static(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]));
        Self {
            compress: Compress::new(Compression::none(), false),
            checksum: crc32fast::Hasher::new(),
            bytes: 0,
            blob,
            is_wanted,
        }
    }

    /// What follows is compressed at this level: a full flush ends at a byte and leaves no window, so that another
    /// compressor may go on.
    fn compress(&mut self, level: Compression) {
        if self.compress.total_in() > 0 {
            self.deflate(&[], FlushCompress::Full);
        }
        self.compress = Compress::new(level, false);
    }

    fn write(&mut self, piece: &[u8]) {
        self.checksum.update(piece);
        self.bytes += u32::try_from(piece.len()).expect("sample layers are small");
        self.deflate(piece, FlushCompress::None);
    }

    fn finish(mut self) {
        self.deflate(&[], FlushCompress::Finish);
        let mut trailer = self.checksum.clone().finalize().to_le_bytes().to_vec();
        trailer.extend_from_slice(&self.bytes.to_le_bytes());
        self.put(trailer);
    }

    fn deflate(&mut self, mut input: &[u8], flush: FlushCompress) {
        if !self.is_wanted {
            return;
        }
        loop {
            let mut piece = Vec::with_capacity(input.len() + 1024);
            let before = self.compress.total_in();
            let status = self.compress.compress_vec(input, &mut piece, flush).expect("deflating cannot fail");
            let taken = usize::try_from(self.compress.total_in() - before).expect("no more than there was");
            input = &input[taken..];
            let has_room = piece.len() < piece.capacity();
            self.put(piece);
            if status == Status::StreamEnd || flush != FlushCompress::Finish && input.is_empty() && has_room {
                return;
            }
        }
    }

    fn put(&mut self, piece: Vec<u8>) {
        if self.is_wanted && !piece.is_empty() {
            self.is_wanted = (self.blob)(piece.into());
        }
    }
}

/// A ustar entry's header block.
fn header(name: &str, bytes: usize) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, text: &str| block[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{bytes:011o}\0"));
    put(136, "00000000000\0");
    // The checksum counts itself as spaces.
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// More than a compressor's window of bytes that it cannot make smaller (SplitMix64).
fn fresh_noise(seed: u64) -> Vec<u8> {
    let mut state = seed;
    (0..8192)
        .flat_map(|_| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = state;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (mixed ^ (mixed >> 31)).to_le_bytes()
        })
        .collect()
}
