//! What is true of images on a registry, by the definitions of its figures and by plain arithmetic.

use std::collections::{BTreeMap, BTreeSet};

use super::COMPRESSED;

/// By family, repository, and tag, group or policy, what is published.
pub(super) type Figures = BTreeMap<(String, String, String), f64>;

/// The layers of a tag, by the byte that fills them and their sizes.
pub(super) type Layers = Vec<(u8, usize)>;

/// What a tag points at. Of the same layers it is the same.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Image {
    pub(super) layers: Layers,
    /// When it was made: a day of a month.
    pub(super) day: usize,
    /// Digests and sizes of its manifest and config.
    pub(super) documents: [(String, usize); 2],
}

/// What is in the registry, by repository and tag.
pub(super) type There = BTreeMap<(String, String), Image>;

pub(super) const REGISTRY_STORED: &str = "container_image_registry_stored_size_bytes";
pub(super) const REGISTRY_RECLAIMABLE: &str = "container_image_registry_reclaimable_size_bytes";
pub(super) const REPOSITORY_RECLAIMABLE: &str = "container_image_repository_reclaimable_size_bytes";

pub(super) const POLICIES: &str = "\
[[policies]]
name = \"first\"
keep_match = ['^v0$']
[[policies]]
name = \"newest\"
keep_newest = 1
[[policies]]
name = \"nothing\"
keep_match = ['^nothing$']
";

/// Who has a layer.
#[derive(Default)]
struct Holders<'a> {
    series: f64,
    images: BTreeSet<&'a Image>,
    repositories: BTreeSet<&'a str>,
    /// With how many series of each.
    groups: BTreeMap<String, f64>,
}

/// The first digit of its number.
fn group(repository: &str) -> String {
    repository.chars().find(char::is_ascii_digit).expect("a number").to_string()
}

/// The sums by their definitions. Images of the same layers are the same image here.
pub(super) fn truth(there: &There) -> Figures {
    let mut holders: BTreeMap<(u8, usize), Holders> = BTreeMap::new();
    for ((repository, _), image) in there {
        for layer in &image.layers {
            let holders = holders.entry(*layer).or_default();
            holders.series += 1.0;
            holders.images.insert(image);
            holders.repositories.insert(repository);
            *holders.groups.entry(group(repository)).or_default() += 1.0;
        }
    }
    let mut figures = Figures::new();
    let mut add = |family: &str, repository: &str, tag: &str, value: f64| {
        *figures.entry((family.to_owned(), repository.to_owned(), tag.to_owned())).or_default() += value;
    };
    for (layer, holders) in &holders {
        let bytes = layer.1 as f64;
        add(REGISTRY_STORED, "", "", bytes);
        for (group, series) in &holders.groups {
            let own = if holders.groups.len() == 1 { bytes } else { 0.0 };
            add("container_image_group_stored_size_bytes", "", group, bytes);
            add("container_image_group_unique_size_bytes", "", group, own);
            add("container_image_group_proportional_size_bytes", "", group, bytes * series / holders.series);
        }
        for repository in &holders.repositories {
            let own = if holders.repositories.len() == 1 { bytes } else { 0.0 };
            add("container_image_repository_stored_size_bytes", repository, "", bytes);
            add("container_image_repository_unique_size_bytes", repository, "", own);
        }
    }
    for ((repository, tag), image) in there {
        for layer in &image.layers {
            let (bytes, holders) = (layer.1 as f64, &holders[layer]);
            let own = if holders.images.len() == 1 { bytes } else { 0.0 };
            add(COMPRESSED, repository, tag, bytes);
            add("container_image_unique_size_bytes", repository, tag, own);
            add("container_image_proportional_size_bytes", repository, tag, bytes / holders.series);
            add("container_image_repository_proportional_size_bytes", repository, "", bytes / holders.series);
        }
    }
    for policy in ["first", "newest", "nothing"] {
        figures.extend(freed(there, policy));
    }
    figures
}

/// Whether a policy keeps a tag.
fn keeps(there: &There, policy: &str, (repository, tag): &(String, String)) -> bool {
    let days = there.iter().filter(|((other, _), _)| other == repository).map(|(_, image)| image.day);
    match policy {
        "first" => tag == "v0",
        "newest" => Some(there[&(repository.clone(), tag.clone())].day) == days.max(),
        _ => false,
    }
}

/// What a policy frees: the bytes of blobs that no kept tag has; of a repository, if no other one has them.
fn freed(there: &There, policy: &str) -> Figures {
    let mut holders_of: BTreeMap<(String, usize), BTreeSet<&(String, String)>> = BTreeMap::new();
    for (name, image) in there {
        let layers = image.layers.iter().map(|(filling, bytes)| (format!("layer {filling}"), *bytes));
        for blob in layers.chain(image.documents.iter().cloned()) {
            holders_of.entry(blob).or_default().insert(name);
        }
    }
    let key = |family: &str, repository: &str| (family.to_owned(), repository.to_owned(), policy.to_owned());
    let mut figures: Figures = there.keys().map(|(name, _)| (key(REPOSITORY_RECLAIMABLE, name), 0.0)).collect();
    figures.insert(key(REGISTRY_RECLAIMABLE, ""), 0.0);
    for ((_, bytes), holders) in &holders_of {
        if holders.iter().any(|name| keeps(there, policy, name)) {
            continue;
        }
        *figures.entry(key(REGISTRY_RECLAIMABLE, "")).or_default() += *bytes as f64;
        let repositories: BTreeSet<&String> = holders.iter().map(|(repository, _)| repository).collect();
        if let (Some(only), 1) = (repositories.first(), repositories.len()) {
            *figures.entry(key(REPOSITORY_RECLAIMABLE, only)).or_default() += *bytes as f64;
        }
    }
    figures
}
