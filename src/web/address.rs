//! Addresses to listen on, as Prometheus exporters take them.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// `host:port`, `[address]:port`, or `:port` for all interfaces. Port 0 is any free one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenAddress {
    host: String,
    port: u16,
}

/// Why a text is not an address to listen on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an address to listen on: write \"0.0.0.0:10048\", \":10048\" or \"[::1]:10048\"")]
pub struct InvalidListenAddress(String);

impl ListenAddress {
    /// A name or address, without the brackets of IPv6; empty for all interfaces.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port; 0 is any free one.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The same host with another port.
    pub(crate) fn with_port(&self, port: u16) -> Self {
        Self { host: self.host.clone(), port }
    }

    fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        // `u16` would take a sign.
        let port = port.parse().ok().filter(|_| port.bytes().all(|b| b.is_ascii_digit()))?;
        let host = match host.strip_prefix('[') {
            Some(bracketed) => bracketed.strip_suffix(']').filter(|v6| v6.parse::<Ipv6Addr>().is_ok())?,
            None => Some(host).filter(|host| host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)))?,
        };
        Some(Self { host: host.to_owned(), port })
    }
}

impl FromStr for ListenAddress {
    type Err = InvalidListenAddress;

    fn from_str(text: &str) -> Result<Self, InvalidListenAddress> {
        Self::parse(text).ok_or_else(|| InvalidListenAddress(text.to_owned()))
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_of_other_exporters() {
        for (text, expected) in [
            ("0.0.0.0:10048", Some(("0.0.0.0", 10048))),
            (":10048", Some(("", 10048))),
            ("[::1]:10048", Some(("::1", 10048))),
            ("[::]:0", Some(("::", 0))),
            ("localhost:9", Some(("localhost", 9))),
            ("127.0.0.1:0", Some(("127.0.0.1", 0))),
            ("10048", None),
            ("::1:10048", None),
            ("[::1:1", None),
            ("localhost", None),
            ("localhost:", None),
            ("localhost:http", None),
            ("localhost:70000", None),
            ("localhost:+80", None),
            ("http://localhost:80", None),
            ("vsock://:1", None),
            ("", None),
        ] {
            let parsed: Option<ListenAddress> = text.parse().ok();
            assert_eq!(parsed.as_ref().map(|address| (address.host(), address.port())), expected, "{text}");
            assert_eq!(parsed.map(|address| address.to_string()), expected.map(|_| text.to_owned()));
        }
    }
}
