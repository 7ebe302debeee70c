//! Quay ("Repository Notifications", event "Push to Repository"). Deletions are not notified.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::InvalidPayload;
use crate::notify::event::{Action, Event};

#[derive(Deserialize)]
struct Body {
    repository: Option<String>,
    docker_url: Option<String>,
    updated_tags: Option<Tags>,
}

/// Older versions have the image IDs as values.
#[derive(Deserialize)]
#[serde(untagged)]
enum Tags {
    List(Vec<String>),
    Map(BTreeMap<String, Value>),
}

pub(super) fn parse(body: &[u8]) -> Result<Vec<Event>, InvalidPayload> {
    let Body { repository, docker_url, updated_tags } = serde_json::from_slice(body)?;
    let repository = repository.ok_or(InvalidPayload::Missing("no `repository`: no notification of Quay"))?;
    let host = docker_url.as_deref().and_then(|url| url.strip_suffix(repository.as_str())?.strip_suffix('/'));
    let tags = match updated_tags {
        Some(Tags::List(tags)) => tags,
        Some(Tags::Map(tags)) => tags.into_keys().collect(),
        None => Vec::new(),
    };
    Ok(tags.iter().filter_map(|tag| Event::new(host, &repository, Some(tag), None, Action::Push)).collect())
}
