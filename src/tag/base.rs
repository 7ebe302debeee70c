//! The image that another one was built on: what annotations say, and what was found.

use serde::{Deserialize, Serialize};

use crate::oci::annotations::{BASE_DIGEST, BASE_NAME};
use crate::oci::reference::InvalidReference;
use crate::oci::{Annotations, Digest, Index, Manifest, Reference, Registry, Repository, Tag};

/// The name of a base image.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "StoredName", try_from = "StoredName")]
pub struct BaseName {
    /// Its repository.
    pub repository: Repository,
    /// Its tag; `None` where it is named by its digest alone.
    pub tag: Option<Tag>,
    /// What the tag pointed at: a manifest or an index.
    pub digest: Option<Digest>,
}

/// A base image, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Base {
    /// Its name.
    pub name: BaseName,
    /// Compressed bytes of its image for the platform, as its own manifest lists them; `None` if it was never read.
    pub bytes: Option<u64>,
    /// How many layers it has, which are the first ones of the image that was built on it; 0 where these differ, or where
    /// it was never read.
    pub layers: u32,
}

/// The bases that the annotations of one document name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseNames {
    /// That of the manifest, or of all images of the index.
    own: Option<BaseName>,
    /// Those of single images of the index, by their manifests.
    entries: Vec<(Digest, BaseName)>,
}

impl BaseName {
    /// From a document's annotations. `None` where these name none, or name it by something that is no reference, and
    /// for `scratch`, which is no image.
    pub fn from_annotations(annotations: &Annotations) -> Option<Self> {
        let Reference { repository, tag, digest } = annotations.get(BASE_NAME)?.parse().ok()?;
        let is_scratch = repository.registry().is_docker_hub() && repository.name() == "library/scratch";
        let stated = annotations.get(BASE_DIGEST).and_then(|digest| digest.parse().ok());
        (!is_scratch).then(|| Self { repository, tag, digest: stated.or(digest) })
    }
}

impl BaseNames {
    /// Those of an image's manifest.
    pub fn of_manifest(manifest: &Manifest) -> Self {
        Self { own: BaseName::from_annotations(&manifest.annotations), entries: Vec::new() }
    }

    /// Those of an index, and of its entries: Docker's official images have them there.
    pub fn of_index(index: &Index) -> Self {
        let images = index.manifests.iter().filter(|entry| !entry.is_attestation());
        let entries =
            images.filter_map(|entry| Some((entry.digest.clone(), BaseName::from_annotations(&entry.annotations)?)));
        Self { own: BaseName::from_annotations(&index.annotations), entries: entries.collect() }
    }

    /// A manifest's, of this name.
    #[cfg(test)]
    pub(crate) fn own_alone(name: BaseName) -> Self {
        Self { own: Some(name), entries: Vec::new() }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.own.is_none() && self.entries.is_empty()
    }

    /// The base of the document itself: what a manifest says.
    pub fn own(&self) -> Option<&BaseName> {
        self.own.as_ref()
    }

    /// What is said of an image: by its manifest, or else by the index that lists it.
    pub fn of_image<'a>(
        by_manifest: Option<&'a Self>,
        by_index: Option<&'a Self>,
        image: &Digest,
    ) -> Option<&'a BaseName> {
        by_manifest.and_then(Self::own).or_else(|| by_index?.of_entry(image))
    }

    /// What an index says of one of its images: at its entry, or else of all of them.
    fn of_entry(&self, image: &Digest) -> Option<&BaseName> {
        let entry = self.entries.iter().find(|(digest, _)| digest == image);
        entry.map(|(_, name)| name).or(self.own.as_ref())
    }
}

/// A name as it is stored: text.
#[derive(Serialize, Deserialize)]
struct StoredName {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl From<BaseName> for StoredName {
    fn from(BaseName { repository, tag, digest }: BaseName) -> Self {
        Self {
            registry: repository.registry().to_string(),
            repository: repository.name().to_owned(),
            tag: tag.map(|tag| tag.to_string()),
            digest,
        }
    }
}

impl TryFrom<StoredName> for BaseName {
    type Error = InvalidReference;

    fn try_from(stored: StoredName) -> Result<Self, InvalidReference> {
        let registry: Registry = stored.registry.parse()?;
        let tag = |text: String| Tag::or_digest(&text).ok_or(InvalidReference::Tag(text));
        Ok(Self {
            repository: Repository::new(registry, &stored.repository)?,
            tag: stored.tag.map(tag).transpose()?,
            digest: stored.digest,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(annotations: &[(&'static str, &str)]) -> Option<String> {
        let name = BaseName::from_annotations(&annotations.iter().copied().collect())?;
        Some(Reference { repository: name.repository, tag: name.tag, digest: name.digest }.to_string())
    }

    #[test]
    fn annotations_name_a_base_as_people_write_it() {
        let (one, two) = (Digest::sha256_of(b"1").to_string(), Digest::sha256_of(b"2").to_string());
        for (name, expected) in [
            ("debian:12", format!("docker.io/library/debian:12@{one}")),
            ("debian", format!("docker.io/library/debian:latest@{one}")),
            ("acme/base:1", format!("docker.io/acme/base:1@{one}")),
            ("index.docker.io/library/debian:12", format!("docker.io/library/debian:12@{one}")),
            ("registry.example.com:5000/base:1", format!("registry.example.com:5000/base:1@{one}")),
            (&*format!("debian:12@{two}"), format!("docker.io/library/debian:12@{one}")),
            (&*format!("debian@{two}"), format!("docker.io/library/debian@{one}")),
        ] {
            assert_eq!(named(&[(BASE_NAME, name), (BASE_DIGEST, &one)]), Some(expected), "{name}");
        }
        let pinned = format!("debian@{two}");
        assert_eq!(named(&[(BASE_NAME, &pinned)]), Some(format!("docker.io/library/debian@{two}")));
        assert_eq!(named(&[(BASE_NAME, "debian:12")]), Some("docker.io/library/debian:12".to_owned()));
        assert_eq!(
            named(&[(BASE_NAME, "debian:12"), (BASE_DIGEST, "12")]),
            Some("docker.io/library/debian:12".to_owned())
        );
    }

    #[test]
    fn what_is_no_reference_names_no_base() {
        let long = "a/".repeat(300) + "b";
        let one = Digest::sha256_of(b"1").to_string();
        for name in
            ["", " ", "scratch", "Debian:12", "debian:1 2", "de\u{202e}bian", "a\nb", "a\"b", "http://x/y", &long]
        {
            assert_eq!(named(&[(BASE_NAME, name), (BASE_DIGEST, &one)]), None, "{name:?}");
        }
        assert_eq!(named(&[(BASE_DIGEST, &one)]), None);
    }

    #[test]
    fn an_entry_of_an_index_wins_over_the_index() {
        let name = |text: &str| BaseName { repository: text.parse().unwrap(), tag: Some(Tag::latest()), digest: None };
        let (one, two) = (Digest::sha256_of(b"1"), Digest::sha256_of(b"2"));
        let names = BaseNames { own: Some(name("a")), entries: vec![(one.clone(), name("b"))] };
        assert_eq!((names.of_entry(&one), names.of_entry(&two)), (Some(&name("b")), Some(&name("a"))));
    }
}
