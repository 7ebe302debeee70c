//! A layer's compression, told by its first bytes as Docker's engine tells it: media types lie.

use zstd::stream::raw::{Decoder, InBuffer, Operation as _, OutBuffer};
use zstd::zstd_safe::DParameter;

use super::gzip::Gzip;
use super::measure::{MeasureError, Output};

/// Windows of zstd frames up to 2^27 bytes, 128 MiB: what `zstd -d` takes unasked.
const WINDOW_LOG_MAX: u32 = 27;

/// So many bytes tell every compression.
const MAGIC_BYTES: usize = 10;

/// Decompresses pieces of any length.
pub(crate) enum Decompressor {
    /// Not enough bytes yet to tell.
    Unknown(Vec<u8>),
    Plain,
    Gzip(Box<Gzip>),
    Zstd(Zstd),
}

/// Zstandard (RFC 8878): many frames and skippable ones too.
pub(crate) struct Zstd {
    decoder: Decoder<'static>,
    frame_ended: bool,
}

impl Decompressor {
    pub(crate) fn new() -> Self {
        Self::Unknown(Vec::with_capacity(MAGIC_BYTES))
    }

    pub(crate) fn feed(&mut self, input: &bytes::Bytes, output: &mut Output) -> Result<(), MeasureError> {
        match self {
            Self::Unknown(seen) => {
                let mut start = std::mem::take(seen);
                start.extend_from_slice(input);
                if start.len() < MAGIC_BYTES {
                    *seen = start;
                    return Ok(());
                }
                *self = Self::of(&start)?;
                self.feed(&start.into(), output)
            }
            Self::Plain => output.pass(input),
            Self::Gzip(gzip) => gzip.feed(input, output),
            Self::Zstd(zstd) => zstd.feed(input, output),
        }
    }

    pub(crate) fn finish(&mut self, output: &mut Output) -> Result<(), MeasureError> {
        match self {
            // Nothing compressed is so short, but a zstd frame of nothing is.
            Self::Unknown(start) => {
                let start = std::mem::take(start);
                *self = Self::of(&start)?;
                self.feed(&start.into(), output)?;
                self.finish(output)
            }
            Self::Plain => Ok(()),
            Self::Gzip(gzip) => gzip.finish(),
            Self::Zstd(zstd) if zstd.frame_ended => Ok(()),
            Self::Zstd(_) => Err(MeasureError::Truncated),
        }
    }

    fn of(start: &[u8]) -> Result<Self, MeasureError> {
        match start {
            [0x1f, 0x8b, ..] => Ok(Self::Gzip(Box::new(Gzip::new()))),
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(Self::Zstd(Zstd::new()?)),
            // zstd 0.1 to 0.7: only what is built with zstd's legacy decoders reads them, and Docker's engine is not.
            [0x1e | 0x22..=0x27, 0xb5, 0x2f, 0xfd, ..] => Err(MeasureError::Compression("a zstd before 1.0")),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Err(MeasureError::Compression("xz")),
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, 0x53, 0x59, ..] => {
                Err(MeasureError::Compression("bzip2"))
            }
            _ => Ok(Self::Plain),
        }
    }
}

impl Zstd {
    fn new() -> Result<Self, MeasureError> {
        let mut decoder = Decoder::new().map_err(|error| MeasureError::Zstd(error.to_string()))?;
        decoder
            .set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX))
            .map_err(|error| MeasureError::Zstd(error.to_string()))?;
        Ok(Self { decoder, frame_ended: true })
    }

    fn feed(&mut self, input: &[u8], output: &mut Output) -> Result<(), MeasureError> {
        let mut input = InBuffer::around(input);
        loop {
            if input.pos() == input.src.len() && self.frame_ended {
                return Ok(());
            }
            let space = output.space();
            let room = space.len();
            let mut out = OutBuffer::around(space);
            let hint = self.decoder.run(&mut input, &mut out).map_err(|error| match error.to_string() {
                text if text.contains("too much memory") => MeasureError::Window,
                text => MeasureError::Zstd(text),
            })?;
            let written = out.pos();
            self.frame_ended = hint == 0;
            output.wrote(written, false)?;
            if input.pos() == input.src.len() && written < room {
                return Ok(());
            }
        }
    }
}
