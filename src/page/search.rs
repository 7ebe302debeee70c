//! Repositories and tags by a part of their names, and the list of all repositories.

use serde::Serialize;

use super::address::{Address, ImageName, Place, Sort};
use super::world::World;
use crate::inventory::snapshot::RepositoryView;

/// Repositories on one page.
pub(super) const ROWS_PER_PAGE: usize = 100;

/// Tags that are listed.
const TAGS_MAX: usize = 50;

#[derive(Serialize)]
pub(super) struct SearchPage<'a> {
    /// What was searched for; empty: everything.
    pub(super) query: &'a str,
    /// How many repositories have it in their names.
    pub(super) repositories_count: u64,
    /// Those of this page.
    pub(super) repositories: Vec<RepositoryRow>,
    /// How many tags have it in theirs.
    pub(super) tags_count: u64,
    /// The first of these.
    pub(super) tags: Vec<TagHit>,
    pub(super) page: usize,
    pub(super) pages: usize,
    pub(super) sort: &'static str,
    #[serde(skip)]
    pub(super) address: &'a Address,
}

#[derive(Serialize)]
pub(super) struct RepositoryRow {
    pub(super) repository: String,
    pub(super) tags: Option<u64>,
    pub(super) stored_bytes: Option<u64>,
    pub(super) unique_bytes: Option<u64>,
    #[serde(skip)]
    pub(super) link: String,
}

#[derive(Serialize)]
pub(super) struct TagHit {
    pub(super) image: String,
    pub(super) stored_bytes: Option<u64>,
    #[serde(skip)]
    pub(super) link: String,
}

impl<'a> SearchPage<'a> {
    pub(super) fn new(world: &World<'a>, query: &'a str, address: &'a Address) -> Self {
        // Names of repositories are lower case, those of tags may be upper case as well.
        let query = query.trim();
        let wanted = query.to_ascii_lowercase();
        let (mut found, mut tags, mut tags_count) = (Vec::new(), Vec::new(), 0);
        for registry in &world.snapshot.registries {
            let is_registry = registry.registry.as_str().contains(&wanted);
            for view in &registry.repositories {
                let is_named = is_registry
                    || view.repository.name().contains(&wanted)
                    || has(&view.repository.to_string(), &wanted);
                if is_named {
                    found.push(&**view);
                }
                if wanted.is_empty() {
                    continue;
                }
                let in_tag = |name: &str| has(name, &wanted) || is_reference(&view.repository, name, &wanted);
                for tag in view.tags.iter().filter(|tag| in_tag(tag.tag.as_str())) {
                    tags_count += 1;
                    if tags.len() < TAGS_MAX {
                        let name = ImageName::new(&view.repository, &tag.tag);
                        let (image, link) = (name.to_string(), Address::of(Place::Image(name)).link());
                        tags.push(TagHit { image, stored_bytes: tag.stored_bytes, link });
                    }
                }
            }
        }
        sort(&mut found, address.sort);
        let pages = found.len().div_ceil(ROWS_PER_PAGE).max(1);
        let page = address.page.min(pages);
        let shown = found.iter().skip((page - 1) * ROWS_PER_PAGE).take(ROWS_PER_PAGE);
        Self {
            query,
            repositories_count: found.len() as u64,
            repositories: shown.map(|view| RepositoryRow::new(view)).collect(),
            tags_count,
            tags,
            page,
            pages,
            sort: address.sort.as_str(),
            address,
        }
    }
}

impl RepositoryRow {
    fn new(view: &RepositoryView) -> Self {
        let repository = view.repository.to_string();
        Self {
            link: Address::of(Place::Repository(repository.clone())).link(),
            repository,
            tags: view.tags_selected,
            stored_bytes: view.stored_bytes,
            unique_bytes: view.unique_bytes,
        }
    }
}

/// Sorts by stored bytes if nothing else is asked for: what is unknown comes last.
fn sort(found: &mut [&RepositoryView], by: Sort) {
    match by {
        Sort::Name => {}
        Sort::Unique => found.sort_by_key(|view| std::cmp::Reverse(view.unique_bytes)),
        _ => found.sort_by_key(|view| std::cmp::Reverse(view.stored_bytes)),
    }
}

/// Whether a text has another in it, whatever its case; the other is in lower case.
fn has(text: &str, wanted: &str) -> bool {
    text.len() >= wanted.len()
        && text.as_bytes().windows(wanted.len().max(1)).any(|part| part.eq_ignore_ascii_case(wanted.as_bytes()))
}

/// Whether this is the end of a reference with that tag: `app:v1` finds the tag `v1` of `acme/app`.
fn is_reference(repository: &crate::oci::Repository, tag: &str, wanted: &str) -> bool {
    let Some((name, wanted_tag)) = wanted.rsplit_once(':') else { return false };
    !name.is_empty() && tag.eq_ignore_ascii_case(wanted_tag) && repository.to_string().ends_with(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_by_a_part_of_them_whatever_its_case() {
        assert!(has("V1.2-RC", "rc") && has("v1.2", "v1.2"));
        assert!(!has("v1", "v1.2") && !has("abc", "ac"));
        let repository = "quay.io/acme/app".parse().unwrap();
        assert!(is_reference(&repository, "v1", "app:v1") && is_reference(&repository, "V1", "quay.io/acme/app:v1"));
        assert!(!is_reference(&repository, "v1", "app:v2") && !is_reference(&repository, "v1", ":v1"));
    }
}
