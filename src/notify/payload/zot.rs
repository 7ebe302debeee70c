//! zot ("Event Support for zot"): one CloudEvent a request, in the binary or the structured mode of the HTTP binding. The
//! beginning of the types can be configured there.

use serde::Deserialize;

use super::{Attributes, InvalidPayload};
use crate::notify::event::{Action, Event, host_of};

#[derive(Deserialize)]
struct Body {
    #[serde(rename = "type")]
    kind: Option<String>,
    source: Option<String>,
    data: Option<Data>,
    /// In the binary mode the body is the data.
    #[serde(flatten)]
    whole: Data,
}

#[derive(Deserialize)]
struct Data {
    name: Option<String>,
    reference: Option<String>,
    digest: Option<String>,
}

pub(super) fn parse(attributes: Attributes<'_>, body: &[u8]) -> Result<Vec<Event>, InvalidPayload> {
    let Body { kind, source, data, whole } = serde_json::from_slice(body)?;
    let kind = attributes.cloud_event_type.or(kind.as_deref());
    let kind = kind.ok_or(InvalidPayload::Missing("neither `Ce-Type` nor `type`: no notification of zot"))?;
    let action = match kind {
        kind if kind.ends_with(".image.updated") => Action::Push,
        kind if kind.ends_with(".image.deleted") => Action::Delete,
        _ => return Ok(Vec::new()),
    };
    let Data { name, reference, digest } = data.unwrap_or(whole);
    // A deletion that names nothing would mean all of the repository.
    let (Some(name), true) = (name, reference.is_some() || digest.is_some()) else { return Ok(Vec::new()) };
    let source = attributes.cloud_event_source.or(source.as_deref()).unwrap_or_default();
    let event = Event::new(host_of(source), &name, reference.as_deref(), digest.as_deref(), action);
    Ok(event.into_iter().collect())
}
