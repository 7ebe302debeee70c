//! A file that may be a layer.

use std::io::{self, Read};

use bytes::Bytes;

use crate::files::Unlisted;
use crate::image::{LayerContent, Unpacked};
use crate::layer::{Measure, MeasureError, Measured, Wanted, is_compressed};

/// A longer document is refused. Registries refuse manifests above 4 MiB.
pub(super) const DOCUMENT_BYTES_MAX: u64 = 4 << 20;

/// The bytes of a layer that are looked at to see whether it is compressed.
const START_BYTES: u64 = 16;

const PIECE_BYTES: usize = 64 << 10;

/// How much of a layer is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    /// Its size, and whether it is compressed.
    Open,
    /// All of it: its tar and its files are counted.
    Whole,
    /// All of it, and at most so many paths are listed, of all layers together.
    Files(usize),
}

/// A file that may be a layer.
#[derive(Clone, Debug)]
pub(super) struct Blob {
    pub(super) bytes: u64,
    pub(super) is_compressed: bool,
    /// Its sizes: of a compressed one only with [`Depth::Whole`].
    pub(super) measured: Option<Result<Measured, MeasureError>>,
}

impl Blob {
    /// Reads a file of `bytes` bytes.
    pub(super) fn read(mut content: &mut dyn Read, bytes: u64, depth: Depth) -> io::Result<Self> {
        let mut start = Vec::new();
        Read::take(&mut content, START_BYTES).read_to_end(&mut start)?;
        let is_compressed = is_compressed(&start);
        let measured = match depth {
            Depth::Open if is_compressed => None,
            Depth::Open => {
                let content = LayerContent { uncompressed_bytes: bytes, estimated: false, unpacked: Unpacked::Unknown };
                Some(Ok(Measured { content, files: Err(Unlisted::Unread) }))
            }
            Depth::Whole => Some(measure(&start, content, None)?),
            Depth::Files(paths_max) => Some(measure(&start, content, Some(Wanted { paths_max, packages: true }))?),
        };
        Ok(Self { bytes, is_compressed, measured })
    }
}

impl Depth {
    /// How much of the layer after `blob` is read.
    pub(super) fn after(self, blob: &Blob) -> Self {
        match (self, &blob.measured) {
            (Self::Files(left), Some(Ok(Measured { files: Ok(listing), .. }))) => {
                Self::Files(left.saturating_sub(listing.paths()))
            }
            _ => self,
        }
    }
}

/// The sizes of a layer that begins with `start`. The outer error is that of reading it.
fn measure(start: &[u8], rest: &mut dyn Read, listed: Option<Wanted>) -> io::Result<Result<Measured, MeasureError>> {
    let mut failure = None;
    let mut next = || {
        let mut piece = vec![0; PIECE_BYTES];
        match rest.read(&mut piece) {
            Ok(0) => None,
            Ok(count) => {
                piece.truncate(count);
                Some(Bytes::from(piece))
            }
            Err(error) => {
                failure = Some(error);
                None
            }
        }
    };
    let pieces = std::iter::once(Bytes::copy_from_slice(start)).chain(std::iter::from_fn(&mut next));
    let measured = Measure::unverified().with_files(listed).read_files(pieces);
    failure.map_or(Ok(measured), Err)
}
