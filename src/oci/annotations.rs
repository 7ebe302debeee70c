//! The annotations of manifests and descriptors that this program reads.

use super::json::Lossy;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};

/// Annotations (OCI image specification, "Annotations"), reduced to the keys that this program reads: others are the
/// author's free text, of any number and length.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Annotations(Vec<(&'static str, Box<str>)>);

/// When the image was made (OCI image specification, "Pre-Defined Annotation Keys").
pub const CREATED: &str = "org.opencontainers.image.created";
/// The image that this one was built on, as people write it (OCI image specification, "Pre-Defined Annotation Keys").
pub const BASE_NAME: &str = "org.opencontainers.image.base.name";
/// The digest of the manifest or index of the image that this one was built on (same section).
pub const BASE_DIGEST: &str = "org.opencontainers.image.base.digest";
/// What BuildKit says an index entry is, beside an image: an attestation.
pub const REFERENCE_TYPE: &str = "vnd.docker.reference.type";
/// Bytes of a layer's tar, which eStargz converters and BuildKit write.
pub const ESTARGZ_SIZE: &str = "io.containers.estargz.uncompressed-size";
/// Bytes of a layer's tar, which umoci writes.
pub const UMOCI_SIZE: &str = "ci.umo.uncompressed_blob_size";
/// The tag, or the whole reference, of an entry of an OCI layout's index (OCI image layout specification, "Index Example").
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The whole reference of an entry of the index that containerd writes.
pub const CONTAINERD_NAME: &str = "io.containerd.image.name";
/// Where a zstd:chunked layer's tar-split is.
pub const CHUNKED_TAR_SPLIT: &str = "io.github.containers.zstd-chunked.tarsplit-position";
/// Where a zstd:chunked layer's table of contents is.
pub const CHUNKED_CONTENTS: &str = "io.github.containers.zstd-chunked.manifest-position";
/// The digest of a zstd:chunked layer's table of contents.
pub const CHUNKED_CONTENTS_DIGEST: &str = "io.github.containers.zstd-chunked.manifest-checksum";
/// The digest of the image's SOCI index.
pub const SOCI_INDEX: &str = "com.amazon.soci.index-digest";
/// The layer that an entry of a SOCI index describes.
pub const SOCI_LAYER: &str = "com.amazon.soci.image-layer-digest";

const READ: [&str; 13] = [
    CREATED,
    BASE_NAME,
    BASE_DIGEST,
    REFERENCE_TYPE,
    REF_NAME,
    CONTAINERD_NAME,
    ESTARGZ_SIZE,
    UMOCI_SIZE,
    CHUNKED_TAR_SPLIT,
    CHUNKED_CONTENTS,
    CHUNKED_CONTENTS_DIGEST,
    SOCI_INDEX,
    SOCI_LAYER,
];

/// Longer values are ignored. Those that are read are times, numbers, digests and
/// references.
const VALUE_BYTES_MAX: usize = 512;

impl Annotations {
    /// The value of an annotation, if the document has it and this program reads it.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| *known == key).map(|(_, value)| &**value)
    }

    fn insert(&mut self, key: &'static str, value: &str) {
        self.0.retain(|(known, _)| *known != key);
        if value.len() <= VALUE_BYTES_MAX {
            self.0.push((key, value.into()));
        }
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for Annotations {
    fn from_iter<T: IntoIterator<Item = (&'a str, &'a str)>>(annotations: T) -> Self {
        let mut read = Self::default();
        for (key, value) in annotations {
            if let Some(key) = READ.into_iter().find(|known| *known == key) {
                read.insert(key, value);
            }
        }
        read
    }
}

impl<'de> Deserialize<'de> for Annotations {
    /// A map of texts. `null` is an empty one.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_option(AnnotationsVisitor)
    }
}

struct AnnotationsVisitor;

impl<'de> Visitor<'de> for AnnotationsVisitor {
    type Value = Annotations;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a map of texts")
    }

    fn visit_none<E>(self) -> Result<Annotations, E> {
        Ok(Annotations::default())
    }

    fn visit_unit<E>(self) -> Result<Annotations, E> {
        Ok(Annotations::default())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Annotations, D::Error> {
        deserializer.deserialize_map(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Annotations, A::Error> {
        let mut read = Annotations::default();
        while let Some(Lossy(key)) = map.next_key()? {
            match READ.into_iter().find(|known| *known == key) {
                Some(key) => read.insert(key, &map.next_value::<Option<Lossy>>()?.unwrap_or_default().0),
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_short_values_of_known_keys_are_kept() {
        let long = "x".repeat(VALUE_BYTES_MAX + 1);
        let text = format!(r#"{{"{CREATED}":"now","{SOCI_LAYER}":"{long}","a":"{long}","b":[1]}}"#);
        let annotations: Annotations = serde_json::from_str(&text).unwrap();
        assert_eq!(annotations.get(CREATED), Some("now"));
        assert_eq!(annotations, [(CREATED, "now")].into_iter().collect());
        assert_eq!(serde_json::from_str::<Annotations>("null").unwrap(), Annotations::default());
        assert!(serde_json::from_str::<Annotations>("7").is_err());
    }
}
