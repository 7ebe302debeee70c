//! Manifests, configs and blobs as registries really send them.

use image_size_exporter::oci::Reason;
use image_size_exporter::oci::{Descriptor, Digest, Document, MediaType};
use image_size_exporter::registry::At;

use crate::support::images::{
    Blob, FOREIGN_LAYER, Pushed, artifact, docker_image, docker_list, image, index, index_with_attestations, schema1,
};
use crate::support::registry::{Reply, TestRegistry, tag};

const APP: &str = "acme/app";

fn registry(pushed: &Pushed) -> TestRegistry {
    let registry = TestRegistry::start();
    registry.push(APP, "v1", pushed);
    registry
}

fn small() -> Pushed {
    image("linux/amd64", &[&Blob::named("base", 100)])
}

fn descriptor(blob: &Blob) -> Descriptor {
    serde_json::from_value(blob.descriptor()).unwrap()
}

#[tokio::test]
async fn every_kind_of_document_is_fetched_with_one_constant_accept() {
    let one = small();
    let foreign = Blob::named("windows", 1 << 30).of_type(FOREIGN_LAYER);
    for (pushed, expected) in [
        (one.clone(), MediaType::OCI_MANIFEST),
        (docker_image("linux/amd64", &[&foreign]), MediaType::DOCKER_MANIFEST),
        (index(&[("linux/amd64", &one), ("", &index(&[]))]), MediaType::OCI_INDEX),
        (docker_list(&[("linux/amd64", &one)]), MediaType::DOCKER_LIST),
        (index_with_attestations(&[("linux/amd64", &one)]), MediaType::OCI_INDEX),
        (artifact("application/vnd.example", &[&Blob::named("chart", 7)]), MediaType::OCI_MANIFEST),
        (schema1(&[&Blob::named("base", 100)]), MediaType::SCHEMA1),
    ] {
        let registry = registry(&pushed);
        let (client, app) = (registry.client(), registry.repository(APP));
        let head = client.head_manifest(&app, At::Tag(&tag("v1"))).await.unwrap();
        let fetched = client.get_manifest(&app, At::Tag(&tag("v1"))).await.unwrap();
        assert_eq!((&fetched.digest, head.length), (pushed.digest(), Some(fetched.body.len() as u64)));
        assert_eq!(fetched.digest_header, head.digest_header);
        assert_eq!(head.media_type, MediaType::new(expected));
        let document = Document::parse(&fetched.content_type, &fetched.body).unwrap();
        assert_eq!(document.media_type().as_str(), expected);
        let requests = registry.requests();
        let accepts = requests[0].header("accept");
        assert!(accepts.contains(MediaType::OCI_INDEX) && accepts.contains(MediaType::DOCKER_MANIFEST));
        for seen in &requests {
            assert_eq!((seen.header("accept"), seen.header("accept-encoding")), (accepts, "identity"));
        }
    }
}

#[tokio::test]
async fn what_is_fetched_by_digest_is_verified() {
    let pushed = small();
    let registry = registry(&pushed);
    let (client, app) = (registry.client(), registry.repository(APP));
    let fetched = client.get_manifest(&app, At::Digest(pushed.digest())).await.unwrap();
    assert_eq!(&fetched.digest, pushed.digest());
    registry.next("GET *", Reply::Corrupt);
    let error = client.get_manifest(&app, At::Digest(pushed.digest())).await.unwrap_err();
    assert_eq!(error.reason(), Reason::Invalid);
    assert!(error.to_string().contains("the body does not match the digest"), "{error}");
    // For a tag the bytes' own digest counts, whatever the header says.
    registry.next("GET *", Reply::With("docker-content-digest", Digest::sha256_of(b"wrong").to_string()));
    let fetched = client.get_manifest(&app, At::Tag(&tag("v1"))).await.unwrap();
    assert_eq!(&fetched.digest, pushed.digest());
}

