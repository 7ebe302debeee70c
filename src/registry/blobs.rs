//! Configs and layers (distribution specification, "Pulling blobs").

use std::ops::Range;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Method, StatusCode, header};

use super::auth::cache::Scope;
use super::client::Client;
use super::error::{RegistryError, chain};
use super::transport::body::CONFIG_BYTES_MAX;
use super::transport::{Answer, Ask, Open, Take, api_error};
use crate::oci::{Descriptor, Digest, Location, Operation, Reason, Repository};

/// The body of a blob, read chunk by chunk. Dropping it ends the request.
pub struct BlobStream {
    open: Open,
    timeout: Duration,
    what: String,
    failed: bool,
}

impl Client {
    /// The verified content of `descriptor`, at most 4 MiB: its embedded `data` if it has any, else fetched.
    pub async fn get_config(&self, repository: &Repository, descriptor: &Descriptor) -> Result<Bytes, RegistryError> {
        if let Some(embedded) = embedded(descriptor) {
            return Ok(embedded);
        }
        let digest = &descriptor.digest;
        let what = Location::digest(repository, digest);
        if descriptor.size > CONFIG_BYTES_MAX {
            let problem =
                format!("the manifest gives the config {} bytes, more than {CONFIG_BYTES_MAX}", descriptor.size);
            return Err(RegistryError::new(Reason::Limit, &what, problem));
        }
        let ask = self.blob(repository, digest, &what, Method::GET, Take::Whole(CONFIG_BYTES_MAX));
        let answer = self.ask(Scope::Repository(repository), &ask).await?;
        if answer.status != StatusCode::OK {
            return Err(self.refuse(&ask, &answer));
        }
        if digest.verifies(&answer.body) == Some(false) {
            let problem = format!("the blob does not match the digest: its own is {}", Digest::sha256_of(&answer.body));
            return Err(self.wrong(Operation::GetBlob, &what, Reason::Invalid, problem));
        }
        Ok(answer.body)
    }

    /// A blob's size in bytes. Where `HEAD` is refused, as by object storage behind a redirect, a `GET` of the first byte
    /// returns it in `Content-Range`.
    pub async fn head_blob(&self, repository: &Repository, digest: &Digest) -> Result<u64, RegistryError> {
        let what = Location::digest(repository, digest);
        let ask = self.blob(repository, digest, &what, Method::HEAD, Take::Nothing);
        let refusal = match self.ask(Scope::Repository(repository), &ask).await {
            // Some registries answer HEAD with a length of 0 for every blob.
            Ok(answer)
                if answer.status == StatusCode::OK && answer.content_length().is_some_and(|length| length > 0) =>
            {
                return Ok(answer.content_length().unwrap_or_default());
            }
            Ok(_) => None,
            Err(error) if error.reason() == Reason::Denied => Some(error),
            Err(error) => return Err(error),
        };
        match self.first_byte(repository, digest, &what).await {
            Ok(size) => Ok(size),
            Err(error) => Err(refusal.unwrap_or(error)),
        }
    }

    async fn first_byte(
        &self,
        repository: &Repository,
        digest: &Digest,
        what: &Location<'_>,
    ) -> Result<u64, RegistryError> {
        let ask = self.blob(repository, digest, what, Method::GET, Take::Stream).bytes(0, Some(0));
        let answer = self.ask(Scope::Repository(repository), &ask).await?;
        let size = match answer.status {
            StatusCode::PARTIAL_CONTENT => content_range(&answer).and_then(|(_, total)| total),
            StatusCode::OK => answer.content_length(),
            // An empty blob has no first byte.
            StatusCode::RANGE_NOT_SATISFIABLE => Some(0),
            _ => return Err(self.refuse(&ask, &answer)),
        };
        size.ok_or_else(|| {
            self.wrong(
                Operation::GetBlob,
                what,
                Reason::Invalid,
                "the registry does not return the blob's size".to_owned(),
            )
        })
    }

