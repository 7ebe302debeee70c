//! What a tag that does not exist may have been meant to be.

use std::cmp::Reverse;

use crate::oci::{Reason, Repository, Tag};
use crate::registry::Client;
use crate::target::Version;

/// At most so many tags are named.
const NAMED_MAX: usize = 5;

/// A remedy for a missing tag, by one request for the first page of the repository's list. `None` where the list cannot
/// be read.
pub(super) async fn remedy(client: &Client, repository: &Repository, missing: &Tag) -> Option<String> {
    match client.first_tags(repository).await {
        Ok((tags, is_whole)) => Some(named(missing, tags, is_whole)),
        Err(error) if error.reason() == Reason::NotFound => {
            Some("the registry has no tags of this repository: check its spelling".to_owned())
        }
        Err(_) => None,
    }
}

/// Names the tags that are spelt most alike, or the newest versions where none is near.
fn named(missing: &Tag, tags: Vec<Tag>, is_whole: bool) -> String {
    let text = missing.as_str().to_lowercase();
    let near_max = text.chars().count().div_ceil(3);
    let listed = match (tags.len(), is_whole) {
        (0, _) => return "the repository has no tag".to_owned(),
        (1, true) => "the repository's only tag".to_owned(),
        (count, true) => format!("the repository's {count} tags"),
        (count, false) => format!("the first {count} tags of the repository's list"),
    };
    let mut ranked: Vec<(usize, Tag)> =
        tags.into_iter().map(|tag| (strsim::levenshtein(&text, &tag.as_str().to_lowercase()), tag)).collect();
    let newest = |(_, tag): &(usize, Tag)| Reverse(Version::parse(tag.as_str()));
    ranked.sort_by_cached_key(newest);
    let is_near = ranked.iter().any(|(distance, _)| *distance <= near_max);
    if is_near {
        ranked.retain(|(distance, _)| *distance <= near_max);
        // Stable: of tags that are as near and begin alike, the newest version is first.
        ranked.sort_by_key(|(distance, tag)| (*distance, Reverse(begins_alike(missing.as_str(), tag.as_str()))));
    }
    let names: Vec<&str> = ranked.iter().take(NAMED_MAX).map(|(_, tag)| tag.as_str()).collect();
    let names = names.join(", ");
    if is_near {
        format!("the nearest of {listed}: {names}")
    } else {
        format!("none of {listed} is spelt alike, the newest: {names}")
    }
}

/// How many characters two texts begin with alike.
fn begins_alike(a: &str, b: &str) -> usize {
    a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_tags_are_named_and_else_the_newest() {
        let tags: Vec<Tag> =
            ["v1.0.0", "v1.1.0", "v1.2.0", "v9.9.9", "latest", "main", "edge"].map(|tag| tag.parse().unwrap()).to_vec();
        for (missing, expected) in [
            ("v1.1.1", "the nearest of the repository's 7 tags: v1.1.0, v1.2.0, v1.0.0"),
            ("v1.0", "the nearest of the repository's 7 tags: v1.0.0, v1.2.0, v1.1.0"),
            ("Latest", "the nearest of the repository's 7 tags: latest"),
            ("lastet", "the nearest of the repository's 7 tags: latest"),
            (
                "nosuchthing",
                "none of the repository's 7 tags is spelt alike, the newest: v9.9.9, v1.2.0, v1.1.0, v1.0.0, latest",
            ),
        ] {
            assert_eq!(named(&missing.parse().unwrap(), tags.clone(), true), expected);
        }
        let said = named(&"x".parse().unwrap(), tags, false);
        assert!(
            said.starts_with("none of the first 7 tags of the repository's list is spelt alike, the newest: "),
            "{said}"
        );
        assert_eq!(named(&Tag::latest(), Vec::new(), true), "the repository has no tag");
    }
}
