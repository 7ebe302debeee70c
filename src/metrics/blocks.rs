//! The body as a list of blocks, each rendered and compressed by itself, and kept while nothing of it changes.
//!
//! A piece is what one metric has of one run of units. A block is one piece, or several small ones that follow each other,
//! since compression of little text gains little.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::changes::{Changes, compare};
use super::gzip::Deflate;
use super::metric::{Metric, Subject};
use super::own::TargetState;
use super::parallel;
use super::rows::Rows;
use super::runs::{NextRun, Run, RunLimits, follow};
use super::sink::Sink;
use super::units::{Positions, Units};
use crate::inventory::Snapshot;

/// How large blocks are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlockLimits {
    pub(crate) runs: RunLimits,
    /// Small pieces join until they weigh so much. One that weighs as much as a run needs not to be joined.
    pub(crate) joined: u32,
}

/// A sample has some 150 bytes, so that blocks have some 64 KiB: little to compress again, and no more than a few percent
/// larger than in one stream.
pub(crate) const LIMITS: BlockLimits =
    BlockLimits { runs: RunLimits { least: 320, spread: 128, most: 1_280 }, joined: 960 };

/// A part of the body.
#[derive(Debug)]
pub(crate) struct Block {
    /// By piece, how many samples it has.
    samples: Box<[u32]>,
    pub(crate) identity: Bytes,
    /// Deflate blocks that end on a byte's boundary and refer to nothing before them.
    pub(crate) gzip: Bytes,
    /// Over `identity`.
    pub(crate) crc: crc32fast::Hasher,
}

/// A block at its place in a body.
#[derive(Debug)]
struct Placed {
    /// The number of its first piece.
    first: usize,
    block: Arc<Block>,
}

/// The body of an answer, without its tail, and what it takes to find out which of its blocks stay.
#[derive(Debug)]
pub(crate) struct Blocks {
    /// Those that are not omitted.
    metrics: Vec<Metric>,
    positions: Positions,
    /// By subject.
    runs: [Vec<Run>; Subject::ALL.len()],
    /// By metric, the number of its first piece.
    firsts: Vec<usize>,
    /// By metric, whether it has a sample, and with it HELP and TYPE.
    present: Vec<bool>,
    placed: Vec<Placed>,
}

/// A block of the body that is made.
struct Planned {
    pieces: Range<usize>,
    /// The same block of the body before.
    kept: Option<Arc<Block>>,
}

/// The samples of a piece.
struct Text {
    text: Box<str>,
    samples: u32,
}

impl Blocks {
    /// A body without blocks.
    pub(crate) fn none() -> Self {
        Self {
            metrics: Vec::new(),
            positions: Positions::default(),
            runs: Default::default(),
            firsts: Vec::new(),
            present: Vec::new(),
            placed: Vec::new(),
        }
    }

    /// The blocks of these metrics. `before` are those of the body before, and what it was made of: of its blocks those are
    /// kept of which nothing changed.
    pub(crate) fn next(
        before: (&Self, &Snapshot, &[TargetState]),
        metrics: Vec<Metric>,
        (snapshot, targets): (&Snapshot, &[TargetState]),
        limits: BlockLimits,
    ) -> Self {
        let nothing = (&Self::none(), &Snapshot::default(), &[][..]);
        let (before, snapshot_before, targets_before) = if before.0.metrics == metrics { before } else { nothing };
        let units_before = Units { snapshot: snapshot_before, targets: targets_before, positions: &before.positions };
        let (positions, changes) = compare(units_before, snapshot, targets, &metrics);
        let units = Units { snapshot, targets, positions: &positions };
        let mut making = Making::new(before, &metrics, units, &changes, limits);
        making.write();
        making.renew_heads(before);
        let present = making.present();
        let firsts = std::mem::take(&mut making.firsts);
        let runs = making.runs.each_ref().map(|runs| runs.iter().map(|next| next.run).collect());
        let placed = making.finish(&firsts, &present);
        Self { metrics, positions, runs, firsts, present, placed }
    }

