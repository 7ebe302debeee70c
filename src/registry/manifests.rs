//! `HEAD` and `GET` of manifests (distribution specification, "Pulling manifests").

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::{Method, StatusCode};

use super::auth::cache::Scope;
use super::error::RegistryError;
use super::transport::body::MANIFEST_BYTES_MAX;
use super::transport::{Answer, Ask, Take, api_error};
use super::{At, Client, What};
use crate::oci::digest::TEXT_BYTES_MAX;
use crate::oci::manifest::ACCEPT;
use crate::oci::{Algorithm, Digest, MediaType, Operation, Reason, Repository, schema1};

/// Says which content a tag points at. Absent on several registries.
const DIGEST_HEADER: &str = "docker-content-digest";

// What is known of a registry's `HEAD`, in `Client::heads`.
const UNKNOWN: u8 = 0;
const WORKS: u8 = 1;
const USELESS: u8 = 2;

/// What a registry says of a manifest without sending it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The digest header's text, as it stands: some registries' are wrong, but each changes when the tag does.
    pub digest_header: Option<Arc<str>>,
    /// `Content-Type`.
    pub media_type: MediaType,
    /// `Content-Length`, bytes.
    pub length: Option<u64>,
}

/// A manifest or index, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// At most 8 MiB.
    pub body: Bytes,
    /// `Content-Type` as it was said; empty where it was not. [`MediaType::SCHEMA1_SIGNED`], whatever was said, where
    /// the digest is that of what was signed: such a body is to be read as nothing else.
    pub content_type: String,
    /// Of the bytes, whatever the registry says; of what was signed, where it is a signed schema 1 manifest.
    pub digest: Digest,
    /// The digest header's text.
    pub digest_header: Option<Arc<str>>,
}

/// What a digest is of.
#[derive(Clone, Copy)]
enum Of {
    Body,
    /// What was signed, of a signed schema 1 manifest.
    Payload,
}

impl Client {
    /// Whether `HEAD` says anything on this registry. If not, a tag costs one `GET`.
    pub fn heads(&self) -> bool {
        self.heads.load(Ordering::Relaxed) != USELESS
    }

    /// Asks what `at` points at, for free where pulls are metered.
    ///
    /// `Reason::NotFound` only by the registry's own word, which takes a `GET`, as a `HEAD` has no body: what some proxy
    /// says with 404 is `Reason::Server`. `Reason::Unsupported` where `HEAD` gives no digest: one `GET` tells, and
    /// [`Client::heads`] remembers it of a registry that never gave one.
    pub async fn head_manifest(&self, repository: &Repository, at: At<'_>) -> Result<Head, RegistryError> {
        let what = What(repository, at);
        let url = self.url(format_args!("/v2/{}/manifests/{at}", repository.name()));
        let mut ask = Ask::new(Operation::HeadManifest, Method::HEAD, url, &what, Take::Nothing);
        ask.accept = Some(ACCEPT);
        let answer = self.ask(Scope::Repository(repository), &ask).await?;
        match answer.status {
            StatusCode::OK => match digest_header(&answer) {
                Some(digest) => {
                    self.heads.store(WORKS, Ordering::Relaxed);
                    let media_type = MediaType::new(answer.content_type());
                    Ok(Head { digest_header: Some(digest), media_type, length: answer.content_length() })
                }
                None => Err(self.useless_head(&what, "the answer to HEAD has no digest")),
            },
            StatusCode::NOT_FOUND => match self.get_manifest(repository, at).await {
                Err(error) => Err(error),
                Ok(_) => Err(self.useless_head(&what, "HEAD says 404 of what GET finds")),
            },
            _ if api_error::is_unsupported(&answer) || answer.status == StatusCode::BAD_REQUEST => {
                Err(self.useless_head(&what, "the registry does not answer HEAD"))
            }
            _ => Err(self.refuse(&ask, &answer)),
        }
    }

