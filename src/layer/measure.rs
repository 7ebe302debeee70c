//! Measures one streamed layer: compressed chunks in, verified uncompressed and unpacked sizes out.

use std::io::BufRead;

use bytes::Bytes;

use super::decompress::decompress;
use super::error::MeasureError;
use super::hasher::{Hasher, Mismatch, Proof, Verification};
use super::pieces::Pieces;
use super::tar;
use super::tar_stream::TarStream;
use super::unpack::{Content, Tree, Wanted};
use crate::files::{LayerFiles, Unlisted};
use crate::image::{LayerContent, Unpacked};
use crate::oci::Digest;

/// Measures one layer while it is streamed. Memory: one or two megabytes, the window of a zstd frame (at most 128 MiB,
/// mostly 2 to 8), and about 40 bytes for each path; 100 where files are listed.
pub struct Measure {
    blob: Option<Proof>,
    tar: Option<Proof>,
    listed: Option<Wanted>,
}

/// A layer that was measured.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Its sizes.
    pub content: LayerContent,
    /// Its files, where they were asked for.
    pub files: LayerFiles,
}

impl Measure {
    /// For the layer whose compressed blob has `digest` and whose tar, if a verified config says so, has `diff_id`. The
    /// content is verified against both, as far as their algorithms are supported.
    pub fn new(digest: &Digest, diff_id: Option<&Digest>) -> Result<Self, MeasureError> {
        let (blob, tar) = (Proof::new(digest), diff_id.and_then(Proof::new));
        if blob.is_none() && tar.is_none() {
            return Err(MeasureError::Unverifiable(digest.clone()));
        }
        Ok(Self { blob, tar, listed: None })
    }

    /// For a layer of the caller's own, of which no digest is known: nothing is verified.
    pub(crate) fn unverified() -> Self {
        Self { blob: None, tar: None, listed: None }
    }

    /// Lists the layer's files too; `None`: not.
    #[must_use]
    pub fn with_files(self, listed: Option<Wanted>) -> Self {
        Self { listed, ..self }
    }

    /// The layer's sizes alone: see [`Self::read_files`].
    pub fn read(self, pieces: impl IntoIterator<Item = Bytes>) -> Result<LayerContent, MeasureError> {
        self.read_files(pieces).map(|measured| measured.content)
    }

    /// The layer's sizes and files, once `pieces` returned the whole compressed blob. Blocks while it decompresses: not for an
    /// async thread. All pieces are consumed even where the first is broken: the error is [`MeasureError::Mismatch`] if
    /// the blob is not the requested one.
    pub fn read_files(self, pieces: impl IntoIterator<Item = Bytes>) -> Result<Measured, MeasureError> {
        let hasher = Hasher::start(self.blob, self.tar);
        let mut pieces = pieces.into_iter().inspect(|piece| hasher.blob(piece));
        let read = read(Pieces::new(&mut pieces), &hasher, self.listed);
        pieces.for_each(drop);
        let Verification { blob, tar: same_tar } = hasher.finish();
        let is_verified = blob.is_some();
        blob.unwrap_or(Ok(()))?;
        let (measured, tar) = read?;
        match same_tar {
            Ok(()) => tar.map(|()| measured),
            Err(Mismatch { expected, found }) if is_verified => {
                let Measured { content, files } = measured;
                tar.and(Err(MeasureError::DiffId { expected, found, content, files: files.ok() }))
            }
            Err(mismatch) => Err(mismatch.into()),
        }
    }
}

/// The sizes of the layer in `blob`, and whether it is a tar. Hashes the whole tar, unless it cannot be decompressed.
fn read(
    blob: impl BufRead,
    hasher: &Hasher,
    listed: Option<Wanted>,
) -> Result<(Measured, Result<(), MeasureError>), MeasureError> {
    let mut tar = TarStream::new(decompress(blob)?, hasher);
    // `None` once overlay2 would refuse the layer.
    let mut tree = Some(Tree::new(listed));
    let entries = tar::read_contents(&mut tar, |entry, content| {
        if let Some(unpacking) = &mut tree {
            let content = if unpacking.lists_files() {
                Content::read(&entry, content, unpacking.reads_packages())?
            } else {
                Content::default()
            };
            if !unpacking.insert(&entry, content)? {
                tree = None;
            }
        }
        Ok(())
    });
    if let Err(error) = &entries
        && !matches!(error, MeasureError::Tar(_))
    {
        return Err(error.clone());
    }
    let uncompressed_bytes = tar.finish()?;
    let (unpacked, files) = match tree.map(Tree::finish) {
        Some((bytes, files)) => (Unpacked::Bytes(bytes), files),
        None => (Unpacked::Refused, Err(Unlisted::Refused)),
    };
    Ok((Measured { content: LayerContent { uncompressed_bytes, estimated: false, unpacked }, files }, entries))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Why a layer is refused.
    fn refused(blob: &[u8]) -> String {
        let measure = Measure::new(&Digest::sha256_of(blob), None).unwrap();
        measure.read([Bytes::copy_from_slice(blob)]).unwrap_err().to_string()
    }

    #[test]
    fn frames_of_zstd_before_1_0_are_refused_wherever_they_stand() {
        // Half of an empty tar as zstd 0.7 writes it: no flags, a window of 1 KiB, one block stored as it is, the end.
        let half_tar = [0; 512];
        let mut old = [&[0x27, 0xb5, 0x2f, 0xfd, 0, 0, 0x40, 2, 0][..], &half_tar, &[0xc0, 0, 0]].concat();
        let behind = [zstd::bulk::compress(&half_tar, 1).unwrap(), old.clone()].concat();
        assert_eq!(refused(&behind), "the layer is broken zstd: Unknown frame descriptor");
        for magic in [0x1e, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27] {
            old[0] = magic;
            assert_eq!(
                refused(&old),
                "the layer is compressed with a zstd before 1.0, which is not supported: use gzip or zstd"
            );
        }
    }
}
