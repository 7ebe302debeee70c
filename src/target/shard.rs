//! Which of several exporters watches a repository: rendezvous hashing, so that each can tell without asking the others.
//!
//! Of a repository's shards the one with the highest weight has it. Another shard takes from each of the others only the
//! repositories in which it has the highest weight of all: no repository moves between two shards that were there before.
//! The placement is a contract between all versions of the program: the tests hold its values.
//!
//! Not here: what a shard cannot know of a registry (`inventory::catalog`).

use super::spread::{hash, scramble};
use crate::oci::Repository;

/// More than anybody needs: placing a repository weighs each of them.
const TOTAL_MAX: u32 = 1000;

/// One of several exporters that share a configuration. The default is the only one, which has all repositories.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shard {
    number: u32,
    total: u32,
}

/// There is no such shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidShard {
    /// Of none.
    #[error("there is at least one shard: write 1 or more")]
    NoShards,
    /// More than 1000.
    #[error("{0} shards are too many: write {TOTAL_MAX} or less")]
    TooMany(u32),
    /// Beyond the last.
    #[error("of {total} {shards} there is no number {number}: they are counted from 0, so that the last one is {last}",
        shards = if *.total == 1 { "shard" } else { "shards" }, last = .total - 1)]
    BeyondLast {
        /// The number.
        number: u32,
        /// How many there are.
        total: u32,
    },
}

impl Default for Shard {
    fn default() -> Self {
        Self { number: 0, total: 1 }
    }
}

impl Shard {
    /// Shard `number`, counted from 0, of `total`.
    ///
    /// # Errors
    /// There is no such shard.
    pub fn new(number: u32, total: u32) -> Result<Self, InvalidShard> {
        match total {
            0 => Err(InvalidShard::NoShards),
            _ if total > TOTAL_MAX => Err(InvalidShard::TooMany(total)),
            _ if number >= total => Err(InvalidShard::BeyondLast { number, total }),
            _ => Ok(Self { number, total }),
        }
    }

    /// Its number, counted from 0.
    pub fn number(self) -> u32 {
        self.number
    }

    /// How many shards there are.
    pub fn total(self) -> u32 {
        self.total
    }

    /// Whether there is no other one.
    pub fn is_only(self) -> bool {
        self.total == 1
    }

    /// The one of these shards that has a repository.
    #[must_use]
    pub fn of(self, repository: &Repository) -> Self {
        if self.is_only() { self } else { Self { number: owner(repository, self.total), ..self } }
    }

    /// Whether it has a repository.
    pub fn holds(self, repository: &Repository) -> bool {
        self.of(repository) == self
    }

    /// The shards of fewer that have everything that this one has, the nearest first: those of the same number, and the
    /// only one. What they have read completely, this one knows completely.
    pub fn wider(self) -> impl Iterator<Item = Self> {
        let same_number = (self.number + 1..self.total).rev().map(move |total| Self { number: self.number, total });
        let only = (self.number > 0).then_some(Self::default());
        same_number.chain(only)
    }
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {}", self.number, self.total)
    }
}

