//! From images to sizes: the stored bytes of a set, and each image's unique and proportional bytes.
//!
//! Pure arithmetic over one registry's layers. A [`Census`] counts them, and [`Accounting`] makes figures of its counts: of
//! repositories that have others than before. Not here: what is read, selected and published (`inventory`), and sums of a
//! single image (`image::Image`).

mod census;
mod elsewhere;
mod group_sums;
mod groups;

use groups::GroupCounts;

pub use census::{Census, Recounted};
pub use elsewhere::{ImageMark, LayerCount};
pub use group_sums::{GroupSums, listed_by_set};
pub use groups::GroupUsage;

/// One series: an image under one tag of one repository. Every layer's size must be known.
#[derive(Clone, Copy, Debug)]
pub struct Series<'a> {
    /// The tag's number in its repository, from 0.
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

/// The stored bytes of one repository, in total and by tag and series. Of distinct layers; where manifests disagree about a
/// layer's size the smallest counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// Of the repository; none without a series.
    pub usage: Option<RepositoryUsage>,
    /// By tag, bytes that the registry stores for it; none for a tag without a series.
    pub tags: Box<[Option<u64>]>,
    /// By series, in the given order.
    pub series: Box<[SeriesUsage]>,
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

/// Accounts for one repository after the other.
pub struct Accounting<'a> {
    census: &'a Census,
    /// By layer: one more than the number of the last series that counted it. Each tag and each repository counts it once, and
    /// their series are adjacent.
    counted: Vec<u32>,
    /// The number of the next series.
    next: u32,
    groups: Option<GroupCounts>,
}

impl<'a> Accounting<'a> {
    /// By this census. With groups, all of its repositories have to be accounted for.
    pub fn new(census: &'a Census, has_groups: bool) -> Self {
        let layers = census.layers_end();
        let groups = has_groups.then(|| GroupCounts::new(layers));
        Self { census, counted: vec![0; layers], next: 0, groups }
    }

    /// The figures of a repository with so many tags. Its series are those of the census; those of one tag are adjacent.
    ///
    /// # Panics
    ///
    /// If the census does not count a layer, or the number of a series' tag is not below `tags`.
    pub fn repository(&mut self, repository: u32, tags: usize, series: &[Series]) -> Figures {
        let mut usage = RepositoryUsage::default();
        let mut stored_bytes: Box<[Option<u64>]> = vec![None; tags].into();
        // Where the series of this repository, of this tag, and of this run of the same groups begin.
        let repository_start = self.next;
        let (mut tag_start, mut run_start) = (self.next, self.next);
        let is_one_run = series.iter().all(|one| one.groups == series[0].groups);
        let mut before: Option<&Series> = None;
        let mut all = Vec::with_capacity(series.len());
        for one in series {
            let number = self.next;
            self.next += 1;
            if before.is_none_or(|before| before.tag != one.tag) {
                tag_start = number;
            }
            if before.is_none_or(|before| before.groups != one.groups) {
                run_start = number;
                if let Some(groups) = &mut self.groups {
                    groups.begin(one.groups, is_one_run);
                }
            }
            before = Some(one);
            let tag = stored_bytes[one.tag as usize].get_or_insert_default();
            let mut shares = SeriesUsage::default();
            for listed in one.layers {
                let total = self.census.total(listed.layer);
                let counted = std::mem::replace(&mut self.counted[listed.layer as usize], number + 1);
                shares.proportional_bytes += total.bytes as f64 / f64::from(total.series);
                if total.image == one.image {
                    shares.unique_bytes = shares.unique_bytes.saturating_add(total.bytes);
                }
                if counted <= tag_start {
                    *tag = tag.saturating_add(total.bytes);
                }
                let is_private = total.repository == repository;
                if counted <= repository_start {
                    usage.stored_bytes = usage.stored_bytes.saturating_add(total.bytes);
                    if is_private {
                        usage.unique_bytes = usage.unique_bytes.saturating_add(total.bytes);
                    }
                }
                if counted <= run_start
                    && let Some(groups) = &mut self.groups
                {
                    groups.layer(listed.layer, is_private);
                }
            }
            usage.proportional_bytes += shares.proportional_bytes;
            if let Some(groups) = &mut self.groups {
                groups.end(shares.proportional_bytes);
            }
            all.push(shares);
        }
        if series.is_empty() {
            return Figures { usage: None, tags: stored_bytes, series: all.into() };
        }
        if let Some(groups) = &mut self.groups {
            groups.end_repository(usage.unique_bytes);
        }
        Figures { usage: Some(usage), tags: stored_bytes, series: all.into() }
    }

    /// What is stored for each group; none for a group without a series. `sets` are the sets of groups that series are in, of
    /// groups numbered from 0.
    ///
    /// # Panics
    ///
    /// If the number of a set is not below the length of `sets`.
    pub fn groups(&self, sets: &[Box<[u32]>]) -> Vec<Option<GroupUsage>> {
        self.groups.as_ref().map(|groups| groups.sum(sets, self.census)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
