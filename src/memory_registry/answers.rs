//! The answers of the distribution API.

use std::ops::Range;

use bytes::Bytes;
use http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderName, HeaderValue, LINK, RANGE};
use http::{HeaderMap, Method, Response, StatusCode, Uri};
use serde_json::{Value, json};

use super::contents::{Contents, StoredBlob, StoredManifest};
use super::payload::Payload;
use super::resource::Resource;
use crate::oci::{Digest, MediaType};

const DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");
const VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");

impl Contents {
    /// The answer to a request. Methods other than GET and HEAD are refused with 405.
    pub fn answer(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Response<Payload> {
        let mut response = if method == Method::GET || method == Method::HEAD {
            self.read(method, uri, headers)
        } else {
            refusal(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED")
        };
        response.headers_mut().insert(VERSION, HeaderValue::from_static("registry/2.0"));
        let payload_bytes = match response.body() {
            Payload::Kept(bytes) => bytes.len() as u64,
            Payload::Made { range, .. } => range.end - range.start,
        };
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(payload_bytes));
        if method == Method::HEAD { response.map(|_| Payload::Kept(Bytes::new())) } else { response }
    }

    /// The descriptors of the manifests whose subject is `digest` (distribution specification, "Listing Referrers").
    pub fn referrers(&self, repository: &str, digest: &str) -> impl Iterator<Item = Value> {
        self.manifests(repository).filter_map(move |manifest| referrer(manifest, digest))
    }

    /// The answer to GET.
    fn read(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Response<Payload> {
        let unknown = |code| refusal(StatusCode::NOT_FOUND, code);
        match Resource::of(uri.path()) {
            Some(Resource::Base) => json_answer(&json!({})),
            Some(Resource::Catalog) => self.page(uri, "repositories", self.repositories(), json!({})),
            Some(Resource::Tags { repository }) => match self.tags(repository) {
                Some(tags) => self.page(uri, "tags", tags, json!({ "name": repository })),
                None => unknown("NAME_UNKNOWN"),
            },
            Some(Resource::Manifest { repository, reference }) => match self.manifest(repository, reference) {
                Some(manifest) => manifest_answer(manifest),
                None => unknown("MANIFEST_UNKNOWN"),
            },
            Some(Resource::Blob { repository, digest }) => {
                let digest = digest.parse().ok();
                match digest.as_ref().and_then(|digest| Some((digest, self.blob(repository, digest)?))) {
                    // A range means nothing to HEAD (RFC 9110, section 14.2).
                    Some((digest, blob)) if method == Method::HEAD => blob_answer(digest, blob, ""),
                    Some((digest, blob)) => {
                        let range = headers.get(RANGE).and_then(|value| value.to_str().ok());
                        blob_answer(digest, blob, range.unwrap_or(""))
                    }
                    None => unknown("BLOB_UNKNOWN"),
                }
            }
            Some(Resource::Referrers { repository, digest }) => {
                let filter = parameter(uri, "artifactType");
                let listed: Vec<Value> = self
                    .referrers(repository, digest)
                    .filter(|one| filter.as_ref().is_none_or(|filter| one["artifactType"] == **filter))
                    .collect();
                referrers_answer(&listed, filter.is_some())
            }
            None => unknown("UNSUPPORTED"),
        }
    }

    /// One page of a list, with a link to the next where there is one.
    fn page<'a>(
        &self,
        uri: &Uri,
        key: &str,
        entries: impl Iterator<Item = &'a str>,
        mut body: Value,
    ) -> Response<Payload> {
        let last = parameter(uri, "last");
        let asked = parameter(uri, "n").and_then(|n| n.parse().ok());
        let entries_max = [self.page_entries_max, asked].into_iter().flatten().min().unwrap_or(usize::MAX);
        let mut rest = entries.filter(|entry| last.as_ref().is_none_or(|last| *entry > last.as_str()));
        let page: Vec<&str> = rest.by_ref().take(entries_max).collect();
        body[key] = json!(page);
        let mut response = json_answer(&body);
        if let (Some(last), Some(_)) = (page.last(), rest.next()) {
            let last: String = url::form_urlencoded::byte_serialize(last.as_bytes()).collect();
            let link = format!("<{}?last={last}&n={entries_max}>; rel=\"next\"", uri.path());
            response.headers_mut().insert(LINK, header(&link));
        }
        response
    }
}

fn manifest_answer(manifest: &StoredManifest) -> Response<Payload> {
    let mut response = Response::new(Payload::Kept(manifest.body.clone()));
    response.headers_mut().insert(CONTENT_TYPE, header(&manifest.media_type));
    response.headers_mut().insert(DIGEST, header(&manifest.digest.to_string()));
    response
}

/// The whole blob, or the one range that `Range` asks for.
fn blob_answer(digest: &Digest, blob: &StoredBlob, range: &str) -> Response<Payload> {
    let size = blob.size();
    let (status, range) = match asked_range(range, size) {
        AskedRange::Everything => (StatusCode::OK, 0..size),
        AskedRange::Bytes(range) => (StatusCode::PARTIAL_CONTENT, range),
        AskedRange::Unsatisfiable => {
            let mut response = refusal(StatusCode::RANGE_NOT_SATISFIABLE, "UNSUPPORTED");
            response.headers_mut().insert(CONTENT_RANGE, header(&format!("bytes */{size}")));
            return response;
        }
    };
    let content_range = format!("bytes {}-{}/{size}", range.start, range.end.saturating_sub(1));
    let index = |at: u64| usize::try_from(at).expect("what is kept fits into memory");
    let mut response = Response::new(match blob {
        StoredBlob::Kept(bytes) => Payload::Kept(bytes.slice(index(range.start)..index(range.end))),
        StoredBlob::Made { make, .. } => Payload::Made { make: make.clone(), range },
    });
    *response.status_mut() = status;
    if status == StatusCode::PARTIAL_CONTENT {
        response.headers_mut().insert(CONTENT_RANGE, header(&content_range));
    }
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    response.headers_mut().insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    response.headers_mut().insert(DIGEST, header(&digest.to_string()));
    response
}

/// What a `Range` header asks for.
enum AskedRange {
    Everything,
    Bytes(Range<u64>),
    Unsatisfiable,
}

/// Several ranges, or none, are answered with the whole blob, as a server may (RFC 9110, section 14.2).
fn asked_range(text: &str, size: u64) -> AskedRange {
    let ends = text.strip_prefix("bytes=").and_then(|range| range.split_once('-')).and_then(|ends| match ends {
        ("", suffix) => Some((size.saturating_sub(suffix.parse().ok()?), u64::MAX)),
        (first, "") => Some((first.parse().ok()?, u64::MAX)),
        (first, last) => Some((first.parse().ok()?, last.parse().ok()?)),
    });
    match ends {
        None => AskedRange::Everything,
        Some((first, last)) if first <= last && first < size => {
            AskedRange::Bytes(first..last.saturating_add(1).min(size))
        }
        Some(_) => AskedRange::Unsatisfiable,
    }
}

/// The descriptor of a manifest, if its subject is `digest`.
fn referrer(manifest: &StoredManifest, digest: &str) -> Option<Value> {
    let document: Value = serde_json::from_slice(&manifest.body).ok()?;
    if document["subject"]["digest"] != digest {
        return None;
    }
    let artifact_type = document.get("artifactType").unwrap_or(&document["config"]["mediaType"]);
    let mut descriptor = json!({
        "mediaType": manifest.media_type,
        "digest": manifest.digest.to_string(),
        "size": manifest.body.len(),
        "artifactType": artifact_type,
    });
    if let Some(annotations) = document.get("annotations") {
        descriptor["annotations"] = annotations.clone();
    }
    Some(descriptor)
}

fn referrers_answer(referrers: &[Value], is_filtered: bool) -> Response<Payload> {
    let mut response =
        json_answer(&json!({"schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests": referrers}));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(MediaType::OCI_INDEX));
    if is_filtered {
        response.headers_mut().insert(FILTERS_APPLIED, HeaderValue::from_static("artifactType"));
    }
    response
}

