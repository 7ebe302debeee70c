//! Vendors' payloads → events. Pure: each parser is a function of bytes and knows its vendor's documentation only.
//!
//! What a payload says beside names, tags, digests and sizes is not read, so that a vendor may add to it. An action that is
//! unknown, a repository's name that no registry could have, and content that is no manifest give no event.

mod distribution;
mod dockerhub;
mod ecr;
mod gitea;
mod github;
mod harbor;
mod quay;
mod zot;

use super::event::{Event, Kind};

/// The headers that belong to a payload.
#[derive(Clone, Copy, Debug, Default)]
pub struct Attributes<'a> {
    /// `Ce-Type`: a CloudEvent's type, in the binary mode of its HTTP binding.
    pub cloud_event_type: Option<&'a str>,
    /// `Ce-Source`: its source, likewise.
    pub cloud_event_source: Option<&'a str>,
}

/// A body that is not what the vendor documents.
#[derive(Debug, thiserror::Error)]
pub enum InvalidPayload {
    /// It is no JSON, or of another shape.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// Something is missing that each of the vendor's notifications has.
    #[error("{0}")]
    Missing(&'static str),
}

/// The events of a notification.
pub fn parse(kind: Kind, attributes: Attributes<'_>, body: &[u8]) -> Result<Vec<Event>, InvalidPayload> {
    match kind {
        Kind::Distribution => distribution::parse(body),
        Kind::Harbor => harbor::parse(attributes, body),
        Kind::Zot => zot::parse(attributes, body),
        Kind::Quay => quay::parse(body),
        Kind::Dockerhub => dockerhub::parse(body),
        Kind::Github => github::parse(body),
        Kind::Gitea => gitea::parse(body),
        Kind::Ecr => ecr::parse(body),
    }
}

#[cfg(test)]
mod tests;
