//! The files of images: what each layer adds, replaces and removes; what remains; what is wasted; what grew.
//!
//! A layer's listing is what overlay2 has of it in a directory of its own. Listings merge as overlay2 merges these
//! directories, so that the bytes of all layers are the bytes of the image's files and the wasted ones, to the byte.
//!
//! In reading order: one layer; the layers of an image, merged; what of it is big or wasted; two images; packages.

mod listing;
mod skeleton;

mod merge;
mod path;

mod growth;
mod ranking;

mod installed;
pub mod packages;

pub use growth::{Change, Growth, PathChange};
pub use installed::Packages;
pub use listing::{Inode, Kind, LayerFiles, Listing, Node, PATHS_MAX, Unknowable, Unlisted};
pub use merge::{ImageFiles, Standing};
pub use ranking::{Cause, RankedPath, WastedFile};
pub use skeleton::Skeleton;
