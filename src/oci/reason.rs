//! The values of the labels `operation` and `reason`.

/// The kind of a request: the `operation` label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// `HEAD` of a manifest: has the tag changed?
    HeadManifest,
    /// `GET` of a manifest or index, or of a list of referrers.
    GetManifest,
    /// `HEAD` of a blob: how big is it?
    HeadBlob,
    /// `GET` of a blob: configs, and layers where uncompressed sizes are wanted.
    GetBlob,
    /// A page of a tag list.
    ListTags,
    /// A page of the catalog.
    ListRepositories,
    /// A token from a token server.
    GetToken,
}

impl Operation {
    /// All of them, for counters that start at 0.
    pub const ALL: [Self; 7] = [
        Self::HeadManifest,
        Self::GetManifest,
        Self::HeadBlob,
        Self::GetBlob,
        Self::ListTags,
        Self::ListRepositories,
        Self::GetToken,
    ];

    /// The label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HeadManifest => "head_manifest",
            Self::GetManifest => "get_manifest",
            Self::HeadBlob => "head_blob",
            Self::GetBlob => "get_blob",
            Self::ListTags => "list_tags",
            Self::ListRepositories => "list_repositories",
            Self::GetToken => "get_token",
        }
    }
}

/// Why something could not be read: the `reason` label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The registry refused the credentials or requires some, or the configured ones cannot be read.
    Denied,
    /// The registry itself says that it does not exist.
    NotFound,
    /// The registry answered 429.
    RateLimited,
    /// Not requested: metered pulls are reserved for people.
    Reserved,
    /// The registry failed: 5xx, or an answer outside the distribution API.
    Server,
    /// No connection, or one that broke.
    Network,
    /// No answer in time.
    Timeout,
    /// The answer is invalid: not a manifest, another digest, a text that is too long.
    Invalid,
    /// Beyond one of this program's limits.
    Limit,
    /// The registry does not offer this, a catalog for example.
    Unsupported,
}

impl Reason {
    /// All of them, for counters that start at 0.
    pub const ALL: [Self; 10] = [
        Self::Denied,
        Self::NotFound,
        Self::RateLimited,
        Self::Reserved,
        Self::Server,
        Self::Network,
        Self::Timeout,
        Self::Invalid,
        Self::Limit,
        Self::Unsupported,
    ];

    /// The label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::NotFound => "not_found",
            Self::RateLimited => "rate_limited",
            Self::Reserved => "reserved",
            Self::Server => "server",
            Self::Network => "network",
            Self::Timeout => "timeout",
            Self::Invalid => "invalid",
            Self::Limit => "limit",
            Self::Unsupported => "unsupported",
        }
    }

    /// The exit code of a command that fails for this reason: 3 denied, 4 not found, 5 unreachable, 6 any other failure of the registry
    /// or its answer.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Denied => 3,
            Self::NotFound => 4,
            Self::Network | Self::Timeout => 5,
            Self::RateLimited | Self::Reserved | Self::Server | Self::Invalid | Self::Limit | Self::Unsupported => 6,
        }
    }

    /// Whether a later attempt may succeed without a change by a person: after such a failure the last known values
    /// stay published. The others are definite.
    pub fn is_transient(self) -> bool {
        match self {
            Self::Denied | Self::RateLimited | Self::Reserved | Self::Server | Self::Network | Self::Timeout => true,
            Self::NotFound | Self::Invalid | Self::Limit | Self::Unsupported => false,
        }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
