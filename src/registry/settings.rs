//! How one registry is spoken to: what the configuration says, parsed.

use std::path::PathBuf;
use std::time::Duration;

/// How a proxy may be spoken to: the schemes of `proxy_url`.
pub const PROXY_SCHEMES: [&str; 4] = ["http", "https", "socks5", "socks5h"];

/// How one registry is spoken to. The default suits a registry that is not configured.
#[derive(Clone, PartialEq)]
pub struct Settings {
    /// Where its credentials come from.
    pub credential: Credential,
    /// Speak plain HTTP. Without it only loopback is spoken to so.
    pub plain_http: bool,
    /// A PEM file of certificate authorities, trusted beside the system's, also of whom the registry names: a token
    /// server, or the storage that it redirects to.
    pub ca_file: Option<PathBuf>,
    /// A PEM file with the client certificate's chain. It is shown to the registry, and to a token server on its host.
    pub cert_file: Option<PathBuf>,
    /// A PEM file with the client certificate's key.
    pub key_file: Option<PathBuf>,
    /// A proxy, instead of those that the environment names.
    pub proxy_url: Option<url::Url>,
    /// Believe any certificate of the registry's own host.
    pub insecure_skip_verify: bool,
    /// At most so many requests a second; unlimited when left out.
    pub requests_per_second: Option<f64>,
    /// How many metered pulls are kept for people: below it only free requests are made.
    pub ratelimit_reserve: Option<u64>,
    /// It fetches from another registry when it is asked (a pull-through cache): a few bytes of a layer would make it
    /// fetch all of it, so that nothing is asked of layers for `uncompressed = "cheap"`.
    pub pull_through: bool,
    /// Requests under way at once.
    pub concurrency: usize,
    /// For one request; for streams, without progress.
    pub timeout: Duration,
}

/// Where a registry's credentials come from. Secrets are read when they are needed, so that a rotated file counts.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// Docker's and podman's usual places, and credential helpers.
    Usual,
    /// A docker `config.json` (or a mounted `.dockerconfigjson` or `.dockercfg`) and nothing else.
    DockerConfig(PathBuf),
    /// A user and the file that holds the password.
    PasswordFile {
        /// The user.
        username: String,
        /// The file; a newline at its end is no part of the password.
        path: PathBuf,
    },
    /// A user and the environment variable that holds the password.
    PasswordEnv {
        /// The user.
        username: String,
        /// The variable's name.
        variable: String,
    },
    /// A file that holds a bearer token.
    TokenFile(PathBuf),
    /// None, even if the usual places have some.
    Anonymous,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            credential: Credential::Usual,
            plain_http: false,
            ca_file: None,
            cert_file: None,
            key_file: None,
            proxy_url: None,
            insecure_skip_verify: false,
            requests_per_second: None,
            ratelimit_reserve: None,
            pull_through: false,
            concurrency: 8,
            timeout: Duration::from_secs(30),
        }
    }
}
