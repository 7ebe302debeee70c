//! Each sentence of the contract about tags, targets and sums, over a registry `r.io`.

mod definitions;
mod fixtures;
mod histories;
mod newest;
mod overlap;
mod restart;
mod series;
mod sums;
