//! HTTP/1 as bytes: what a test sends, and what it receives.

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// A header's value; empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(header, _)| header == name).map_or("", |(_, value)| value)
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// One request on a connection of its own.
pub async fn ask(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    ask_on(TcpStream::connect(address).await.unwrap(), method, path, headers).await
}

pub async fn get(address: SocketAddr, path: &str) -> Answer {
    ask(address, "GET", path, &[]).await
}

/// One request on a connection that was just made, and that ends with it.
pub async fn ask_on<Io>(mut io: Io, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer
where
    Io: AsyncRead + AsyncWrite + Unpin,
{
    let mut request = format!("{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n");
    for (name, value) in headers {
        request.extend([name, ": ", value, "\r\n"]);
    }
    request.push_str("\r\n");
    io.write_all(request.as_bytes()).await.unwrap();
    answer(&to_end(&mut io).await)
}

/// All bytes until the server closes, or resets, the connection.
pub async fn to_end<Io: AsyncRead + Unpin>(io: &mut Io) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A reset after the last byte is an end like any other.
    let _ = io.read_to_end(&mut bytes).await;
    bytes
}

/// Parses an answer. Its body may be shorter than announced: see [`announced`].
pub fn answer(bytes: &[u8]) -> Answer {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a whole header");
    let head = std::str::from_utf8(&bytes[..end]).unwrap();
    let (first, rest) = head.split_once("\r\n").unwrap_or((head, ""));
    let headers = rest.split("\r\n").filter_map(|line| line.split_once(": "));
    Answer {
        status: first.split(' ').nth(1).unwrap().parse().unwrap(),
        headers: headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect(),
        body: bytes[end + 4..].to_vec(),
    }
}

/// How many bytes the header says that the body has.
pub fn announced(answer: &Answer) -> usize {
    answer.header("content-length").parse().unwrap()
}
