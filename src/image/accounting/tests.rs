use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

mod changes;
mod elsewhere;
mod groups;

/// A series by its numbers: repository, tag, image, and its layers with their sizes.
type Listed = (u32, u32, u32, Vec<StoredLayer>);

fn layers(listed: &[(u32, u64)]) -> Vec<StoredLayer> {
    listed.iter().map(|&(layer, bytes)| StoredLayer { layer, bytes }).collect()
}

/// All figures of a registry.
#[derive(Clone, Debug, Default, PartialEq)]
struct Usage {
    stored_bytes: u64,
    repositories: Vec<Option<RepositoryUsage>>,
    groups: Vec<Option<GroupUsage>>,
    tag_stored_bytes: Vec<Option<u64>>,
    series: Vec<SeriesUsage>,
    disagreeing: Vec<StoredLayer>,
}

/// The series of one repository, and their tags' numbers.
fn series_of(listed: &[Listed], set_of: impl Fn(u32) -> usize) -> (Vec<u32>, Vec<Series<'_>>) {
    let mut tags: Vec<u32> = listed.iter().map(|one| one.1).collect();
    tags.dedup();
    let series = listed.iter().map(|(_, tag, image, layers)| Series {
        tag: u32::try_from(tags.iter().position(|other| other == tag).unwrap()).unwrap(),
        image: *image,
        groups: u32::try_from(set_of(*tag)).unwrap(),
        layers,
    });
    let series = series.collect();
    (tags, series)
}

fn mark(image: u32) -> ImageMark {
    ImageMark::new(u64::from(image) + 1).unwrap()
}

/// A new census of these series, not settled.
fn noted(listed: &[Listed]) -> Census {
    let mut census = Census::default();
    for repository in listed.chunk_by(|a, b| a.0 == b.0) {
        census.replace(repository[0].0, &[], series_of(repository, |_| 0).1.into_iter());
    }
    census
}

/// The figures of these series, by their census.
fn figures(
    listed: &[Listed],
    census: &Census,
    bytes_elsewhere: u128,
    sets: &[Box<[u32]>],
    set_of: impl Fn(u32) -> usize,
) -> Usage {
    let end = |number: fn(&Listed) -> u32| listed.iter().map(|one| number(one) as usize + 1).max().unwrap_or(0);
    let mut usage = Usage {
        stored_bytes: census.stored_bytes(bytes_elsewhere),
        repositories: vec![None; end(|one| one.0)],
        tag_stored_bytes: vec![None; end(|one| one.1)],
        disagreeing: census.disagreeing().collect(),
        ..Usage::default()
    };
    let mut accounting = Accounting::new(census, !sets.is_empty());
    for repository in listed.chunk_by(|a, b| a.0 == b.0) {
        let (tags, series) = series_of(repository, &set_of);
        let figures = accounting.repository(repository[0].0, tags.len(), &series);
        usage.repositories[repository[0].0 as usize] = figures.usage;
        for (tag, stored_bytes) in tags.into_iter().zip(figures.tags) {
            usage.tag_stored_bytes[tag as usize] = stored_bytes;
        }
        usage.series.extend(figures.series);
    }
    usage.groups = accounting.groups(sets);
    usage
}

fn usage(listed: &[Listed]) -> Usage {
    let mut census = noted(listed);
    census.settle(mark);
    figures(listed, &census, 0, &[], |_| 0)
}

