//! The referrers of a manifest (distribution specification, "Listing Referrers" and "Referrers Tag Schema").

use std::sync::atomic::Ordering;

use http::{Method, StatusCode};
use url::Url;

use super::auth::cache::Scope;
use super::client::Client;
use super::error::RegistryError;
use super::transport::{ReadBody, Request};
use crate::oci::manifest::ACCEPT;
use crate::oci::{Descriptor, Digest, Document, Location, Operation, Reason, Repository};

/// At most so many characters of a digest's algorithm, and of its encoded value, go into the fallback tag.
const TAG_ALGORITHM_CHARS: usize = 32;
const TAG_VALUE_CHARS: usize = 64;

impl Client {
    /// The referrers of a manifest that have one artifact type, from the first page of at most `bytes_max` bytes. Without
    /// the referrers API they stand under a fallback tag; which of the two a registry has is remembered.
    pub async fn list_referrers(
        &self,
        repository: &Repository,
        digest: &Digest,
        artifact_type: &str,
        bytes_max: u64,
    ) -> Result<Vec<Descriptor>, RegistryError> {
        let of_type =
            |list: Vec<Descriptor>| list.into_iter().filter(|one| one.artifact_type == artifact_type).collect();
        if !self.quirks.no_referrers_api.load(Ordering::Relaxed) {
            let mut url = self.url(format_args!("/v2/{}/referrers/{digest}", repository.name()));
            url.query_pairs_mut().append_pair("artifactType", artifact_type);
            match self.fetch_referrers(repository, digest, url, bytes_max).await {
                Ok(ReferrersAnswer::List(list)) => return Ok(of_type(list)),
                Ok(ReferrersAnswer::Absent) => self.quirks.no_referrers_api.store(true, Ordering::Relaxed),
                Err(error) if error.is_transient() => return Err(error),
                // Another image's list may be readable.
                Ok(ReferrersAnswer::Refused) | Err(_) => {}
            }
        }
        let subject = Location::digest(repository, digest);
        let Some(_pull) = self.transport.metering.pull(self.reserve) else {
            let problem = "its referrers are not fetched: `ratelimit_reserve` keeps the remaining pulls".to_owned();
            return Err(self.wrong(Operation::GetManifest, &subject, Reason::Reserved, problem));
        };
        let url = self.url(format_args!("/v2/{}/manifests/{}", repository.name(), tag(digest)));
        match self.fetch_referrers(repository, digest, url, bytes_max).await? {
            ReferrersAnswer::List(list) => Ok(of_type(list)),
            ReferrersAnswer::Refused | ReferrersAnswer::Absent => Ok(Vec::new()),
        }
    }

    async fn fetch_referrers(
        &self,
        repository: &Repository,
        digest: &Digest,
        url: Url,
        bytes_max: u64,
    ) -> Result<ReferrersAnswer, RegistryError> {
        let subject = Location::digest(repository, digest);
        let mut request = Request::new(Operation::GetManifest, Method::GET, url, &subject, ReadBody::Whole(bytes_max));
        request.accept = Some(ACCEPT);
        let response = self.auth.send_once(&self.transport, Scope::Repository(repository), &request).await?;
        Ok(match (response.status, Document::parse("", &response.body)) {
            (StatusCode::OK, Ok(Document::Index(index))) => ReferrersAnswer::List(index.manifests),
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => ReferrersAnswer::Refused,
            // Some registries redirect unknown paths to a login page.
            _ => ReferrersAnswer::Absent,
        })
    }
}

/// The possible answers. Each is a valid one.
enum ReferrersAnswer {
    List(Vec<Descriptor>),
    /// 401 or 403.
    Refused,
    /// The registry has no such endpoint or tag.
    Absent,
}

/// The fallback tag: `sha256-` and the digest's value.
fn tag(digest: &Digest) -> String {
    let text = digest.to_string();
    let (algorithm, value) = text.split_once(':').unwrap_or((&text, ""));
    let first = |text: &str, chars: usize| text.chars().take(chars).collect::<String>();
    format!("{}-{}", first(algorithm, TAG_ALGORITHM_CHARS), first(value, TAG_VALUE_CHARS))
}
