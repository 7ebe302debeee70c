//! The distribution project's registry ("Work with notifications"): an envelope of events. GitLab's registry sends the
//! same; Azure's container registry one event without an envelope.
//!
//! Each blob has events too. Those of pulls count bytes; those of pushes and mounts say nothing about a tag.

use serde::Deserialize;

use super::InvalidPayload;
use crate::notify::event::{Action, Event, host_of};
use crate::oci::MediaType;

/// The beginning of this program's own user agent, whose reads are no pulls.
const OWN_AGENT: &str = "image-size-exporter/";

#[derive(Deserialize)]
struct Body {
    events: Option<Vec<Entry>>,
    #[serde(flatten)]
    single: Entry,
}

#[derive(Default, Deserialize)]
struct Entry {
    action: Option<String>,
    target: Option<Target>,
    request: Option<Request>,
}

#[derive(Default, Deserialize)]
struct Target {
    #[serde(rename = "mediaType")]
    media_type: Option<String>,
    size: Option<i64>,
    digest: Option<String>,
    repository: Option<String>,
    url: Option<String>,
    tag: Option<String>,
}

#[derive(Default, Deserialize)]
struct Request {
    host: Option<String>,
    method: Option<String>,
    useragent: Option<String>,
}

pub(super) fn parse(body: &[u8]) -> Result<Vec<Event>, InvalidPayload> {
    let Body { events, single } = serde_json::from_slice(body)?;
    match events {
        Some(events) => Ok(events.iter().filter_map(event).collect()),
        None if single.action.is_some() => Ok(event(&single).into_iter().collect()),
        None => Err(InvalidPayload::Missing("neither `events` nor `action`: no notification of a registry")),
    }
}

fn event(entry: &Entry) -> Option<Event> {
    let target = entry.target.as_ref()?;
    let request = entry.request.as_ref();
    let media_type = MediaType::new(target.media_type.as_deref().unwrap_or_default());
    let action = match entry.action.as_deref()? {
        "push" if media_type.is_manifest() || media_type.is_empty() => Action::Push,
        "delete" => Action::Delete,
        "pull" if request.is_none_or(is_pull) => Action::Pull {
            images: u64::from(media_type.is_manifest() && !media_type.is_index()),
            bytes: target.size.and_then(|size| size.try_into().ok()).unwrap_or(0),
        },
        _ => return None,
    };
    let host = request.and_then(|request| request.host.as_deref()).filter(|host| !host.is_empty());
    let host = host.or_else(|| host_of(target.url.as_deref()?));
    Event::new(host, target.repository.as_deref()?, target.tag.as_deref(), target.digest.as_deref(), action)
}

/// Whether the request transferred the content: the registry reports a HEAD as a pull, too.
fn is_pull(request: &Request) -> bool {
    request.method.as_deref() != Some("HEAD")
        && !request.useragent.as_deref().is_some_and(|agent| agent.starts_with(OWN_AGENT))
}
