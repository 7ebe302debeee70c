//! Signature Version 4, computed anew from a request as it came (AWS General Reference, "Create a signed AWS API request").

use ring::hmac::{HMAC_SHA256, Key, Tag, sign};
use sha2::{Digest as _, Sha256};

use crate::support::registry::Seen;

pub(crate) const SECRET_KEY: &str = "wJalrXUtnFEMI-example";

/// Checks the signature of a POST to `/` without a query.
pub(crate) fn verify(seen: &Seen, host: &str, region: &str, service: &str) {
    let authorization = seen.header("authorization");
    let part = |name: &str| authorization.split([' ', ',']).find_map(|part| part.strip_prefix(name)).unwrap();
    let names = part("SignedHeaders=");
    for needed in ["content-type", "host", "x-amz-date", "x-amz-target"] {
        assert!(names.split(';').any(|name| name == needed), "{needed} is not signed: {names}");
    }
    assert_eq!(seen.header("host"), host);
    let headers =
        names.split(';').map(|name| format!("{name}:{}\n", seen.header(name).trim())).collect::<Vec<_>>().concat();
    let canonical = format!("POST\n/\n\n{headers}\n{names}\n{}", hex(&Sha256::digest(&seen.body)));
    let date = seen.header("x-amz-date");
    let scope = format!("{}/{region}/{service}/aws4_request", &date[..8]);
    assert_eq!(part("Credential="), format!("AKIAEXAMPLE/{scope}"));
    let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hex(&Sha256::digest(canonical)));
    let first = mac(format!("AWS4{SECRET_KEY}").as_bytes(), &date[..8]);
    let key = [region, service, "aws4_request"].iter().fold(first, |key, part| mac(key.as_ref(), part));
    assert_eq!(part("Signature="), hex(mac(key.as_ref(), &text).as_ref()));
}

fn mac(key: &[u8], text: &str) -> Tag {
    sign(&Key::new(HMAC_SHA256, key), text.as_bytes())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
}
