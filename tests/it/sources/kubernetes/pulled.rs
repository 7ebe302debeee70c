//! The pull secrets of pods are logins for registries that have none.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image_size_exporter::oci::Reason;
use image_size_exporter::registry::Settings as RegistrySettings;
use image_size_exporter::registry::{At, Credential, Registries};
use image_size_exporter::sources::kubernetes::Settings;
use serde_json::json;

use super::{Watched, web};
use crate::api_server::ApiServer;
use crate::support::images::{Blob, image};
use crate::support::registry::{Access, TestRegistry, basic, tag};

/// A registry that wants a password, and a pod of its image that names two pull secrets.
async fn start() -> (TestRegistry, ApiServer) {
    let registry = TestRegistry::start();
    registry.push("acme/app", "v1", &image("linux/amd64", &[&Blob::named("base", 100)]));
    registry.require(Access::Basic(vec![("puller", "sesame")]));
    let server = ApiServer::start().await;
    let mut pod = web(1, &registry.repository("acme/app").to_string());
    pod["spec"]["imagePullSecrets"] = json!([{ "name": "missing" }, { "name": "pull" }, {}]);
    server.put(pod);
    (registry, server)
}

fn put_secret(server: &ApiServer, registry: &TestRegistry, password: &str) {
    let auth = basic("puller", password).replace("Basic ", "");
    let config = json!({ "auths": { registry.name().as_str(): { "auth": auth } } });
    server.put_secret("default", "pull", &STANDARD.encode(config.to_string()));
}

async fn reason(registries: &Registries, registry: &TestRegistry) -> Option<Reason> {
    let client = registries.client(&registry.name());
    client.head_manifest(&registry.repository("acme/app"), At::Tag(&tag("v1"))).await.err().map(|error| error.reason())
}

fn settings(pull_secrets: bool) -> Settings {
    Settings { pull_secrets, ..Settings::default() }
}

#[tokio::test]
async fn a_registry_without_a_login_is_read_with_the_pods_own_for_as_long_as_the_source_is_watched() {
    let (registry, server) = start().await;
    put_secret(&server, &registry, "sesame");
    let registries = Registries::new([].into(), RegistrySettings::default()).unwrap();
    assert_eq!(reason(&registries, &registry).await, Some(Reason::Denied));
    let mut watched = Watched::start_for(registries.pull_secrets(), &server.kubeconfig("token"), settings(true));
    watched.until("the pod", |sight| sight.containers.is_some()).await;
    assert_eq!(reason(&registries, &registry).await, None);
    let secrets: Vec<String> = server.requests().into_iter().filter(|uri| uri.contains("secrets")).collect();
    assert_eq!(secrets.len(), 2, "each once, and no list of them: {secrets:?}");
}

#[tokio::test]
async fn a_login_of_the_configuration_is_used_alone() {
    let (registry, server) = start().await;
    put_secret(&server, &registry, "sesame");
    let anonymous = RegistrySettings { credential: Credential::Anonymous, ..RegistrySettings::default() };
    let registries = Registries::new([(registry.name(), anonymous)].into(), RegistrySettings::default()).unwrap();
    let mut watched = Watched::start_for(registries.pull_secrets(), &server.kubeconfig("token"), settings(true));
    watched.until("the pod", |sight| sight.containers.is_some()).await;
    assert_eq!(reason(&registries, &registry).await, Some(Reason::Denied));
}

#[tokio::test]
async fn secrets_are_not_read_unless_they_are_to_be_and_one_that_is_refused_stops_nothing() {
    let (registry, server) = start().await;
    put_secret(&server, &registry, "sesame");
    let registries = Registries::new([].into(), RegistrySettings::default()).unwrap();
    let mut watched = Watched::start_for(registries.pull_secrets(), &server.kubeconfig("token"), settings(false));
    watched.until("the pod", |sight| sight.containers.is_some()).await;
    assert!(server.requests().iter().all(|uri| !uri.contains("secrets")), "{:?}", server.requests());
    server.forbid(Some("/api/v1/namespaces/default/secrets/pull"));
    let mut watched = Watched::start_for(registries.pull_secrets(), &server.kubeconfig("token"), settings(true));
    let sight = watched.until("the pod", |sight| sight.containers.is_some()).await;
    assert_eq!(sight.error, None);
    assert_eq!(reason(&registries, &registry).await, Some(Reason::Denied));
}
