//! Docker Hub ("Webhooks"). Only pushes are notified, without a digest.

use serde::Deserialize;

use super::InvalidPayload;
use crate::notify::event::{Action, Event};
use crate::oci::DOCKER_HUB;

#[derive(Deserialize)]
struct Body {
    push_data: Option<PushData>,
    repository: Option<Repository>,
}

#[derive(Deserialize)]
struct PushData {
    tag: Option<String>,
}

#[derive(Deserialize)]
struct Repository {
    repo_name: Option<String>,
}

pub(super) fn parse(body: &[u8]) -> Result<Vec<Event>, InvalidPayload> {
    let Body { push_data, repository } = serde_json::from_slice(body)?;
    let name = repository.and_then(|repository| repository.repo_name);
    let name = name.ok_or(InvalidPayload::Missing("no `repository.repo_name`: no notification of Docker Hub"))?;
    let name = if name.contains('/') { name } else { format!("library/{name}") };
    let tag = push_data.and_then(|data| data.tag);
    Ok(Event::new(Some(DOCKER_HUB), &name, tag.as_deref(), None, Action::Push).into_iter().collect())
}
