//! The contract about tags, targets and sums, sentence by sentence, on a registry `r.io`.

mod bases;
mod catalog;
mod definitions;
mod fixtures;
mod fleet;
mod groups;
mod histories;
mod newest;
mod notified;
mod overlap;
mod reclaimable;
mod restart;
mod running;
mod series;
mod shards;
mod sums;
mod told;
mod told_reclaimable;
mod updates;