#[tokio::test]
async fn other_algorithms_are_verified_where_they_are_known() {
    use sha2::Digest as _;
    let registry = registry(&small());
    let (client, app) = (registry.client(), registry.repository(APP));
    let body = r#"{"schemaVersion":2,"manifests":[]}"#;
    let wide = Digest::from_sha512(sha2::Sha512::digest(body).into());
    let unknown: Digest = format!("blake3:{}", "0".repeat(64)).parse().unwrap();
    registry.always("GET /v2/acme/app/manifests/", Reply::json(body));
    for digest in [&wide, &unknown] {
        assert_eq!(&client.get_manifest(&app, At::Digest(digest)).await.unwrap().digest, digest);
    }
    let other = Digest::from_sha512([0; 64]);
    assert_eq!(client.get_manifest(&app, At::Digest(&other)).await.unwrap_err().reason(), Reason::Invalid);
    registry.always("GET /v2/acme/app/manifests/", Reply::json(body).and("docker-content-digest", wide.to_string()));
    assert_eq!(client.get_manifest(&app, At::Tag(&tag("v1"))).await.unwrap().digest, wide);
}

#[tokio::test]
async fn a_signed_manifest_has_the_digest_of_what_was_signed() {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
    let payload = "{\n   \"schemaVersion\": 1,\n   \"fsLayers\": []\n}";
    let head = &payload[..payload.len() - 2];
    let protected = format!(r#"{{"formatLength":{},"formatTail":"{}"}}"#, head.len(), BASE64.encode("\n}"));
    let signed = format!("{head},\n   \"signatures\": [{{\"protected\": \"{}\"}}]\n}}", BASE64.encode(protected));
    let registry = registry(&small());
    let (client, app) = (registry.client(), registry.repository(APP));
    registry.always("GET *", Reply::Answer(200, vec![("content-type", MediaType::SCHEMA1_SIGNED.to_owned())], signed));
    let digest = Digest::sha256_of(payload.as_bytes());
    assert_eq!(client.get_manifest(&app, At::Digest(&digest)).await.unwrap().digest, digest);
    assert_eq!(client.get_manifest(&app, At::Tag(&tag("v1"))).await.unwrap().digest, digest);
    let other = Digest::sha256_of(b"other");
    assert_eq!(client.get_manifest(&app, At::Digest(&other)).await.unwrap_err().reason(), Reason::Invalid);
}

#[tokio::test]
async fn an_envelope_does_not_pass_one_manifest_off_as_another() {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
    let pushed = small();
    let genuine = pushed.manifest.bytes.clone().unwrap();
    let protected = format!(r#"{{"formatLength":0,"formatTail":"{}"}}"#, BASE64.encode(&genuine));
    let signatures = format!(r#""signatures":[{{"protected":"{}"}}]"#, BASE64.encode(protected));
    let forged = format!(r#"{{"schemaVersion":2,"layers":[],{signatures}}}"#);
    let registry = registry(&pushed);
    let (client, app) = (registry.client(), registry.repository(APP));
    registry.always("GET *", Reply::json(&forged).and("docker-content-digest", pushed.digest().to_string()));
    let error = client.get_manifest(&app, At::Digest(pushed.digest())).await.unwrap_err();
    assert_eq!(error.reason(), Reason::Invalid);
    let fetched = client.get_manifest(&app, At::Tag(&tag("v1"))).await.unwrap();
    assert_eq!(fetched.digest, Digest::sha256_of(forged.as_bytes()));
}

#[tokio::test]
async fn what_was_verified_as_schema_1_is_read_as_schema_1() {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
    let head = r#"{"schemaVersion":1,"fsLayers":[],"layers":[],"config":null"#;
    let protected = format!(r#"{{"formatLength":{},"formatTail":"{}"}}"#, head.len(), BASE64.encode("}"));
    let signed = format!(r#"{head},"signatures":[{{"protected":"{}"}}]}}"#, BASE64.encode(protected));
    let registry = registry(&small());
    let (client, app) = (registry.client(), registry.repository(APP));
    registry.always("GET *", Reply::Answer(200, vec![("content-type", MediaType::OCI_MANIFEST.to_owned())], signed));
    let digest = Digest::sha256_of(format!("{head}}}").as_bytes());
    for at in [At::Digest(&digest), At::Tag(&tag("v1"))] {
        let fetched = client.get_manifest(&app, at).await.unwrap();
        assert_eq!(fetched.digest, digest);
        let document = Document::parse(&fetched.content_type, &fetched.body).unwrap();
        assert!(matches!(document, Document::Schema1(_)), "{document:?}");
    }
}

#[tokio::test]
async fn content_types_may_be_wrong_missing_or_decorated() {
    let pushed = small();
    let registry = registry(&pushed);
    let (client, app) = (registry.client(), registry.repository(APP));
    for reply in [
        Reply::Without("content-type"),
        Reply::With("content-type", "text/plain".to_owned()),
        Reply::With("content-type", "application/octet-stream".to_owned()),
        Reply::With("content-type", format!("{}; charset=utf-8", MediaType::OCI_MANIFEST)),
    ] {
        registry.next("GET *", reply.clone());
        let fetched = client.get_manifest(&app, At::Tag(&tag("v1"))).await.unwrap();
        let document = Document::parse(&fetched.content_type, &fetched.body).unwrap();
        assert_eq!(document.media_type().as_str(), MediaType::OCI_MANIFEST, "{reply:?}");
    }
}

#[tokio::test]
async fn a_body_that_was_compressed_unasked_is_read_as_it_was_stored() {
    use std::io::Write as _;
    let pushed = small();
    let registry = registry(&pushed);
    let (client, app) = (registry.client(), registry.repository(APP));
    let body = pushed.manifest.bytes.clone().unwrap();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&body).unwrap();
    registry.next_bytes("GET *", 200, &[("content-encoding", "gzip")], encoder.finish().unwrap());
    assert_eq!(&client.get_manifest(&app, At::Digest(pushed.digest())).await.unwrap().digest, pushed.digest());
    // Compression must not get around the limit.
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    bomb.write_all(&vec![b' '; (8 << 20) + 1]).unwrap();
    registry.next_bytes("GET *", 200, &[("content-encoding", "gzip")], bomb.finish().unwrap());
    assert_eq!(client.get_manifest(&app, At::Digest(pushed.digest())).await.unwrap_err().reason(), Reason::Limit);
}

#[tokio::test]
async fn a_registry_without_head_or_digest_is_remembered() {
    for reply in [
        Reply::status(405),
        Reply::status(501),
        Reply::error(400, "UNSUPPORTED"),
        Reply::Without("docker-content-digest"),
    ] {
        let registry = registry(&small());
        let (client, app) = (registry.client(), registry.repository(APP));
        registry.always("HEAD *", reply.clone());
        assert!(client.supports_head());
        let error = client.head_manifest(&app, At::Tag(&tag("v1"))).await.unwrap_err();
        assert_eq!(error.reason(), Reason::Unsupported, "{reply:?}");
        assert!(!client.supports_head(), "{reply:?}");
        let fetched = client.get_manifest(&app, At::Tag(&tag("v1"))).await.unwrap();
        assert_eq!(&fetched.digest, small().digest());
    }
}

#[tokio::test]
async fn one_answer_without_a_digest_is_no_reason_to_give_up_head() {
    let registry = registry(&small());
    let (client, app) = (registry.client(), registry.repository(APP));
    client.head_manifest(&app, At::Tag(&tag("v1"))).await.unwrap();
    registry.next("HEAD *", Reply::Without("docker-content-digest"));
    let error = client.head_manifest(&app, At::Tag(&tag("v1"))).await.unwrap_err();
    assert_eq!((error.reason(), client.supports_head()), (Reason::Unsupported, true));
}

#[tokio::test]
async fn only_a_404_of_the_registry_itself_means_gone() {
    let registry = registry(&small());
    let (client, app) = (registry.client(), registry.repository(APP));
    registry.untag(APP, "v1");
    let error = client.head_manifest(&app, At::Tag(&tag("v1"))).await.unwrap_err();
    assert_eq!(
        (error.reason(), registry.take_counts().as_str()),
        (Reason::NotFound, "get_manifest 1, head_manifest 1")
    );
    // Red Hat's and Harbor's words for it.
    let body = r#"{"errors":[{"code":"UNKNOWN","message":"not found"}]}"#;
    registry.next("GET *", Reply::Answer(404, vec![], body.to_owned()));
    assert_eq!(client.head_manifest(&app, At::Tag(&tag("v1"))).await.unwrap_err().reason(), Reason::NotFound);
    // A proxy's 404 is a failure like any other.
    for body in ["", "<html>not here</html>", r#"{"errors":[]}"#, r#"{"message":"no route"}"#] {
        registry.next("GET *", Reply::Answer(404, vec![], body.to_owned()));
        let error = client.head_manifest(&app, At::Tag(&tag("v1"))).await.unwrap_err();
        assert_eq!(error.reason(), Reason::Server, "{body}");
        assert!(error.to_string().contains("not like a registry"), "{error}");
    }
}

#[tokio::test]
async fn a_config_is_verified_and_limited() {
    let pushed = small();
    let config = pushed.blobs.last().unwrap();
    let registry = registry(&pushed);
    let (client, app) = (registry.client(), registry.repository(APP));
    let bytes = client.get_config(&app, &descriptor(config)).await.unwrap();
    assert_eq!(Some(bytes.to_vec()), config.bytes);
    registry.next("GET *", Reply::Corrupt);
    assert_eq!(client.get_config(&app, &descriptor(config)).await.unwrap_err().reason(), Reason::Invalid);
    registry.take_counts();
    let mut huge = descriptor(config);
    huge.size = (4 << 20) + 1;
    assert_eq!(client.get_config(&app, &huge).await.unwrap_err().reason(), Reason::Limit);
    assert_eq!(registry.take_counts(), "", "what is too long is not even asked for");
    registry.next("GET *", Reply::Answer(200, vec![], "x".repeat((4 << 20) + 1)));
    assert_eq!(client.get_config(&app, &descriptor(config)).await.unwrap_err().reason(), Reason::Limit);
}

#[tokio::test]
async fn an_embedded_config_is_used_if_it_is_true() {
    let pushed = small();
    let config = pushed.blobs.last().unwrap();
    let registry = registry(&pushed);
    let (client, app) = (registry.client(), registry.repository(APP));
    let mut embedded = descriptor(&Blob::new("application/vnd.oci.empty.v1+json", "{}"));
    embedded.data = Some("e30=".to_owned());
    assert_eq!(&client.get_config(&app, &embedded).await.unwrap()[..], b"{}");
    assert_eq!(registry.take_counts(), "");
    let mut wrong = descriptor(config);
    wrong.data = Some("e30=".to_owned());
    assert_eq!(Some(client.get_config(&app, &wrong).await.unwrap().to_vec()), config.bytes);
    assert_eq!(registry.take_counts(), "get_blob 1");
}

#[tokio::test]
async fn a_manifest_past_the_limit_is_refused_before_and_while_it_is_read() {
    let registry = registry(&small());
    let (client, app) = (registry.client(), registry.repository(APP));
    registry.next("GET *", Reply::Answer(200, vec![], " ".repeat((8 << 20) + 1)));
    let error = client.get_manifest(&app, At::Tag(&tag("v1"))).await.unwrap_err();
    assert_eq!(error.reason(), Reason::Limit);
    assert!(error.to_string().contains("longer than 8388608 bytes"), "{error}");
}

#[tokio::test]
async fn a_blobs_size_comes_from_head_or_else_from_its_first_byte() {
    let layer = Blob::new("x", vec![7; 1000]);
    let registry = registry(&image("linux/amd64", &[&layer]));
    let (client, app) = (registry.client(), registry.repository(APP));
    assert_eq!(client.head_blob(&app, &layer.digest).await.unwrap(), 1000);
    assert_eq!(registry.take_counts(), "head_blob 1");
    for refusal in [Reply::status(403), Reply::status(405), Reply::status(400)] {
        registry.next("HEAD *", refusal);
        assert_eq!(client.head_blob(&app, &layer.digest).await.unwrap(), 1000);
        assert_eq!(registry.take_counts(), "get_range 1, head_blob 1");
    }
}

#[tokio::test]
async fn a_part_of_a_blob_is_that_part_or_an_error() {
    let layer = Blob::new("x", (0..200).collect::<Vec<u8>>());
    let registry = registry(&image("linux/amd64", &[&layer]));
    let (client, app) = (registry.client(), registry.repository(APP));
    let part = client.get_blob_range(&app, &layer.digest, 192..200, 200).await.unwrap();
    assert_eq!(part[..], (192..200).collect::<Vec<u8>>());
    assert_eq!(registry.requests()[0].header("range"), "bytes=192-199");
    for (reply, reason) in [
        (Reply::Answer(200, vec![], "x".repeat(200)), Reason::Unsupported),
        (Reply::status(400), Reason::Unsupported),
        (Reply::With("content-range", "bytes 0-7/200".to_owned()), Reason::Invalid),
        (Reply::With("content-range", "bytes 192-199/201".to_owned()), Reason::Invalid),
        (Reply::Without("content-range"), Reason::Invalid),
        (
            Reply::Answer(206, vec![("content-range", "bytes 192-199/200".to_owned())], "short".to_owned()),
            Reason::Invalid,
        ),
        (Reply::status(416), Reason::Invalid),
    ] {
        registry.next("GET *", reply.clone());
        let error = client.get_blob_range(&app, &layer.digest, 192..200, 200).await.unwrap_err();
        assert_eq!(error.reason(), reason, "{reply:?}: {error}");
    }
}

#[tokio::test]
async fn a_blob_is_streamed_from_where_it_is_asked_for() {
    let bytes: Vec<u8> = (0..250).cycle().take(100_000).collect();
    let layer = Blob::new("x", bytes.clone());
    let registry = registry(&image("linux/amd64", &[&layer]));
    let (client, app) = (registry.client(), registry.repository(APP));
    for from in [0usize, 1, 99_999] {
        let mut stream = client.stream_blob(&app, &layer.digest, from as u64).await.unwrap();
        let mut read = Vec::new();
        while let Some(chunk) = stream.chunk().await.unwrap() {
            read.extend_from_slice(&chunk);
        }
        assert!(read == bytes[from..], "from {from}");
    }
    registry.next("GET *", Reply::Answer(200, vec![], "whole".to_owned()));
    let Err(error) = client.stream_blob(&app, &layer.digest, 5).await else { panic!("the whole is no part") };
    assert_eq!(error.reason(), Reason::Unsupported);
}

#[tokio::test]
async fn a_stream_that_breaks_or_stalls_is_an_error() {
    let layer = Blob::new("x", vec![1; 100_000]);
    let registry = registry(&image("linux/amd64", &[&layer]));
    let client = registry.client_with(|settings| settings.timeout = std::time::Duration::from_millis(300));
    let app = registry.repository(APP);
    for (reply, reason) in [(Reply::CutAfter(10), Reason::Network), (Reply::StallAfter(10), Reason::Timeout)] {
        registry.next("GET *", reply);
        let mut stream = client.stream_blob(&app, &layer.digest, 0).await.unwrap();
        let error = loop {
            match stream.chunk().await {
                Ok(chunk) => assert!(chunk.is_some(), "it ends as if it were whole"),
                Err(error) => break error,
            }
        };
        assert_eq!(error.reason(), reason, "{error}");
        assert!(stream.chunk().await.is_err(), "it goes on failing");
    }
}

#[tokio::test]
async fn what_a_sparse_index_does_not_have_is_not_found() {
    let (here, elsewhere) = (small(), image("linux/arm64", &[]));
    let registry = registry(&index(&[("linux/amd64", &here), ("linux/arm64", &elsewhere)]));
    let (client, app) = (registry.client(), registry.repository(APP));
    registry.remove_manifest(APP, elsewhere.digest());
    client.get_manifest(&app, At::Digest(here.digest())).await.unwrap();
    let error = client.get_manifest(&app, At::Digest(elsewhere.digest())).await.unwrap_err();
    assert_eq!(error.reason(), Reason::NotFound);
    registry.missing("/v2/acme/other/");
    let error = client.head_blob(&registry.repository("acme/other"), here.digest()).await.unwrap_err();
    assert_eq!(error.reason(), Reason::NotFound);
}
