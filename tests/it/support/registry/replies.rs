//! Answers that the registry would not give by itself.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode};
use hyper::body::{Body, Frame, SizeHint};
use image_size_exporter::memory_registry::error_body;

use super::{Kind, Seen};

/// Another answer than the registry would give.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// Exactly this: status, headers, body.
    Answer(u16, Vec<(&'static str, String)>, String),
    /// The same with a body that is no text.
    Bytes(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// The request's secrets, as some servers answer what they do not like: a status and a content type; JSON is the
    /// distribution API's error body. They stand in a `Warning`, too. The usual one where there are none.
    Echo(u16, &'static str),
    /// None at all; the connection stays open.
    Stall,
    /// None at all; the connection is closed.
    Cut,
    /// The usual one, closed after so many bytes of its body.
    CutAfter(usize),
    /// The usual one, stalled after so many bytes of its body.
    StallAfter(usize),
    /// The usual one with its body's last byte changed.
    Corrupt,
    /// The usual one without this header.
    Without(&'static str),
    /// The usual one with this header instead of its own.
    With(&'static str, String),
    /// The usual one.
    Usual,
}

impl Reply {
    /// A status and a body that no registry would send.
    pub(crate) fn status(status: u16) -> Self {
        Self::Answer(status, vec![("content-type", "text/html".to_owned())], "<html>no</html>".to_owned())
    }

    /// A status and the distribution API's error body.
    pub(crate) fn error(status: u16, code: &str) -> Self {
        Self::Answer(status, vec![("content-type", "application/json".to_owned())], error_body(code))
    }

    /// A redirect.
    pub(crate) fn redirect(to: impl Into<String>) -> Self {
        Self::Answer(307, vec![("location", to.into())], String::new())
    }

    /// Status 200 and this JSON.
    pub(crate) fn json(body: &str) -> Self {
        Self::Answer(200, vec![("content-type", "application/json".to_owned())], body.to_owned())
    }

    /// One more header, for `Answer`.
    pub(crate) fn and(self, name: &'static str, value: impl Into<String>) -> Self {
        match self {
            Self::Answer(status, mut headers, body) => {
                headers.push((name, value.into()));
                Self::Answer(status, headers, body)
            }
            other => panic!("{other:?} has no headers of its own"),
        }
    }
}

/// Sends a reply, which changes the usual answer or stands instead of it. An error closes the connection.
pub(super) async fn send(
    reply: Reply,
    mut usual: Response<Bytes>,
    seen: &Seen,
) -> Result<Response<Sent>, &'static str> {
    let (mut cut_after, mut stall_after) = (None, None);
    let reply = match reply {
        Reply::Answer(status, headers, body) => Reply::Bytes(status, headers, body.into_bytes()),
        other => other,
    };
    match reply {
        Reply::Bytes(status, headers, body) => {
            *usual.status_mut() = StatusCode::from_u16(status).unwrap();
            for (name, value) in headers {
                usual.headers_mut().append(name, value.parse().unwrap());
            }
            *usual.body_mut() = body.into();
        }
        Reply::Stall => std::future::pending().await,
        Reply::Cut => return Err("cut"),
        Reply::CutAfter(bytes) => cut_after = Some(bytes),
        Reply::StallAfter(bytes) => stall_after = Some(bytes),
        Reply::Corrupt => {
            let mut body = usual.body().to_vec();
            // HEAD has none.
            if let Some(last) = body.last_mut() {
                *last ^= 1;
            }
            *usual.body_mut() = body.into();
        }
        Reply::Without(name) => {
            usual.headers_mut().remove(name);
        }
        Reply::With(name, value) => {
            usual.headers_mut().insert(name, value.parse().unwrap());
        }
        Reply::Usual | Reply::Answer(..) | Reply::Echo(..) => {}
    }
    let (mut parts, body) = usual.into_parts();
    let length = HeaderValue::from(body.len());
    let body = if seen.method == Method::HEAD { Bytes::new() } else { body };
    // A stated length is what shows a client that its body was cut.
    parts.headers.entry(http::header::CONTENT_LENGTH).or_insert(length);
    Ok(Response::from_parts(parts, Sent { body: Some(body), cut_after, stall_after, paused: false }))
}

/// What nobody proved anything with is answered as usual: so whoever asks for proof gets it first.
pub(super) fn echo(status: u16, content_type: &'static str, seen: &Seen) -> Reply {
    let credentials = ["authorization", "proxy-authorization"].map(|name| seen.header(name)).join(" ");
    let signed = seen.kind != Kind::Token && seen.uri.contains('?');
    if credentials.trim().is_empty() && seen.body.is_empty() && !signed {
        return Reply::Usual;
    }
    let text = format!("{credentials} {} {}", seen.body, seen.uri);
    let body = if content_type == "application/json" {
        serde_json::json!({"errors": [{"code": "DENIED", "message": text}]}).to_string()
    } else {
        text.clone()
    };
    let warning = format!("299 - \"{}\"", text.trim());
    Reply::Answer(status, vec![("content-type", content_type.to_owned()), ("warning", warning)], body)
}

/// A body that may end, or stop, before its end.
pub(super) struct Sent {
    body: Option<Bytes>,
    cut_after: Option<usize>,
    stall_after: Option<usize>,
    paused: bool,
}

impl Body for Sent {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let limit = self.cut_after.or(self.stall_after);
        match (self.body.take(), limit) {
            (Some(body), None) if body.is_empty() => Poll::Ready(None),
            (Some(body), None) => Poll::Ready(Some(Ok(Frame::data(body)))),
            (Some(body), Some(limit)) if limit > 0 => {
                Poll::Ready(Some(Ok(Frame::data(body.slice(..limit.min(body.len()))))))
            }
            // A pause lets what was sent before the cut go out.
            _ if self.cut_after.is_some() && !std::mem::replace(&mut self.paused, true) => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
            _ if self.cut_after.is_some() => Poll::Ready(Some(Err(std::io::Error::other("cut")))),
            _ if self.stall_after.is_some() => Poll::Pending,
            _ => Poll::Ready(None),
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