/// A parameter of the query, decoded.
fn parameter(uri: &Uri, name: &str) -> Option<String> {
    let mut pairs = url::form_urlencoded::parse(uri.query().unwrap_or("").as_bytes());
    pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// The specification's error body for one of its codes.
pub fn error_body(code: &str) -> String {
    json!({"errors": [{"code": code, "message": code.to_lowercase().replace('_', " "), "detail": null}]}).to_string()
}

fn json_answer(body: &Value) -> Response<Payload> {
    let mut response = Response::new(Payload::Kept(body.to_string().into()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn refusal(status: StatusCode, code: &str) -> Response<Payload> {
    let mut response = Response::new(Payload::Kept(error_body(code).into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn header(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("media types, digests and encoded names are visible ASCII")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::header::{HeaderName, HeaderValue};

    use super::*;

    const APP: &str = "acme/app";

    fn ask(contents: &Contents, method: &Method, path: &str, range: &str) -> Response<Payload> {
        let mut headers = HeaderMap::new();
        if !range.is_empty() {
            headers.insert(RANGE, header(range));
        }
        contents.answer(method, &path.parse().unwrap(), &headers)
    }

    fn get(contents: &Contents, path: &str) -> Response<Payload> {
        ask(contents, &Method::GET, path, "")
    }

    fn text(response: &Response<Payload>) -> &str {
        match response.body() {
            Payload::Kept(bytes) => std::str::from_utf8(bytes).unwrap(),
            Payload::Made { .. } => panic!("it is made on request"),
        }
    }

    fn field(response: &Response<Payload>, name: impl Into<String>) -> &str {
        let name = HeaderName::try_from(name.into()).unwrap();
        response.headers().get(name).map_or("", |value: &HeaderValue| value.to_str().unwrap())
    }

    #[test]
    fn a_manifest_is_answered_by_tag_and_by_digest_and_its_head_says_the_same() {
        let mut contents = Contents::default();
        let digest = contents.put_manifest(APP, MediaType::OCI_MANIFEST, "{}");
        contents.tag(APP, "v1", digest.clone());
        for reference in ["v1", &digest.to_string()] {
            let path = format!("/v2/{APP}/manifests/{reference}");
            let (get, head) = (get(&contents, &path), ask(&contents, &Method::HEAD, &path, ""));
            assert_eq!((get.status().as_u16(), text(&get), text(&head)), (200, "{}", ""));
            assert_eq!(get.headers(), head.headers());
            assert_eq!(field(&get, "docker-content-digest"), digest.to_string());
            assert_eq!((field(&get, "content-type"), field(&get, "content-length")), (MediaType::OCI_MANIFEST, "2"));
        }
        contents.untag(APP, "v1");
        assert_eq!(get(&contents, "/v2/acme/app/manifests/v1").status(), 404);
        assert_eq!(get(&contents, &format!("/v2/acme/app/manifests/{digest}")).status(), 200);
        contents.remove_manifest(APP, &digest);
        let gone = get(&contents, &format!("/v2/acme/app/manifests/{digest}"));
        assert!(gone.status() == 404 && text(&gone).contains("MANIFEST_UNKNOWN"), "{}", text(&gone));
        assert_eq!(ask(&contents, &Method::PUT, "/v2/acme/app/manifests/v1", "").status(), 405);
    }

    #[test]
    fn of_a_blob_one_range_is_answered() {
        let mut contents = Contents::default();
        let path = format!("/v2/{APP}/blobs/{}", contents.put_blob(APP, "0123456789"));
        for (range, status, expected, content_range) in [
            ("", 200, "0123456789", ""),
            ("bytes=0-3", 206, "0123", "bytes 0-3/10"),
            ("bytes=8-", 206, "89", "bytes 8-9/10"),
            ("bytes=8-99", 206, "89", "bytes 8-9/10"),
            ("bytes=-3", 206, "789", "bytes 7-9/10"),
            ("bytes=0-18446744073709551615", 206, "0123456789", "bytes 0-9/10"),
            ("bytes=0-1,3-4", 200, "0123456789", ""),
            ("pages=0-1", 200, "0123456789", ""),
        ] {
            let answer = ask(&contents, &Method::GET, &path, range);
            assert_eq!((answer.status().as_u16(), text(&answer)), (status, expected), "{range}");
            assert_eq!(field(&answer, "content-range"), content_range, "{range}");
            assert_eq!(field(&answer, "content-length"), expected.len().to_string(), "{range}");
        }
        let beyond = ask(&contents, &Method::GET, &path, "bytes=10-");
        assert_eq!((beyond.status().as_u16(), field(&beyond, "content-range")), (416, "bytes */10"));
        let head = ask(&contents, &Method::HEAD, &path, "bytes=0-3");
        assert_eq!((head.status().as_u16(), field(&head, "content-length")), (200, "10"));
        assert_eq!(get(&contents, "/v2/acme/other/blobs/sha256:1").status(), 404);
    }

    #[tokio::test]
    async fn of_a_blob_that_is_made_no_more_than_the_range_is_made_and_sent() {
        use http_body_util::BodyExt as _;

        let mut contents = Contents::default();
        let made = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let count = Arc::clone(&made);
        let make = move |take: &mut dyn FnMut(Bytes) -> bool| {
            for piece in ["0123", "4567", "89ab", "cdef"] {
                count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                if !take(Bytes::from_static(piece.as_bytes())) {
                    return;
                }
            }
        };
        let digest = Digest::sha256_of(b"0123456789abcdef");
        contents.put_blob_as(APP, digest.clone(), StoredBlob::Made { size: 16, make: Arc::new(make) });
        let path = format!("/v2/{APP}/blobs/{digest}");
        for (range, expected, pieces) in [("bytes=2-9", "23456789", 3), ("", "0123456789abcdef", 4)] {
            let answer = ask(&contents, &Method::GET, &path, range);
            assert_eq!(field(&answer, "content-length"), expected.len().to_string());
            let sent = answer.into_body().into_body().collect().await.unwrap().to_bytes();
            assert_eq!(sent, expected.as_bytes());
            assert_eq!(made.swap(0, std::sync::atomic::Ordering::SeqCst), pieces);
        }
    }

    #[test]
    fn lists_are_answered_in_pages_that_link_to_the_next() {
        let mut contents = Contents::default();
        let digest = contents.put_manifest(APP, MediaType::OCI_MANIFEST, "{}");
        for tag in ["c", "a", "d", "b"] {
            contents.tag(APP, tag, digest.clone());
        }
        let list = "/v2/acme/app/tags/list";
        let whole = get(&contents, list);
        assert_eq!((text(&whole), field(&whole, "link")), (r#"{"name":"acme/app","tags":["a","b","c","d"]}"#, ""));
        let first = get(&contents, &format!("{list}?n=3"));
        assert_eq!(text(&first), r#"{"name":"acme/app","tags":["a","b","c"]}"#);
        assert_eq!(field(&first, "link"), r#"</v2/acme/app/tags/list?last=c&n=3>; rel="next""#);
        let second = get(&contents, &format!("{list}?last=c&n=3"));
        assert_eq!((text(&second), field(&second, "link")), (r#"{"name":"acme/app","tags":["d"]}"#, ""));
        contents.set_page_entries_max(2);
        assert!(field(&get(&contents, &format!("{list}?n=3")), "link").contains("last=b&n=2"));
        contents.put_manifest("acme/z&z", MediaType::OCI_MANIFEST, "{}");
        let catalog = get(&contents, "/v2/_catalog?n=1");
        assert_eq!(text(&catalog), r#"{"repositories":["acme/app"]}"#);
        assert_eq!(field(&catalog, "link"), r#"</v2/_catalog?last=acme%2Fapp&n=1>; rel="next""#);
        assert!(text(&get(&contents, "/v2/acme/none/tags/list")).contains("NAME_UNKNOWN"));
    }

    #[test]
    fn referrers_are_the_manifests_with_that_subject_and_artifact_type() {
        let mut contents = Contents::default();
        let subject = contents.put_manifest(APP, MediaType::OCI_MANIFEST, "{}");
        let refer = |artifact_type: &str| {
            let subject = json!({"digest": subject.to_string()});
            json!({"subject": subject, "artifactType": artifact_type, "annotations": {"a": "b"}}).to_string()
        };
        let signature = contents.put_manifest(APP, MediaType::OCI_MANIFEST, refer("signature"));
        let sbom = contents.put_manifest(APP, MediaType::OCI_MANIFEST, refer("sbom"));
        let list = |query: &str| {
            let answer = get(&contents, &format!("/v2/{APP}/referrers/{subject}{query}"));
            assert_eq!(field(&answer, "content-type"), MediaType::OCI_INDEX);
            let index: Value = serde_json::from_str(text(&answer)).unwrap();
            let listed = index["manifests"].as_array().unwrap().iter();
            let digests = listed.map(|one| one["digest"].as_str().unwrap().parse().unwrap());
            (digests.collect::<std::collections::BTreeSet<Digest>>(), field(&answer, "oci-filters-applied").to_owned())
        };
        assert_eq!(list(""), ([signature, sbom.clone()].into(), String::new()));
        assert_eq!(list("?artifactType=sbom"), ([sbom].into(), "artifactType".to_owned()));
    }
}
