//! GitHub ("Webhook events and payloads": `registry_package`, and `package`, which is the same under another key).
//! Deletions are not notified, and the names of packages may have upper-case letters, which those of repositories do not.

use serde::Deserialize;

use super::InvalidPayload;
use crate::notify::event::{Action, Event};

const HOST: &str = "ghcr.io";

#[derive(Deserialize)]
struct Body {
    action: Option<String>,
    #[serde(alias = "package")]
    registry_package: Option<Package>,
    /// GitHub's first message to a new webhook.
    zen: Option<String>,
}

#[derive(Deserialize)]
struct Package {
    name: Option<String>,
    namespace: Option<String>,
    #[serde(rename = "package_type")]
    kind: Option<String>,
    owner: Option<Owner>,
    #[serde(rename = "package_version")]
    pushed: Option<Version>,
}

#[derive(Deserialize)]
struct Owner {
    login: Option<String>,
}

#[derive(Default, Deserialize)]
struct Version {
    #[serde(rename = "version")]
    digest: Option<String>,
    package_url: Option<String>,
    container_metadata: Option<ContainerMetadata>,
}

#[derive(Deserialize)]
struct ContainerMetadata {
    tag: Option<ContainerTag>,
}

#[derive(Deserialize)]
struct ContainerTag {
    name: Option<String>,
}

pub(super) fn parse(body: &[u8]) -> Result<Vec<Event>, InvalidPayload> {
    let Body { action, registry_package, zen } = serde_json::from_slice(body)?;
    if action.is_none() && zen.is_none() {
        return Err(InvalidPayload::Missing("no `action`: no notification of GitHub"));
    }
    let is_push = matches!(action.as_deref(), Some("published" | "updated" | "create" | "update"));
    let Some(package) = registry_package.filter(|package| is_push && package.is_container()) else {
        return Ok(Vec::new());
    };
    let Package { name, namespace, owner, pushed, .. } = package;
    let Version { digest, package_url, container_metadata } = pushed.unwrap_or_default();
    let namespace = namespace.filter(|text| !text.is_empty()).or_else(|| owner?.login);
    let (Some(namespace), Some(name)) = (namespace, name) else { return Ok(Vec::new()) };
    let repository = format!("{namespace}/{name}").to_lowercase();
    let url = package_url.unwrap_or_default();
    let host = url.split_once('/').map(|(host, _)| host).filter(|host| host.contains('.')).unwrap_or(HOST);
    let tag = container_metadata.and_then(|metadata| metadata.tag);
    let tag = tag.and_then(|tag| tag.name);
    let event = Event::new(Some(host), &repository, tag.as_deref(), digest.as_deref(), Action::Push);
    Ok(event.into_iter().collect())
}

impl Package {
    fn is_container(&self) -> bool {
        let is = |kind: &str| kind.eq_ignore_ascii_case("container") || kind.eq_ignore_ascii_case("docker");
        self.kind.as_deref().is_none_or(is)
    }
}
