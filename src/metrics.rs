//! The exposition: the series of a snapshot, rendered and compressed when the snapshot changes, and only as far as it does.
//!
//! The bytes are valid OpenMetrics 1.0 and text 0.0.4 at once, since all series of images and targets are gauges; a
//! snapshot always gives the same bytes. The program's other metrics, which change between snapshots, are not part of
//! them: each answer appends them as a tail, without rendering or compressing the rest again.

mod blocks;
mod changes;
mod encode;
pub mod family;
mod format;
mod gzip;
mod labels;
mod metric;
pub mod own;
mod parallel;
mod process;
mod publisher;
mod rendered;
mod rows;
mod runs;
mod sink;
mod targets;
mod units;

pub use family::Family;
pub use format::Format;
pub(crate) use labels::label;
pub use own::Telemetry;
pub use publisher::{Publisher, channel};
pub use rendered::{Encoding, Rendered, Shown};