    /// The blocks in their order.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<Block>> + Clone {
        self.placed.iter().map(|placed| &placed.block)
    }

    /// Some of them.
    pub(crate) fn range(&self, range: Range<usize>) -> impl Iterator<Item = &Block> {
        self.placed[range].iter().map(|placed| &*placed.block)
    }

    /// The number of samples of images: all but those of targets.
    pub(crate) fn series(&self) -> u64 {
        let of_targets = self.metrics.iter().position(|metric| matches!(metric, Metric::Target(_)));
        let end = of_targets.map_or(usize::MAX, |metric| self.firsts[metric]);
        let pieces = self.placed.iter().flat_map(|placed| (placed.first..).zip(&placed.block.samples));
        pieces.filter(|(piece, _)| *piece < end).map(|(_, samples)| u64::from(*samples)).sum()
    }

    /// The block that consists of so many pieces from that one on.
    fn find(&self, first: usize, pieces: usize) -> Option<&Arc<Block>> {
        let found = self.placed.binary_search_by_key(&first, |placed| placed.first).ok()?;
        Some(&self.placed[found].block).filter(|block| block.samples.len() == pieces)
    }
}

/// A body while it is made.
struct Making<'a> {
    metrics: &'a [Metric],
    units: Units<'a>,
    /// By subject.
    runs: [Vec<NextRun>; Subject::ALL.len()],
    /// By metric, the number of its first piece.
    firsts: Vec<usize>,
    planned: Vec<Planned>,
    /// By piece, what was written.
    texts: Vec<Option<Text>>,
}

impl<'a> Making<'a> {
    /// Plans the blocks. Those of which nothing changed are the ones of the body before.
    fn new(before: &Blocks, metrics: &'a [Metric], units: Units<'a>, changes: &Changes, limits: BlockLimits) -> Self {
        let runs = Subject::ALL.map(|subject| {
            let landmarks = |from| units.landmarks(subject, from);
            follow(&before.runs[subject as usize], changes.of(subject), landmarks, limits.runs)
        });
        let mut firsts = Vec::with_capacity(metrics.len());
        // By piece: its number in the body before, if nothing of it changed.
        let mut same: Vec<Option<usize>> = Vec::new();
        let mut planned = Plan::new(limits);
        for (column, metric) in metrics.iter().enumerate() {
            firsts.push(same.len());
            for (place, next) in runs[metric.subject() as usize].iter().enumerate() {
                let piece = next.before.filter(|_| !next.changed.contains(*metric)).map(|before| before as usize);
                // HELP and TYPE stand before a metric's first piece.
                let piece = piece.filter(|before| (*before == 0) == (place == 0));
                same.push(piece.map(|piece| before.firsts[column] + piece));
                planned.add(next.run.weight);
            }
        }
        let kept = |pieces: &Range<usize>| {
            let first = same[pieces.start]?;
            let is_same = same[pieces.clone()].iter().zip(first..).all(|(same, expected)| *same == Some(expected));
            before.find(first, pieces.len()).filter(|_| is_same).cloned()
        };
        let planned = planned.finish().into_iter().map(|pieces| Planned { kept: kept(&pieces), pieces }).collect();
        let texts = same.iter().map(|_| None).collect();
        Self { metrics, units, runs, firsts, planned, texts }
    }

    /// Writes the pieces of all blocks that are new, run by run, so that the labels of a run are written once.
    fn write(&mut self) {
        let mut needed = vec![false; self.texts.len()];
        for planned in self.planned.iter().filter(|planned| planned.kept.is_none()) {
            planned.pieces.clone().for_each(|piece| needed[piece] = self.texts[piece].is_none());
        }
        let mut writing = Vec::new();
        for subject in Subject::ALL {
            let columns = || self.metrics.iter().zip(&self.firsts).filter(|(metric, _)| metric.subject() == subject);
            let mut start = 0;
            for (place, next) in self.runs[subject as usize].iter().enumerate() {
                let units = start..next.run.end;
                start = next.run.end;
                let pieces = columns().map(|(metric, first)| (*metric, first + place));
                let pieces: Vec<(Metric, usize)> = pieces.filter(|(_, piece)| needed[*piece]).collect();
                if !pieces.is_empty() {
                    writing.push((subject, units, pieces));
                }
            }
        }
        let units = self.units;
        let write = |(rows, sink): &mut (Rows<'a>, Sink), (subject, run, pieces): (_, _, Vec<(Metric, usize)>)| {
            rows.clear();
            units.fill(subject, run, rows);
            let text = |(metric, piece)| {
                sink.clear();
                rows.write(metric, sink);
                (piece, Text { text: sink.text.as_str().into(), samples: sink.samples })
            };
            pieces.into_iter().map(text).collect::<Vec<_>>()
        };
        for (piece, text) in parallel::map(writing, Default::default, write).into_iter().flatten() {
            self.texts[piece] = Some(text);
        }
    }

