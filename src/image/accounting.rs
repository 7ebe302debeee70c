//! From images to sizes: the stored bytes of a set, and each image's unique and proportional bytes.
//!
//! Pure arithmetic over one registry's layers. Not here: what is read, selected and published (`inventory`), and sums
//! of a single image (`image::Image`).

mod elsewhere;
mod group_sums;
mod groups;

use groups::GroupCounts;

pub use elsewhere::{Elsewhere, ImageMark, LayerCount};
pub use group_sums::{GroupSums, listed_by_set};
pub use groups::GroupUsage;

/// One series: an image under one tag of one repository. Every layer's size must be known.
#[derive(Clone, Copy, Debug)]
pub struct Series<'a> {
    /// The repository's number, from 0.
    pub repository: u32,
    /// The tag's number, from 0 over all repositories.
    pub tag: u32,
    /// The image's number: equal for equal digests.
    pub image: u32,
    /// The number of the set of groups that it is in.
    pub groups: u32,
    /// Its distinct layers, without foreign ones.
    pub layers: &'a [StoredLayer],
}

/// A layer as one image lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredLayer {
    /// The layer's number: equal for equal digests.
    pub layer: u32,
    /// Compressed bytes, by this image's manifest.
    pub bytes: u64,
}

/// The stored bytes of one registry, in total and by repository, group, tag and series. Of distinct layers; where manifests
/// disagree about a layer's size the smallest counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Usage {
    /// Bytes that the registry stores for all series.
    pub stored_bytes: u64,
    /// By repository; none for a repository without a series.
    pub repositories: Vec<Option<RepositoryUsage>>,
    /// By group; none for a group without a series.
    pub groups: Vec<Option<GroupUsage>>,
    /// By tag, bytes that the registry stores for it; none for a tag without a series.
    pub tag_stored_bytes: Vec<Option<u64>>,
    /// By series, in the given order.
    pub series: Vec<SeriesUsage>,
    /// The layers with different sizes in different manifests, with the smallest size. Ascending.
    pub disagreeing: Vec<StoredLayer>,
}

/// What is stored for one repository.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RepositoryUsage {
    /// Bytes of its layers.
    pub stored_bytes: u64,
    /// Bytes of its layers that no other repository has.
    pub unique_bytes: u64,
    /// The proportional bytes of its series.
    pub proportional_bytes: f64,
}

/// What is stored for one series.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SeriesUsage {
    /// Bytes of its layers that no other image digest has.
    pub unique_bytes: u64,
    /// Each layer's bytes divided evenly among all series that have it.
    pub proportional_bytes: f64,
}

/// One layer while counting.
struct Count {
    bytes: u64,
    /// The number of series that have it.
    series: u32,
    /// The only image digest that has it, or [`SEVERAL`].
    image: u32,
    /// The only repository that has it, or [`SEVERAL`].
    repository: u32,
    /// One more than the number of the last series that counted it: each tag and each repository counts it once, and
    /// their series are adjacent.
    counted: u32,
}

const SEVERAL: u32 = u32::MAX;

/// The index of a layer that no series has listed yet.
const UNSEEN: u32 = u32::MAX;

/// Each layer's size, and which series list it.
pub struct Census {
    /// In the order in which series first list the layers. Over time layers' numbers become scattered, and looking up
    /// hundreds of thousands by number would miss the cache each time. In this order adjacent layers stay adjacent.
    counts: Vec<Count>,
    /// By the layer's number, the index into `counts`, or [`UNSEEN`].
    index_of: Vec<u32>,
    /// The index into `counts` of every listed layer, one series after the other.
    indices: Vec<u32>,
    /// Layers with differing sizes, and their index into `counts`. May hold duplicates.
    disagreeing: Vec<(u32, u32)>,
    /// Bytes of layers that others list and none of these series does.
    bytes_elsewhere: u64,
}

