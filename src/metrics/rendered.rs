//! The series of one snapshot as bytes, and the tail that completes an answer.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use super::family::Family;
use super::own::TargetState;
use super::sink::{Frames, Sink};
use super::{gzip, rows, targets};
use crate::inventory::Snapshot;

/// The series of one snapshot as bytes, in both encodings. Frames of at most some 256 KiB, so that an answer never
/// needs them in one piece.
#[derive(Debug)]
pub struct Rendered {
    frames: Frames,
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

impl Rendered {
    /// Renders and compresses all families except the omitted ones. Takes about a second for a million series: call it
    /// where blocking is allowed, as [`super::Publisher`] does.
    pub fn render(snapshot: &Snapshot, omit: &BTreeSet<Family>) -> Self {
        Self::with_targets(snapshot, &[], omit)
    }

    /// The same, with the targets' states at the moment of the snapshot.
    pub fn with_targets(snapshot: &Snapshot, states: &[TargetState], omit: &BTreeSet<Family>) -> Self {
        let rows = rows::Rows::new(snapshot);
        let mut sink = Sink::new();
        for family in Family::ALL.into_iter().filter(|family| !omit.contains(family)) {
            rows.write(family, &mut sink);
        }
        let series = sink.samples();
        targets::write(states, &mut sink);
        Self { frames: sink.finish(), series, shown: Shown::default() }
    }

    /// The same bytes, with what they show.
    #[must_use]
    pub(crate) fn of(self, shown: Shown) -> Self {
        Self { shown, ..self }
    }

    /// What the bytes show.
    pub fn shown(&self) -> &Shown {
        &self.shown
    }

    /// An empty snapshot: no series, which is a valid body too.
    pub fn empty() -> Self {
        Self::render(&Snapshot::default(), &BTreeSet::new())
    }

    /// The number of samples of images.
    pub fn series(&self) -> u64 {
        self.series
    }

    /// The body without its tail.
    pub fn frames(&self, encoding: Encoding) -> &[Bytes] {
        match encoding {
            Encoding::Identity => &self.frames.identity,
            Encoding::Gzip => &self.frames.gzip,
        }
    }

    /// The sum of the frames' bytes.
    pub fn frames_bytes(&self, encoding: Encoding) -> u64 {
        match encoding {
            Encoding::Identity => self.frames.identity_bytes,
            Encoding::Gzip => self.frames.gzip_bytes,
        }
    }

    /// The bytes after the frames, so that the decoded body is the series and then `tail`.
    pub fn tail(&self, encoding: Encoding, tail: Vec<u8>) -> Bytes {
        match encoding {
            Encoding::Identity => tail.into(),
            Encoding::Gzip => gzip::end(&self.frames.crc, self.frames.identity_bytes, &tail),
        }
    }
}
