//! Each sentence of the contract about tags, targets and sums, over a registry `r.io`.

mod histories;
mod life;
mod newest;
mod overlap;
mod restart;
mod sums;
mod words;
mod world;
