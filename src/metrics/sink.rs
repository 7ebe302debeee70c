//! Where samples are written: frames of bounded size, compressed as they fill, so that no buffer ever holds, or
//! moves, a whole body.

use std::fmt::Write;

use bytes::Bytes;

use super::gzip::{Deflate, FRAME_BYTES};

/// Capacity beyond a frame's size for its last sample; a longer sample makes the frame grow.
const ROOM_BYTES: usize = 4 * 1024;

/// Collects samples into frames.
pub(crate) struct Sink {
    frame: String,
    identity: Vec<Bytes>,
    identity_bytes: u64,
    deflate: Deflate,
    crc: crc32fast::Hasher,
    samples: u64,
    /// Name and HELP of the family whose samples follow, until they are written.
    family: Option<(&'static str, &'static str)>,
}

/// The written bytes, in both encodings.
#[derive(Debug)]
pub(crate) struct Frames {
    pub(crate) identity: Vec<Bytes>,
    pub(crate) identity_bytes: u64,
    /// A gzip member without its end: its header, and compressed blocks that end on a byte boundary.
    pub(crate) gzip: Vec<Bytes>,
    pub(crate) gzip_bytes: u64,
    /// Over the identity frames.
    pub(crate) crc: crc32fast::Hasher,
}

/// A sample's value. A float that is not finite is unknown, and has no sample.
#[derive(Clone, Copy)]
pub(crate) enum Value {
    Integer(u64),
    Float(f64),
}

impl Sink {
    pub(crate) fn new() -> Self {
        Self {
            frame: String::with_capacity(FRAME_BYTES + ROOM_BYTES),
            identity: Vec::new(),
            identity_bytes: 0,
            deflate: Deflate::new(),
            crc: crc32fast::Hasher::new(),
            samples: 0,
            family: None,
        }
    }

    /// The samples that follow belong to this family of gauges. A family without samples gets no HELP and TYPE.
    pub(crate) fn begin(&mut self, name: &'static str, help: &'static str) {
        self.family = Some((name, help));
    }

    /// One sample: `labels` begin with `{` and lack their `}`, `more` are further ones beginning with a comma.
    pub(crate) fn sample(&mut self, name: &str, labels: &str, more: &str, value: Value) {
        if matches!(value, Value::Float(float) if !float.is_finite()) {
            return;
        }
        if let Some((name, help)) = self.family.take() {
            self.announce(name, help);
        }
        let frame = &mut self.frame;
        frame.push_str(name);
        frame.push_str(labels);
        frame.push_str(more);
        frame.push_str("} ");
        // The shortest digits that parse to the same number: valid in both formats.
        match value {
            Value::Integer(integer) => write!(frame, "{integer}"),
            Value::Float(float) => write!(frame, "{float}"),
        }
        .expect("writing into a string does not fail");
        frame.push('\n');
        self.samples += 1;
        if frame.len() >= FRAME_BYTES {
            self.end_frame();
        }
    }

    /// The number of samples written so far.
    pub(crate) fn samples(&self) -> u64 {
        self.samples
    }

    fn announce(&mut self, name: &str, help: &str) {
        for part in ["# HELP ", name, " ", help, "\n# TYPE ", name, " gauge\n"] {
            self.frame.push_str(part);
        }
    }

    fn end_frame(&mut self) {
        let next = String::with_capacity(FRAME_BYTES + ROOM_BYTES);
        let frame = std::mem::replace(&mut self.frame, next);
        self.keep(frame);
    }

    fn keep(&mut self, frame: String) {
        self.deflate.add(frame.as_bytes());
        self.crc.update(frame.as_bytes());
        self.identity_bytes += frame.len() as u64;
        self.identity.push(frame.into());
    }

    pub(crate) fn finish(mut self) -> Frames {
        let mut last = std::mem::take(&mut self.frame);
        if !last.is_empty() {
            last.shrink_to_fit();
            self.keep(last);
        }
        let (gzip, gzip_bytes) = self.deflate.finish();
        Frames { identity: self.identity, identity_bytes: self.identity_bytes, gzip, gzip_bytes, crc: self.crc }
    }
}
