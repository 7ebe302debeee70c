//! The endpoint that Prometheus scrapes and people visit.
//!
//! A scrape reads rendered bytes; nothing here sends a request to a registry. A client holds a connection only as long
//! as the deadlines allow, and no bytes except those of the last two snapshots.

mod address;
mod answers;
mod body;
mod connection;
mod deadlines;
mod listener;
mod negotiate;
mod notifications;
mod options;
mod page_limit;
mod pages;
mod pieces;
mod routes;
mod scrape_limit;
mod server;
mod state;
mod systemd;
mod web_config;

pub use address::{InvalidListenAddress, ListenAddress};
pub use listener::{BindError, Listener};
pub use options::{ConnectionLimits, Options};
pub use server::serve;
pub use state::{CommandSource, ReloadReply, ServerState};
pub use web_config::{WebConfig, WebConfigError};
