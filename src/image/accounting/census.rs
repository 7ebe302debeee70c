//! What is counted of each layer of a registry, kept up to date by the repositories that change.
//!
//! A change costs the layers that the repository listed and lists, and of each of these the repositories that list it.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::{ImageMark, LayerCount, Series, StoredLayer};

/// Each layer's size, and which series list it: of the repositories of one registry, and of those that are counted elsewhere.
#[derive(Default)]
pub struct Census {
    /// By layer: what all series say of it, those elsewhere included. Without series where only others list it.
    totals: Vec<Count>,
    /// What each repository here says of a layer that several have, or that is listed elsewhere too. A layer that is not in
    /// here is listed by one repository at most, and its total is what that one says.
    shared: HashMap<u32, Vec<Count>>,
    /// What is counted elsewhere.
    elsewhere: HashMap<u32, LayerCount>,
    /// The layers with different sizes in different manifests.
    disagreeing: BTreeSet<u32>,
    /// Bytes of the layers that are listed here.
    bytes: u128,
    /// Bytes, by what is counted elsewhere, of the layers that are listed here and elsewhere.
    bytes_of_both: u128,
    /// What is to be counted anew.
    noted: Vec<Noted>,
    /// The repositories whose series changed since that was done.
    replaced: HashSet<u32>,
}

/// What series say of one layer.
#[derive(Clone, Copy, PartialEq)]
pub(super) struct Count {
    /// Compressed bytes: the smallest where manifests disagree.
    pub(super) bytes: u64,
    /// The number of series that have it.
    pub(super) series: u32,
    /// The only image digest that has it, or [`SEVERAL`].
    pub(super) image: u32,
    /// The only repository that has it, or [`SEVERAL`].
    pub(super) repository: u32,
    /// Whether manifests disagree about its bytes.
    disagrees: bool,
}

/// A layer that a repository lists now, or did before.
#[derive(Clone, Copy)]
struct Noted {
    layer: u32,
    /// What the repository says of it now.
    count: Count,
}

/// What was counted anew.
pub struct Recounted {
    /// The repositories whose figures may be other ones.
    pub repositories: HashSet<u32>,
    /// The layers, ascending.
    pub layers: Vec<u32>,
}

const SEVERAL: u32 = u32::MAX;

