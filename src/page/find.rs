//! Looks up what an address names.

use crate::inventory::Snapshot;
use crate::inventory::snapshot::{ImageView, RegistryView, RepositoryView, TagView};

/// A repository with its registry.
#[derive(Clone, Copy)]
pub(super) struct FoundRepository<'a> {
    pub(super) registry: &'a RegistryView,
    pub(super) repository: &'a RepositoryView,
}

/// A tag with its repository.
#[derive(Clone, Copy)]
pub(super) struct FoundTag<'a> {
    pub(super) at: FoundRepository<'a>,
    pub(super) tag: &'a TagView,
}

/// `registry/name`.
pub(super) fn repository<'a>(snapshot: &'a Snapshot, path: &str) -> Option<FoundRepository<'a>> {
    let (registry, name) = path.split_once('/')?;
    let registry = snapshot.registries.iter().find(|view| view.registry.as_str() == registry)?;
    let repository = registry.repositories.iter().find(|view| view.repository.name() == name)?;
    Some(FoundRepository { registry, repository })
}

/// A tag of a repository.
pub(super) fn tag<'a>(at: FoundRepository<'a>, tag: &str) -> Option<FoundTag<'a>> {
    let tag = at.repository.tags.iter().find(|view| view.tag.as_str() == tag)?;
    Some(FoundTag { at, tag })
}

/// The platform that a page shows when none is asked for: most people's, else the first.
pub(super) fn usual_platform<'a>(platforms: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let mut first = None;
    for platform in platforms {
        if platform == "linux/amd64" {
            return Some(platform);
        }
        first = first.or(Some(platform));
    }
    first
}

/// The image of a tag for a platform, else for the usual one.
pub(super) fn image<'a>(tag: &'a TagView, platform: Option<&str>) -> Option<&'a ImageView> {
    let named = |name: &str| tag.images.iter().find(|image| image.platform.as_str() == name);
    match platform {
        Some(platform) => named(platform),
        None => usual_platform(tag.images.iter().map(|image| image.platform.as_str())).and_then(named),
    }
}
