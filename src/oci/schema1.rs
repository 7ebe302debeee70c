//! The payload of a signed manifest (Docker image manifest, schema 1, "Signed Manifests"): its digest is that of what
//! was signed, not that of the body.
//!
//! Pure. Signatures are not checked: nobody has the keys. All the more is the envelope taken in the one form that is
//! written, around a manifest of schema 1: any other could have a body with the digest of something else.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::IgnoredAny;

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

/// What makes a manifest one of schema 1.
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

/// The bytes that were signed; `None` where the body is no signed manifest.
///
/// The body is the payload with one member more at its end: the payload's beginning, `,"signatures":[…]`, and its end,
/// which is a brace.
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

/// What follows `,"signatures":[…]`, if that is what there is.
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
    fn what_is_not_signed_has_no_payload() {
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
    fn an_envelope_that_says_more_than_what_was_signed_has_no_payload() {
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