    /// Fetches a manifest or index: always with the same `Accept`, at most 8 MiB. Fetched by digest it is verified.
    /// `Reason::Reserved` where it would cut into the reserve of metered pulls.
    pub async fn get_manifest(&self, repository: &Repository, at: At<'_>) -> Result<Fetched, RegistryError> {
        self.get_manifest_within(repository, at, MANIFEST_BYTES_MAX).await
    }

    /// As [`Self::get_manifest`], at most `bytes_max` bytes: `Reason::Limit` where there are more.
    pub async fn get_manifest_within(
        &self,
        repository: &Repository,
        at: At<'_>,
        bytes_max: u64,
    ) -> Result<Fetched, RegistryError> {
        let what = What(repository, at);
        let Some(_pull) = self.transport.metering.pull(self.reserve) else {
            let left = self.transport.metering.remaining().unwrap_or(0);
            let problem = format!("not fetched: {left} pulls are left, and `ratelimit_reserve` keeps {}", self.reserve);
            return Err(self.wrong(Operation::GetManifest, &what, Reason::Reserved, problem));
        };
        let url = self.url(format_args!("/v2/{}/manifests/{at}", repository.name()));
        let mut ask = Ask::new(Operation::GetManifest, Method::GET, url, &what, Take::Whole(bytes_max));
        ask.accept = Some(ACCEPT);
        let answer = self.ask(Scope::Repository(repository), &ask).await?;
        if answer.status != StatusCode::OK {
            return Err(self.refuse(&ask, &answer));
        }
        let digest_header = digest_header(&answer);
        let (digest, of) = match at {
            At::Digest(wanted) => (wanted.clone(), self.verified(&what, wanted, &answer.body)?),
            At::Tag(_) => digest_of(&answer.body, digest_header.as_deref()),
        };
        let content_type = match of {
            Of::Body => answer.content_type().to_owned(),
            Of::Payload => MediaType::SCHEMA1_SIGNED.to_owned(),
        };
        Ok(Fetched { body: answer.body, content_type, digest, digest_header })
    }

    fn verified(&self, what: &What<'_>, wanted: &Digest, body: &[u8]) -> Result<Of, RegistryError> {
        // What has an algorithm that nobody here can compute is taken as it is.
        let fits = |bytes: &[u8]| wanted.verifies(bytes) != Some(false);
        if fits(body) {
            return Ok(Of::Body);
        }
        if schema1::payload(body).is_some_and(|payload| fits(&payload)) {
            return Ok(Of::Payload);
        }
        let problem = format!("the registry sent something else: its digest is {}", Digest::sha256_of(body));
        Err(self.wrong(Operation::GetManifest, what, Reason::Invalid, problem))
    }

    /// `HEAD` told nothing of one tag; of a registry where it never told anything, that is remembered.
    fn useless_head(&self, what: &What<'_>, problem: &str) -> RegistryError {
        let _ = self.heads.compare_exchange(UNKNOWN, USELESS, Ordering::Relaxed, Ordering::Relaxed);
        RegistryError::new(Reason::Unsupported, what, problem)
    }
}

fn digest_header(answer: &Answer) -> Option<Arc<str>> {
    let text = answer.header(DIGEST_HEADER)?.trim();
    (!text.is_empty() && text.len() <= TEXT_BYTES_MAX).then(|| text.into())
}

/// The bytes' own digest. The header's is taken only where it is true, and then for its algorithm.
fn digest_of(body: &[u8], header: Option<&str>) -> (Digest, Of) {
    let said: Option<Digest> = header.and_then(|text| text.parse().ok());
    if let Some(said) = said.filter(|said| said.algorithm() == Algorithm::Sha512 && said.verifies(body) == Some(true)) {
        return (said, Of::Body);
    }
    match schema1::payload(body) {
        Some(payload) => (Digest::sha256_of(&payload), Of::Payload),
        None => (Digest::sha256_of(body), Of::Body),
    }
}
