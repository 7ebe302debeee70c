//! As much of an HTTP client as the tests need: one request, one connection, the whole answer.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// An answer, read to its end.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    /// Names in lower case; of repeated ones the last.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Response {
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("the body is UTF-8")
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("no JSON ({error}): {}", self.text()))
    }

    /// The answer itself where the status is one of those expected.
    pub fn expect(self, statuses: &[u16]) -> Self {
        assert!(statuses.contains(&self.status), "status {}: {}", self.status, String::from_utf8_lossy(&self.body));
        self
    }
}

pub fn get(address: &str, path: &str) -> std::io::Result<Response> {
    request(address, "GET", path, &[], &[])
}

/// One request over a connection of its own. `address` is `host:port`.
pub fn request(
    address: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> std::io::Result<Response> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    for (name, value) in headers {
        write!(head, "{name}: {value}\r\n").expect("a string");
    }
    if !body.is_empty() || matches!(method, "POST" | "PUT") {
        write!(head, "Content-Length: {}\r\n", body.len()).expect("a string");
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    parse(&answer, method).ok_or_else(|| {
        let answer = String::from_utf8_lossy(&answer);
        std::io::Error::other(format!("no HTTP, or cut short: {answer:?}"))
    })
}

fn parse(answer: &[u8], method: &str) -> Option<Response> {
    let split = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..split]).ok()?;
    let rest = &answer[split + 4..];
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let body = if method == "HEAD" {
        Vec::new()
    } else if headers.get("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        dechunk(rest)?
    } else if let Some(length) = headers.get("content-length") {
        let length: usize = length.parse().ok()?;
        (rest.len() == length).then(|| rest.to_vec())?
    } else {
        rest.to_vec()
    };
    Some(Response { status, headers, body })
}

fn dechunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|window| window == b"\r\n")?;
        let size = std::str::from_utf8(&rest[..end]).ok()?;
        let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
        rest = &rest[end + 2..];
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size + 2..)?;
    }
}
