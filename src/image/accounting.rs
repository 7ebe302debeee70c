//! Images to sizes: what is stored for a set of them, what each alone keeps, what each one's fair share is.
//!
//! Pure arithmetic over one registry's layers. Not here: what is read, selected and published (`inventory`), and
//! sums of single images, which need no other image (`image`).

/// One series: an image under one tag of one repository. Only those whose every layer's size is known belong here.
#[derive(Clone, Copy, Debug)]
pub struct Series<'a> {
    /// Which repository, counted from 0.
    pub repository: u32,
    /// Which tag, counted from 0 over all repositories.
    pub tag: u32,
    /// Which image digest: the same number for the same digest.
    pub image: u32,
    /// Its distinct layers, without those that are distributed elsewhere.
    pub layers: &'a [StoredLayer],
}

/// A layer as one image lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredLayer {
    /// Which digest: the same number for the same digest.
    pub layer: u32,
    /// Compressed bytes, as this image's manifest says.
    pub bytes: u64,
}

/// What is stored of one registry, for whom. All in bytes, of distinct layers; where images disagree about a layer's
/// size the smallest counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Usage {
    /// What the registry must keep for all series.
    pub stored_bytes: u64,
    /// By repository; none for one without a series.
    pub repositories: Vec<Option<RepositoryUsage>>,
    /// By tag, what the registry must keep for it; none for one without a series.
    pub tag_stored_bytes: Vec<Option<u64>>,
    /// One for each series, in the order given.
    pub series: Vec<SeriesUsage>,
    /// The layers whose sizes images disagree about, and their smallest. Ascending.
    pub disagreeing: Vec<StoredLayer>,
}

/// What is stored for one repository.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RepositoryUsage {
    /// Bytes of its layers.
    pub stored_bytes: u64,
    /// Of these, what no other repository has.
    pub unique_bytes: u64,
}

/// What is stored for one series.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SeriesUsage {
    /// Bytes of its layers that no other image digest has.
    pub unique_bytes: u64,
    /// Each layer's bytes divided evenly among all series that have it.
    pub proportional_bytes: f64,
}

/// What is known of one layer while counting.
struct Slot {
    bytes: u64,
    /// How many series have it.
    series: u32,
    /// The only image digest that has it, or [`SEVERAL`].
    image: u32,
    /// The only repository that has it, or [`SEVERAL`].
    repository: u32,
    /// The last series that it was counted for, plus one: each tag and each repository counts it once, and their
    /// series stand together.
    counted: u32,
}

const SEVERAL: u32 = u32::MAX;

/// The place of a layer that no series listed so far.
const UNSEEN: u32 = u32::MAX;

/// Who has each layer, and how big it is.
struct Census {
    /// In the order in which series first list them. Layers' own numbers are all over the place after a long life, and
    /// looking up hundreds of thousands by them would miss the cache each time; this way what is listed together
    /// stands together.
    slots: Vec<Slot>,
    /// Where the slots of the series' layers are, one series after the other.
    places: Vec<u32>,
    /// Layers whose sizes images disagree about, and where their slots are. Some stand here repeatedly.
    disagreeing: Vec<(u32, u32)>,
}

/// Accounts for the series of one registry, whose layers are numbered below `layers`. Series of one tag stand together,
/// and so do tags of one repository; beyond that, order does not matter.
///
/// # Panics
///
/// If a layer's number is not below `layers`.
pub fn account(series: &[Series], layers: usize) -> Usage {
    let Census { mut slots, places, mut disagreeing } = census(series, layers);
    let repositories = series.iter().map(|one| one.repository as usize + 1).max().unwrap_or(0);
    let tags = series.iter().map(|one| one.tag as usize + 1).max().unwrap_or(0);
    let mut usage = Usage {
        stored_bytes: slots.iter().fold(0, |sum, slot| sum.saturating_add(slot.bytes)),
        repositories: vec![None; repositories],
        tag_stored_bytes: vec![None; tags],
        series: Vec::with_capacity(series.len()),
        disagreeing: Vec::new(),
    };
    // Where the series of this tag and of this repository begin.
    let mut tag_start = 0;
    let mut repository_start = 0;
    let mut before: Option<&Series> = None;
    let mut places = places.as_slice();
    for (number, one) in (0_u32..).zip(series) {
        if before.is_none_or(|before| before.tag != one.tag) {
            tag_start = number;
        }
        if before.is_none_or(|before| before.repository != one.repository) {
            repository_start = number;
        }
        before = Some(one);
        let repository = usage.repositories[one.repository as usize].get_or_insert_default();
        let tag = usage.tag_stored_bytes[one.tag as usize].get_or_insert_default();
        let mut shares = SeriesUsage::default();
        let (its, others) = places.split_at(one.layers.len());
        places = others;
        for &place in its {
            let slot = &mut slots[place as usize];
            shares.proportional_bytes += slot.bytes as f64 / f64::from(slot.series);
            if slot.image == one.image {
                shares.unique_bytes = shares.unique_bytes.saturating_add(slot.bytes);
            }
            if slot.counted <= tag_start {
                *tag = tag.saturating_add(slot.bytes);
            }
            if slot.counted <= repository_start {
                repository.stored_bytes = repository.stored_bytes.saturating_add(slot.bytes);
                if slot.repository == one.repository {
                    repository.unique_bytes = repository.unique_bytes.saturating_add(slot.bytes);
                }
            }
            slot.counted = number + 1;
        }
        usage.series.push(shares);
    }
    disagreeing.sort_unstable();
    disagreeing.dedup();
    let smallest = |(layer, place): (u32, u32)| StoredLayer { layer, bytes: slots[place as usize].bytes };
    usage.disagreeing.extend(disagreeing.into_iter().map(smallest));
    usage
}

fn census(series: &[Series], layers: usize) -> Census {
    let listed = series.iter().map(|one| one.layers.len()).sum();
    let mut census =
        Census { slots: Vec::with_capacity(layers), places: Vec::with_capacity(listed), disagreeing: Vec::new() };
    let mut place_of = vec![UNSEEN; layers];
    for one in series {
        for listed in one.layers {
            let place = &mut place_of[listed.layer as usize];
            if *place == UNSEEN {
                *place = u32::try_from(census.slots.len()).expect("as many as layers, which are numbered so");
                let (image, repository) = (one.image, one.repository);
                census.slots.push(Slot { bytes: listed.bytes, series: 0, image, repository, counted: 0 });
            }
            census.places.push(*place);
            let slot = &mut census.slots[*place as usize];
            slot.series += 1;
            if slot.bytes != listed.bytes {
                census.disagreeing.push((listed.layer, *place));
                slot.bytes = slot.bytes.min(listed.bytes);
            }
            if slot.image != one.image {
                slot.image = SEVERAL;
            }
            if slot.repository != one.repository {
                slot.repository = SEVERAL;
            }
        }
    }
    census
}

#[cfg(test)]
mod tests;
