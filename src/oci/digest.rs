//! Content digests (OCI image specification, "Digests").

use std::fmt;
use std::str::FromStr;

use sha2::Digest as _;

/// A content digest: an algorithm and its value, `sha256:9f86d0…`.
///
/// Digests of the two registered hash functions are kept as bytes, so that a hundred thousand of them stay small. Others
/// are kept as text: the grammar allows algorithms that this program cannot compute.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(Repr);

#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Repr {
    Sha256([u8; 32]),
    Sha512(Box<[u8; 64]>),
    Other(Box<str>),
}

/// The hash functions that a digest may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// SHA-256, what nearly every registry uses.
    Sha256,
    /// SHA-512, registered and rare.
    Sha512,
    /// Any other that the grammar allows; content cannot be verified against it.
    Other,
}

/// The text is not a digest: `algorithm:encoded`, of the algorithm's length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a digest: expected an algorithm, a colon and its hexadecimal value, as in `sha256:` with 64 digits")]
pub struct InvalidDigest;

/// The most bytes of a digest's text, and of a header that names one. SHA-512's has 135.
pub const TEXT_BYTES_MAX: usize = 512;

impl Digest {
    /// The SHA-256 digest of `bytes`.
    pub fn sha256_of(bytes: &[u8]) -> Self {
        Self::from_sha256(sha2::Sha256::digest(bytes).into())
    }

    /// A digest from the 32 bytes of a SHA-256 hash.
    pub fn from_sha256(hash: [u8; 32]) -> Self {
        Self(Repr::Sha256(hash))
    }

    /// A digest from the 64 bytes of a SHA-512 hash.
    pub fn from_sha512(hash: [u8; 64]) -> Self {
        Self(Repr::Sha512(Box::new(hash)))
    }

    /// Whether this program can verify content against it.
    pub fn is_verifiable(&self) -> bool {
        self.algorithm() != Algorithm::Other
    }

    /// The hash function that this digest names.
    pub fn algorithm(&self) -> Algorithm {
        match self.0 {
            Repr::Sha256(_) => Algorithm::Sha256,
            Repr::Sha512(_) => Algorithm::Sha512,
            Repr::Other(_) => Algorithm::Other,
        }
    }

    /// Its first 8 bytes as a number, the same on all machines; of an unknown algorithm, those of the SHA-256 of its text.
    pub fn beginning(&self) -> u64 {
        let first = |bytes: &[u8]| bytes.first_chunk().map_or(0, |first| u64::from_be_bytes(*first));
        match &self.0 {
            Repr::Sha256(hash) => first(hash),
            Repr::Sha512(hash) => first(&**hash),
            Repr::Other(text) => first(&sha2::Sha256::digest(text.as_bytes())),
        }
    }

    /// Whether `bytes` have this digest; `None` for an unknown algorithm.
    pub fn verifies(&self, bytes: &[u8]) -> Option<bool> {
        match &self.0 {
            Repr::Sha256(hash) => Some(sha2::Sha256::digest(bytes)[..] == hash[..]),
            Repr::Sha512(hash) => Some(sha2::Sha512::digest(bytes)[..] == hash[..]),
            Repr::Other(_) => None,
        }
    }
}

impl FromStr for Digest {
    type Err = InvalidDigest;

    /// Parses by the specification's grammar. The values of the two registered algorithms must have their length in
    /// lower-case hexadecimal; others are accepted as they are.
    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(InvalidDigest);
        }
        let (algorithm, encoded) = text.split_once(':').ok_or(InvalidDigest)?;
        match algorithm {
            "sha256" => decode_hex(encoded).map(|hash| Self(Repr::Sha256(hash))),
            "sha512" => decode_hex(encoded).map(|hash| Self(Repr::Sha512(Box::new(hash)))),
            _ if is_other_algorithm(algorithm) && is_other_value(encoded) => Ok(Self(Repr::Other(text.into()))),
            _ => Err(InvalidDigest),
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Sha256(hash) => write_hex(f, "sha256:", hash),
            Repr::Sha512(hash) => write_hex(f, "sha512:", &hash[..]),
            Repr::Other(text) => f.write_str(text),
        }
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for Digest {
    /// Text in a human-readable format. In a binary one a byte for the algorithm and the value's bytes: less than half.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return serializer.collect_str(self);
        }
        let (algorithm, value) = match &self.0 {
            Repr::Sha256(hash) => (BINARY_SHA256, &hash[..]),
            Repr::Sha512(hash) => (BINARY_SHA512, &hash[..]),
            Repr::Other(text) => (BINARY_OTHER, text.as_bytes()),
        };
        serializer.serialize_bytes(&[&[algorithm], value].concat())
    }
}

const BINARY_SHA256: u8 = 0;
const BINARY_SHA512: u8 = 1;
const BINARY_OTHER: u8 = 2;

impl<'de> serde::Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return deserializer.deserialize_bytes(BinaryVisitor);
        }
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

struct BinaryVisitor;

