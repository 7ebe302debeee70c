//! What refers to a manifest (distribution specification, "Listing Referrers" and "Referrers Tag Schema").

use std::sync::atomic::Ordering;

use http::{Method, StatusCode};
use url::Url;

use super::auth::cache::Scope;
use super::client::Client;
use super::error::RegistryError;
use super::transport::{Ask, Take};
use crate::oci::manifest::ACCEPT;
use crate::oci::{Descriptor, Digest, Document, Location, Operation, Reason, Repository};

/// Characters of a digest's algorithm and of its value that stand in the tag.
const TAG_ALGORITHM_CHARS: usize = 32;
const TAG_VALUE_CHARS: usize = 64;

impl Client {
    /// The manifests of one artifact type that refer to a manifest, of the first page, which is at most `bytes_max`
    /// bytes. A registry without the referrers API has a tag for them: that it has none is found out once.
    pub async fn list_referrers(
        &self,
        repository: &Repository,
        digest: &Digest,
        artifact_type: &str,
        bytes_max: u64,
    ) -> Result<Vec<Descriptor>, RegistryError> {
        let of_type =
            |list: Vec<Descriptor>| list.into_iter().filter(|one| one.artifact_type == artifact_type).collect();
        if self.referrers.load(Ordering::Relaxed) {
            let mut url = self.url(format_args!("/v2/{}/referrers/{digest}", repository.name()));
            url.query_pairs_mut().append_pair("artifactType", artifact_type);
            match self.referring(repository, digest, url, bytes_max).await {
                Ok(Referring::These(list)) => return Ok(of_type(list)),
                Ok(Referring::None) => self.referrers.store(false, Ordering::Relaxed),
                Err(error) if error.is_transient() => return Err(error),
                // Another image may have a list that can be read.
                Ok(Referring::Refused) | Err(_) => {}
            }
        }
        let what = Location::digest(repository, digest);
        let Some(_pull) = self.transport.metering.pull(self.reserve) else {
            let problem = "its referrers were not fetched, to leave pulls to people".to_owned();
            return Err(self.wrong(Operation::GetManifest, &what, Reason::Reserved, problem));
        };
        let url = self.url(format_args!("/v2/{}/manifests/{}", repository.name(), tag(digest)));
        match self.referring(repository, digest, url, bytes_max).await? {
            Referring::These(list) => Ok(of_type(list)),
            Referring::Refused | Referring::None => Ok(Vec::new()),
        }
    }

    async fn referring(
        &self,
        repository: &Repository,
        digest: &Digest,
        url: Url,
        bytes_max: u64,
    ) -> Result<Referring, RegistryError> {
        let what = Location::digest(repository, digest);
        let mut ask = Ask::new(Operation::GetManifest, Method::GET, url, &what, Take::Whole(bytes_max));
        ask.accept = Some(ACCEPT);
        let answer = self.auth.send_once(&self.transport, Scope::Repository(repository), &ask).await?;
        Ok(match (answer.status, Document::parse("", &answer.body)) {
            (StatusCode::OK, Ok(Document::Index(index))) => Referring::These(index.manifests),
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => Referring::Refused,
            // Some send whoever asks for what they do not know to a page where people log in.
            _ => Referring::None,
        })
    }
}

/// What a registry says when it is asked for such a list. Only the first is common, and none is a failure.
enum Referring {
    These(Vec<Descriptor>),
    Refused,
    None,
}

/// `sha256-` and the digest's value.
fn tag(digest: &Digest) -> String {
    let text = digest.to_string();
    let (algorithm, value) = text.split_once(':').unwrap_or((&text, ""));
    let first = |text: &str, chars: usize| text.chars().take(chars).collect::<String>();
    format!("{}-{}", first(algorithm, TAG_ALGORITHM_CHARS), first(value, TAG_VALUE_CHARS))
}
