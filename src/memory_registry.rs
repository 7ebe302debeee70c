//! A registry in memory, which the demo shows and the tests talk to.
//!
//! It answers the reading half of the distribution API ("Pull" and "Content Discovery" of the OCI distribution
//! specification): manifests, blobs with ranges, tag lists and the catalog in pages, referrers. Nothing can be pushed to
//! it over HTTP: its owner changes [`Contents`]. The demo adds releases at their time; the tests add faults, counts and
//! authentication. The exporter itself does not use it, and its API may change in any version.

mod answers;
mod contents;
mod payload;
mod resource;
mod server;

pub use answers::error_body;
pub use contents::{Contents, MakeBlob, StoredBlob, StoredManifest};
pub use payload::{Payload, PayloadBody};
pub use resource::Resource;
pub use server::serve;
