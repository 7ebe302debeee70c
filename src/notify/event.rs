//! The one shape that every vendor's notification is brought into.

use std::sync::Arc;

use crate::oci::{Digest, Registry, Repository, Tag};

/// The format of a notification: the last segment of the endpoint's path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The distribution project's registry; also GitLab's and Azure's.
    Distribution,
    /// Harbor.
    Harbor,
    /// zot, as CloudEvents.
    Zot,
    /// Quay.
    Quay,
    /// Docker Hub.
    Dockerhub,
    /// GitHub's packages.
    Github,
    /// Gitea's and Forgejo's packages.
    Gitea,
    /// Amazon ECR, through EventBridge.
    Ecr,
}

impl Kind {
    /// All of them, in the order of their variants.
    pub const ALL: [Self; 8] = [
        Self::Distribution,
        Self::Harbor,
        Self::Zot,
        Self::Quay,
        Self::Dockerhub,
        Self::Github,
        Self::Gitea,
        Self::Ecr,
    ];

    /// The label's value, and the segment of the path.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Distribution => "distribution",
            Self::Harbor => "harbor",
            Self::Zot => "zot",
            Self::Quay => "quay",
            Self::Dockerhub => "dockerhub",
            Self::Github => "github",
            Self::Gitea => "gitea",
            Self::Ecr => "ecr",
        }
    }

    /// The kind of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// What a registry says has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The host by which the registry calls itself, or was called; it may be another one than the configuration has.
    pub registry: Option<Registry>,
    /// The repository's name on it, which follows the grammar of names.
    pub repository: Arc<str>,
    /// The tag, where one is named.
    pub tag: Option<Tag>,
    /// The digest, where one is named.
    pub digest: Option<Digest>,
    /// What happened.
    pub action: Action,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The tag points at something, perhaps at something else than before.
    Push,
    /// The tag, or the manifest, was deleted; of neither: all of the repository.
    Delete,
    /// Content was pulled.
    Pull {
        /// How many images or artifacts: manifests that are no index.
        images: u64,
        /// Bytes of manifests and blobs, where the registry says so.
        bytes: u64,
    },
}

impl Event {
    /// An event of a repository; `None` where its name violates the grammar. A host, tag or digest that does so counts as
    /// not named: some vendors write a digest where a tag belongs.
    pub(super) fn new(
        registry: Option<&str>,
        repository: &str,
        tag: Option<&str>,
        digest: Option<&str>,
        action: Action,
    ) -> Option<Self> {
        let known = Repository::new(Registry::docker_hub(), repository).ok()?;
        Some(Self {
            registry: registry.and_then(|host| host.parse().ok()),
            repository: known.name().into(),
            tag: tag.and_then(|tag| tag.parse().ok()),
            digest: digest.and_then(|digest| digest.parse().ok()),
            action,
        })
    }
}

/// The host of a URL, with its port.
pub(super) fn host_of(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    rest.split(['/', '?', '#']).next()?.rsplit('@').next().filter(|host| !host.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_named_and_index_their_counters() {
        for (index, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!((kind as usize, Kind::parse(kind.as_str())), (index, Some(kind)));
        }
        assert_eq!(Kind::parse("Harbor"), None);
    }

    #[test]
    fn a_host_is_taken_from_a_url_without_its_user() {
        for (url, host) in [
            ("https://r.example:5000/v2/a", Some("r.example:5000")),
            ("http://me:sesame@r.example", Some("r.example")),
            ("r.example/a", None),
            ("https:///a", None),
        ] {
            assert_eq!(host_of(url), host, "{url}");
        }
    }
}
