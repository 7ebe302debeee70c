//! How registries want to be asked, and what they say to those who ask in another way.

use image_size_exporter::registry::At;

use crate::support::images::{Blob, image};
use crate::support::registry::{TestRegistry, tag};

#[tokio::test]
async fn an_open_registry_is_asked_without_credentials() {
    let registry = TestRegistry::start();
    let pushed = image("linux/amd64", &[&Blob::named("base", 100)]);
    registry.push("acme/app", "v1", &pushed);
    let client = registry.client();
    let head = client.head_manifest(&registry.repository("acme/app"), At::Tag(&tag("v1"))).await.unwrap();
    assert_eq!(head.digest_header.as_deref(), Some(pushed.digest().to_string().as_str()));
    assert_eq!(registry.counts(), "head_manifest 1");
    assert_eq!(registry.requests()[0].header("authorization"), "");
}