/// The number of the shard that has a repository.
fn owner(repository: &Repository, total: u32) -> u32 {
    // As in the labels.
    let registry = repository.registry().as_str().bytes();
    let name = hash(registry.chain([b'/']).chain(repository.name().bytes()));
    // Two shards never weigh the same: `scramble` is a bijection.
    (0..total).max_by_key(|&number| scramble(name ^ scramble(u64::from(number) + 1))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn repository(text: &str) -> Repository {
        text.parse().unwrap()
    }

    fn shard(number: u32, total: u32) -> Shard {
        Shard::new(number, total).unwrap()
    }

    /// Names that differ in little, as those of a registry do.
    fn names(count: usize) -> impl Iterator<Item = Repository> {
        (0..count).map(|number| repository(&format!("registry.internal:5000/team-{}/app-{number}", number % 7)))
    }

    #[test]
    fn the_placement_never_changes() {
        // Computed by a second implementation: a fleet of two versions must place every repository alike.
        for (name, expected) in [
            ("docker.io/library/alpine", [1, 1, 1, 1]),
            ("docker.io/library/debian", [0, 0, 0, 0]),
            ("ghcr.io/acme/api", [0, 2, 2, 2]),
            ("registry.internal:5000/acme/web", [1, 1, 1, 8]),
            ("registry.internal:5000/acme/db", [1, 1, 1, 4]),
        ] {
            let owners = [2, 3, 4, 10].map(|total| owner(&repository(name), total));
            assert_eq!(owners, expected, "{name}");
        }
    }

    #[test]
    fn the_registry_is_a_part_of_the_name() {
        let on = |registry: &str| (0..64).map(|n| owner(&repository(&format!("{registry}/app-{n}")), 4)).collect();
        let (one, two): (Vec<u32>, Vec<u32>) = (on("a.example.com"), on("b.example.com"));
        assert_ne!(one, two);
    }

    #[test]
    fn each_shard_has_its_part() {
        for total in [2, 3, 4, 7, 16] {
            let mut counts = vec![0_usize; total as usize];
            for name in names(20_000) {
                counts[owner(&name, total) as usize] += 1;
            }
            let even = 20_000 / total as usize;
            assert!(counts.iter().all(|count| count.abs_diff(even) < even / 10), "{total}: {counts:?}");
        }
    }

    #[test]
    fn a_further_shard_takes_its_part_and_moves_nothing_else() {
        for total in [1, 2, 3, 9] {
            let moved = names(20_000).filter(|name| owner(name, total) != owner(name, total + 1)).count();
            let even = 20_000 / (total as usize + 1);
            assert!(moved.abs_diff(even) < even / 10, "from {total}: {moved}");
        }
    }

    proptest! {
        #[test]
        fn a_repository_is_in_exactly_one_shard(name in "[a-z]{1,9}(/[a-z0-9]{1,9}){0,3}", total in 1_u32..40) {
            let name = repository(&format!("r.example.com/{name}"));
            let holding = (0..total).filter(|&number| shard(number, total).holds(&name)).count();
            prop_assert_eq!(holding, 1);
        }

        #[test]
        fn what_moves_goes_to_the_further_shard(name in "[a-z]{1,9}(/[a-z0-9]{1,9}){0,3}", total in 1_u32..40) {
            let name = repository(&format!("r.example.com/{name}"));
            let (before, after) = (owner(&name, total), owner(&name, total + 1));
            prop_assert!(after == before || after == total);
        }

        #[test]
        fn a_wider_shard_has_all_that_this_one_has(name in "[a-z]{1,9}", number in 0_u32..9, more in 1_u32..9) {
            let (name, one) = (repository(&format!("r.example.com/{name}")), shard(number, number + more));
            let mut seen = BTreeSet::new();
            for wider in one.wider() {
                prop_assert!(wider.total() < one.total() && seen.insert((wider.number(), wider.total())));
                prop_assert!(wider.holds(&name) || !one.holds(&name), "{} in {}", one, wider);
            }
        }
    }

    #[test]
    fn the_only_shard_has_everything() {
        assert!(names(100).all(|name| Shard::default().holds(&name)));
        assert_eq!(Shard::new(0, 1), Ok(Shard::default()));
        assert_eq!(Shard::default().wider().count(), 0);
        let wider: Vec<String> = shard(1, 4).wider().map(|shard| shard.to_string()).collect();
        assert_eq!(wider, ["1 of 3", "1 of 2", "0 of 1"]);
        let wider: Vec<String> = shard(0, 3).wider().map(|shard| shard.to_string()).collect();
        assert_eq!(wider, ["0 of 2", "0 of 1"]);
    }

    #[test]
    fn a_number_beyond_the_last_is_refused() {
        let refused = |number, total| Shard::new(number, total).unwrap_err().to_string();
        assert_eq!(
            refused(3, 3),
            "of 3 shards there is no number 3: they are counted from 0, so that the last one is 2"
        );
        assert_eq!(
            refused(1, 1),
            "of 1 shard there is no number 1: they are counted from 0, so that the last one is 0"
        );
        assert_eq!(refused(0, 0), "there is at least one shard: write 1 or more");
        assert_eq!(refused(0, 1001), "1001 shards are too many: write 1000 or less");
        assert!(Shard::new(999, 1000).is_ok());
    }
}
