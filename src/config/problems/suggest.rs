//! "Did you mean": the known word nearest to a mistyped one.

/// The nearest candidate, at most a third of its letters away.
pub(in crate::config) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = |candidate: &&str| candidate.chars().count().div_ceil(3);
    candidates
        .into_iter()
        .map(|candidate| (strsim::levenshtein(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= near(candidate))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_word_finds_the_known_one() {
        let words = ["repository", "tags", "tags_max", "semver", "limit"];
        for (typed, meant) in [
            ("repositry", Some("repository")),
            ("tag", Some("tags")),
            ("tagsmax", Some("tags_max")),
            ("sember", Some("semver")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(typed, words), meant, "{typed}");
        }
    }
}
