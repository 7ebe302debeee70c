//! A layer's uncompressed size without streaming it, in the order of trust: from its media type, from annotations, from
//! a few bytes of the blob. Pure: an [`Estimate`] says which bytes are needed, `probe` fetches them.
//!
//! Where these are not conclusive there is no estimate: a guess would be published beside true figures.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::image::{LayerContent, Span, UncompressedHint, Unpacked};
use crate::oci::{Digest, MediaType};
use crate::tag::LayerRequest;

/// The most bytes that are fetched of one layer.
const RANGE_BYTES_MAX: u64 = 16 << 10;

/// The most bytes to which these may decompress, by the annotations: far more than real tar-splits.
const CONTENT_BYTES_MAX: u64 = 4 << 20;

/// Deflate's highest compression ratio.
pub(crate) const DEFLATE_RATIO_MAX: u64 = 1032;

/// The highest ratio that gzip reaches on layers of real files, as far as observed.
const LIKELY_RATIO_MAX: u64 = 16;

/// Bytes of gzip's trailer.
const TRAILER_BYTES: u64 = 8;

/// Bytes of a zstd frame's header at most.
const FRAME_HEADER_BYTES: u64 = 18;

/// How a layer's uncompressed size can be estimated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Estimate {
    /// It is known.
    Known(LayerContent),
    /// It takes these bytes of the blob: see [`read`].
    Fetch(Range<u64>, BlobPart),
    /// It cannot be estimated, for this reason.
    Unavailable(&'static str),
}

/// A part of a blob from which the size may follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BlobPart {
    /// The last bytes of gzip.
    GzipTrailer,
    /// The first bytes of zstd.
    ZstdHeader,
    /// zstd:chunked's table of contents and its tar-split, or the latter alone.
    TarSplit {
        /// The table's compressed bytes at the start of the part, and their digest.
        contents: Option<(u64, u64, Digest)>,
        /// Where in the part the tar-split stands.
        at: u64,
        /// The tar-split.
        tar_split: Span,
    },
}

/// The estimate from the manifest alone, or the bytes that it takes.
pub(crate) fn from_manifest(layer: &LayerRequest) -> Estimate {
    let bytes = layer.bytes;
    match Compression::from_media_type(&layer.media_type) {
        // An uncompressed layer has one digest: where the config has another, the media type is wrong.
        Compression::None if layer.diff_id.as_ref().is_none_or(|diff_id| *diff_id == layer.digest) => {
            return Estimate::Known(exactly(bytes));
        }
        Compression::None => {
            return Estimate::Unavailable("its media type says that it is not compressed, its config that it is");
        }
        Compression::Unreadable => return Estimate::Unavailable("not a layer that can be read"),
        Compression::Gzip | Compression::Zstd => {}
    }
    match &layer.hint {
        Some(UncompressedHint::Bytes(stated)) => {
            if *stated > 0 && *stated >= least(bytes) {
                // A publisher's statement is not verified.
                return Estimate::Known(LayerContent { estimated: true, ..exactly(*stated) });
            }
        }
        // Used where the layer's own bytes are not conclusive.
        Some(UncompressedHint::Soci(_)) | None => {}
        Some(UncompressedHint::TarSplit { contents, contents_digest, tar_split }) => {
            let verifiable = contents.zip(contents_digest.clone());
            if let Some(plan) = fetch_tar_split(bytes, verifiable, *tar_split) {
                return plan;
            }
        }
    }
    match Compression::from_media_type(&layer.media_type) {
        Compression::Gzip if bytes > TRAILER_BYTES => {
            Estimate::Fetch(bytes - TRAILER_BYTES..bytes, BlobPart::GzipTrailer)
        }
        Compression::Zstd if bytes > 0 => Estimate::Fetch(0..bytes.min(FRAME_HEADER_BYTES), BlobPart::ZstdHeader),
        _ => Estimate::Unavailable("shorter than any compressed tar"),
    }
}

/// Why a layer is not streamed.
pub(crate) const NO_TAR: &str = "its media type says that it is not a tar";

