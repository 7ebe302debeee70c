//! A publisher's statement about a layer's uncompressed size, in the manifest's annotations.

use crate::oci::annotations::{
    CHUNKED_CONTENTS, CHUNKED_CONTENTS_DIGEST, CHUNKED_TAR_SPLIT, ESTARGZ_SIZE, SOCI_INDEX, UMOCI_SIZE,
};
use crate::oci::{Annotations, Descriptor, Digest};

/// What annotations say about a layer's tar: saves fetching the layer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UncompressedHint {
    /// Bytes of the tar: `io.containers.estargz.uncompressed-size`, which eStargz converters and BuildKit write, or
    /// `ci.umo.uncompressed_blob_size`, which umoci writes.
    Bytes(u64),
    /// A zstd:chunked layer: where its tar-split is, from which the tar's length follows.
    TarSplit {
        /// The table of contents, which holds the tar-split's digest.
        contents: Option<Span>,
        /// The digest of the compressed table of contents.
        contents_digest: Option<Digest>,
        /// The tar-split.
        tar_split: Span,
    },
    /// The digest of the SOCI index that the image's manifest names. It may list the layers' uncompressed sizes.
    Soci(Digest),
}

/// A zstd frame within a layer's compressed blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Span {
    /// First byte, from the start of the blob.
    pub offset: u64,
    /// Compressed bytes.
    pub bytes: u64,
    /// Bytes of the frame's content.
    pub content_bytes: u64,
}

impl UncompressedHint {
    /// From a layer's descriptor, in the order of trust: eStargz' length, zstd:chunked's tar-split, umoci's length.
    /// Malformed annotations are ignored.
    pub fn from_layer(layer: &Descriptor) -> Option<Self> {
        let annotation = |key: &str| layer.annotations.get(key);
        // A tar is made of blocks of 512 bytes. Only umoci leaves out the padding of the last one.
        let is_padded = |bytes: &u64| bytes.is_multiple_of(512);
        if let Some(bytes) = annotation(ESTARGZ_SIZE).and_then(decimal).filter(is_padded) {
            return Some(Self::Bytes(bytes));
        }
        if let Some(tar_split) = annotation(CHUNKED_TAR_SPLIT).and_then(Span::parse) {
            let contents = annotation(CHUNKED_CONTENTS).and_then(Span::parse);
            let contents_digest = annotation(CHUNKED_CONTENTS_DIGEST).and_then(|text| text.parse().ok());
            return Some(Self::TarSplit { contents, contents_digest, tar_split });
        }
        annotation(UMOCI_SIZE).and_then(decimal).map(Self::Bytes)
    }

    /// From a manifest's annotations, for the layers without a hint of their own: SOCI index manifest v2.
    pub fn from_manifest(annotations: &Annotations) -> Option<Self> {
        let digest: Digest = annotations.get(SOCI_INDEX)?.parse().ok()?;
        digest.is_verifiable().then_some(Self::Soci(digest))
    }
}

impl Span {
    /// `offset:length:length of the content`, optionally followed by a type, which is ignored.
    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split(':').map(decimal);
        let mut next = || numbers.next().flatten();
        let span = Self { offset: next()?, bytes: next()?, content_bytes: next()? };
        span.offset.checked_add(span.bytes).map(|_| span)
    }

    /// The byte after the last.
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(self.bytes)
    }
}

/// Digits only: `parse` alone would accept a sign.
fn decimal(text: &str) -> Option<u64> {
    text.parse().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint(layer: &[(&str, &str)]) -> Option<UncompressedHint> {
        let text = format!(r#"{{"digest":"{}","size":9}}"#, Digest::sha256_of(b"x"));
        let mut descriptor: Descriptor = serde_json::from_str(&text).unwrap();
        descriptor.annotations = layer.iter().copied().collect();
        UncompressedHint::from_layer(&descriptor)
    }

    #[test]
    fn annotations_are_trusted_in_order_and_malformed_ones_are_ignored() {
        let (split, toc) = (CHUNKED_TAR_SPLIT, CHUNKED_CONTENTS);
        let span = |offset, bytes, content_bytes| Span { offset, bytes, content_bytes };
        for (layer, expected) in [
            (&[][..], None),
            (&[(ESTARGZ_SIZE, "2048"), (split, "1:2:3")], Some(UncompressedHint::Bytes(2048))),
            (
                &[(ESTARGZ_SIZE, "+2048"), (split, "10:20:30"), (toc, "1:9:50:1")],
                Some(UncompressedHint::TarSplit {
                    contents: Some(span(1, 9, 50)),
                    contents_digest: None,
                    tar_split: span(10, 20, 30),
                }),
            ),
            (&[(split, "10:20"), (UMOCI_SIZE, "2047")], Some(UncompressedHint::Bytes(2047))),
            (&[(ESTARGZ_SIZE, "2048"), (UMOCI_SIZE, "4096")], Some(UncompressedHint::Bytes(2048))),
            (&[(ESTARGZ_SIZE, "2047")], None),
            (&[(UMOCI_SIZE, "-1")], None),
            (&[(split, "10:20")], None),
            (&[(split, "18446744073709551615:1:1")], None),
        ] {
            assert_eq!(hint(layer), expected, "{layer:?}");
        }
    }

    #[test]
    fn a_manifest_binds_a_soci_index_that_can_be_verified() {
        let digest = Digest::sha256_of(b"index");
        let other = format!("blake3:{}", "0".repeat(64));
        for (text, expected) in
            [(digest.to_string(), Some(UncompressedHint::Soci(digest))), (other, None), ("latest".to_owned(), None)]
        {
            let annotations = [(SOCI_INDEX, text.as_str())].into_iter().collect();
            assert_eq!(UncompressedHint::from_manifest(&annotations), expected);
        }
        assert_eq!(UncompressedHint::from_manifest(&Annotations::default()), None);
    }
}
