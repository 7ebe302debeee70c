//! Sample layers: real ones, gzipped tars, made from a recipe whenever somebody wants one, so that none is kept.

use flate2::{Compress, Compression, FlushCompress, Status};

use crate::oci::Digest;

/// What makes a layer: the same recipe always gives the same bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recipe {
    /// Makes layers differ.
    pub(super) seed: u64,
    /// Bytes of a file that does not compress; the layer has another of the same size that does, so that it unpacks
    /// to about twice what it transfers.
    pub(super) noise_bytes: usize,
}

/// A layer and what manifests and configs say of it.
pub(super) struct Layer {
    pub(super) recipe: Recipe,
    pub(super) digest: String,
    pub(super) diff_id: String,
    pub(super) bytes: u64,
}

impl Recipe {
    /// Makes the layer once, to learn its digests and its size.
    pub(super) fn measure(self) -> Layer {
        let (noise, text) = self.tar();
        let compressed = gzip(&noise, &text);
        Layer {
            recipe: self,
            digest: Digest::sha256_of(&compressed).to_string(),
            diff_id: Digest::sha256_of(&[noise, text].concat()).to_string(),
            bytes: compressed.len() as u64,
        }
    }

    /// The layer as it is transferred.
    pub(super) fn compressed(self) -> Vec<u8> {
        let (noise, text) = self.tar();
        gzip(&noise, &text)
    }

    /// The tar in two parts: what does not compress, and what does.
    fn tar(self) -> (Vec<u8>, Vec<u8>) {
        let mut noise = Vec::with_capacity(self.noise_bytes + 2 * BLOCK);
        let fresh = fresh_noise(self.seed);
        header(&mut noise, &format!("opt/{:x}.bin", self.seed), self.noise_bytes);
        let end = noise.len() + self.noise_bytes;
        while noise.len() < end {
            noise.extend_from_slice(&fresh[..fresh.len().min(end - noise.len())]);
        }
        noise.resize(noise.len().next_multiple_of(BLOCK), 0);

        let mut text = Vec::with_capacity(self.noise_bytes + 5 * BLOCK);
        header(&mut text, &format!("opt/{:x}.txt", self.seed), self.noise_bytes);
        text.resize(text.len() + self.noise_bytes, b'\n');
        text.resize(text.len().next_multiple_of(BLOCK), 0);
        // The end of an archive: two empty blocks.
        text.resize(text.len() + 2 * BLOCK, 0);
        (noise, text)
    }
}

/// Of a tar.
const BLOCK: usize = 512;

/// One gzip member. The noise is stored, since trying to compress it would take all the time that there is.
fn gzip(noise: &[u8], text: &[u8]) -> Vec<u8> {
    // RFC 1952: no name, no time, unknown system.
    let mut gzip = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let mut deflate = |level, input: &[u8], last| {
        let mut compress = Compress::new(level, false);
        let mut input = input;
        loop {
            gzip.reserve(input.len() + 65_536);
            let before = compress.total_in();
            let flush = if last { FlushCompress::Finish } else { FlushCompress::Full };
            let status = compress.compress_vec(input, &mut gzip, flush).expect("deflating cannot fail");
            let taken = usize::try_from(compress.total_in() - before).expect("no more than there was");
            input = &input[taken..];
            if status == Status::StreamEnd || !last && input.is_empty() {
                return;
            }
        }
    };
    // A full flush ends at a byte and leaves no window: what follows may come from another compressor.
    deflate(Compression::none(), noise, false);
    deflate(Compression::fast(), text, true);
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(noise);
    checksum.update(text);
    gzip.extend_from_slice(&checksum.finalize().to_le_bytes());
    let bytes = u32::try_from(noise.len() + text.len()).expect("sample layers are small");
    gzip.extend_from_slice(&bytes.to_le_bytes());
    gzip
}

/// A ustar entry's header block.
fn header(tar: &mut Vec<u8>, name: &str, bytes: usize) {
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
    tar.extend_from_slice(&block);
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
