//! Values by key that change: what waits for the writer, or all that there is.

use std::collections::HashMap;
use std::hash::Hash;

/// Values of which the default says that there is none.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Changes<K: Eq + Hash, V> {
    /// Whether there is none of what is not named.
    pub(super) is_all: bool,
    pub(super) values: HashMap<K, V>,
}

impl<K: Eq + Hash, V: Default + PartialEq> Changes<K, V> {
    /// Adds changes that came later.
    pub(super) fn then(&mut self, later: Self) {
        self.begin(later.is_all);
        self.values.extend(later.values);
    }

    fn begin(&mut self, is_all: bool) {
        if is_all {
            self.is_all = true;
            self.values.clear();
        }
    }
}

impl<K: Eq + Hash, V> Default for Changes<K, V> {
    fn default() -> Self {
        Self { is_all: false, values: HashMap::new() }
    }
}

#[cfg(feature = "postgres")]
impl<K: Clone + Eq + Hash, V: Clone + Default + PartialEq> Changes<K, V> {
    /// Applies changes to all that there is.
    pub(super) fn apply(&mut self, changes: Self) {
        self.begin(changes.is_all);
        for (key, value) in changes.values {
            if value == V::default() {
                self.values.remove(&key);
            } else {
                self.values.insert(key, value);
            }
        }
    }

    /// Those that differ from what was there before.
    pub(super) fn rows(&self, before: &Self, mut add: impl FnMut(K, V)) {
        let none = V::default();
        for (key, value) in &self.values {
            if before.values.get(key).unwrap_or(&none) != value {
                add(key.clone(), value.clone());
            }
        }
        if self.is_all {
            let gone = before.values.keys().filter(|key| !self.values.contains_key(*key));
            gone.for_each(|key| add(key.clone(), V::default()));
        }
    }
}
