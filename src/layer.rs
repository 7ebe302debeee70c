//! What layers are after decompression: the bytes of their tars, and of the files in them as Docker unpacks them.
//!
//! In reading order: the worker that gets the requests; what a few bytes of a layer, or of its SOCI index, tell; how all
//! of it is streamed; and the engine, which uses no network, from compression to digest, tar and files.

pub mod worker;

mod budget;

mod results;

mod backoff;

mod probe;

mod estimate;

mod soci;

mod stream;

mod measure;

mod decompress;

mod tar_stream;

mod hasher;

mod tar;

mod unpack;

mod error;

pub use error::MeasureError;
pub use measure::Measure;
pub use probe::{Foresight, SociIndexes, foresee, is_streamed, look_up};
pub use stream::StreamError;
pub use worker::{Limits, run};
