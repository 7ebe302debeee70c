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
use super::transport::{ReadBody, Request, Response, UnreadBody, api_error};
use crate::oci::{Descriptor, Digest, Location, Operation, Reason, Repository};

/// The body of a blob, read chunk by chunk. Dropping it ends the request.
pub struct BlobStream {
    unread: UnreadBody,
    timeout: Duration,
    subject: String,
    failed: bool,
}

impl Client {
    /// The verified content of `descriptor`, at most 4 MiB: its embedded `data` if it has any, else fetched.
    pub async fn get_config(&self, repository: &Repository, descriptor: &Descriptor) -> Result<Bytes, RegistryError> {
        if let Some(embedded) = embedded(descriptor) {
            return Ok(embedded);
        }
        let digest = &descriptor.digest;
        let subject = Location::digest(repository, digest);
        if descriptor.size > CONFIG_BYTES_MAX {
            let problem =
                format!("the manifest gives the config {} bytes, more than {CONFIG_BYTES_MAX}", descriptor.size);
            return Err(self.wrong(Operation::GetBlob, &subject, Reason::Limit, problem));
        }
        let request = self.blob(repository, digest, &subject, Method::GET, ReadBody::Whole(CONFIG_BYTES_MAX));
        let response = self.send(Scope::Repository(repository), &request).await?;
        if response.status != StatusCode::OK {
            return Err(self.refuse(&request, &response));
        }
        if digest.verifies(&response.body) == Some(false) {
            let problem =
                format!("the blob does not match the digest: its own is {}", Digest::sha256_of(&response.body));
            return Err(self.wrong(Operation::GetBlob, &subject, Reason::Invalid, problem));
        }
        Ok(response.body)
    }

    /// A blob's size in bytes. Where `HEAD` is refused, as by object storage behind a redirect, a `GET` of the first byte
    /// returns it in `Content-Range`.
    pub async fn head_blob(&self, repository: &Repository, digest: &Digest) -> Result<u64, RegistryError> {
        let subject = Location::digest(repository, digest);
        let request = self.blob(repository, digest, &subject, Method::HEAD, ReadBody::Nothing);
        let refusal = match self.send(Scope::Repository(repository), &request).await {
            // Some registries answer every HEAD of a blob with a length of 0.
            Ok(response)
                if response.status == StatusCode::OK && response.content_length().is_some_and(|length| length > 0) =>
            {
                return Ok(response.content_length().unwrap_or_default());
            }
            Ok(_) => None,
            Err(error) if error.reason() == Reason::Denied => Some(error),
            Err(error) => return Err(error),
        };
        match self.first_byte(repository, digest, &subject).await {
            Ok(size) => Ok(size),
            Err(error) => Err(refusal.unwrap_or(error)),
        }
    }