    /// Makes those blocks new as well that begin a metric which has its first sample now, or has none any more.
    fn renew_heads(&mut self, before: &Blocks) {
        let mut any = false;
        let present = self.present();
        for (column, is_present) in present.into_iter().enumerate() {
            if before.present.get(column).is_some_and(|was_present| *was_present != is_present) {
                let head = self.firsts[column];
                let place = self.planned.partition_point(|planned| planned.pieces.end <= head);
                any |= self.planned.get_mut(place).is_some_and(|planned| planned.kept.take().is_some());
            }
        }
        if any {
            self.write();
        }
    }

    /// By metric, whether it has a sample.
    fn present(&self) -> Vec<bool> {
        let mut present = vec![false; self.metrics.len()];
        let mut column = 0;
        for planned in &self.planned {
            for piece in planned.pieces.clone() {
                while self.firsts.get(column + 1).is_some_and(|next| *next <= piece) {
                    column += 1;
                }
                let samples = match &planned.kept {
                    Some(block) => block.samples[piece - planned.pieces.start],
                    None => self.texts[piece].as_ref().map_or(0, |text| text.samples),
                };
                present[column] |= samples > 0;
            }
        }
        present
    }

    /// Compresses the blocks that are new.
    fn finish(mut self, firsts: &[usize], present: &[bool]) -> Vec<Placed> {
        let mut column = 0;
        let (mut placed, mut new) = (Vec::with_capacity(self.planned.len()), Vec::new());
        for Planned { pieces, kept } in std::mem::take(&mut self.planned) {
            let first = pieces.start;
            if let Some(block) = kept {
                placed.push(Placed { first, block });
                continue;
            }
            let (mut parts, mut samples) = (Vec::with_capacity(pieces.len()), Vec::with_capacity(pieces.len()));
            for piece in pieces {
                while firsts.get(column + 1).is_some_and(|next| *next <= piece) {
                    column += 1;
                }
                if firsts[column] == piece && present[column] {
                    parts.push(head(self.metrics[column]).into_boxed_str());
                }
                let text = self.texts[piece].take().expect("the pieces of blocks that are not kept were written");
                samples.push(text.samples);
                parts.push(text.text);
            }
            new.push((first, parts, samples.into_boxed_slice()));
        }
        placed.extend(parallel::map(new, Deflate::new, |deflate, (first, parts, samples)| {
            let block = Arc::new(block(parts, samples, deflate));
            Placed { first, block }
        }));
        placed.sort_unstable_by_key(|placed| placed.first);
        placed
    }
}

fn block(mut parts: Vec<Box<str>>, samples: Box<[u32]>, deflate: &mut Deflate) -> Block {
    let text = if parts.len() == 1 { parts.remove(0) } else { parts.concat().into_boxed_str() };
    let mut crc = crc32fast::Hasher::new();
    crc.update(text.as_bytes());
    Block { samples, gzip: deflate.block(text.as_bytes()), identity: Bytes::from(text.into_boxed_bytes()), crc }
}

/// HELP and TYPE of a metric.
fn head(metric: Metric) -> String {
    let (name, help) = (metric.name(), metric.help());
    format!("# HELP {name} {help}\n# TYPE {name} gauge\n")
}

/// Joins pieces to blocks.
struct Plan {
    limits: BlockLimits,
    blocks: Vec<Range<usize>>,
    /// Of the last block, which may go on.
    weight: u32,
    is_open: bool,
}

impl Plan {
    fn new(limits: BlockLimits) -> Self {
        Self { limits, blocks: Vec::new(), weight: 0, is_open: false }
    }

    /// The next piece.
    fn add(&mut self, weight: u32) {
        match self.blocks.last_mut() {
            Some(last) if self.is_open => last.end += 1,
            last => {
                let next = last.map_or(0, |last| last.end);
                self.blocks.push(next..next + 1);
                self.weight = 0;
            }
        }
        self.weight = self.weight.saturating_add(weight);
        self.is_open = weight < self.limits.runs.least && self.weight < self.limits.joined;
    }

    fn finish(self) -> Vec<Range<usize>> {
        self.blocks
    }
}
