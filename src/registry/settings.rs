//! The settings of one registry, as the configuration has them.

use std::path::PathBuf;
use std::time::Duration;

/// The schemes of `proxy_url`.
pub const PROXY_SCHEMES: [&str; 4] = ["http", "https", "socks5", "socks5h"];

/// The settings of one registry. The default is for registries that are not configured.
#[derive(Clone, PartialEq)]
pub struct Settings {
    /// Where its credentials come from.
    pub credential: Credential,
    /// Use plain HTTP. Otherwise only loopback addresses get plain HTTP.
    pub plain_http: bool,
    /// A PEM file of certificate authorities, trusted beside the system's: for the registry, its token server, and the
    /// storage that it redirects to.
    pub ca_file: Option<PathBuf>,
    /// A PEM file with the client certificate's chain, shown to the registry and to a token server on its host.
    pub cert_file: Option<PathBuf>,
    /// A PEM file with the client certificate's key.
    pub key_file: Option<PathBuf>,
    /// A proxy, instead of the environment's.
    pub proxy_url: Option<url::Url>,
    /// Accept any certificate of the registry's own host.
    pub insecure_skip_verify: bool,
    /// The API that lists its repositories; by its host without it.
    pub list: Option<ListApi>,
    /// Where that API is, if not where the service has it.
    pub api_url: Option<url::Url>,
    /// A file with that API's own token, instead of the registry's login.
    pub api_token_file: Option<PathBuf>,
    /// The most requests per second; unlimited without it.
    pub requests_per_second: Option<f64>,
    /// Metered pulls reserved for people: at this number only free requests are sent.
    pub ratelimit_reserve: Option<u64>,
    /// The registry is a pull-through cache: a request for a few bytes of a layer would make it fetch the whole layer, so
    /// that `uncompressed = "cheap"` requests no bytes of layers.
    pub pull_through: bool,
    /// The most concurrent requests.
    pub concurrency: usize,
    /// For one request; for streams, the longest time without progress.
    pub timeout: Duration,
}

/// Where a registry's credentials come from. Secrets are read when they are needed, so that a rotated file is noticed.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// Docker's and podman's default files, and credential helpers. Without an entry there: the identity of the cloud
    /// whose registry the host is.
    Usual,
    /// Docker's and podman's default files, and credential helpers, and no cloud's identity.
    UsualFiles,
    /// The identity that a cloud gives this program, and nothing else.
    Identity(Cloud),
    /// A docker `config.json` (or a mounted `.dockerconfigjson` or `.dockercfg`) and nothing else.
    DockerConfig(PathBuf),
    /// A user and the file that holds the password.
    PasswordFile {
        /// The user.
        username: String,
        /// The file; a newline at its end is not part of the password.
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
    /// No credentials, even if the default files have some.
    Anonymous,
}

/// The API that lists a registry's repositories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListApi {
    /// The registry's own catalog, as Docker's registry has it.
    Catalog,
    /// Docker Hub's, of a namespace.
    DockerHub,
    /// GitHub's, of an organisation's or a user's packages.
    GitHub,
    /// GitLab's, of a group or a project.
    GitLab,
    /// Harbor's, of a project.
    Harbor,
    /// Quay's, of a namespace.
    Quay,
}

/// A cloud that gives identities to the programs that run on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cloud {
    /// Amazon Web Services.
    Aws,
    /// Microsoft Azure.
    Azure,
    /// Google Cloud.
    Gcp,
}

impl Cloud {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Aws, Self::Azure, Self::Gcp];

    /// As people write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Aws => "AWS",
            Self::Azure => "Azure",
            Self::Gcp => "Google Cloud",
        }
    }

    /// The Cargo feature that a build needs for its identities.
    pub fn feature(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::Azure => "azure",
            Self::Gcp => "gcp",
        }
    }

    /// Whether this build has that feature.
    pub fn is_built_in(self) -> bool {
        match self {
            Self::Aws => cfg!(feature = "aws"),
            Self::Azure => cfg!(feature = "azure"),
            Self::Gcp => cfg!(feature = "gcp"),
        }
    }

    /// What is wrong where this build lacks it, and how to get one that has it.
    pub fn not_built_in(self) -> String {
        let (name, feature) = (self.name(), self.feature());
        format!(
            "this build has no identities of {name}: take a released package or image, or compile with `cargo install --features {feature} …`"
        )
    }
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
            list: None,
            api_url: None,
            api_token_file: None,
            requests_per_second: None,
            ratelimit_reserve: None,
            pull_through: false,
            concurrency: 8,
            timeout: Duration::from_secs(30),
        }
    }
}
