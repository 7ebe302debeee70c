//! Configuration files: refused with reasons, or read and shown.

#![no_main]

use image_size_exporter::config::{Config, Environment};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), text).expect("it can be written");
    match Config::load_with(file.path(), &Environment::default()) {
        Ok(config) => drop(config.redacted()),
        Err(error) => assert_ne!(error.to_string(), ""),
    }
});
