//! Which tags a retention policy keeps, and what a registry is rid of when the others are deleted. Pure.
//!
//! Nothing is deleted by this program. Not here: what is read for it (`commands/retain`, `inventory`).

mod judge;
mod policy;
mod sweep;

pub use judge::{JudgedTag, Judgement, KeptBy, Verdict, judge};
pub use policy::RetentionPolicy;
pub use sweep::{Blob, Document, Freed, TaggedContent, documents_held, freed};
