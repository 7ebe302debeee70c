//! Which identity is used, and what a build without it says.

use image_size_exporter::config::{Config, ConfigError, Environment, Purpose};
use image_size_exporter::registry::{Cloud, Credential};

use super::*;
use crate::support::registry::basic;

fn read(keys: &str) -> Result<Config, ConfigError> {
    let files = Files::new();
    let text = format!("[registries.\"registry.example\"]\n{keys}\n[[targets]]\nrepository = \"registry.example/a\"\n");
    Config::read(&files.write("config.toml", &text), &Environment::new(), Purpose::Check)
}

#[test]
fn a_build_without_a_cloud_says_so_and_how_to_get_it() {
    for cloud in Cloud::ALL {
        let word = cloud.feature();
        let said =
            read(&format!("identity = \"{word}\"")).map(|config| config.registries.into_values().next().unwrap());
        match said {
            Ok(settings) => {
                assert!(cloud.is_built_in(), "{word}");
                assert!(settings.credential == Credential::Identity(cloud), "{word}");
            }
            Err(error) => {
                let error = error.to_string();
                assert!(!cloud.is_built_in() && error.contains("registries.\"registry.example\".identity"), "{error}");
                assert!(error.contains(&format!("`cargo install --features {word} …`")), "{error}");
            }
        }
    }
}

#[test]
fn none_leaves_the_usual_files() {
    let config = read("identity = \"none\"").unwrap_or_else(|error| panic!("{error}"));
    assert!(config.registries.into_values().all(|settings| settings.credential == Credential::UsualFiles));
}

#[test]
fn without_an_identity_configured_a_host_that_is_no_clouds_gets_none() {
    let registry = registry(&[("AWS", "sesame")]);
    let nobody = TestRegistry::start();
    let endpoint = nobody.base();
    let variables = [
        ("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "secret-key"),
        ("AWS_ENDPOINT_URL", endpoint.as_str()),
    ];
    let mut reader = Reader::start(&section(&registry, ""), &variables, |_| {});
    let said = reader.read(&[&registry.repository("acme/app")]);
    assert!(said.contains("the registry refused anonymous access: 401") && !said.contains("AWS"), "{said}");
    reader.end();
    assert_eq!(nobody.counts(), "");
}

#[test]
fn what_docker_has_for_the_registry_wins() {
    let registry = registry(&[("alice", "sesame")]);
    let auth = basic("alice", "sesame").replace("Basic ", "");
    let entry = format!(r#"{{"auths":{{"{}":{{"auth":"{auth}"}}}}}}"#, registry.name());
    let mut reader = Reader::start(&section(&registry, "identity = 'none'"), &[], |files| {
        files.write(".docker/config.json", &entry);
    });
    assert_eq!(reader.read(&[&registry.repository("acme/app")]), "ok");
    assert_eq!(reader.expiry(), None);
    reader.end();
}

#[test]
fn an_identity_is_one_way_to_authenticate() {
    for keys in ["identity = \"none\"\nanonymous = true", "identity = \"none\"\nplain_http = true"] {
        assert!(read(keys).is_ok(), "{keys}");
    }
    let error = read("identity = \"aws\"\nanonymous = true").err().unwrap().to_string();
    assert!(error.contains("conflicts with `anonymous`: keep one way to authenticate"), "{error}");
    let error = read("identity = \"amazon\"").err().unwrap().to_string();
    assert!(error.contains("`amazon` is not a valid value: write \"aws\""), "{error}");
}

#[cfg(feature = "aws")]
#[test]
fn a_configured_identity_is_shown_as_it_is_written() {
    let config = read("identity = \"aws\"").unwrap_or_else(|error| panic!("{error}"));
    assert!(config.redacted().contains("\nidentity = \"aws\"\n"), "{}", config.redacted());
    let config = read("identity = \"aws\"\nplain_http = true").unwrap_or_else(|error| panic!("{error}"));
    assert!(
        config.warnings.iter().any(|said| said.contains("credentials are sent in clear text")),
        "{:?}",
        config.warnings
    );
}
