//! What the tags of a repository hold that a policy lets go, and which of it nothing else has.
//!
//! A blob is freed if they are all who have it. What only one repository has is summed where that is judged (`policies`). Of
//! what several have, each policy counts how often it is named by what goes, and looks again at what changed.

use super::blob_exchange::{BlobExchange, Numbered};
use super::blobs_elsewhere::BlobsElsewhere;
use super::elsewhere::ReclaimableElsewhere;
use super::holders::{Held, HeldBlob, Holders, HoldersByBlob, blobs};
use super::interner::Renumbered;
use super::layer_table::{LayerTable, TagContent};
use super::shared_blobs::SharedBlobs;
use crate::image::Timestamp;
use crate::tag::{BlobName, GoneBy, PolicySet};

/// What a policy lets go in a repository.
#[derive(Default, PartialEq)]
pub(super) struct RepositoryReclaimable {
    /// Tags that no rule keeps.
    pub(super) tags: u64,
    /// Bytes that are freed if only these tags are deleted: of blobs that nothing else has.
    pub(super) own_bytes: u64,
    /// Those of them that are of no blob below.
    unlisted_bytes: u64,
    /// The distinct layers of these tags that other repositories have too, ascending; all of them where other shards are told.
    layers: Box<[HeldBlob]>,
    /// Such manifests, configs and indexes, ascending.
    documents: Box<[HeldBlob]>,
}

/// What a repository's policies say, and until when.
#[derive(Default)]
pub(super) struct Judged {
    /// The repository's number among the holders of blobs; 0 before it was first judged.
    pub(super) holder: u32,
    /// What it has.
    pub(super) held: Held,
    /// By policy; none where the policy is about no tag of the repository.
    pub(super) by_policy: Vec<Option<RepositoryReclaimable>>,
    /// Whether all of its tags were read, and its lists.
    pub(super) is_known: bool,
    /// From when until when the verdicts hold.
    pub(super) from: Timestamp,
    pub(super) until: Timestamp,
}

impl Judged {
    /// Whether time alone changes a verdict.
    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        now < self.from || self.until <= now
    }

    /// Whether a policy is about any tag of it.
    pub(super) fn is_about_tags(&self) -> bool {
        self.by_policy.iter().any(Option::is_some)
    }
}

impl RepositoryReclaimable {
    /// What these tags of a repository hold: all that removing their content from the layer table would release.
    pub(super) fn new<'a>(
        gone: impl Iterator<Item = &'a TagContent>,
        table: &LayerTable,
        holders: &Holders,
        lists_all: bool,
    ) -> Self {
        let mut tags = 0;
        let (layers, documents) = blobs(gone.inspect(|_| tags += 1));
        let (own_layers, layers) = split(layers, table.layers().uses(), &holders.layers, lists_all);
        let (own_documents, documents) = split(documents, table.documents().uses(), &holders.documents, lists_all);
        let own_bytes = own_layers.saturating_add(own_documents);
        let unlisted_bytes = if lists_all { 0 } else { own_bytes };
        Self { tags, own_bytes, unlisted_bytes, layers, documents }
    }
}

/// The bytes of blobs that nothing else has, and the blobs that other repositories have too, or all of them.
fn split(gone: Vec<HeldBlob>, uses: &[u32], holders: &HoldersByBlob, lists_all: bool) -> (u64, Box<[HeldBlob]>) {
    let mut own_bytes = 0_u64;
    let shared = gone.into_iter().filter(|blob| {
        let is_own = holders.is_ones_own(blob.number);
        if is_own && blob.uses == uses[blob.number as usize] {
            own_bytes = own_bytes.saturating_add(blob.bytes);
        }
        lists_all || !is_own
    });
    let shared = shared.collect();
    (own_bytes, shared)
}

/// What the policies let go on a registry, kept up to date.
#[derive(Default)]
pub(super) struct Reclaimable {
    pub(super) holders: Holders,
    /// By policy.
    pub(super) tallies: Vec<Tally>,
    /// Judged repositories of which something is unknown.
    pub(super) unknown: usize,
    /// Whether everything on the registry is known, but for what other shards have: only then are there bytes.
    pub(super) is_known: bool,
    /// With shards that tell each other what goes.
    pub(super) exchange: Option<BlobExchange>,
}

impl Reclaimable {
    /// A repository is no longer watched, or is judged anew from the beginning.
    pub(super) fn forget(&mut self, judged: &Judged) {
        self.replace(judged, &Judged::default());
        self.holders.replace(judged.holder, &judged.held, &Held::default());
    }

    /// Takes what a repository's policies said out, and what they say now in.
    pub(super) fn replace(&mut self, before: &Judged, now: &Judged) {
        for (tally, of) in self.tallies.iter_mut().zip(&before.by_policy) {
            if let Some(of) = of {
                tally.subtract(of);
            }
        }
        for (tally, of) in self.tallies.iter_mut().zip(&now.by_policy) {
            if let Some(of) = of {
                tally.add(of);
            }
        }
        self.unknown -= usize::from(before.holder != 0 && !before.is_known);
        self.unknown += usize::from(now.holder != 0 && !now.is_known);
    }

