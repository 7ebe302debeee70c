//! Decompression. As in Docker's engine, a layer's first bytes determine its compression: media types are often wrong.

use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;

use super::error::MeasureError;

/// Windows of zstd frames up to 2^27 bytes, 128 MiB: the limit of `zstd -d`.
const WINDOW_LOG_MAX: u32 = 27;

/// The length of the longest magic number.
const MAGIC_BYTES: usize = 10;

/// Whether the first bytes of a blob are those of something compressed.
pub(crate) fn is_compressed(start: &[u8]) -> bool {
    Compression::of(start) != Compression::None
}

/// By the first bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Compression {
    Gzip,
    Zstd,
    Unsupported(&'static str),
    None,
}

impl Compression {
    fn of(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            // zstd 0.1 to 0.7, which only zstd's legacy decoders read.
            [0x1e | 0x22..=0x27, 0xb5, 0x2f, 0xfd, ..] => Self::Unsupported("a zstd before 1.0"),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Unsupported("xz"),
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, 0x53, 0x59, ..] => Self::Unsupported("bzip2"),
            _ => Self::None,
        }
    }
}

/// The tar in `blob`. Errors of reading it are [`MeasureError`]s.
pub(crate) fn decompress<'a>(mut blob: impl BufRead + 'a) -> Result<Box<dyn Read + 'a>, MeasureError> {
    let mut start = Vec::with_capacity(MAGIC_BYTES);
    blob.by_ref().take(MAGIC_BYTES as u64).read_to_end(&mut start)?;
    let compression = Compression::of(&start);
    let whole = Box::new(io::Cursor::new(start).chain(blob));
    match compression {
        Compression::Gzip => Ok(Box::new(Gzip(GzDecoder::new(whole)))),
        Compression::Zstd => Ok(Box::new(Zstd::new(whole)?)),
        Compression::Unsupported(name) => Err(MeasureError::Compression(name)),
        Compression::None => Ok(whole),
    }
}

/// Gzip (RFC 1952): one or more members. As with `gzip -d`, zeros may pad the last one.
struct Gzip<'a>(GzDecoder<Box<dyn BufRead + 'a>>);

impl Read for Gzip<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.0.read(into).map_err(|error| gzip_error(&error))?;
            if count > 0 {
                return Ok(count);
            }
            let blob = self.0.get_mut();
            match blob.fill_buf()?.first() {
                None => return Ok(0),
                Some(0) => skip_padding(blob)?,
                Some(0x1f) => {
                    let blob = std::mem::replace(blob, Box::new(io::empty()));
                    self.0.reset(blob);
                }
                Some(_) => return Err(MeasureError::Gzip("something other than a member follows the last one").into()),
            }
        }
    }
}

fn skip_padding(blob: &mut impl BufRead) -> io::Result<()> {
    loop {
        let padding = blob.fill_buf()?;
        if padding.is_empty() {
            return Ok(());
        }
        if padding.iter().any(|&byte| byte != 0) {
            return Err(MeasureError::Gzip("something other than a member follows the last one").into());
        }
        let count = padding.len();
        blob.consume(count);
    }
}

/// Zstandard (RFC 8878): one or more frames, skippable ones included.
struct Zstd<R>(zstd::stream::read::Decoder<'static, R>);

impl<R: BufRead> Zstd<R> {
    fn new(blob: R) -> Result<Self, MeasureError> {
        let mut decoder = zstd::stream::read::Decoder::with_buffer(blob).map_err(|error| zstd_error(&error))?;
        decoder.window_log_max(WINDOW_LOG_MAX).map_err(|error| zstd_error(&error))?;
        Ok(Self(decoder))
    }
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        Ok(self.0.read(into).map_err(|error| zstd_error(&error))?)
    }
}

fn gzip_error(error: &io::Error) -> MeasureError {
    match error.to_string() {
        _ if error.kind() == io::ErrorKind::UnexpectedEof => MeasureError::Truncated,
        text if text.contains("header") => MeasureError::Gzip("a member's header is invalid"),
        text if text.contains("checksum") => MeasureError::Gzip("a member's checksum or length is wrong"),
        _ => MeasureError::Gzip("its deflate data is broken"),
    }
}

fn zstd_error(error: &io::Error) -> MeasureError {
    match error.to_string() {
        _ if error.kind() == io::ErrorKind::UnexpectedEof => MeasureError::Truncated,
        text if text.contains("too much memory") => MeasureError::Window,
        text => MeasureError::Zstd(text),
    }
}
