//! Amazon ECR ("Amazon ECR events and EventBridge"): the event `ECR Image Action`, as EventBridge sends it to an API
//! destination.

use serde::Deserialize;

use super::InvalidPayload;
use crate::notify::event::{Action, Event};

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Body {
    detail_type: Option<String>,
    account: Option<String>,
    region: Option<String>,
    detail: Option<Detail>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Detail {
    result: Option<String>,
    action_type: Option<String>,
    repository_name: Option<String>,
    image_digest: Option<String>,
    image_tag: Option<String>,
}

pub(super) fn parse(body: &[u8]) -> Result<Vec<Event>, InvalidPayload> {
    let Body { detail_type, account, region, detail } = serde_json::from_slice(body)?;
    let detail_type = detail_type.ok_or(InvalidPayload::Missing("no `detail-type`: no notification of EventBridge"))?;
    let Some(detail) = detail.filter(|_| detail_type == "ECR Image Action") else { return Ok(Vec::new()) };
    let Detail { result, action_type, repository_name, image_digest, image_tag } = detail;
    let action = match (result.as_deref(), action_type.as_deref()) {
        (Some("SUCCESS"), Some("PUSH")) => Action::Push,
        // A deletion that names nothing would mean all of the repository.
        (Some("SUCCESS"), Some("DELETE")) if image_tag.is_some() || image_digest.is_some() => Action::Delete,
        _ => return Ok(Vec::new()),
    };
    let host = account.zip(region).map(|(account, region)| {
        let suffix = if region.starts_with("cn-") { ".cn" } else { "" };
        format!("{account}.dkr.ecr.{region}.amazonaws.com{suffix}")
    });
    let Some(repository) = repository_name else { return Ok(Vec::new()) };
    let event = Event::new(host.as_deref(), &repository, image_tag.as_deref(), image_digest.as_deref(), action);
    Ok(event.into_iter().collect())
}