/// Whether a layer may be a tar, so that streaming it may give its size. An artifact's are often something else, and
/// large: a model, a file. Where its media type is not conclusive, an image's config is.
pub(crate) fn may_be_tar(layer: &LayerRequest) -> bool {
    layer.media_type.says_tar().unwrap_or(layer.diff_id.is_some())
}

/// The layer's sizes by this part of a blob of `bytes` bytes, or why they do not follow from it.
pub(crate) fn read(part: &BlobPart, fetched: &[u8], bytes: u64) -> Result<LayerContent, &'static str> {
    match part {
        BlobPart::GzipTrailer => gzip_trailer(fetched, bytes),
        BlobPart::ZstdHeader => zstd_header(fetched, bytes),
        BlobPart::TarSplit { contents, at, tar_split } => {
            let frame = part_of(fetched, *at, tar_split.bytes).ok_or("the tar-split is not where it should be")?;
            let verified = contents.as_ref().is_some_and(|(length, content_bytes, digest)| {
                part_of(fetched, 0, *length).is_some_and(|toc| toc_proves(toc, *content_bytes, digest, frame))
            });
            let tar_bytes = tar_split_bytes(frame, tar_split.content_bytes).ok_or("the tar-split is broken")?;
            let content = exact(tar_bytes).ok_or("the tar-split does not add up to a tar")?;
            Ok(LayerContent { estimated: !verified, ..content })
        }
    }
}

enum Compression {
    None,
    Gzip,
    Zstd,
    Unreadable,
}

impl Compression {
    /// By the media type. Schema 1 has none, and all its layers are gzip.
    fn from_media_type(media_type: &MediaType) -> Self {
        let text = media_type.as_str();
        let layer = text.starts_with("application/vnd.oci.image.layer.") || text.starts_with("application/vnd.docker.");
        match text {
            "" => Self::Gzip,
            _ if !layer => Self::Unreadable,
            _ if text.strip_suffix(".tar").is_some() => Self::None,
            _ if text.ends_with(".tar+gzip") || text.ends_with(".tar.gzip") => Self::Gzip,
            _ if text.ends_with(".tar+zstd") || text.ends_with(".tar.zstd") => Self::Zstd,
            // Encrypted, or not a tar.
            _ => Self::Unreadable,
        }
    }
}

/// A tar consists of blocks of 512 bytes, unless its writer does not pad the last one, as umoci.
fn exact(tar_bytes: u64) -> Option<LayerContent> {
    tar_bytes.is_multiple_of(512).then(|| exactly(tar_bytes))
}

fn exactly(tar_bytes: u64) -> LayerContent {
    LayerContent { uncompressed_bytes: tar_bytes, estimated: false, unpacked: Unpacked::Unknown }
}

/// The most by which compression enlarges incompressible data.
fn least(compressed_bytes: u64) -> u64 {
    (compressed_bytes - compressed_bytes / 1000).saturating_sub(64)
}

/// The trailer has the length of the last member modulo 2^32. An empty last member (eStargz) or one of an odd length is
/// recognized; how often the length wrapped follows from the ratios that deflate can reach and gzip reaches in
/// practice.
fn gzip_trailer(trailer: &[u8], bytes: u64) -> Result<LayerContent, &'static str> {
    let length = trailer.last_chunk::<4>().ok_or("the trailer is missing")?;
    let length = u64::from(u32::from_le_bytes(*length));
    if length == 0 || !length.is_multiple_of(512) {
        return Err("its gzip trailer does not cover the whole tar");
    }
    let fits = |ratio_max: u64| {
        let most = bytes.saturating_mul(ratio_max);
        let first = least(bytes).saturating_sub(length).div_ceil(1 << 32).checked_mul(1 << 32)?.checked_add(length)?;
        (first <= most && first.checked_add(1 << 32)? > most).then_some(first)
    };
    let tar_bytes =
        fits(DEFLATE_RATIO_MAX).or_else(|| fits(LIKELY_RATIO_MAX)).ok_or("its gzip trailer is ambiguous")?;
    Ok(LayerContent { uncompressed_bytes: tar_bytes, estimated: true, unpacked: Unpacked::Unknown })
}

