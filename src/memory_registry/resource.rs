//! What a path of the distribution API names.

/// A resource of the distribution API, by its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource<'a> {
    /// `/v2/`, which tells whether the API is there.
    Base,
    /// `/v2/_catalog`
    Catalog,
    /// `/v2/REPOSITORY/tags/list`
    Tags {
        /// The repository's name.
        repository: &'a str,
    },
    /// `/v2/REPOSITORY/manifests/REFERENCE`
    Manifest {
        /// The repository's name.
        repository: &'a str,
        /// A tag or a digest.
        reference: &'a str,
    },
    /// `/v2/REPOSITORY/blobs/DIGEST`
    Blob {
        /// The repository's name.
        repository: &'a str,
        /// A digest, if the client is right.
        digest: &'a str,
    },
    /// `/v2/REPOSITORY/referrers/DIGEST`
    Referrers {
        /// The repository's name.
        repository: &'a str,
        /// The digest that the referrers have as their subject.
        digest: &'a str,
    },
}

impl<'a> Resource<'a> {
    /// The resource that a path names, without its query.
    pub fn of(path: &'a str) -> Option<Self> {
        let path = path.strip_prefix("/v2/")?;
        match path {
            "" => return Some(Self::Base),
            "_catalog" => return Some(Self::Catalog),
            _ => {}
        }
        if let Some(repository) = path.strip_suffix("/tags/list") {
            return Some(Self::Tags { repository });
        }
        let (rest, last) = path.rsplit_once('/')?;
        let (repository, kind) = rest.rsplit_once('/')?;
        match kind {
            "manifests" => Some(Self::Manifest { repository, reference: last }),
            "blobs" => Some(Self::Blob { repository, digest: last }),
            "referrers" => Some(Self::Referrers { repository, digest: last }),
            _ => None,
        }
    }

    /// The repository that it belongs to, if it belongs to one.
    pub fn repository(self) -> Option<&'a str> {
        match self {
            Self::Base | Self::Catalog => None,
            Self::Tags { repository }
            | Self::Manifest { repository, .. }
            | Self::Blob { repository, .. }
            | Self::Referrers { repository, .. } => Some(repository),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_a_resource_even_where_a_repository_is_called_like_one() {
        let repository = "blobs/manifests/tags";
        for (path, expected) in [
            ("/v2/", Some(Resource::Base)),
            ("/v2/_catalog", Some(Resource::Catalog)),
            ("/v2/blobs/manifests/tags/tags/list", Some(Resource::Tags { repository })),
            ("/v2/blobs/manifests/tags/manifests/v1", Some(Resource::Manifest { repository, reference: "v1" })),
            ("/v2/blobs/manifests/tags/blobs/sha256:1", Some(Resource::Blob { repository, digest: "sha256:1" })),
            (
                "/v2/blobs/manifests/tags/referrers/sha256:1",
                Some(Resource::Referrers { repository, digest: "sha256:1" }),
            ),
            ("/v2", None),
            ("/v1/app/manifests/v1", None),
            ("/v2/manifests/v1", None),
            ("/v2/app/uploads/1", None),
        ] {
            assert_eq!(Resource::of(path), expected, "{path}");
        }
    }
}
