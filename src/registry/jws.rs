//! The payload of a signed manifest (Docker image manifest, schema 1, "Signed Manifests"): its digest is that of what
//! was signed, not that of the body.
//!
//! Pure. Signatures are not checked: nobody has the keys.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

#[derive(Deserialize)]
struct Signed {
    signatures: Vec<Signature>,
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

/// The bytes that were signed; `None` where the body is no signed manifest.
pub(crate) fn payload(body: &[u8]) -> Option<Vec<u8>> {
    let signed: Signed = serde_json::from_slice(body).ok()?;
    let protected = decode(&signed.signatures.first()?.protected)?;
    let protected: Protected = serde_json::from_slice(&protected).ok()?;
    let mut payload = body.get(..protected.format_length)?.to_vec();
    payload.extend(decode(&protected.format_tail)?);
    Some(payload)
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
        for text in ["{\n   \"schemaVersion\": 1\n}", "{\"schemaVersion\":1}", "{\"a\":\"ü\"}\n"] {
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
}