impl serde::de::Visitor<'_> for BinaryVisitor {
    type Value = Digest;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a byte for the algorithm and the digest's value")
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Digest, E> {
        let invalid = || E::custom(InvalidDigest);
        match bytes.split_first() {
            Some((&BINARY_SHA256, value)) => value.try_into().map(Digest::from_sha256).map_err(|_| invalid()),
            Some((&BINARY_SHA512, value)) => value.try_into().map(Digest::from_sha512).map_err(|_| invalid()),
            Some((&BINARY_OTHER, text)) => {
                std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or_else(invalid)
            }
            _ => Err(invalid()),
        }
    }
}

/// A list of optional digests in a binary format: a missing one has no bytes.
pub mod optional {
    use serde::de::{Deserialize, Deserializer, Error, Visitor};
    use serde::ser::{Serialize, Serializer};

    use super::{BinaryVisitor, Digest};

    struct Optional<T>(T);

    /// For serde's `with`.
    pub fn serialize<S: Serializer>(digests: &[Option<Digest>], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(digests.iter().map(Optional))
    }

    /// For serde's `with`.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Option<Digest>>, D::Error> {
        let digests = Vec::<Optional<Option<Digest>>>::deserialize(deserializer)?;
        Ok(digests.into_iter().map(|Optional(digest)| digest).collect())
    }

    impl Serialize for Optional<&Option<Digest>> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            match self.0 {
                Some(digest) => digest.serialize(serializer),
                None => serializer.serialize_bytes(&[]),
            }
        }
    }

    impl<'de> Deserialize<'de> for Optional<Option<Digest>> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct OptionalVisitor;

            impl Visitor<'_> for OptionalVisitor {
                type Value = Optional<Option<Digest>>;

                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("a digest's bytes or none")
                }

                fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
                    let digest = if bytes.is_empty() { None } else { Some(BinaryVisitor.visit_bytes(bytes)?) };
                    Ok(Optional(digest))
                }
            }

            deserializer.deserialize_bytes(OptionalVisitor)
        }
    }
}

fn decode_hex<const N: usize>(encoded: &str) -> Result<[u8; N], InvalidDigest> {
    let encoded = encoded.as_bytes();
    if encoded.len() != 2 * N {
        return Err(InvalidDigest);
    }
    let mut hash = [0; N];
    for (byte, pair) in hash.iter_mut().zip(encoded.chunks_exact(2)) {
        *byte = hex_value(pair[0])? << 4 | hex_value(pair[1])?;
    }
    Ok(hash)
}

fn hex_value(digit: u8) -> Result<u8, InvalidDigest> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        _ => Err(InvalidDigest),
    }
}

fn write_hex(f: &mut fmt::Formatter<'_>, prefix: &str, hash: &[u8]) -> fmt::Result {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(prefix.len() + 2 * hash.len());
    text.push_str(prefix);
    for byte in hash {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    f.write_str(&text)
}

fn is_other_algorithm(algorithm: &str) -> bool {
    let component = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    algorithm.split(['+', '.', '_', '-']).all(component)
}

fn is_other_value(encoded: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'=' | b'_' | b'-');
    (32..=256).contains(&encoded.len()) && encoded.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_digest_of_nothing_is_the_known_one() {
        let empty = Digest::sha256_of(b"");
        assert_eq!(empty.to_string(), "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(empty.verifies(b""), Some(true));
        assert_eq!(empty.verifies(b"x"), Some(false));
    }

    #[test]
    fn an_invalid_digest_is_refused() {
        for text in [
            "",
            "sha256",
            "sha256:",
            "sha256:abc",
            ":abc",
            "sha256:E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855",
            "sha512:00",
            "md5:short",
            "a b:0123456789012345678901234567890123456789",
        ] {
            assert_eq!(text.parse::<Digest>(), Err(InvalidDigest), "{text}");
        }
    }

    #[test]
    fn an_unknown_algorithm_passes_and_verifies_nothing() {
        let text = format!("blake3:{}", "0".repeat(64));
        let digest: Digest = text.parse().unwrap();
        assert_eq!(digest.to_string(), text);
        assert_eq!(digest.verifies(b""), None);
    }

    proptest! {
        #[test]
        fn parsing_reverses_display(hash: [u8; 32], wide in proptest::array::uniform32(any::<u16>())) {
            let short = Digest::from_sha256(hash);
            prop_assert_eq!(short.to_string().parse::<Digest>().unwrap(), short);
            let mut long = [0; 64];
            for (pair, value) in long.chunks_exact_mut(2).zip(wide) { pair.copy_from_slice(&value.to_be_bytes()); }
            let long = Digest::from_sha512(long);
            prop_assert_eq!(long.to_string().parse::<Digest>().unwrap(), long);
        }

        #[test]
        fn no_text_panics_the_parser(text: String) {
            if let Ok(digest) = text.parse::<Digest>() {
                prop_assert_eq!(digest.to_string(), text);
            }
        }
    }
}
