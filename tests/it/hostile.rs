//! Registries that answer what no registry should. For each of them: what is published, why the rest is not, and that
//! nothing else is harmed: not the repositories beside it, not a scrape, not the memory, not the log.
//!
//! The scenarios are data: a name, what the registry answers, and what is then published (`corpus.rs` says how that is
//! written). One daemon watches all registries of one kind at once.

mod auth;
mod configs;
mod corpus;
mod layers;
mod lists;
mod manifests;
mod memory;
mod site;
mod states;
mod transport;

/// The most bytes of a series in the text format, line break included, as `docs/limits.md` states. The longest family is
/// `container_image_info`: its name and the names of its labels (130), the registry and the repository (255 each), the tag
/// (128), the platform (320), two digests (512 each), and two media types (255 each).
pub(crate) const SERIES_BYTES_MAX: usize = 3_072;

/// What the shipped units, chart and Compose file allow.
const MEMORY_BYTES_MAX: u64 = 256 << 20;

#[test]
fn the_bound_of_a_series_is_the_documented_one() {
    let limits = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/limits.md")).unwrap();
    let series = limits.lines().find(|line| line.starts_with("| series |")).unwrap();
    assert_eq!(
        series.replace(',', "").split(' ').filter_map(|word| word.parse().ok()).collect::<Vec<usize>>(),
        [SERIES_BYTES_MAX]
    );
}
