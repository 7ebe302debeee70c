//! Files with credentials, as other programs write and read them.

use image_size_exporter::oci::Reason;

use super::*;

/// Asks for `acme/app:v1` of a registry that wants alice's password.
async fn head(registry: &TestRegistry, credential: Credential) -> Result<(), String> {
    let client = registry.client_with(|settings| settings.credential = credential);
    match client.head_manifest(&registry.repository("acme/app"), At::Tag(&tag("v1"))).await {
        Ok(_) => Ok(()),
        Err(error) => {
            assert_eq!(error.reason(), Reason::Denied, "{error}");
            Err(error.to_string())
        }
    }
}

/// A registry with `acme/app:v1` that wants alice's password.
fn with_password(password: &'static str) -> TestRegistry {
    let registry = TestRegistry::start();
    registry.push("acme/app", "v1", &image("linux/amd64", &[&Blob::named("base", 100)]));
    registry.require(Access::Basic(vec![("alice", password)]));
    registry
}

#[tokio::test]
async fn a_pull_secrets_globs_are_read_as_kubernetes_reads_them() {
    let files = Files::new();
    let registry = with_password("sesame");
    let port = registry.name().as_str().rsplit_once(':').unwrap().1.to_owned();
    for (key, is_for_it) in [
        ("127.*.0.1:PORT", true),
        ("https://*.0.0.1:PORT", true),
        ("127.0.0.*:PORT/acme", true),
        ("127.0.0.*:PORT/other", false),
        ("127.0.0.*", false),
        ("*.0.1:PORT", false),
    ] {
        let key = key.replace("PORT", &port);
        let auth = basic("alice", "sesame").replace("Basic ", "");
        let path = files.write(".dockerconfigjson", &format!(r#"{{"auths":{{"{key}":{{"auth":"{auth}"}}}}}}"#));
        let asked = head(&registry, Credential::DockerConfig(path)).await;
        assert_eq!(asked.is_ok(), is_for_it, "{key}: {asked:?}");
    }
}