#[test]
fn two_versions_over_one_base_and_an_alias() {
    let (base, x, y) = ((0, 100), (1, 10), (2, 20));
    let usage = usage(&[(0, 0, 0, layers(&[base, x])), (0, 1, 1, layers(&[base, y])), (0, 2, 1, layers(&[base, y]))]);
    let unique: Vec<u64> = usage.series.iter().map(|one| one.unique_bytes).collect();
    let proportional: Vec<String> = usage.series.iter().map(|one| format!("{:.6}", one.proportional_bytes)).collect();
    assert_eq!(unique, [10, 20, 20]);
    assert_eq!(proportional, ["43.333333", "43.333333", "43.333333"]);
    assert_eq!(usage.tag_stored_bytes, [Some(110), Some(120), Some(120)]);
    let whole = RepositoryUsage { stored_bytes: 130, unique_bytes: 130, proportional_bytes: 130.0 };
    assert_eq!(usage.repositories, [Some(whole)]);
    assert_eq!((usage.stored_bytes, usage.disagreeing), (130, vec![]));
}

#[test]
fn platforms_of_one_tag_share_what_they_share() {
    let usage = usage(&[(0, 0, 0, layers(&[(0, 5), (1, 10)])), (0, 0, 1, layers(&[(0, 5), (2, 20)]))]);
    assert_eq!(usage.tag_stored_bytes, [Some(35)]);
}

#[test]
fn the_smallest_of_disagreeing_sizes_counts_for_everyone() {
    let usage = usage(&[(0, 0, 0, layers(&[(0, 100)])), (1, 1, 1, layers(&[(0, 90)]))]);
    assert_eq!(usage.disagreeing, layers(&[(0, 90)]));
    assert_eq!(usage.stored_bytes, 90);
    assert_eq!(usage.tag_stored_bytes, [Some(90), Some(90)]);
    let half = RepositoryUsage { stored_bytes: 90, unique_bytes: 0, proportional_bytes: 45.0 };
    assert_eq!(usage.repositories, [Some(half), Some(half)]);
}

#[test]
fn nothing_gives_nothing_and_an_image_without_layers_gives_zero() {
    assert_eq!(usage(&[]), Usage::default());
    let usage = usage(&[(1, 1, 0, vec![])]);
    assert_eq!(usage.repositories, [None, Some(RepositoryUsage::default())]);
    assert_eq!(usage.tag_stored_bytes, [None, Some(0)]);
}

#[test]
fn sizes_past_the_end_of_counting_stay_there() {
    let usage = usage(&[(0, 0, 0, layers(&[(0, u64::MAX), (1, u64::MAX)]))]);
    assert_eq!((usage.stored_bytes, usage.series[0].unique_bytes), (u64::MAX, u64::MAX));
}

/// Registries of a few repositories, whose tags point at images from a small pool, so that aliases and shared layers
/// abound. An image disagrees with the others about a layer's size now and then.
fn registries() -> impl Strategy<Value = Vec<Listed>> {
    let image = prop::collection::btree_map(0..12_u32, 0..1000_u64, 0..6);
    let tags = prop::collection::vec((0..4_u32, prop::collection::btree_set(0..8_usize, 1..4)), 0..20);
    (prop::collection::vec(image, 8), tags).prop_map(|(images, mut tags)| {
        tags.sort();
        let listed = |(tag, (repository, platforms)): (u32, (u32, BTreeSet<usize>))| {
            let images = &images;
            let series = move |image: usize| {
                let sizes = images[image].iter().map(|(&layer, &odd)| StoredLayer {
                    layer,
                    bytes: if odd < 50 { odd } else { u64::from(layer) * 100 },
                });
                (repository, tag, u32::try_from(image).unwrap(), sizes.collect())
            };
            platforms.into_iter().map(series).collect::<Vec<Listed>>()
        };
        (0..).zip(tags).flat_map(listed).collect()
    })
}

/// The definitions, one by one, written without regard to speed.
struct Plain<'a>(&'a [Listed]);

