//! The bytes of the state file's keys and values.
//!
//! Values are encoded with postcard and end in a checksum over key and value. redb's own checksums are verified only
//! when the file is opened, these whenever a value is read.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::oci::{Digest, Registry, Repository, Tag};

/// The version of the encoding. A file of another version is set aside. Raise it with every change of the bytes'
/// meaning, which includes changes to the types of [`crate::image`] and [`crate::tag`] that are stored.
pub(super) const VERSION: u32 = 2;

/// A digest as a key.
pub(super) fn digest_key(digest: &Digest) -> Vec<u8> {
    encode(digest)
}

/// The digest of a key; `None` for an invalid key.
#[cfg(feature = "postgres")]
pub(super) fn parse_digest_key(key: &[u8]) -> Option<Digest> {
    postcard::from_bytes(key).ok()
}

/// The key of a tag: registry, repository and tag, separated by a byte that no name contains.
pub(super) fn tag_key(repository: &Repository, tag: &Tag) -> Vec<u8> {
    [repository.registry().as_str(), repository.name(), tag.as_str()].join("\0").into_bytes()
}

/// The tag of a key; `None` for an invalid key.
pub(super) fn parse_tag_key(key: &[u8]) -> Option<(Repository, Tag)> {
    let mut parts = std::str::from_utf8(key).ok()?.split('\0');
    let registry: Registry = parts.next()?.parse().ok()?;
    let repository = Repository::new(registry, parts.next()?).ok()?;
    let tag = Tag::or_digest(parts.next()?)?;
    parts.next().is_none().then_some((repository, tag))
}

/// The bytes of a value.
pub(super) fn seal(key: &[u8], value: &impl Serialize) -> Vec<u8> {
    let mut bytes = encode(value);
    let checksum = checksum(key, &bytes);
    bytes.extend_from_slice(&checksum);
    bytes
}

/// The value in `bytes` under `key`; `None` if they are damaged.
pub(super) fn unseal<T: DeserializeOwned>(key: &[u8], bytes: &[u8]) -> Option<T> {
    let (value, sealed_with) = bytes.split_last_chunk::<4>()?;
    if checksum(key, value) != *sealed_with {
        return None;
    }
    match postcard::take_from_bytes(value) {
        Ok((value, [])) => Some(value),
        _ => None,
    }
}

fn encode(value: &impl Serialize) -> Vec<u8> {
    postcard::to_allocvec(value).expect("every stored type knows its length before it is written")
}

fn checksum(key: &[u8], value: &[u8]) -> [u8; 4] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(value);
    hasher.finalize().to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flipped_bit_of_key_or_value_is_noticed() {
        let sealed = seal(b"key", &(7_u64, "value"));
        assert_eq!(unseal::<(u64, String)>(b"key", &sealed), Some((7, "value".to_owned())));
        assert_eq!(unseal::<(u64, String)>(b"kez", &sealed), None);
        for bit in 0..sealed.len() * 8 {
            let mut damaged = sealed.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(unseal::<(u64, String)>(b"key", &damaged), None, "bit {bit}");
        }
        for length in 0..sealed.len() {
            assert_eq!(unseal::<(u64, String)>(b"key", &sealed[..length]), None, "{length} bytes");
        }
    }

    #[test]
    fn a_value_of_another_type_is_not_decoded() {
        assert_eq!(unseal::<u64>(b"key", &seal(b"key", &(7_u64, 1_u64))), None);
        assert_eq!(unseal::<String>(b"key", &seal(b"key", &400_u64)), None);
    }

    #[test]
    fn keys_name_what_they_were_made_of() {
        for (registry, name, tag) in
            [("docker.io", "library/alpine", "3.20"), ("myhost", "app", "latest"), ("[::1]:5000", "a/b/c", "v1")]
        {
            let repository = Repository::new(registry.parse().unwrap(), name).unwrap();
            let tag = Tag::or_digest(tag).unwrap();
            assert_eq!(parse_tag_key(&tag_key(&repository, &tag)), Some((repository, tag)));
        }
        for key in ["", "docker.io", "docker.io\0app", "docker.io\0app\0v1\0", "docker.io\0App\0v1"] {
            assert_eq!(parse_tag_key(key.as_bytes()), None, "{key:?}");
        }
    }
}
