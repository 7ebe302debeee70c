//! One gzip member from blocks that were compressed earlier and a tail that is compressed now (RFC 1951, RFC 1952).
//!
//! One member, not two one after the other: curl stops after the first. The blocks end with a full flush, so that
//! nothing after them refers back into them, and the checksums of both parts are combined.

use bytes::Bytes;
use flate2::{Compress, Compression, FlushCompress};

/// Magic, deflate, no flags, no time, no extra flags, unknown system.
pub(crate) const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// Bytes of a frame: large enough for few system calls, small enough to be freed one by one while an answer is sent.
pub(crate) const FRAME_BYTES: usize = 256 * 1024;

/// Raw deflate blocks from many calls. Level 2: twice as fast as the usual 6 for 6 % more bytes, on such bodies.
pub(crate) struct Deflate {
    compress: Compress,
    frame: Vec<u8>,
    frames: Vec<Bytes>,
    bytes: u64,
}

const LEVEL: u32 = 2;

/// A frame with less room left than this is full.
const ROOM_BYTES_MIN: usize = 4 * 1024;

impl Deflate {
    pub(crate) fn new() -> Self {
        let mut frame = Vec::with_capacity(FRAME_BYTES);
        frame.extend_from_slice(&HEADER);
        Self { compress: Compress::new(Compression::new(LEVEL), false), frame, frames: Vec::new(), bytes: 0 }
    }

    pub(crate) fn add(&mut self, input: &[u8]) {
        self.run(input, FlushCompress::None);
    }

    /// The frames and their bytes, header included, ending on a byte boundary.
    pub(crate) fn finish(mut self) -> (Vec<Bytes>, u64) {
        self.run(&[], FlushCompress::Full);
        self.end_frame();
        (self.frames, self.bytes)
    }

    fn run(&mut self, mut input: &[u8], flush: FlushCompress) {
        loop {
            if self.frame.capacity() - self.frame.len() < ROOM_BYTES_MIN {
                self.end_frame();
            }
            let before = self.compress.total_in();
            deflate(&mut self.compress, input, &mut self.frame, flush);
            let consumed = usize::try_from(self.compress.total_in() - before).expect("no more than was given");
            input = &input[consumed..];
            // Spare capacity means that all input, and the flush, was written.
            if input.is_empty() && self.frame.len() < self.frame.capacity() {
                return;
            }
        }
    }

    fn end_frame(&mut self) {
        let next = Vec::with_capacity(FRAME_BYTES);
        let mut frame = std::mem::replace(&mut self.frame, next);
        frame.shrink_to_fit();
        self.bytes += frame.len() as u64;
        self.frames.push(frame.into());
    }
}

/// The end of a member whose blocks hold `bytes` bytes with the checksum `crc`: `tail` compressed, and the trailer.
pub(crate) fn end(crc: &crc32fast::Hasher, bytes: u64, tail: &[u8]) -> Bytes {
    let mut compress = Compress::new(Compression::new(LEVEL), false);
    // Stored blocks, the worst that deflate does, add five bytes for every 16 KiB or more.
    let mut out = Vec::with_capacity(tail.len() + tail.len() / 1024 + 64);
    deflate(&mut compress, tail, &mut out, FlushCompress::Finish);
    let mut crc = crc.clone();
    let mut of_tail = crc32fast::Hasher::new();
    of_tail.update(tail);
    crc.combine(&of_tail);
    let length = u32::try_from((bytes + tail.len() as u64) & u64::from(u32::MAX)).expect("masked to 32 bits");
    out.extend_from_slice(&crc.finalize().to_le_bytes());
    out.extend_from_slice(&length.to_le_bytes());
    out.into()
}

/// Compresses into the capacity of `out`.
fn deflate(compress: &mut Compress, input: &[u8], out: &mut Vec<u8>, flush: FlushCompress) {
    compress.compress_vec(input, out, flush).expect("deflate fails only on a stream in a wrong state");
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use proptest::prelude::*;

    use super::*;

    fn stitched(body: &[u8], tail: &[u8], step: usize) -> Vec<u8> {
        let (mut deflate, mut crc) = (Deflate::new(), crc32fast::Hasher::new());
        for part in body.chunks(step) {
            deflate.add(part);
            crc.update(part);
        }
        let (frames, bytes) = deflate.finish();
        assert_eq!(frames.iter().map(Bytes::len).sum::<usize>() as u64, bytes);
        let mut member = frames.concat();
        member.extend_from_slice(&end(&crc, body.len() as u64, tail));
        member
    }

    /// Reads one member and nothing more, as curl does, and checks its trailer.
    fn gunzip(member: &[u8]) -> Vec<u8> {
        let (mut decoder, mut out) = (flate2::bufread::GzDecoder::new(member), Vec::new());
        decoder.read_to_end(&mut out).unwrap();
        assert!(decoder.into_inner().is_empty(), "bytes after the member");
        out
    }

    #[test]
    fn bodies_of_every_size_and_none_are_one_member() {
        let noise: Vec<u8> = (0_u32..400_000).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        for size in [0, 1, 4096, 262_143, 262_144, 262_145, noise.len()] {
            for tail in [&b""[..], b"# EOF\n", &noise[..70_000]] {
                let body = &noise[..size];
                assert!(gunzip(&stitched(body, tail, 100_000)) == [body, tail].concat(), "{size} {}", tail.len());
            }
        }
    }

    proptest! {
        #[test]
        fn body_and_tail_come_back(body: Vec<u8>, tail: Vec<u8>, step in 1_usize..64) {
            prop_assert_eq!(gunzip(&stitched(&body, &tail, step)), [body, tail].concat());
        }
    }
}
