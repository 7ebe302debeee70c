//! Bodies, read up to a limit.

use std::io::Read as _;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};

/// Manifests and indexes, bytes.
pub(crate) const MANIFEST_BYTES_MAX: u64 = 8 << 20;
/// Configs, bytes.
pub(crate) const CONFIG_BYTES_MAX: u64 = 4 << 20;
/// Answers of token servers, bytes.
pub(crate) const TOKEN_BYTES_MAX: u64 = 1 << 20;
/// One page of a list, bytes.
pub(crate) const PAGE_BYTES_MAX: u64 = 8 << 20;
/// The body of an error, bytes.
pub(crate) const ERROR_BYTES_MAX: u64 = 64 << 10;

/// Why a body could not be read.
#[derive(Debug)]
pub(crate) enum BodyError {
    /// It is longer than this many bytes.
    TooLong(u64),
    /// The connection broke within it.
    Broken(String),
    /// It is compressed, with an encoding that was not requested and is not gzip.
    Encoding(String),
}

/// Reads a body of at most `max` bytes. `Content-Length` is enough to refuse one that is longer.
pub(crate) async fn read(response: &mut reqwest::Response, max: u64) -> Result<Bytes, BodyError> {
    let length = response.content_length();
    if length.is_some_and(|length| length > max) {
        return Err(BodyError::TooLong(max));
    }
    let Some(first) = chunk(response).await? else { return Ok(Bytes::new()) };
    if length == Some(first.len() as u64) {
        return decoded(response.headers(), first, max);
    }
    let mut body = BytesMut::from(first);
    loop {
        if body.len() as u64 > max {
            return Err(BodyError::TooLong(max));
        }
        match chunk(response).await? {
            Some(more) => body.extend_from_slice(&more),
            None => return decoded(response.headers(), body.freeze(), max),
        }
    }
}

async fn chunk(response: &mut reqwest::Response) -> Result<Option<Bytes>, BodyError> {
    response.chunk().await.map_err(|error| BodyError::Broken(crate::registry::error::chain(error)))
}

/// Decompresses gzip, which some servers send although `identity` was requested: the digest is of the stored bytes.
fn decoded(headers: &HeaderMap, body: Bytes, max: u64) -> Result<Bytes, BodyError> {
    let encoding = match headers.get(header::CONTENT_ENCODING) {
        None => return Ok(body),
        Some(encoding) => String::from_utf8_lossy(encoding.as_bytes()).trim().to_ascii_lowercase(),
    };
    match encoding.as_str() {
        "" | "identity" => Ok(body),
        "gzip" | "x-gzip" => {
            let mut decoded = Vec::new();
            let decoder = flate2::read::MultiGzDecoder::new(&body[..]);
            decoder.take(max + 1).read_to_end(&mut decoded).map_err(|error| BodyError::Broken(error.to_string()))?;
            if decoded.len() as u64 > max { Err(BodyError::TooLong(max)) } else { Ok(decoded.into()) }
        }
        _ => Err(BodyError::Encoding(encoding)),
    }
}