/// Accounts for the series of one registry. `sets` are the sets of groups that series are in, of groups numbered from 0;
/// without groups it may be empty.
///
/// # Panics
///
/// If the census is of other series, or, with groups, a set's number is not below the length of `sets`.
pub fn account(series: &[Series], census: Census, sets: &[Box<[u32]>]) -> Usage {
    let Census { mut counts, indices, mut disagreeing, bytes_elsewhere, .. } = census;
    let repositories = series.iter().map(|one| one.repository as usize + 1).max().unwrap_or(0);
    let tags = series.iter().map(|one| one.tag as usize + 1).max().unwrap_or(0);
    let mut usage = Usage {
        stored_bytes: counts.iter().fold(bytes_elsewhere, |sum, count| sum.saturating_add(count.bytes)),
        repositories: vec![None; repositories],
        groups: Vec::new(),
        tag_stored_bytes: vec![None; tags],
        series: Vec::with_capacity(series.len()),
        disagreeing: Vec::new(),
    };
    // Where the series of this tag, of this repository, and of this run of the same groups in it begin.
    let mut tag_start = 0;
    let mut repository_start = 0;
    let mut run_start = 0;
    let mut before: Option<&Series> = None;
    let mut groups = GroupCounts::new(sets, series, repositories, counts.len());
    let mut indices = indices.as_slice();
    for (number, one) in (0_u32..).zip(series) {
        if before.is_none_or(|before| before.tag != one.tag) {
            tag_start = number;
        }
        if before.is_none_or(|before| before.repository != one.repository) {
            repository_start = number;
        }
        if before.is_none_or(|before| before.repository != one.repository || before.groups != one.groups) {
            run_start = number;
            if let Some(groups) = &mut groups {
                groups.begin(one);
            }
        }
        before = Some(one);
        let repository = usage.repositories[one.repository as usize].get_or_insert_default();
        let tag = usage.tag_stored_bytes[one.tag as usize].get_or_insert_default();
        let mut shares = SeriesUsage::default();
        let (own, rest) = indices.split_at(one.layers.len());
        indices = rest;
        for &index in own {
            let count = &mut counts[index as usize];
            shares.proportional_bytes += count.bytes as f64 / f64::from(count.series);
            if count.image == one.image {
                shares.unique_bytes = shares.unique_bytes.saturating_add(count.bytes);
            }
            if count.counted <= tag_start {
                *tag = tag.saturating_add(count.bytes);
            }
            if count.counted <= run_start {
                let is_private = count.repository == one.repository;
                if count.counted <= repository_start {
                    repository.stored_bytes = repository.stored_bytes.saturating_add(count.bytes);
                    if is_private {
                        repository.unique_bytes = repository.unique_bytes.saturating_add(count.bytes);
                    }
                }
                if let Some(groups) = &mut groups {
                    groups.layer(index, is_private);
                }
            }
            count.counted = number + 1;
        }
        repository.proportional_bytes += shares.proportional_bytes;
        if let Some(groups) = &mut groups {
            groups.end(shares.proportional_bytes);
        }
        usage.series.push(shares);
    }
    if let Some(groups) = groups {
        let private = |repository: u32| usage.repositories[repository as usize].map_or(0, |usage| usage.unique_bytes);
        usage.groups = groups.sum(|index| counts[index as usize].bytes, private);
    }
    disagreeing.sort_unstable();
    disagreeing.dedup();
    let smallest = |(layer, index): (u32, u32)| StoredLayer { layer, bytes: counts[index as usize].bytes };
    usage.disagreeing.extend(disagreeing.into_iter().map(smallest));
    usage
}

impl Census {
    /// Of the series of one registry, whose layers are numbered below `layers`. Series of one tag are adjacent, and so are tags
    /// of one repository; beyond that, order does not matter.
    ///
    /// # Panics
    ///
    /// If a layer's number is not below `layers`.
    pub fn new(series: &[Series], layers: usize) -> Self {
        let listed = series.iter().map(|one| one.layers.len()).sum();
        let mut census = Self {
            counts: Vec::with_capacity(layers),
            index_of: vec![UNSEEN; layers],
            indices: Vec::with_capacity(listed),
            disagreeing: Vec::new(),
            bytes_elsewhere: 0,
        };
        for one in series {
            for listed in one.layers {
                let index = &mut census.index_of[listed.layer as usize];
                if *index == UNSEEN {
                    *index = u32::try_from(census.counts.len())
                        .expect("there are no more counts than layers, which u32 numbers");
                    let (image, repository) = (one.image, one.repository);
                    census.counts.push(Count { bytes: listed.bytes, series: 0, image, repository, counted: 0 });
                }
                census.indices.push(*index);
                let count = &mut census.counts[*index as usize];
                count.series += 1;
                if count.bytes != listed.bytes {
                    census.disagreeing.push((listed.layer, *index));
                    count.bytes = count.bytes.min(listed.bytes);
                }
                if count.image != one.image {
                    count.image = SEVERAL;
                }
                if count.repository != one.repository {
                    count.repository = SEVERAL;
                }
            }
        }
        census
    }
}

#[cfg(test)]
mod tests;
