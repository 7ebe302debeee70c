//! The series of one snapshot as bytes, and the tail that completes an answer.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use bytes::Bytes;

use super::blocks::{Block, BlockLimits, Blocks, LIMITS};
use super::family::Family;
use super::gzip;
use super::metric::Metric;
use super::own::TargetState;
use crate::inventory::Snapshot;

/// Bytes of a frame: large enough for few system calls, small enough to be freed one by one while an answer is sent.
const FRAME_BYTES: usize = 256 * 1024;

/// Pieces of a frame: with an answer's header and tail they are no more than hyper passes on in one call.
const FRAME_PIECES_MAX: usize = 60;

/// The series of one snapshot as bytes, in both encodings. It shares those with the one that it was made from that are the
/// same.
#[derive(Debug)]
pub struct Rendered {
    blocks: Blocks,
    identity: Frames,
    gzip: Frames,
    /// Over all blocks as they are.
    crc: crc32fast::Hasher,
    series: u64,
    shown: Shown,
}

/// What bytes show, for pages. They hold it only while they are made.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    /// The snapshot.
    pub snapshot: Arc<Snapshot>,
    /// The targets at the same moment.
    pub targets: Arc<[TargetState]>,
}

/// How an answer's body is encoded (RFC 9110, section 8.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// Not encoded.
    Identity,
    /// One gzip member.
    Gzip,
}

/// What is sent at a time.
#[derive(Debug)]
struct Frames {
    /// By frame, the number of the block after its last one.
    ends: Vec<usize>,
    bytes: u64,
}

impl Rendered {
    /// Renders and compresses all families except the omitted ones. Takes about a second for a million series: call it
    /// where blocking is allowed, as [`super::Publisher`] does.
    pub fn render(snapshot: &Snapshot, omit: &BTreeSet<Family>) -> Self {
        Self::with_targets(snapshot, &[], omit)
    }

    /// The same, with the targets' states at the moment of the snapshot.
    pub fn with_targets(snapshot: &Snapshot, states: &[TargetState], omit: &BTreeSet<Family>) -> Self {
        Self::empty().next(Shown { snapshot: Arc::new(snapshot.clone()), targets: states.into() }, omit)
    }

    /// Renders and compresses what this one does not have already: of a changed tag one run of each metric that changed.
    #[must_use]
    pub fn next(&self, shown: Shown, omit: &BTreeSet<Family>) -> Self {
        self.next_within(shown, omit, LIMITS)
    }

    fn next_within(&self, shown: Shown, omit: &BTreeSet<Family>, limits: BlockLimits) -> Self {
        let is_omitted = |metric: &Metric| matches!(metric, Metric::Family(family) if omit.contains(family));
        let metrics = Metric::all().filter(|metric| !is_omitted(metric)).collect();
        let before = (&self.blocks, &*self.shown.snapshot, &*self.shown.targets);
        Self::of(Blocks::next(before, metrics, (&shown.snapshot, &shown.targets), limits), shown)
    }

    fn of(blocks: Blocks, shown: Shown) -> Self {
        let mut crc = crc32fast::Hasher::new();
        blocks.iter().for_each(|block| crc.combine(&block.crc));
        let identity = Frames::new(0, blocks.iter().map(|block| block.identity.len()));
        let gzip = Frames::new(gzip::HEADER.len(), blocks.iter().map(|block| block.gzip.len()));
        Self { series: blocks.series(), blocks, identity, gzip, crc, shown }
    }

    /// What the bytes show.
    pub fn shown(&self) -> &Shown {
        &self.shown
    }

    /// An empty snapshot: no series, which is a valid body too.
    pub fn empty() -> Self {
        Self::of(Blocks::none(), Shown::default())
    }

    /// The number of samples of images.
    pub fn series(&self) -> u64 {
        self.series
    }

    /// One frame of the body without its tail: pieces of together some 256 KiB. `None` after the last one.
    pub(crate) fn frame(&self, encoding: Encoding, number: usize) -> Option<Vec<Bytes>> {
        let frames = self.frames(encoding);
        let end = *frames.ends.get(number)?;
        let start = if number == 0 { 0 } else { frames.ends[number - 1] };
        let header = matches!((encoding, number), (Encoding::Gzip, 0)).then(|| Bytes::from_static(&gzip::HEADER));
        let blocks = self.blocks.range(start..end).map(|block| block.encoded(encoding).clone());
        Some(header.into_iter().chain(blocks.filter(|piece| !piece.is_empty())).collect())
    }

    /// How many frames there are.
    pub(crate) fn frames_count(&self, encoding: Encoding) -> usize {
        self.frames(encoding).ends.len()
    }

    /// The body without its tail.
    pub fn pieces(&self, encoding: Encoding) -> Vec<Bytes> {
        (0..).map_while(|number| self.frame(encoding, number)).flatten().collect()
    }

    /// The sum of the pieces' bytes.
    pub fn pieces_bytes(&self, encoding: Encoding) -> u64 {
        self.frames(encoding).bytes
    }

    fn frames(&self, encoding: Encoding) -> &Frames {
        match encoding {
            Encoding::Identity => &self.identity,
            Encoding::Gzip => &self.gzip,
        }
    }

    /// The bytes after the pieces, so that the decoded body is the series and then `tail`.
    pub fn tail(&self, encoding: Encoding, tail: Vec<u8>) -> Bytes {
        match encoding {
            Encoding::Identity => tail.into(),
            Encoding::Gzip => gzip::end(&self.crc, self.identity.bytes, &tail),
        }
    }

    /// How many bytes, in both encodings, are in memory only once for this one and another.
    pub fn bytes_shared_with(&self, other: &Self) -> u64 {
        let others: HashSet<_> = other.blocks.iter().map(Arc::as_ptr).collect();
        let shared = self.blocks.iter().filter(|block| others.contains(&Arc::as_ptr(block)));
        shared.map(|block| (block.identity.len() + block.gzip.len()) as u64).sum()
    }
}

impl Block {
    fn encoded(&self, encoding: Encoding) -> &Bytes {
        match encoding {
            Encoding::Identity => &self.identity,
            Encoding::Gzip => &self.gzip,
        }
    }
}

impl Frames {
    /// Of blocks with so many bytes, after a header.
    fn new(header_bytes: usize, blocks: impl ExactSizeIterator<Item = usize>) -> Self {
        let (mut ends, mut bytes) = (Vec::new(), header_bytes as u64);
        let (mut frame_bytes, mut pieces) = (header_bytes, usize::from(header_bytes > 0));
        let last = blocks.len();
        for (number, block_bytes) in blocks.enumerate() {
            if frame_bytes >= FRAME_BYTES || pieces >= FRAME_PIECES_MAX {
                ends.push(number);
                (frame_bytes, pieces) = (0, 0);
            }
            bytes += block_bytes as u64;
            frame_bytes += block_bytes;
            pieces += usize::from(block_bytes > 0);
        }
        if frame_bytes > 0 {
            ends.push(last);
        }
        Self { ends, bytes }
    }
}

#[cfg(test)]
mod tests;
