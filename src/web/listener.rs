//! Listening sockets: bound to addresses, or opened by systemd.

use std::fmt;
use std::net::SocketAddr;

use tokio::net::{TcpListener, UnixListener, lookup_host};

use super::address::ListenAddress;

/// A listening socket.
pub enum Listener {
    /// An address and port.
    Tcp(TcpListener),
    /// A socket in the file system, which systemd may pass.
    Unix(UnixListener),
}

/// Why the endpoint cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The host has no address, or the operating system refuses it.
    #[error("cannot listen on `{0}`: {1}{hint}", hint = remedy(.0, .1))]
    Refused(ListenAddress, std::io::Error),
    /// systemd passed no socket.
    #[error(
        "systemd passed no socket: start the service through its `.socket` unit, or leave `--web.systemd-socket` out"
    )]
    NoSocket,
    /// A socket that systemd passed does not accept connections.
    #[error("socket {0} that systemd passed is not a listening stream socket: {1}")]
    Socket(usize, std::io::Error),
}

/// What to do about an address that is refused, where that is known.
fn remedy(address: &ListenAddress, error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            let other = address.with_port(address.port().checked_add(1).unwrap_or(10_048));
            format!(": another program listens there; choose another port, as in `--web.listen-address={other}`")
        }
        std::io::ErrorKind::PermissionDenied => {
            let other = address.with_port(10_048);
            format!(": choose a port above 1023, as in `--web.listen-address={other}`")
        }
        _ => String::new(),
    }
}

impl Listener {
    /// Listens on an address; without a host on every address of both kinds.
    pub async fn bind(address: &ListenAddress) -> Result<Self, BindError> {
        let refused = |error| BindError::Refused(address.clone(), error);
        let (host, port) = (address.host(), address.port());
        if host.is_empty() {
            // Linux accepts IPv4 on an IPv6 socket too. Without IPv6 the bind fails.
            return match TcpListener::bind(("::", port)).await {
                Ok(listener) => Ok(Self::Tcp(listener)),
                Err(_) => TcpListener::bind(("0.0.0.0", port)).await.map(Self::Tcp).map_err(refused),
            };
        }
        let mut addresses: Vec<SocketAddr> = lookup_host((host, port)).await.map_err(refused)?.collect();
        // Of a name with both, the IPv4 address is used, as by other exporters.
        addresses.sort_by_key(SocketAddr::is_ipv6);
        TcpListener::bind(addresses.as_slice()).await.map(Self::Tcp).map_err(refused)
    }

    /// All sockets that systemd passed to this process (`sd_listen_fds(3)`).
    pub fn from_systemd() -> Result<Vec<Self>, BindError> {
        let mut sockets = listenfd::ListenFd::from_env();
        if sockets.len() == 0 {
            return Err(BindError::NoSocket);
        }
        (0..sockets.len()).map(|index| take(&mut sockets, index).map_err(|e| BindError::Socket(index, e))).collect()
    }

    /// The address that it listens on, with the port that the system chose for port 0.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr(),
            Self::Unix(_) => Err(std::io::ErrorKind::Unsupported.into()),
        }
    }
}

fn take(sockets: &mut listenfd::ListenFd, index: usize) -> std::io::Result<Listener> {
    let none = || std::io::Error::from(std::io::ErrorKind::NotFound);
    if let Ok(socket) = sockets.take_tcp_listener(index) {
        let socket = socket.ok_or_else(none)?;
        socket.set_nonblocking(true)?;
        return TcpListener::from_std(socket).map(Listener::Tcp);
    }
    let socket = sockets.take_unix_listener(index)?.ok_or_else(none)?;
    socket.set_nonblocking(true)?;
    UnixListener::from_std(socket).map(Listener::Unix)
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(listener) => match listener.local_addr() {
                Ok(address) => address.fmt(f),
                Err(_) => f.write_str("unknown"),
            },
            Self::Unix(listener) => match listener.local_addr() {
                Ok(address) => {
                    write!(f, "{}", address.as_pathname().map_or("unix".into(), |path| path.to_string_lossy()))
                }
                Err(_) => f.write_str("unknown"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_that_cannot_be_bound_is_named() {
        let taken = Listener::bind(&"127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = taken.local_addr().unwrap().to_string();
        let error = Listener::bind(&address.parse().unwrap()).await.err().unwrap().to_string();
        assert!(error.starts_with(&format!("cannot listen on `{address}`: ")), "{error}");
        let port = taken.local_addr().unwrap().port().checked_add(1).unwrap_or(10_048);
        let remedy = format!("choose another port, as in `--web.listen-address=127.0.0.1:{port}`");
        assert!(error.ends_with(&remedy), "{error}");
    }
}