    /// Takes which numbers were given to other layers and documents, and what other shards say: before repositories are judged.
    pub(super) fn hear(&mut self, renumbered: [&Renumbered; 2], table: &LayerTable, others: &mut BlobsElsewhere) {
        let Self { holders, tallies, exchange, .. } = self;
        if let Some(exchange) = exchange {
            exchange.renumber(renumbered, table, others, holders);
        }
        let exchange = exchange.get_or_insert_with(|| BlobExchange::new(table, others, holders));
        exchange.hear(table, others, holders, tallies.len());
    }

    /// Whether shards tell each other what goes.
    pub(super) fn is_shared(&self) -> bool {
        self.exchange.is_some()
    }

    /// Whether everything that a policy frees is known, here and in other shards.
    pub(super) fn is_whole(&self, policy: usize, elsewhere: ReclaimableElsewhere) -> bool {
        self.is_known && elsewhere.is_known && (policy < PolicySet::END || !self.is_shared())
    }

    /// The policies that are about a repository here.
    pub(super) fn about(&self) -> PolicySet {
        let mut about = PolicySet::default();
        let policies = self.tallies.iter().enumerate().filter(|(_, tally)| tally.repositories > 0);
        policies.for_each(|(policy, _)| about.insert(policy));
        about
    }

    /// Takes into account what changed.
    pub(super) fn settle(&mut self, table: &LayerTable) {
        let Self { holders, tallies, exchange, .. } = self;
        let mut changed =
            exchange.as_ref().map(|_| [holders.layers.changed(), holders.documents.changed()].map(<[u32]>::to_vec));
        for (policy, tally) in tallies.iter_mut().enumerate() {
            if let Some([layers, documents]) = &mut changed {
                layers.extend_from_slice(tally.layers.changed());
                documents.extend_from_slice(tally.documents.changed());
            }
            tally.settle(table, holders, exchange.as_ref().map(|exchange| (exchange, policy)));
        }
        if let (Some(exchange), Some(changed)) = (exchange, changed) {
            exchange.note(table, changed, |name| gone_by(tallies, table, name));
        }
        holders.settle();
    }

    /// Whether the other shards have yet to be told something; `is_known`: whether all of this one is.
    pub(super) fn is_news(&self, is_known: bool) -> bool {
        self.exchange.as_ref().is_some_and(|exchange| exchange.is_news(is_known))
    }

    /// What the other shards are to be told, and whether these are all blobs.
    pub(super) fn take_news(&mut self, is_known: bool, table: &LayerTable) -> (bool, Vec<(BlobName, Option<GoneBy>)>) {
        let Self { tallies, exchange, .. } = self;
        let news =
            exchange.as_mut().map(|exchange| exchange.take(is_known, table, |blob| gone_by(tallies, table, blob)));
        news.unwrap_or_default()
    }

    /// Bytes that a policy frees in all shards, as of when it was settled.
    pub(super) fn bytes(&self, policy: usize) -> u64 {
        let elsewhere = self.exchange.as_ref().map_or(0, |exchange| exchange.freed_elsewhere(policy));
        u64::try_from(self.tallies[policy].bytes() + elsewhere).unwrap_or(u64::MAX)
    }
}

/// By which policies all tags of this shard that have a blob go.
fn gone_by(tallies: &[Tally], table: &LayerTable, blob: Numbered) -> GoneBy {
    let mut gone = GoneBy::default();
    for (policy, tally) in tallies.iter().enumerate().take(PolicySet::END) {
        let bytes = match blob {
            Numbered::Layer(number) => tally.layers.gone_here(number, table.layers().uses()),
            Numbered::Document(number) => tally.documents.gone_here(number, table.documents().uses()),
        };
        if let Some(bytes) = bytes {
            gone.policies.insert(policy);
            gone.bytes = bytes;
        }
    }
    gone
}

/// What one policy lets go on a registry.
#[derive(Default)]
pub(super) struct Tally {
    /// The repositories that it is about.
    pub(super) repositories: usize,
    /// Tags that no rule keeps.
    pub(super) tags: u64,
    /// What only one repository has and is not listed; wide, so that what was added can be taken away again.
    own_bytes: u128,
    layers: SharedBlobs,
    documents: SharedBlobs,
}

impl Tally {
    /// Adds what goes in a repository.
    pub(super) fn add(&mut self, of: &RepositoryReclaimable) {
        self.repositories += 1;
        self.tags += of.tags;
        self.own_bytes += u128::from(of.unlisted_bytes);
        self.layers.add(&of.layers);
        self.documents.add(&of.documents);
    }

    /// Takes away what was added.
    pub(super) fn subtract(&mut self, of: &RepositoryReclaimable) {
        self.repositories -= 1;
        self.tags -= of.tags;
        self.own_bytes -= u128::from(of.unlisted_bytes);
        self.layers.subtract(&of.layers);
        self.documents.subtract(&of.documents);
    }

    /// Takes into account what changed; with other shards, also what they say of the policy.
    fn settle(&mut self, table: &LayerTable, holders: &Holders, others: Option<(&BlobExchange, usize)>) {
        let (layers, documents) =
            others.map(|(others, policy)| ((&others.layers, policy), (&others.documents, policy))).unzip();
        self.layers.settle(table.layers().uses(), holders.layers.changed(), layers);
        self.documents.settle(table.documents().uses(), holders.documents.changed(), documents);
    }

    /// Bytes that are freed, as of when it was settled.
    fn bytes(&self) -> u128 {
        self.own_bytes + self.layers.freed_bytes() + self.documents.freed_bytes()
    }
}