    async fn first_byte(
        &self,
        repository: &Repository,
        digest: &Digest,
        subject: &Location<'_>,
    ) -> Result<u64, RegistryError> {
        let request = self.blob(repository, digest, subject, Method::GET, ReadBody::Stream).bytes(0, Some(0));
        let response = self.send(Scope::Repository(repository), &request).await?;
        let size = match response.status {
            StatusCode::PARTIAL_CONTENT => content_range(&response).and_then(|(_, total)| total),
            StatusCode::OK => response.content_length(),
            // An empty blob has no first byte.
            StatusCode::RANGE_NOT_SATISFIABLE => Some(0),
            _ => return Err(self.refuse(&request, &response)),
        };
        size.ok_or_else(|| {
            self.wrong(
                Operation::GetBlob,
                subject,
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
        let subject = Location::digest(repository, digest);
        let length = range.end.saturating_sub(range.start);
        if length == 0 {
            return Ok(Bytes::new());
        }
        let request = self
            .blob(repository, digest, &subject, Method::GET, ReadBody::Part(length))
            .bytes(range.start, Some(range.end - 1));
        let response = self.send(Scope::Repository(repository), &request).await?;
        let invalid = |problem: String| Err(self.wrong(Operation::GetBlob, &subject, Reason::Invalid, problem));
        match (response.status, content_range(&response)) {
            (StatusCode::PARTIAL_CONTENT, Some((start, size)))
                if start == range.start && size.is_none_or(|size| size == total) =>
            {
                if response.body.len() as u64 != length {
                    return invalid(format!("asked for {length} bytes and got {}", response.body.len()));
                }
                Ok(response.body)
            }
            (StatusCode::PARTIAL_CONTENT, _) => {
                let content_range = response.header(header::CONTENT_RANGE).unwrap_or("no `Content-Range`");
                invalid(format!("asked for bytes {}-{} of {total}, got {content_range}", range.start, range.end - 1))
            }
            (StatusCode::OK, _) => Err(self.wrong(
                Operation::GetBlob,
                &subject,
                Reason::Unsupported,
                "the registry does not support ranges of blobs".to_owned(),
            )),
            (StatusCode::BAD_REQUEST, _) => Err(self.wrong(
                Operation::GetBlob,
                &subject,
                Reason::Unsupported,
                format!("the registry refuses a range of the blob{}", api_error::detail(&response)),
            )),
            (StatusCode::RANGE_NOT_SATISFIABLE, _) => {
                invalid(format!("the blob is shorter than the {total} bytes in its manifest"))
            }
            _ => Err(self.refuse(&request, &response)),
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
        let subject = Location::digest(repository, digest);
        let mut request = self.blob(repository, digest, &subject, Method::GET, ReadBody::Stream);
        if from > 0 {
            request = request.bytes(from, None);
        }
        let mut response = self.send(Scope::Repository(repository), &request).await?;
        let starts_right = match response.status {
            StatusCode::OK => from == 0,
            StatusCode::PARTIAL_CONTENT => content_range(&response).is_some_and(|(start, _)| start == from),
            _ => return Err(self.refuse(&request, &response)),
        };
        let Some(unread) = response.unread.take().filter(|_| starts_right) else {
            let problem = format!("the registry does not send the blob from byte {from}");
            return Err(self.wrong(Operation::GetBlob, &subject, Reason::Unsupported, problem));
        };
        Ok(BlobStream { unread, timeout: self.transport.timeout, subject: subject.to_string(), failed: false })
    }

    fn blob<'a>(
        &self,
        repository: &Repository,
        digest: &Digest,
        subject: &'a Location<'a>,
        method: Method,
        read_body: ReadBody,
    ) -> Request<'a> {
        let operation = if method == Method::HEAD { Operation::HeadBlob } else { Operation::GetBlob };
        let url = self.url(format_args!("/v2/{}/blobs/{digest}", repository.name()));
        Request::new(operation, method, url, subject, read_body)
    }
}

impl BlobStream {
    /// The next chunk; `None` at the end. Fails if none arrives within the request timeout.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, RegistryError> {
        if self.failed {
            return Err(RegistryError::new(Reason::Network, &self.subject, "the connection broke within the blob"));
        }
        let (reason, problem) = match tokio::time::timeout(self.timeout, self.unread.response.chunk()).await {
            Ok(Ok(chunk)) => return Ok(chunk),
            Ok(Err(error)) => (Reason::Network, format!("the connection broke within the blob: {}", chain(error))),
            Err(_) => {
                let waited = humantime::format_duration(self.timeout);
                (Reason::Timeout, format!("no data of the blob arrived within {waited}"))
            }
        };
        self.failed = true;
        Err(RegistryError::new(reason, &self.subject, problem))
    }
}

/// A descriptor's `data`, if it matches the descriptor's size and digest (OCI image specification, "Embedded Content").
fn embedded(descriptor: &Descriptor) -> Option<Bytes> {
    let bytes = STANDARD.decode(descriptor.data.as_ref()?).ok()?;
    let fits = bytes.len() as u64 == descriptor.size && descriptor.digest.verifies(&bytes) == Some(true);
    fits.then(|| bytes.into())
}

/// The first byte and the total of `Content-Range: bytes 0-7/100`.
fn content_range(response: &Response) -> Option<(u64, Option<u64>)> {
    let (unit, range) = response.header(header::CONTENT_RANGE)?.trim().split_once(' ')?;
    let (bytes, total) = range.split_once('/')?;
    let start = bytes.split_once('-')?.0.trim().parse().ok()?;
    unit.eq_ignore_ascii_case("bytes").then(|| (start, total.trim().parse().ok()))
}
