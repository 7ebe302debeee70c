//! The largest of many.

/// The items with the largest keys, at most a fixed number of them, largest first. Of equal keys the first added stays
/// first.
pub(super) struct Top<K, T> {
    max: usize,
    items: Vec<(K, T)>,
}

impl<K: PartialOrd + Copy, T> Top<K, T> {
    pub(super) fn new(max: usize) -> Self {
        Self { max, items: Vec::with_capacity(max + 1) }
    }

    /// Adds an item if it is among the largest so far.
    pub(super) fn add(&mut self, key: K, item: T) {
        if !self.takes(key) {
            return;
        }
        let place = self.items.partition_point(|(other, _)| *other >= key);
        self.items.insert(place, (key, item));
        self.items.truncate(self.max);
    }

    /// Whether an item with this key would be among the largest so far.
    pub(super) fn takes(&self, key: K) -> bool {
        self.items.len() < self.max || self.items.last().is_some_and(|(least, _)| key > *least)
    }

    /// The items so far.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.items.iter().map(|(_, item)| item)
    }

    pub(super) fn into_vec(self) -> Vec<T> {
        self.items.into_iter().map(|(_, item)| item).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_largest_are_those_of_a_stable_sort(keys in proptest::collection::vec(0_u8..20, 0..60), max in 0_usize..12) {
            let mut top = Top::new(max);
            for (place, key) in keys.iter().enumerate() {
                top.add(*key, place);
            }
            let mut sorted: Vec<usize> = (0..keys.len()).collect();
            sorted.sort_by_key(|place| std::cmp::Reverse(keys[*place]));
            sorted.truncate(max);
            prop_assert_eq!(top.into_vec(), sorted);
        }
    }
}
