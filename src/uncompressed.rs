//! What layers are after decompression: the bytes of their tars, and of the files in them as Docker unpacks them.

mod decompress;
mod gzip;
mod hasher;
mod measure;
mod tar;
mod tree;

pub use measure::{Measure, MeasureError};
