//! Gitea's and Forgejo's packages (webhook event `package`).

use serde::Deserialize;

use super::InvalidPayload;
use crate::notify::event::{Action, Event, host_of};

#[derive(Deserialize)]
struct Body {
    action: Option<String>,
    package: Option<Package>,
}

#[derive(Deserialize)]
struct Package {
    owner: Option<Owner>,
    #[serde(rename = "type")]
    kind: Option<String>,
    name: Option<String>,
    version: Option<String>,
    html_url: Option<String>,
}

#[derive(Deserialize)]
struct Owner {
    login: Option<String>,
    username: Option<String>,
}

pub(super) fn parse(body: &[u8]) -> Result<Vec<Event>, InvalidPayload> {
    let Body { action, package } = serde_json::from_slice(body)?;
    let action = match action.as_deref() {
        Some("created") => Action::Push,
        Some("deleted") => Action::Delete,
        Some(_) => return Ok(Vec::new()),
        None => return Err(InvalidPayload::Missing("no `action`: no notification of Gitea")),
    };
    let Some(package) = package.filter(|package| package.kind.as_deref() == Some("container")) else {
        return Ok(Vec::new());
    };
    let Package { owner, name, version, html_url, .. } = package;
    let owner = owner.and_then(|owner| owner.login.or(owner.username));
    // A deletion that names nothing would mean all of the repository.
    let (Some(owner), Some(name), Some(version)) = (owner, name, version) else { return Ok(Vec::new()) };
    let repository = format!("{owner}/{name}").to_lowercase();
    let host = html_url.as_deref().and_then(host_of);
    Ok(Event::new(host, &repository, Some(&version), Some(&version), action).into_iter().collect())
}