/// The header of the first frame may have the length of its content (RFC 8878, section 3.1.1.1). Whether it is the only
/// frame is unknown.
fn zstd_header(header: &[u8], bytes: u64) -> Result<LayerContent, &'static str> {
    let tar_bytes = frame_content_bytes(header).ok_or("its zstd frame has no content size")?;
    if tar_bytes == 0 || !tar_bytes.is_multiple_of(512) || tar_bytes < least(bytes) {
        return Err("its first zstd frame does not hold the whole tar");
    }
    Ok(LayerContent { uncompressed_bytes: tar_bytes, estimated: true, unpacked: Unpacked::Unknown })
}

fn frame_content_bytes(header: &[u8]) -> Option<u64> {
    let [0x28, 0xb5, 0x2f, 0xfd, descriptor, rest @ ..] = header else { return None };
    let single_segment = descriptor & 0x20 != 0;
    let skipped = usize::from(!single_segment) + [0, 1, 2, 4][usize::from(descriptor & 3)];
    let field = rest.get(skipped..)?;
    match (descriptor >> 6, single_segment) {
        (0, false) => None,
        (0, true) => field.first().map(|&byte| u64::from(byte)),
        (1, _) => field.first_chunk().map(|bytes| u64::from(u16::from_le_bytes(*bytes)) + 256),
        (2, _) => field.first_chunk().map(|bytes| u64::from(u32::from_le_bytes(*bytes))),
        _ => field.first_chunk().map(|bytes| u64::from_le_bytes(*bytes)),
    }
}

/// One range for the tar-split and, where both are small and close to each other, the table of contents, which verifies
/// it.
fn fetch_tar_split(bytes: u64, contents: Option<(Span, Digest)>, tar_split: Span) -> Option<Estimate> {
    let small = |range: &Range<u64>| range.end <= bytes && range.end.saturating_sub(range.start) <= RANGE_BYTES_MAX;
    if tar_split.content_bytes > CONTENT_BYTES_MAX {
        return None;
    }
    if let Some((span, digest)) = contents.filter(|(span, _)| span.content_bytes <= CONTENT_BYTES_MAX) {
        let range = span.offset..tar_split.end();
        if span.end() <= tar_split.offset && small(&range) {
            let at = tar_split.offset - span.offset;
            let contents = Some((span.bytes, span.content_bytes, digest));
            return Some(Estimate::Fetch(range, BlobPart::TarSplit { contents, at, tar_split }));
        }
    }
    let range = tar_split.offset..tar_split.end();
    if small(&range) {
        Some(Estimate::Fetch(range, BlobPart::TarSplit { contents: None, at: 0, tar_split }))
    } else {
        None
    }
}

fn part_of(bytes: &[u8], at: u64, length: u64) -> Option<&[u8]> {
    let start = usize::try_from(at).ok()?;
    bytes.get(start..)?.get(..usize::try_from(length).ok()?)
}

/// Whether the table of contents has the digest in the manifest, and lists this tar-split.
fn toc_proves(toc: &[u8], content_bytes: u64, digest: &Digest, tar_split: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Toc {
        #[serde(rename = "tarSplitDigest")]
        tar_split_digest: Option<Digest>,
    }
    let read = || {
        let content = decompressed(toc, content_bytes)?;
        serde_json::from_slice::<Toc>(&content).ok()?.tar_split_digest?.verifies(tar_split)
    };
    digest.verifies(toc) == Some(true) && read() == Some(true)
}

/// Bytes of the tar that a tar-split describes: lines of JSON, the tar's own bytes in base64 and the files' sizes.
fn tar_split_bytes(frame: &[u8], content_bytes: u64) -> Option<u64> {
    #[derive(Deserialize)]
    struct Segment {
        #[serde(rename = "type")]
        kind: u8,
        #[serde(default)]
        size: u64,
        payload: Option<String>,
    }
    let content = decompressed(frame, content_bytes)?;
    let mut sum = 0_u64;
    for segment in serde_json::Deserializer::from_slice(&content).into_iter::<Segment>() {
        let bytes = match segment.ok()? {
            Segment { kind: 1, size, .. } => size,
            Segment { kind: 2, payload: Some(payload), .. } => STANDARD.decode(payload).ok()?.len() as u64,
            _ => return None,
        };
        sum = sum.checked_add(bytes)?;
    }
    Some(sum)
}

