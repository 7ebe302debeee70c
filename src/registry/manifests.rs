//! `HEAD` and `GET` of manifests (distribution specification, "Pulling manifests").

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, StatusCode};

use super::auth::cache::Scope;
use super::client::Client;
use super::error::RegistryError;
use super::head_support::HeadTrial;
use super::transport::body::MANIFEST_BYTES_MAX;
use super::transport::{ReadBody, Request, Response, api_error};
use crate::oci::digest::TEXT_BYTES_MAX;
use crate::oci::manifest::ACCEPT;
use crate::oci::{Algorithm, At, Digest, Location, MediaType, Operation, Reason, Repository, schema1};

/// The digest of the content that a tag points at. Several registries do not send it.
const DIGEST_HEADER: &str = "docker-content-digest";

/// The answer to `HEAD` of a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The digest header's text, verbatim: some registries send a wrong digest, but it changes whenever the tag does.
    pub digest_header: Option<Arc<str>>,
    /// `Content-Type`.
    pub media_type: MediaType,
    /// `Content-Length`, bytes.
    pub length: Option<u64>,
}

/// A manifest or index, as received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedManifest {
    /// At most 8 MiB.
    pub body: Bytes,
    /// `Content-Type`; empty where the header is missing. Always [`MediaType::SCHEMA1_SIGNED`] where the digest covers
    /// the signed payload of a schema 1 manifest: the body must not be parsed as anything else.
    pub content_type: String,
    /// Computed from the body, or from the signed payload of a signed schema 1 manifest; never copied from a header.
    pub digest: Digest,
    /// The digest header's text.
    pub digest_header: Option<Arc<str>>,
}

/// Which bytes a digest covers.
#[derive(Clone, Copy)]
enum Digested {
    Body,
    /// The signed payload of a schema 1 manifest.
    SignedPayload,
}

impl Client {
    /// Whether `HEAD` of a manifest returns a digest on this registry. Where it does not, a tag costs one `GET`.
    pub fn supports_head(&self) -> bool {
        self.quirks.head.is_useful()
    }

    /// Whether any `HEAD` of a manifest returned a digest on this registry.
    pub fn head_has_worked(&self) -> bool {
        self.quirks.head.has_worked()
    }

    /// After a `HEAD` that failed: permission to try a `GET`, where the failure may be of the method. Some proxies refuse it
    /// with 401, 403, 406, 411 or 5xx, close the connection, or never answer. `None` where the failure is believed: `GET`
    /// failed lately in this repository too, or too often on this registry.
    pub async fn doubt_head<'a>(&'a self, repository: &'a Repository, error: &RegistryError) -> Option<HeadTrial<'a>> {
        if !may_be_of_the_method(error.reason()) {
            return None;
        }
        self.quirks.head.doubt(repository, error.was_sent()).await
    }

    /// After an error of a request that was not sent, since others failed: waits until one may be tried, a few seconds at
    /// most. Unanswered `HEAD`s stop all requests for a moment.
    pub async fn reachable_again(&self) {
        self.transport.reachable_again().await;
    }

    /// Requests the digest that `at` points at. Registries that meter pulls do not count it.
    ///
    /// # Errors
    /// `Reason::NotFound` only where the distribution API's error body confirms it. A `HEAD` has no body, so a 404 costs
    /// one more `GET`; a proxy's 404 is `Reason::Server`. `Reason::Unsupported` where `HEAD` returns no digest: the
    /// caller needs a `GET`, and [`Client::supports_head`] is false for a while if no `HEAD` returned one lately.
    pub async fn head_manifest(&self, repository: &Repository, at: At<'_>) -> Result<Head, RegistryError> {
        self.head(repository, at, false).await
    }

    /// As [`Self::head_manifest`], of a tag that a `GET` did not find before: a 404 is believed.
    ///
    /// # Errors
    /// `Reason::NotFound` is not counted as a failed request: that is for the caller to say.
    pub async fn head_missing(&self, repository: &Repository, at: At<'_>) -> Result<Head, RegistryError> {
        self.head(repository, at, true).await
    }

    async fn head(&self, repository: &Repository, at: At<'_>, is_missing: bool) -> Result<Head, RegistryError> {
        let subject = Location(repository, at);
        let url = self.url(format_args!("/v2/{}/manifests/{at}", repository.name()));
        let mut request = Request::new(Operation::HeadManifest, Method::HEAD, url, &subject, ReadBody::Nothing);
        request.accept = Some(ACCEPT);
        let response = self.send(Scope::Repository(repository), &request).await?;
        match response.status {
            StatusCode::OK => match digest_header(&response) {
                Some(digest) => {
                    self.quirks.head.worked();
                    let media_type = MediaType::new(response.content_type());
                    Ok(Head { digest_header: Some(digest), media_type, length: response.content_length() })
                }
                None => Err(self.useless_head(&subject, "HEAD returns no digest")),
            },
            StatusCode::NOT_FOUND if is_missing => {
                Err(RegistryError::new(Reason::NotFound, subject, "not found on the registry"))
            }
            StatusCode::NOT_FOUND => match self.get_manifest(repository, at).await {
                Err(error) => {
                    if error.reason() == Reason::Server {
                        self.quirks.head.agreed(repository);
                    }
                    Err(error)
                }
                Ok(_) => Err(self.useless_head(&subject, "HEAD returns 404 where GET returns a manifest")),
            },
            _ if api_error::is_unsupported(&response) || response.status == StatusCode::BAD_REQUEST => {
                Err(self.useless_head(&subject, "the registry does not support HEAD"))
            }
            _ => Err(self.refuse(&request, &response)),
        }
    }

