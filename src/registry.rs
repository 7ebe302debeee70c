//! How registries are spoken to: the distribution specification's endpoints, and what each request to them needs.
//!
//! Content leaves this room as bytes, digests and lists, verified; what it means for sizes is decided elsewhere. An
//! error names the registry and the request, the cause, and what the operator can do about it.

mod client;
mod counters;
pub mod error;
mod profile;
pub mod settings;

pub mod blobs;
pub mod lists;
pub mod manifests;
mod referrers;

mod auth;
mod transport;

mod head_support;
mod quirks;

pub use crate::oci::At;
pub use auth::{FoundSecrets, PullSecret, PullSecrets, check_credential, missing_helper};
pub use blobs::BlobStream;
pub use client::{Client, Registries};
pub use counters::Counters;
pub use error::{RegistryError, SetupError};
pub use head_support::HeadTrial;
pub use lists::{RepositoryList, TagList};
pub use manifests::{FetchedManifest, Head};
pub use settings::{Cloud, Credential, ListApi, PROXY_SCHEMES, Settings};
pub use transport::ratelimit::RateLimit;
pub use transport::server::{NoAnswer, Server};
pub use transport::tls::check_files;

pub(crate) use counters::RegistryCounters;
pub(crate) use transport::throttle::TokenBucket;
pub(crate) use transport::tls::signature_checks;
#[cfg(feature = "postgres")]
pub(crate) use transport::tls::system_roots;
