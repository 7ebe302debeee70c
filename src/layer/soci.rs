//! Layer sizes in SOCI indexes. Pure: `probe` fetches the parts.
//!
//! The index is a manifest whose layers are ztocs, each annotated with the layer that it describes (soci-snapshotter,
//! `soci/soci_index.go`). A ztoc is a flatbuffer of hundreds of kilobytes, with the layer's sizes in its root table,
//! which its writers put in front: these few bytes can be fetched alone, but not verified without the rest.
//!
//! Its size of the tar is the offset at which Go's tar reader stopped: after the first two blocks of zeros. GNU tar
//! writes more of them. So it is an estimate, good enough to tell how often the length in gzip's trailer wrapped; where
//! the two agree, the trailer is more precise.

use std::collections::HashMap;

use super::estimate::DEFLATE_RATIO_MAX;
use crate::image::{LayerContent, Unpacked};
use crate::oci::{Descriptor, Digest, Document};

/// Artifact type of a v1 index, which is a referrer of its image. The image's manifest has the digest of a v2 index.
pub(crate) const INDEX_TYPE: &str = "application/vnd.amazon.soci.index.v1+json";

/// The most bytes of an index, or of a list of an image's referrers: an index of 128 layers takes half.
pub(crate) const INDEX_BYTES_MAX: u64 = 64 << 10;

/// The first bytes of a ztoc, which hold its root table: known writers use 60.
pub(crate) const HEAD_BYTES: u64 = 256;

/// Smaller layers have no ztoc by default.
pub(crate) const LAYER_BYTES_MIN: u64 = 10 << 20;

const ZTOC_TYPE: &str = "application/octet-stream";
const LAYER_DIGEST: &str = "com.amazon.soci.image-layer-digest";

/// GNU tar's record size: the last record is padded with zeros.
const RECORD_BYTES: u64 = 20 * 512;

/// The ztocs of an image, by layer digest.
pub(crate) type Ztocs = HashMap<Digest, Ztoc>;

/// A ztoc's blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ztoc {
    pub(crate) digest: Digest,
    pub(crate) bytes: u64,
}

/// The index among an image's referrers. Of several the longest, which describes most layers.
pub(crate) fn index_of(referrers: &[Descriptor]) -> Option<&Digest> {
    let usable = referrers.iter().filter(|one| one.size <= INDEX_BYTES_MAX && one.digest.is_verifiable());
    usable.max_by_key(|one| one.size).map(|one| &one.digest)
}

/// The ztocs that an index names; none where it is no index.
pub(crate) fn ztocs(content_type: &str, body: &[u8]) -> Ztocs {
    let Ok(Document::Manifest(manifest)) = Document::parse(content_type, body) else { return Ztocs::new() };
    let described = |ztoc: &Descriptor| {
        let layer = ztoc.annotations.get(LAYER_DIGEST)?.parse().ok()?;
        Some((layer, Ztoc { digest: ztoc.digest.clone(), bytes: ztoc.size }))
    };
    // Prefetch lists have the same annotation.
    manifest.layers.iter().filter(|ztoc| ztoc.media_type.as_str() == ZTOC_TYPE).filter_map(described).collect()
}

/// The estimate from the head of a ztoc and the trailer of its layer of `bytes` bytes.
pub(crate) fn read(head: &[u8], trailer: &[u8], bytes: u64) -> Option<LayerContent> {
    let (compressed_bytes, stated) = archive_bytes(head)?;
    let possible = stated <= bytes.saturating_mul(DEFLATE_RATIO_MAX) && stated >= bytes - bytes / 100;
    if compressed_bytes != bytes || stated == 0 || !stated.is_multiple_of(512) || !possible {
        return None;
    }
    let wrapped = u64::from(u32::from_le_bytes(*trailer.last_chunk()?));
    let zeros = (wrapped + (1 << 32) - stated % (1 << 32)) % (1 << 32);
    let agreed = wrapped.is_multiple_of(512) && zeros < RECORD_BYTES;
    let uncompressed_bytes = if agreed { stated.checked_add(zeros)? } else { stated };
    Some(LayerContent { uncompressed_bytes, estimated: true, unpacked: Unpacked::Unknown })
}

/// `compressed_archive_size` and `uncompressed_archive_size`, the third and fourth field of the root table.
fn archive_bytes(head: &[u8]) -> Option<(u64, u64)> {
    let table = usize::try_from(u32::from_le_bytes(at(head, 0)?)).ok()?;
    let back = isize::try_from(i32::from_le_bytes(at(head, table)?)).ok()?;
    let fields = table.checked_add_signed(back.checked_neg()?)?;
    let fields_bytes = usize::from(u16::from_le_bytes(at(head, fields)?));
    let field = |field_number: usize| {
        let entry = 4 + 2 * field_number;
        if entry + 2 > fields_bytes {
            return None;
        }
        match u16::from_le_bytes(at(head, fields.checked_add(entry)?)?) {
            0 => None,
            offset => u64::try_from(i64::from_le_bytes(at(head, table.checked_add(offset.into())?)?)).ok(),
        }
    };
    Some((field(2)?, field(3)?))
}

