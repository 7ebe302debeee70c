//! The endpoint's options, set by flags and the configuration.

use std::time::Duration;

/// The endpoint's options.
#[derive(Clone, Debug)]
pub struct Options {
    /// The path of the metrics, beginning with `/`. At `/` they take the place of the first page.
    pub telemetry_path: String,
    /// The host names, without port, under which pages and `/config` answer; empty: any.
    pub hosts: Vec<String>,
    /// Whether `/-/reload` is enabled.
    pub enable_lifecycle: bool,
    /// Concurrent scrapes, not counting those whose clients do not read; 0: unlimited. Further ones wait for at most 5
    /// s and then get 503.
    pub max_requests: usize,
    /// Limits on connections.
    pub limits: ConnectionLimits,
}

/// Limits on one connection and on their number.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// Open connections. Past it the longest-waiting connection is closed: stalled ones first, then idle ones.
    pub connections_max: usize,
    /// From the connection, or from the first byte of a further request, to the end of the request's header; with TLS,
    /// including the handshake.
    pub header: Duration,
    /// From the end of the header until the client has taken the last byte of the answer.
    pub answer: Duration,
    /// Between an answer and the next request.
    pub idle: Duration,
    /// For answers under way when the program stops.
    pub drain: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            connections_max: 512,
            header: Duration::from_secs(10),
            answer: Duration::from_mins(1),
            idle: Duration::from_mins(5),
            drain: Duration::from_secs(10),
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            telemetry_path: "/metrics".to_owned(),
            hosts: Vec::new(),
            enable_lifecycle: false,
            max_requests: 40,
            limits: ConnectionLimits::default(),
        }
    }
}
