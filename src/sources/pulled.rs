//! What was pulled for a container, from the ID that its node gives its image.

use std::str::FromStr;

use crate::oci::{Digest, Reference};

/// The image's name, and the digest of what was pulled for it, as far as both are certain.
pub(super) fn pulled(wanted: &str, image_id: &str) -> (String, Option<Digest>) {
    let unknown = || (wanted.to_owned(), None);
    let Ok(reference) = Reference::from_str(wanted) else { return unknown() };
    // What the specification pins is what was pulled, whichever of an image's digests the runtime reports.
    if let Some(digest) = reference.digest {
        return (wanted.to_owned(), Some(digest));
    }
    let image_id = image_id.rsplit_once("://").map_or(image_id, |(_, name)| name);
    let Some((_, digest)) = image_id.split_once('@') else { return unknown() };
    let (Ok(found), Ok(digest)) = (Reference::from_str(image_id), Digest::from_str(digest)) else { return unknown() };
    if found.repository == reference.repository {
        return (wanted.to_owned(), Some(digest));
    }
    // CRI-O looks for a name without a registry where its node is configured to, which need not be Docker Hub.
    let (name, tag) = wanted.split_once(':').unwrap_or((wanted, "latest"));
    let on_hub = reference.repository.name();
    let is_short =
        reference.repository.registry().is_docker_hub() && on_hub.strip_prefix("library/").unwrap_or(on_hub) == name;
    if is_short && found.repository.name() == name {
        return (format!("{}:{tag}", found.repository), Some(digest));
    }
    // The node has the same image under several names and reports one of them: it may be another digest there.
    unknown()
}
