//! What layers are after decompression: the bytes of their tars, and of the files in them as Docker unpacks them.
//!
//! In reading order: the lane that gets the work; what a few bytes of a layer, or of its SOCI index, tell; how all of it
//! is streamed; and the engine, which uses no network, from compression to digest, tar and files.

pub mod lane;

mod budget;

mod memory;

mod later;

mod look;

mod cheap;

mod soci;

mod stream;

mod measure;

mod decompress;

mod tar_stream;

mod hasher;

mod tar;

mod tree;

mod error;

pub use error::MeasureError;
pub use lane::{Limits, run};
pub use look::{Foresight, SociIndexes, foresee, look_up};
pub use measure::Measure;
pub use stream::StreamError;