    /// Fetches a manifest or index of at most 8 MiB, always with the same `Accept`. By digest, it is verified.
    ///
    /// # Errors
    /// `Reason::Reserved` where the request would use up a pull of the configured reserve. `Reason::NotFound` of a tag is
    /// not counted as a failed request: whether it should exist is for the caller to say.
    pub async fn get_manifest(&self, repository: &Repository, at: At<'_>) -> Result<FetchedManifest, RegistryError> {
        self.get_manifest_within(repository, at, MANIFEST_BYTES_MAX).await
    }

    /// As [`Self::get_manifest`], with a limit of `bytes_max` bytes; a longer body is `Reason::Limit`.
    pub async fn get_manifest_within(
        &self,
        repository: &Repository,
        at: At<'_>,
        bytes_max: u64,
    ) -> Result<FetchedManifest, RegistryError> {
        let subject = Location(repository, at);
        let Some(_pull) = self.transport.metering.pull(self.reserve) else {
            let left = self.transport.metering.remaining().unwrap_or(0);
            let problem = format!("not fetched: {left} pulls are left, and `ratelimit_reserve` keeps {}", self.reserve);
            return Err(self.wrong(Operation::GetManifest, &subject, Reason::Reserved, problem));
        };
        let url = self.url(format_args!("/v2/{}/manifests/{at}", repository.name()));
        let mut request = Request::new(Operation::GetManifest, Method::GET, url, &subject, ReadBody::Whole(bytes_max));
        request.accept = Some(ACCEPT);
        let response = self.send(Scope::Repository(repository), &request).await?;
        if response.status != StatusCode::OK {
            let (reason, error) = Self::refusal(&request, &response);
            if !(reason == Reason::NotFound && matches!(at, At::Tag(_))) {
                self.failed(request.operation, reason);
            }
            return Err(error);
        }
        let digest_header = digest_header(&response);
        let (digest, digested) = match at {
            At::Digest(wanted) => (wanted.clone(), self.verified(&subject, wanted, &response.body)?),
            At::Tag(_) => digest_of(&response.body, digest_header.as_deref()),
        };
        let content_type = match digested {
            Digested::Body => response.content_type().to_owned(),
            Digested::SignedPayload => MediaType::SCHEMA1_SIGNED.to_owned(),
        };
        Ok(FetchedManifest { body: response.body, content_type, digest, digest_header })
    }

    fn verified(&self, subject: &Location<'_>, wanted: &Digest, body: &[u8]) -> Result<Digested, RegistryError> {
        // An algorithm that is not implemented here cannot be verified; the body is accepted.
        let fits = |bytes: &[u8]| wanted.verifies(bytes) != Some(false);
        if fits(body) {
            return Ok(Digested::Body);
        }
        if schema1::payload(body).is_some_and(|payload| fits(&payload)) {
            return Ok(Digested::SignedPayload);
        }
        let problem = format!("the body does not match the digest: its own is {}", Digest::sha256_of(body));
        Err(self.wrong(Operation::GetManifest, subject, Reason::Invalid, problem))
    }

    /// A `HEAD` without a digest. Remembered if no `HEAD` on this registry returned one lately.
    fn useless_head(&self, subject: &Location<'_>, problem: &str) -> RegistryError {
        self.quirks.head.failed();
        RegistryError::new(Reason::Unsupported, subject, problem)
    }
}

/// Whether something in front of the registry may fail a `HEAD` so, and not a `GET`.
fn may_be_of_the_method(reason: Reason) -> bool {
    matches!(reason, Reason::Denied | Reason::Server | Reason::Network | Reason::Timeout)
}

impl HeadTrial<'_> {
    /// The `GET` has ended, with this error if it failed.
    pub fn ended(self, error: Option<&RegistryError>) {
        match error {
            None => self.get_worked(),
            Some(error) if error.was_sent() && may_be_of_the_method(error.reason()) => self.get_failed(),
            // It says nothing of the method.
            Some(_) => {}
        }
    }
}

fn digest_header(response: &Response) -> Option<Arc<str>> {
    let text = response.header(DIGEST_HEADER)?.trim();
    (!text.is_empty() && text.len() <= TEXT_BYTES_MAX).then(|| text.into())
}

/// The digest of the bytes: SHA-256, or SHA-512 where the header has a SHA-512 digest that matches.
fn digest_of(body: &[u8], header: Option<&str>) -> (Digest, Digested) {
    let named: Option<Digest> = header.and_then(|text| text.parse().ok());
    let is_true = |digest: &Digest| digest.algorithm() == Algorithm::Sha512 && digest.verifies(body) == Some(true);
    if let Some(digest) = named.filter(is_true) {
        return (digest, Digested::Body);
    }
    match schema1::payload(body) {
        Some(payload) => (Digest::sha256_of(&payload), Digested::SignedPayload),
        None => (Digest::sha256_of(body), Digested::Body),
    }
}
