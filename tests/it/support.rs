//! What the tests stand on: a registry that does as it is told, and what is pushed to it.

pub mod images;
pub mod registry;
