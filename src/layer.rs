//! What layers are after decompression: the bytes of their tars, and of the files in them as Docker unpacks them.
//!
//! In reading order: the worker that gets the requests; estimates from a few bytes of a layer or of its SOCI index;
//! streaming whole layers; and the engine, which uses no network, from compression to digest, tar and files.

pub mod worker;

mod budget;

mod results;

mod backoff;

mod probe;

mod estimate;

mod soci;

mod stream;

mod pieces;

mod measure;

mod decompress;

mod tar_stream;

mod hasher;

mod tar;

mod unpack;

mod waste;

mod error;

pub(crate) use decompress::{decompress, is_compressed};
pub use error::MeasureError;
pub use measure::{Measure, Measured};
pub(crate) use pieces::Pieces;
pub use probe::{Forecast, SociIndexes, forecast, is_streamed, probe_now};
pub use stream::StreamError;
pub(crate) use tar::{Entry, Kind, TarError, read_contents};
pub use unpack::Wanted;
pub use worker::{Limits, run};