impl Plain<'_> {
    fn sizes(&self) -> BTreeMap<u32, u64> {
        let mut sizes = BTreeMap::new();
        for listed in self.0.iter().flat_map(|one| &one.3) {
            let size = sizes.entry(listed.layer).or_insert(listed.bytes);
            *size = listed.bytes.min(*size);
        }
        sizes
    }

    fn distinct(&self, of: impl Fn(&Listed) -> bool) -> BTreeSet<u32> {
        self.0.iter().filter(|one| of(one)).flat_map(|one| &one.3).map(|listed| listed.layer).collect()
    }

    /// A series' proportional bytes: an equal share of each of its layers.
    fn share(&self, of: &Listed) -> f64 {
        let sizes = self.sizes();
        let has = |one: &Listed, layer: u32| one.3.iter().any(|listed| listed.layer == layer);
        let share = |layer: u32| sizes[&layer] as f64 / self.0.iter().filter(|one| has(one, layer)).count() as f64;
        of.3.iter().map(|listed| share(listed.layer)).sum()
    }

    fn disagreeing(&self) -> Vec<StoredLayer> {
        let smallest = self.sizes().into_iter().map(|(layer, bytes)| StoredLayer { layer, bytes });
        let listed = || self.0.iter().flat_map(|one| &one.3);
        smallest.filter(|odd| listed().any(|other| other.layer == odd.layer && other.bytes > odd.bytes)).collect()
    }

    fn bytes(&self, layers: impl IntoIterator<Item = u32>) -> u64 {
        let sizes = self.sizes();
        layers.into_iter().map(|layer| sizes[&layer]).sum()
    }
}