fn at<const N: usize>(bytes: &[u8], position: usize) -> Option<[u8; N]> {
    bytes.get(position..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WRAP: u64 = 1 << 32;

    /// The first 64 bytes of the 71,496 that the flatbuffers library writes of a ztoc with soci-snapshotter's schema, its
    /// fields added in soci-snapshotter's order: a layer of 1,500,000,123 bytes and a tar of 7,294,968,320.
    const HEAD: [u8; 64] = [
        0x18, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0x24, 0, 0x20, 0, 0x1c, 0, 0x10, 0, 0x08, 0, 0x18, 0, 0x04, 0, 0x10, 0, 0,
        0, 0x2c, 0, 0, 0, 0x00, 0x62, 0xd0, 0xb2, 0x01, 0, 0, 0, 0x7b, 0x2f, 0x68, 0x59, 0, 0, 0, 0, 0xa0, 0x11, 0x01,
        0, 0xf4, 0x16, 0x01, 0, 0x08, 0x17, 0x01, 0, 0x0c, 0, 0x0c, 0,
    ];
    const BYTES: u64 = 1_500_000_123;
    const SAID: u64 = 7_294_968_320;

    // Their offsets.
    const UNCOMPRESSED: usize = 32;
    const COMPRESSED: usize = 40;

    fn trailer(tar_bytes: u64) -> Vec<u8> {
        [&[1, 2, 3, 4], &u32::try_from(tar_bytes % WRAP).unwrap().to_le_bytes()[..]].concat()
    }

    #[test]
    fn a_ztoc_tells_how_often_the_trailer_wrapped_and_the_trailer_how_many_zeros_follow() {
        for (what, tar_bytes, expected) in [
            ("Go ends a tar with two blocks", SAID, SAID),
            ("GNU tar fills up its record", SAID + 9 * 512, SAID + 9 * 512),
            ("a last member that is empty", WRAP, SAID),
            ("another member's length", SAID - 512, SAID),
            ("no length of blocks", SAID + 7, SAID),
        ] {
            let content = read(&HEAD, &trailer(tar_bytes), BYTES).map(|content| content.uncompressed_bytes);
            assert_eq!(content, Some(expected), "{what}");
        }
    }

    #[test]
    fn a_ztoc_of_another_layer_or_of_an_impossible_size_is_ignored() {
        let with = |field: usize, value: u64| {
            let mut head = HEAD;
            head[field..field + 8].copy_from_slice(&value.to_le_bytes());
            head
        };
        for (what, head) in [
            ("another layer", with(COMPRESSED, BYTES + 1)),
            ("nothing", with(UNCOMPRESSED, 0)),
            ("less than nothing", with(UNCOMPRESSED, u64::MAX)),
            ("half a block", with(UNCOMPRESSED, SAID + 256)),
            ("more than deflate can do", with(UNCOMPRESSED, BYTES * 1033 / 512 * 512)),
            ("less than was compressed", with(UNCOMPRESSED, 512)),
        ] {
            assert_eq!(read(&head, &trailer(SAID), BYTES), None, "{what}");
        }
        assert_eq!(read(&HEAD[..39], &trailer(SAID), BYTES), None);
    }

    #[test]
    fn an_index_names_the_ztocs_of_layers() {
        let [layer, ztoc] = [b"layer", b"ztoc!"].map(|bytes| Digest::sha256_of(bytes));
        let body = format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",
            "config":{{"mediaType":"{INDEX_TYPE}","digest":"{layer}","size":2}},"layers":[
            {{"mediaType":"{ZTOC_TYPE}","digest":"{ztoc}","size":71496,"annotations":{{"{LAYER_DIGEST}":"{layer}"}}}},
            {{"mediaType":"application/vnd.amazon.soci.prefetch.v1+json","digest":"{layer}","size":9,"annotations":{{"{LAYER_DIGEST}":"{layer}"}}}},
            {{"mediaType":"{ZTOC_TYPE}","digest":"{layer}","size":9}}]}}"#
        );
        assert_eq!(ztocs("", body.as_bytes()), Ztocs::from([(layer, Ztoc { digest: ztoc, bytes: 71_496 })]));
        assert_eq!(ztocs("", b"<html>"), Ztocs::new());
    }

    #[test]
    fn of_several_indexes_the_longest_counts_that_is_not_too_long() {
        let one = |text: &[u8], size: u64| -> Descriptor {
            serde_json::from_str(&format!(r#"{{"digest":"{}","size":{size}}}"#, Digest::sha256_of(text))).unwrap()
        };
        let referrers = [one(b"a", 700), one(b"b", 900), one(b"c", INDEX_BYTES_MAX + 1)];
        assert_eq!(index_of(&referrers), Some(&Digest::sha256_of(b"b")));
        assert_eq!(index_of(&[]), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic_a_reader(mut head: Vec<u8>, trailer: Vec<u8>, start in 0..80_u32, back: i32, bytes: u64) {
            let _ = read(&head, &trailer, bytes);
            head.splice(..0, start.to_le_bytes());
            if let Some(table) = head.get_mut(start as usize..).and_then(|rest| rest.first_chunk_mut()) {
                *table = back.to_le_bytes();
            }
            let _ = read(&head, &trailer, bytes);
            let _ = ztocs("", &head);
        }

        #[test]
        fn the_result_is_within_a_record_of_the_ztocs_size(wrapped: u32) {
            let content = read(&HEAD, &wrapped.to_le_bytes(), BYTES).unwrap();
            prop_assert!((SAID..SAID + RECORD_BYTES).contains(&content.uncompressed_bytes) && content.estimated);
        }
    }
}
