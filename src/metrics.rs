//! What a scrape reads: the series of a snapshot, rendered and compressed once when the world changes.
//!
//! The bytes are valid OpenMetrics 1.0 and text 0.0.4 at once, since everything published of images is a gauge; one
//! snapshot always gives the same bytes. What changes between snapshots, the program's own metrics, is not in here:
//! it is the tail that each answer adds, without rendering or compressing the rest again.

mod encode;
pub mod family;
mod format;
pub mod own;
mod process;

mod gzip;
mod publisher;
mod rows;
mod sink;

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::inventory::Snapshot;

pub use family::Family;
pub use format::Format;
pub use own::Telemetry;
pub use publisher::{Publisher, channel};

/// The series of one snapshot as bytes, in both encodings. Frames of at most some 256 KiB, so that an answer never
/// needs them in one piece.
#[derive(Debug)]
pub struct Rendered {
    identity: Vec<Bytes>,
    identity_bytes: u64,
    /// A gzip member that lacks its end: its header, and compressed blocks that end on a byte.
    gzip: Vec<Bytes>,
    gzip_bytes: u64,
    /// Over the identity frames.
    crc: crc32fast::Hasher,
    series: u64,
}

/// How an answer's body is encoded (RFC 9110, section 8.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// As it is.
    Identity,
    /// One gzip member.
    Gzip,
}

impl Rendered {
    /// Renders and compresses all families but the omitted ones. Takes about a second for a million series: call it
    /// where blocking is allowed, as [`Publisher`] does.
    pub fn render(snapshot: &Snapshot, omit: &BTreeSet<Family>) -> Self {
        let rows = rows::Rows::of(snapshot);
        let mut sink = sink::Sink::new();
        for family in Family::ALL.into_iter().filter(|family| !omit.contains(family)) {
            rows.write(family, &mut sink);
        }
        sink.finish()
    }

    /// Of a world that nothing is known of yet: no series, which is valid too.
    pub fn empty() -> Self {
        Self::render(&Snapshot::default(), &BTreeSet::new())
    }

    /// How many samples there are.
    pub fn series(&self) -> u64 {
        self.series
    }

    /// The body but for its tail.
    pub fn frames(&self, encoding: Encoding) -> &[Bytes] {
        match encoding {
            Encoding::Identity => &self.identity,
            Encoding::Gzip => &self.gzip,
        }
    }

    /// How many bytes the frames have together.
    pub fn frames_bytes(&self, encoding: Encoding) -> u64 {
        match encoding {
            Encoding::Identity => self.identity_bytes,
            Encoding::Gzip => self.gzip_bytes,
        }
    }

    /// What follows the frames so that the whole is the series and then `tail`, encoded.
    pub fn tail(&self, encoding: Encoding, tail: Vec<u8>) -> Bytes {
        match encoding {
            Encoding::Identity => tail.into(),
            Encoding::Gzip => gzip::end(&self.crc, self.identity_bytes, &tail),
        }
    }
}