proptest! {
    #[test]
    fn every_figure_equals_its_definition(listed in registries()) {
        let usage = usage(&listed);
        let plain = Plain(&listed);
        prop_assert_eq!(usage.stored_bytes, plain.bytes(plain.distinct(|_| true)));
        prop_assert_eq!(&usage.disagreeing, &plain.disagreeing());
        for (one, shares) in listed.iter().zip(&usage.series) {
            let (repository, tag, image, _) = one;
            let own = |of: &dyn Fn(&Listed) -> bool| plain.distinct(of);
            let unique = &own(&|other| other.2 == *image) - &own(&|other| other.2 != *image);
            prop_assert_eq!(shares.unique_bytes, plain.bytes(unique));
            let share = plain.share(one);
            prop_assert!((shares.proportional_bytes - share).abs() < 1e-9 * (1.0 + share), "{share}");
            prop_assert_eq!(usage.tag_stored_bytes[*tag as usize], Some(plain.bytes(own(&|other| other.1 == *tag))));
            let here = own(&|other| other.0 == *repository);
            let elsewhere = own(&|other| other.0 != *repository);
            let sums = usage.repositories[*repository as usize].unwrap();
            prop_assert_eq!(sums.stored_bytes, plain.bytes(here.clone()));
            prop_assert_eq!(sums.unique_bytes, plain.bytes(&here - &elsewhere));
            let share: f64 = listed.iter().filter(|other| other.0 == *repository).map(|other| plain.share(other)).sum();
            prop_assert!((sums.proportional_bytes - share).abs() < 1e-9 * (1.0 + share), "{share}");
        }
    }

    #[test]
    fn unique_is_within_compressed_and_a_union_within_its_parts(listed in registries()) {
        let usage = usage(&listed);
        let compressed = |one: &Listed| one.3.iter().map(|listed| listed.bytes).sum::<u64>();
        for (one, shares) in listed.iter().zip(&usage.series) {
            prop_assert!(shares.unique_bytes <= compressed(one));
            prop_assert!(shares.proportional_bytes <= compressed(one) as f64);
        }
        let repositories = || usage.repositories.iter().flatten();
        prop_assert!(usage.stored_bytes <= repositories().map(|one| one.stored_bytes).sum());
        prop_assert!(repositories().map(|one| one.unique_bytes).sum::<u64>() <= usage.stored_bytes);
        prop_assert!(repositories().map(|one| one.stored_bytes).sum::<u64>() <= usage.tag_stored_bytes.iter().flatten().sum());
        prop_assert!(usage.tag_stored_bytes.iter().flatten().sum::<u64>() <= listed.iter().map(compressed).sum());
    }

    #[test]
    fn fair_shares_add_up_to_what_is_stored(listed in registries()) {
        let usage = usage(&listed);
        let shares: f64 = usage.series.iter().map(|one| one.proportional_bytes).sum();
        prop_assert!((shares - usage.stored_bytes as f64).abs() < 1e-6 * (1.0 + shares), "{shares}");
    }

    #[test]
    fn neither_the_order_of_anything_nor_the_layers_numbers_matter(listed in registries(), seed in 1..u32::MAX) {
        // Series of one tag stay together, and tags of one repository.
        let mix = |number: u32| number.wrapping_add(seed).wrapping_mul(2_654_435_761).rotate_left(seed % 32);
        let mut places: Vec<usize> = (0..listed.len()).collect();
        places.sort_by_key(|&place| {
            let (repository, tag, image, _) = listed[place];
            (mix(repository), repository, mix(tag), tag, mix(image))
        });
        let renumbered = |layer: u32| (layer * 5 + seed) % 12;
        let moved: Vec<Listed> = places.iter().map(|&place| {
            let (repository, tag, image, mut layers) = listed[place].clone();
            for listed in &mut layers {
                listed.layer = renumbered(listed.layer);
            }
            let first = seed as usize % layers.len().max(1);
            layers.rotate_left(first);
            (repository, tag, image, layers)
        }).collect();

        let (as_listed, moved) = (usage(&listed), usage(&moved));
        prop_assert_eq!(as_listed.stored_bytes, moved.stored_bytes);
        let exact = |usage: &Usage| -> Vec<_> {
            usage.repositories.iter().map(|one| one.map(|one| (one.stored_bytes, one.unique_bytes))).collect()
        };
        prop_assert_eq!(exact(&as_listed), exact(&moved));
        prop_assert_eq!(&as_listed.tag_stored_bytes, &moved.tag_stored_bytes);
        for (here, &there) in moved.series.iter().zip(&places) {
            let there = as_listed.series[there];
            prop_assert_eq!(here.unique_bytes, there.unique_bytes);
            prop_assert!((here.proportional_bytes - there.proportional_bytes).abs() < 1e-6);
        }
        let mut disagreeing: Vec<(u32, u64)> =
            as_listed.disagreeing.iter().map(|odd| (renumbered(odd.layer), odd.bytes)).collect();
        disagreeing.sort_unstable();
        prop_assert_eq!(disagreeing, moved.disagreeing.iter().map(|odd| (odd.layer, odd.bytes)).collect::<Vec<_>>());
    }

    #[test]
    fn one_more_tag_for_a_known_digest_changes_no_stored_size(listed in registries(), pick: prop::sample::Index) {
        prop_assume!(!listed.is_empty());
        let before = usage(&listed);
        let (repository, _, image, layers) = listed[pick.index(listed.len())].clone();
        let alias = u32::try_from(listed.len()).unwrap();
        let mut more = listed.clone();
        // Its place is beside the other tags of its repository.
        let place = more.iter().rposition(|one| one.0 == repository).unwrap() + 1;
        more.insert(place, (repository, alias, image, layers));
        let after = usage(&more);
        prop_assert_eq!(after.stored_bytes, before.stored_bytes);
        for (after, before) in after.repositories.iter().zip(&before.repositories) {
            let exact = |one: &Option<RepositoryUsage>| one.map(|one| (one.stored_bytes, one.unique_bytes));
            prop_assert_eq!(exact(after), exact(before));
        }
        prop_assert_eq!(&after.tag_stored_bytes[..before.tag_stored_bytes.len()], &before.tag_stored_bytes[..]);
        let mut unique: Vec<u64> = after.series.iter().map(|one| one.unique_bytes).collect();
        unique.remove(place);
        prop_assert_eq!(unique, before.series.iter().map(|one| one.unique_bytes).collect::<Vec<_>>());
    }
}
