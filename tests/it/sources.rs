//! Sources: what they see is what runs.

#[cfg(feature = "kubernetes")]
mod kubernetes;