impl Census {
    /// A repository has other series now; `before` are the layers of all of those that it had, in any order. Before
    /// [`Self::settle`] it may lose its series and get new ones, in this order, but not get some twice. Numbers of layers and images
    /// may have been given to others, if all repositories that had them are replaced before that.
    pub fn replace<'a>(&mut self, repository: u32, before: &[StoredLayer], now: impl Iterator<Item = Series<'a>>) {
        self.replaced.insert(repository);
        let lists_no_more = before.iter().map(|listed| Noted { layer: listed.layer, count: Count::none(repository) });
        let lists = now.flat_map(|one| {
            let noted = move |listed: &StoredLayer| {
                let count = Count { bytes: listed.bytes, series: 1, image: one.image, ..Count::none(repository) };
                Noted { layer: listed.layer, count }
            };
            one.layers.iter().map(noted)
        });
        let mut noted: Vec<Noted> = lists_no_more.chain(lists).collect();
        noted.sort_unstable_by_key(|one| one.layer);
        let of_layers = noted.chunk_by(|a, b| a.layer == b.layer);
        self.noted.extend(of_layers.map(|noted| Noted { layer: noted[0].layer, count: together(noted) }));
    }

    /// Sets what is counted of a layer elsewhere: of other repositories of the registry.
    pub fn set_elsewhere(&mut self, layer: u32, count: LayerCount) {
        let listed = count.is_listed().then_some(count);
        let before = match listed {
            Some(count) => self.elsewhere.insert(layer, count),
            None => self.elsewhere.remove(&layer),
        };
        if before == listed {
            return;
        }
        if self.totals.get(layer as usize).is_some_and(Count::is_listed) {
            let bytes = |count: Option<LayerCount>| count.map_or(0, |count| u128::from(count.bytes));
            self.bytes_of_both = self.bytes_of_both - bytes(before) + bytes(listed);
        }
        self.noted.push(Noted { layer, count: Count::none(SEVERAL) });
    }

    /// Counts anew what changed. `mark_of` makes the mark of an image from its number.
    pub fn settle(&mut self, mark_of: impl Fn(u32) -> ImageMark) -> Recounted {
        let mut noted = std::mem::take(&mut self.noted);
        noted.sort_unstable_by_key(|one| (one.layer, one.count.repository));
        let end = noted.last().map_or(0, |last| last.layer as usize + 1);
        if self.totals.len() < end {
            self.totals.resize(end, Count::none(SEVERAL));
        }
        let (mut repositories, mut layers) = (std::mem::take(&mut self.replaced), Vec::new());
        for noted in noted.chunk_by(|a, b| a.layer == b.layer) {
            let layer = noted[0].layer;
            layers.push(layer);
            if self.recount(layer, noted, &mark_of) {
                repositories.extend(self.held(layer).iter().map(|count| count.repository));
            }
        }
        Recounted { repositories, layers }
    }

    /// What these series say of a layer, without those elsewhere. `mark_of` is as in [`Self::settle`].
    pub fn count(&self, layer: u32, mark_of: impl Fn(u32) -> ImageMark) -> LayerCount {
        let Some(count) = self.held(layer).iter().copied().reduce(Count::and) else { return LayerCount::default() };
        let image = (count.image != SEVERAL).then(|| mark_of(count.image));
        LayerCount { bytes: count.bytes, image, series: count.series }
    }

    /// Bytes that the registry stores for all series. `bytes_elsewhere`: of all layers that are listed elsewhere.
    pub fn stored_bytes(&self, bytes_elsewhere: u128) -> u64 {
        let only_elsewhere = bytes_elsewhere.saturating_sub(self.bytes_of_both);
        u64::try_from(self.bytes.saturating_add(only_elsewhere)).unwrap_or(u64::MAX)
    }

    /// The layers with different sizes in different manifests, with the smallest size. Ascending.
    pub fn disagreeing(&self) -> impl Iterator<Item = StoredLayer> {
        self.disagreeing.iter().map(|&layer| StoredLayer { layer, bytes: self.totals[layer as usize].bytes })
    }

    /// What all series say of a layer that one of them here lists.
    pub(super) fn total(&self, layer: u32) -> &Count {
        &self.totals[layer as usize]
    }

    /// The numbers of all counted layers are below this.
    pub(super) fn layers_end(&self) -> usize {
        self.totals.len()
    }

    /// What each repository says of a layer that it lists.
    fn held(&self, layer: u32) -> &[Count] {
        match (self.shared.get(&layer), self.totals.get(layer as usize)) {
            (Some(held), _) => held,
            (None, Some(total)) if total.is_listed() => std::slice::from_ref(total),
            (None, _) => &[],
        }
    }

    /// Counts a layer anew after these repositories changed, which are in ascending order; returns whether its total changed.
    fn recount(&mut self, layer: u32, noted: &[Noted], mark_of: impl Fn(u32) -> ImageMark) -> bool {
        let before = self.totals[layer as usize];
        let mut held = self.shared.remove(&layer).unwrap_or_else(|| self.held(layer).to_vec());
        held.retain(|count| noted.binary_search_by_key(&count.repository, |one| one.count.repository).is_err());
        let by_repository = noted.chunk_by(|a, b| a.count.repository == b.count.repository).map(together);
        held.extend(by_repository.filter(Count::is_listed));
        let mut total = held.iter().copied().reduce(Count::and).unwrap_or(Count::none(SEVERAL));
        if let Some(other) = self.elsewhere.get(&layer) {
            let (bytes, both) = (u128::from(other.bytes), (before.is_listed(), total.is_listed()));
            match both {
                (false, true) => self.bytes_of_both += bytes,
                (true, false) => self.bytes_of_both -= bytes,
                _ => {}
            }
            if total.is_listed() {
                let is_same = total.image != SEVERAL && other.image == Some(mark_of(total.image));
                let image = if is_same { total.image } else { SEVERAL };
                let (bytes, series) = (other.bytes, other.series);
                total = total.and(Count { bytes, series, image, ..Count::none(SEVERAL) });
            }
        }
        self.bytes = self.bytes - before.stored() + total.stored();
        if total.disagrees {
            self.disagreeing.insert(layer);
        } else {
            self.disagreeing.remove(&layer);
        }
        if total.is_listed() && total.repository == SEVERAL {
            held.shrink_to_fit();
            self.shared.insert(layer, held);
        }
        self.totals[layer as usize] = total;
        total != before
    }
}

impl Count {
    /// That of a repository that does not list the layer.
    fn none(repository: u32) -> Self {
        Self { bytes: 0, series: 0, image: SEVERAL, repository, disagrees: false }
    }

    fn is_listed(&self) -> bool {
        self.series > 0
    }

    /// What the registry stores for it.
    fn stored(&self) -> u128 {
        u128::from(self.bytes)
    }

    /// This count and that of other series together.
    fn and(self, other: Self) -> Self {
        let only = |a: u32, b: u32| if a == b { a } else { SEVERAL };
        match (self.is_listed(), other.is_listed()) {
            (false, _) => other,
            (_, false) => self,
            _ => Self {
                bytes: self.bytes.min(other.bytes),
                series: self.series.saturating_add(other.series),
                image: only(self.image, other.image),
                repository: only(self.repository, other.repository),
                disagrees: self.disagrees || other.disagrees || self.bytes != other.bytes,
            },
        }
    }
}

/// What a repository says of a layer now: there may also be notes that it listed it before.
fn together(noted: &[Noted]) -> Count {
    noted.iter().map(|one| one.count).reduce(Count::and).unwrap_or(Count::none(SEVERAL))
}