    /// A range of a blob of `total` bytes.
    ///
    /// # Errors
    /// `Reason::Unsupported` where the registry ignores `Range`: its answer, the whole blob, is not read.
    pub async fn get_blob_range(
        &self,
        repository: &Repository,
        digest: &Digest,
        range: Range<u64>,
        total: u64,
    ) -> Result<Bytes, RegistryError> {
        let what = Location::digest(repository, digest);
        let length = range.end.saturating_sub(range.start);
        if length == 0 {
            return Ok(Bytes::new());
        }
        let ask = self
            .blob(repository, digest, &what, Method::GET, Take::Part(length))
            .bytes(range.start, Some(range.end - 1));
        let answer = self.ask(Scope::Repository(repository), &ask).await?;
        let invalid = |problem: String| Err(self.wrong(Operation::GetBlob, &what, Reason::Invalid, problem));
        match (answer.status, content_range(&answer)) {
            (StatusCode::PARTIAL_CONTENT, Some((start, size)))
                if start == range.start && size.is_none_or(|size| size == total) =>
            {
                if answer.body.len() as u64 != length {
                    return invalid(format!("asked for {length} bytes and got {}", answer.body.len()));
                }
                Ok(answer.body)
            }
            (StatusCode::PARTIAL_CONTENT, _) => {
                let content_range = answer.header(header::CONTENT_RANGE).unwrap_or("no `Content-Range`");
                invalid(format!("asked for bytes {}-{} of {total}, got {content_range}", range.start, range.end - 1))
            }
            (StatusCode::OK, _) => Err(self.wrong(
                Operation::GetBlob,
                &what,
                Reason::Unsupported,
                "the registry does not support ranges of blobs".to_owned(),
            )),
            (StatusCode::BAD_REQUEST, _) => Err(self.wrong(
                Operation::GetBlob,
                &what,
                Reason::Unsupported,
                format!("the registry refuses a range of the blob{}", api_error::detail(&answer)),
            )),
            (StatusCode::RANGE_NOT_SATISFIABLE, _) => {
                invalid(format!("the blob is shorter than the {total} bytes in its manifest"))
            }
            _ => Err(self.refuse(&ask, &answer)),
        }
    }

    /// A blob from byte `from` on, read chunk by chunk and not verified.
    ///
    /// # Errors
    /// `Reason::Unsupported` where the registry only sends it from its first byte.
    pub async fn stream_blob(
        &self,
        repository: &Repository,
        digest: &Digest,
        from: u64,
    ) -> Result<BlobStream, RegistryError> {
        let what = Location::digest(repository, digest);
        let mut ask = self.blob(repository, digest, &what, Method::GET, Take::Stream);
        if from > 0 {
            ask = ask.bytes(from, None);
        }
        let mut answer = self.ask(Scope::Repository(repository), &ask).await?;
        let starts_right = match answer.status {
            StatusCode::OK => from == 0,
            StatusCode::PARTIAL_CONTENT => content_range(&answer).is_some_and(|(start, _)| start == from),
            _ => return Err(self.refuse(&ask, &answer)),
        };
        let Some(open) = answer.open.take().filter(|_| starts_right) else {
            let problem = format!("the registry does not send the blob from byte {from}");
            return Err(self.wrong(Operation::GetBlob, &what, Reason::Unsupported, problem));
        };
        Ok(BlobStream { open, timeout: self.transport.timeout, what: what.to_string(), failed: false })
    }

    fn blob<'a>(
        &self,
        repository: &Repository,
        digest: &Digest,
        what: &'a Location<'a>,
        method: Method,
        take: Take,
    ) -> Ask<'a> {
        let operation = if method == Method::HEAD { Operation::HeadBlob } else { Operation::GetBlob };
        let url = self.url(format_args!("/v2/{}/blobs/{digest}", repository.name()));
        Ask::new(operation, method, url, what, take)
    }
}

impl BlobStream {
    /// The next chunk; `None` at the end. Fails if none arrives within the request timeout.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, RegistryError> {
        if self.failed {
            return Err(RegistryError::new(Reason::Network, &self.what, "the connection broke within the blob"));
        }
        let (reason, problem) = match tokio::time::timeout(self.timeout, self.open.response.chunk()).await {
            Ok(Ok(chunk)) => return Ok(chunk),
            Ok(Err(error)) => (Reason::Network, format!("the connection broke within the blob: {}", chain(error))),
            Err(_) => {
                let waited = humantime::format_duration(self.timeout);
                (Reason::Timeout, format!("no more of the blob arrived within {waited}"))
            }
        };
        self.failed = true;
        Err(RegistryError::new(reason, &self.what, problem))
    }
}

/// A descriptor's `data`, if it matches the descriptor's size and digest (OCI image specification, "Embedded Content").
fn embedded(descriptor: &Descriptor) -> Option<Bytes> {
    let bytes = STANDARD.decode(descriptor.data.as_ref()?).ok()?;
    let fits = bytes.len() as u64 == descriptor.size && descriptor.digest.verifies(&bytes) == Some(true);
    fits.then(|| bytes.into())
}

/// The first byte and the total of `Content-Range: bytes 0-7/100`.
fn content_range(answer: &Answer) -> Option<(u64, Option<u64>)> {
    let (unit, range) = answer.header(header::CONTENT_RANGE)?.trim().split_once(' ')?;
    let (bytes, total) = range.split_once('/')?;
    let start = bytes.split_once('-')?.0.trim().parse().ok()?;
    unit.eq_ignore_ascii_case("bytes").then(|| (start, total.trim().parse().ok()))
}
