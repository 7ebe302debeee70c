//! Sends requests to one registry: within its limits, at a rate that it accepts, with redirects and retries, and counts
//! them. Not here: credentials (`auth`), and what an answer means (the endpoints).

pub(crate) mod exchange;
pub(crate) mod send;

mod admission;
mod circuit_breaker;
pub(crate) mod ratelimit;
pub(crate) mod retry;
pub(crate) mod throttle;

pub(crate) mod api_error;
pub(crate) mod body;
pub(crate) mod link;
pub(crate) mod redact;
pub(crate) mod redirect;
mod warnings;

pub(crate) mod connect;
pub(crate) mod server;
pub(crate) mod tls;

pub(crate) use exchange::{ReadBody, Request, Response, UnreadBody};
pub(crate) use send::Transport;
