//! Authentication: which `Authorization` header a request carries, and what follows when the registry refuses it.
//!
//! The first request to a registry is anonymous. Its challenge names the scheme, which is remembered, so that later
//! repositories get their token beforehand. One request is authenticated anew at most once by each login.

mod api;
mod obtain;
mod session;

mod challenge;
mod jwt;
mod refusal;
mod token;

pub(crate) mod cache;
mod lockout;

pub(crate) mod cloud;
mod credential;
mod docker_config;
mod environment;
mod files;
mod helper;
mod keychain;
mod pull_secrets;
pub(crate) mod secret;

pub(crate) use api::{ApiScheme, ApiSession};
pub use keychain::{check_credential, missing_helper};
pub use pull_secrets::{FoundSecrets, PullSecret, PullSecrets};
pub(crate) use session::Session;