/// The content of a zstd frame, if it has the stated length.
fn decompressed(frame: &[u8], content_bytes: u64) -> Option<Vec<u8>> {
    let capacity = usize::try_from(content_bytes.min(CONTENT_BYTES_MAX)).ok()?;
    let content = zstd::bulk::decompress(frame, capacity).ok()?;
    (content.len() as u64 == content_bytes).then_some(content)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    const ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

    fn layer(media_type: &str, bytes: u64, hint: Option<UncompressedHint>) -> LayerRequest {
        LayerRequest {
            repository: "registry.example/a".parse().unwrap(),
            image: Digest::sha256_of(b"image"),
            digest: Digest::sha256_of(b"layer"),
            bytes,
            diff_id: None,
            media_type: MediaType::new(media_type),
            hint,
            mode: crate::target::Uncompressed::Cheap,
        }
    }

    fn known(uncompressed_bytes: u64, estimated: bool) -> LayerContent {
        LayerContent { uncompressed_bytes, estimated, unpacked: Unpacked::Unknown }
    }

    #[test]
    fn the_most_trusted_source_is_asked_first() {
        let split = |bytes| UncompressedHint::TarSplit {
            contents: None,
            contents_digest: None,
            tar_split: Span { offset: 500, bytes, content_bytes: 1000 },
        };
        for (media_type, bytes, hint, expected) in [
            ("application/vnd.oci.image.layer.v1.tar", 10_240, None, Estimate::Known(known(10_240, false))),
            (GZIP, 1000, Some(UncompressedHint::Bytes(2048)), Estimate::Known(known(2048, true))),
            // By umoci, which does not pad.
            (GZIP, 1000, Some(UncompressedHint::Bytes(2047)), Estimate::Known(known(2047, true))),
            (GZIP, 1000, Some(UncompressedHint::Bytes(800)), Estimate::Fetch(992..1000, BlobPart::GzipTrailer)),
            (GZIP, 1000, None, Estimate::Fetch(992..1000, BlobPart::GzipTrailer)),
            ("", 1000, None, Estimate::Fetch(992..1000, BlobPart::GzipTrailer)),
            (ZSTD, 1000, None, Estimate::Fetch(0..18, BlobPart::ZstdHeader)),
            (ZSTD, 100_000, Some(split(20_000)), Estimate::Fetch(0..18, BlobPart::ZstdHeader)),
            (
                ZSTD,
                1000,
                Some(split(100)),
                Estimate::Fetch(
                    500..600,
                    BlobPart::TarSplit {
                        contents: None,
                        at: 0,
                        tar_split: Span { offset: 500, bytes: 100, content_bytes: 1000 },
                    },
                ),
            ),
            (
                "application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
                9,
                None,
                Estimate::Unavailable("not a layer that can be read"),
            ),
            (
                "application/vnd.cncf.helm.chart.content.v1.tar+gzip",
                9,
                None,
                Estimate::Unavailable("not a layer that can be read"),
            ),
        ] {
            assert_eq!(from_manifest(&layer(media_type, bytes, hint)), expected, "{media_type}");
        }
    }

    #[test]
    fn a_layer_is_as_long_as_its_tar_only_where_its_config_agrees() {
        let tar = "application/vnd.oci.image.layer.v1.tar";
        for (diff_id, expected) in [(b"layer", true), (b"other", false)] {
            let layer = LayerRequest { diff_id: Some(Digest::sha256_of(diff_id)), ..layer(tar, 10_240, None) };
            assert_eq!(from_manifest(&layer) == Estimate::Known(known(10_240, false)), expected);
        }
    }

    #[test]
    fn a_gzip_trailer_counts_only_where_it_is_unambiguous() {
        const WRAP: u64 = 1 << 32;
        for (length, bytes, expected) in [
            (10_240_u32, 1000, Some(10_240)),
            (10_241, 1000, None),
            (0, 1000, None),
            // A last member smaller than the compressed blob.
            (512, 1_000_000, None),
            // 100 MB: four more gigabytes would be 43 times as much.
            (300_000_256, 100_000_000, Some(300_000_256)),
            // 1 GB: four more gigabytes are plausible.
            (3_000_000_512, 1_000_000_000, None),
            // 5 GB: it wrapped at least once.
            (1_024, 4_200_000_000, None),
            (1_024, 269_000_000, Some(WRAP + 1_024)),
            // Beyond deflate's ratio.
            (2_048_000, 1000, None),
            // More than 64 bits hold.
            (1_024, u64::MAX, None),
            (1_024, 1 << 62, None),
        ] {
            let trailer = [&[1, 2, 3, 4], &length.to_le_bytes()[..]].concat();
            let expected = expected.map(|bytes| known(bytes, true));
            assert_eq!(read(&BlobPart::GzipTrailer, &trailer, bytes).ok(), expected, "{length} of {bytes}");
        }
    }

    #[test]
    fn a_zstd_frames_content_size_is_an_estimate() {
        for tar_bytes in [512_usize, 65_536, 70_144, 1 << 20] {
            let tar = vec![7; tar_bytes];
            let whole = zstd::bulk::compress(&tar, 1).unwrap();
            let header = &whole[..whole.len().min(18)];
            let expected = Ok(known(tar_bytes as u64, true));
            assert_eq!(read(&BlobPart::ZstdHeader, header, whole.len() as u64), expected, "{tar_bytes}");
            let streamed = zstd::stream::encode_all(&tar[..], 1).unwrap();
            assert!(read(&BlobPart::ZstdHeader, &streamed[..18.min(streamed.len())], streamed.len() as u64).is_err());
        }
        assert!(read(&BlobPart::ZstdHeader, &[0x50, 0x2a, 0x4d, 0x18], 100).is_err());
    }

    #[test]
    fn a_tar_split_is_exact_where_the_table_of_contents_proves_it() {
        let lines = format!(
            "{{\"type\":2,\"payload\":\"{}\"}}\n{{\"type\":1,\"name\":\"a\",\"size\":512}}\n",
            STANDARD.encode([0; 1024])
        );
        let frame = zstd::bulk::compress(lines.as_bytes(), 3).unwrap();
        let toc = format!(r#"{{"version":1,"entries":[],"tarSplitDigest":"{}"}}"#, Digest::sha256_of(&frame));
        let toc_frame = zstd::bulk::compress(toc.as_bytes(), 3).unwrap();
        let blob = [&[0; 100][..], &toc_frame, &[0; 8], &frame, &[0; 64]].concat();
        let contents = Span { offset: 100, bytes: toc_frame.len() as u64, content_bytes: toc.len() as u64 };
        let offset = contents.end() + 8;
        let tar_split = Span { offset, bytes: frame.len() as u64, content_bytes: lines.len() as u64 };
        for (digest, estimated) in [(Digest::sha256_of(&toc_frame), false), (Digest::sha256_of(b"other"), true)] {
            let hint =
                UncompressedHint::TarSplit { contents: Some(contents), contents_digest: Some(digest), tar_split };
            let Estimate::Fetch(range, part) = from_manifest(&layer(ZSTD, blob.len() as u64, Some(hint))) else {
                panic!("no range")
            };
            let fetched = part_of(&blob, range.start, range.end - range.start).unwrap();
            assert_eq!(read(&part, fetched, blob.len() as u64), Ok(known(1536, estimated)));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic_a_reader(fetched: Vec<u8>, bytes: u64, spans in any::<[u64; 6]>()) {
            let tar_split = Span { offset: spans[0], bytes: spans[1], content_bytes: spans[2] };
            let contents = Some((spans[3], spans[4], Digest::sha256_of(&fetched)));
            for part in [BlobPart::GzipTrailer, BlobPart::ZstdHeader, BlobPart::TarSplit { contents, at: spans[5], tar_split }] {
                let _ = read(&part, &fetched, bytes);
            }
        }
    }
}
