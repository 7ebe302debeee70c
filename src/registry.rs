//! The distribution specification's verbs, and one concern of speaking to a registry a file.

pub mod settings;

pub use settings::{Credential, Settings};
