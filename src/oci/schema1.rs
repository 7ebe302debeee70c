//! Docker image manifests of schema 1, and the payload of signed ones ("Signed Manifests"): the digest of a signed
//! manifest is the digest of its payload, not of its body.
//!
//! Signatures are not verified, since the keys are not available. The envelope is therefore accepted only in the form
//! that signers write, around a manifest of schema 1: in any other form a body could claim another document's digest.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::digest::Digest;
use super::media_type::MediaType;
use super::platform::Platform;

/// Docker image manifest, schema 1: layers without sizes and no config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema1 {
    /// Signed or not.
    pub media_type: MediaType,
    /// Bottom first, as in other manifests (the document lists the top first).
    pub layers: Vec<Digest>,
    /// Linux on the document's architecture; none if it names no architecture.
    pub platform: Platform,
    /// When the top layer was made, RFC 3339; empty where it does not say.
    pub created: String,
}

#[derive(Deserialize)]
struct Signature {
    protected: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Protected {
    format_length: usize,
    format_tail: String,
}

/// The fields that identify a manifest of schema 1.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload {
    schema_version: u64,
    #[serde(rename = "fsLayers")]
    _fs_layers: Vec<IgnoredAny>,
}

#[derive(Deserialize)]
struct Signed {
    signatures: Vec<Signature>,
}

/// The bytes that were signed; `None` if the body is not a signed manifest.
///
/// The body is the payload with one more member at its end: the payload's beginning, `,"signatures":[…]`, and the
/// payload's closing brace.
pub(crate) fn payload(body: &[u8]) -> Option<Vec<u8>> {
    let signed: Signed = serde_json::from_slice(body).ok()?;
    let protected = decode(&signed.signatures.first()?.protected)?;
    let protected: Protected = serde_json::from_slice(&protected).ok()?;
    let (head, rest) = body.split_at_checked(protected.format_length)?;
    let tail = decode(&protected.format_tail)?;
    if after_signatures(rest)?.trim_ascii() != b"}" || tail.trim_ascii() != b"}" {
        return None;
    }
    let payload = [head, &tail].concat();
    let read: Payload = serde_json::from_slice(&payload).ok()?;
    (read.schema_version == 1).then_some(payload)
}

/// The text after `,"signatures":[…]`; `None` if `rest` does not begin with that.
fn after_signatures(rest: &[u8]) -> Option<&[u8]> {
    let rest = rest.strip_prefix(b",")?.trim_ascii_start().strip_prefix(b"\"signatures\"")?;
    let rest = rest.trim_ascii_start().strip_prefix(b":")?;
    let mut values = serde_json::Deserializer::from_slice(rest).into_iter::<Vec<Signature>>();
    values.next()?.ok()?;
    rest.get(values.byte_offset()..)
}

fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(payload: &str) -> String {
        let head = payload.trim_end().strip_suffix('}').unwrap().trim_end();
        let tail = URL_SAFE_NO_PAD.encode(&payload[head.len()..]);
        let protected = format!(r#"{{"formatLength":{},"formatTail":"{tail}","time":"2015"}}"#, head.len());
        format!(
            r#"{head},"signatures":[{{"header":{{}},"signature":"x","protected":"{}"}}]}}"#,
            URL_SAFE_NO_PAD.encode(protected)
        )
    }

    #[test]
    fn the_payload_is_what_was_signed() {
        for text in [
            "{\n   \"schemaVersion\": 1,\n   \"fsLayers\": []\n}",
            "{\"schemaVersion\":1,\"fsLayers\":[]}",
            "{\"schemaVersion\":1,\"fsLayers\":[],\"a\":\"ü\"}\n",
        ] {
            assert_eq!(payload(signed(text).as_bytes()).unwrap(), text.as_bytes());
        }
    }

    #[test]
    fn an_unsigned_body_has_no_payload() {
        for text in [
            "",
            "{}",
            r#"{"signatures":[]}"#,
            r#"{"signatures":[{"protected":"e30"}]}"#,
            r#"{"signatures":[{"protected":"!"}]}"#,
        ] {
            assert_eq!(payload(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn an_envelope_around_something_else_has_no_payload() {
        for text in [r#"{"schemaVersion":2,"fsLayers":[]}"#, r#"{"schemaVersion":1}"#, r#"{"fsLayers":[]}"#] {
            assert_eq!(payload(signed(text).as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn an_envelope_with_unsigned_members_has_no_payload() {
        let signed_text = r#"{"schemaVersion":1,"fsLayers":[]}"#;
        let signature = |length: usize, tail: &str| {
            let tail = URL_SAFE_NO_PAD.encode(tail);
            let protected = URL_SAFE_NO_PAD.encode(format!(r#"{{"formatLength":{length},"formatTail":"{tail}"}}"#));
            format!(r#""signatures":[{{"protected":"{protected}"}}]"#)
        };
        let head = signed_text.strip_suffix('}').unwrap();
        let good = signature(head.len(), "}");
        let whole = signature(0, signed_text);
        assert!(payload(format!("{head},{good}}}").as_bytes()).is_some());
        for body in [
            format!(r#"{{"layers":[],{whole}}}"#),
            format!("{{{whole}}}"),
            format!(r#"{head},"layers":[],{good}}}"#),
            format!(r#"{head},{good},"layers":[]}}"#),
            format!("{head},{}}}", signature(head.len(), r#","layers":[]}"#)),
            format!("{head},{}}}", signature(usize::MAX, "}")),
        ] {
            assert_eq!(payload(body.as_bytes()), None, "{body}");
        }
    }
}
