//! What each of some shards says of one thing. Of most things one of them does.

use std::collections::HashMap;

use crate::oci::Digest;

/// At least one shard's value.
pub(super) struct ByShard<T> {
    first: (u32, T),
    others: Box<[(u32, T)]>,
}

impl<T> ByShard<T> {
    /// The same with another value of a shard, or with none; `None` where no shard says anything any more.
    pub(super) fn with(before: Option<Self>, shard: u32, value: Option<T>) -> Option<Self> {
        let others = before.into_iter().flat_map(|all| std::iter::once(all.first).chain(all.others));
        let others = others.filter(|(number, _)| *number != shard);
        let mut all = others.chain(value.map(|value| (shard, value)));
        Some(Self { first: all.next()?, others: all.collect() })
    }

    /// The values, in any order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        std::iter::once(&self.first).chain(&*self.others).map(|(_, value)| value)
    }

    /// What a shard says something of.
    pub(super) fn named_by(shard: u32, all: &HashMap<Digest, Self>) -> Vec<Digest> {
        all.iter().filter(|(_, values)| values.has(shard)).map(|(digest, _)| digest.clone()).collect()
    }

    fn has(&self, shard: u32) -> bool {
        self.first.0 == shard || self.others.iter().any(|(number, _)| *number == shard)
    }
}
