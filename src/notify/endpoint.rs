//! What the endpoint shares: the token, the queue, and the limits on bodies.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use tokio::sync::Semaphore;

use super::queue::Queue;
use super::token::TokenSource;

/// How many bodies of authorized clients are in memory at once, and how many of clients that are not authorized before
/// their body's signature is checked.
const BODIES_MAX: usize = 8;

/// Why a notification was refused: the label's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It has not the token, nor a signature with it.
    Denied,
    /// Its body is too large.
    Limit,
    /// Its body is not what the vendor documents.
    Invalid,
    /// Its body broke off, or did not arrive in time.
    Network,
    /// The queue is full.
    Busy,
    /// The program cannot read its own token.
    Token,
}

impl Failure {
    /// All of them, in the order of their variants.
    pub const ALL: [Self; 6] = [Self::Denied, Self::Limit, Self::Invalid, Self::Network, Self::Busy, Self::Token];

    /// The label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::Limit => "limit",
            Self::Invalid => "invalid",
            Self::Network => "network",
            Self::Busy => "busy",
            Self::Token => "token",
        }
    }
}

/// The state of the endpoint, shared by the web server and the daemon.
pub struct Endpoint {
    /// `None`: the endpoint does not exist.
    source: ArcSwapOption<TokenSource>,
    /// What is to be looked at.
    pub queue: Queue,
    /// Of authorized clients.
    pub authorized: Semaphore,
    /// Of clients whose signature is checked after their body.
    pub signed: Semaphore,
}

impl Endpoint {
    /// An endpoint with this token; without one it does not exist.
    pub fn new(source: Option<TokenSource>) -> Self {
        Self {
            source: ArcSwapOption::from_pointee(source),
            queue: Queue::default(),
            authorized: Semaphore::new(BODIES_MAX),
            signed: Semaphore::new(BODIES_MAX),
        }
    }

    /// Where the token is.
    pub fn source(&self) -> Option<Arc<TokenSource>> {
        self.source.load_full()
    }

    /// Changes the token, after a reload. Without one, what waits is dropped.
    pub fn set_source(&self, source: Option<TokenSource>) {
        if source.is_none() {
            self.queue.clear();
        }
        self.source.store(source.map(Arc::new));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_index_their_counters() {
        assert!(Failure::ALL.iter().enumerate().all(|(index, failure)| *failure as usize == index));
    }
}
