//! Harbor ("Configure Webhook Notifications"): the default format, and CloudEvents, whose `data` has the same fields.

use serde::Deserialize;

use super::{Attributes, InvalidPayload};
use crate::notify::event::{Action, Event};

#[derive(Deserialize)]
struct Body {
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(alias = "data")]
    event_data: Option<Data>,
    /// In the binary mode of CloudEvents the body is the data.
    #[serde(flatten)]
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    resources: Option<Vec<Resource>>,
    repository: Option<Repository>,
}

#[derive(Deserialize)]
struct Resource {
    digest: Option<String>,
    tag: Option<String>,
    #[serde(rename = "resource_url")]
    url: Option<String>,
}

#[derive(Deserialize)]
struct Repository {
    name: Option<String>,
    namespace: Option<String>,
    repo_full_name: Option<String>,
}

pub(super) fn parse(attributes: Attributes<'_>, body: &[u8]) -> Result<Vec<Event>, InvalidPayload> {
    let Body { kind, event_data, data } = serde_json::from_slice(body)?;
    let kind = attributes.cloud_event_type.or(kind.as_deref());
    let kind = kind.ok_or(InvalidPayload::Missing("no `type`: no notification of Harbor"))?;
    let action = match kind {
        "PUSH_ARTIFACT" | "harbor.artifact.pushed" => Action::Push,
        "DELETE_ARTIFACT" | "harbor.artifact.deleted" => Action::Delete,
        "PULL_ARTIFACT" | "harbor.artifact.pulled" => Action::Pull { images: 1, bytes: 0 },
        _ => return Ok(Vec::new()),
    };
    let Data { resources, repository } = event_data.unwrap_or(data);
    let Some(repository) = repository.and_then(Repository::full_name) else { return Ok(Vec::new()) };
    // A deletion that names nothing would mean all of the repository.
    let events = resources.iter().flatten().filter(|resource| resource.tag.is_some() || resource.digest.is_some());
    Ok(events
        .filter_map(|Resource { digest, tag, url }| {
            let host = url.as_deref().and_then(|url| host(url, &repository));
            Event::new(host, &repository, tag.as_deref(), digest.as_deref(), action)
        })
        .collect())
}

impl Repository {
    fn full_name(self) -> Option<String> {
        let joined = || Some(format!("{}/{}", self.namespace.as_deref()?, self.name.as_deref()?));
        self.repo_full_name.clone().filter(|name| !name.is_empty()).or_else(joined)
    }
}

/// The host before the repository's name in `host/project/name:tag`.
fn host<'a>(url: &'a str, repository: &str) -> Option<&'a str> {
    let url = url.split_once("://").map_or(url, |(_, rest)| rest);
    url.split_once(repository)?.0.strip_suffix('/')
}
