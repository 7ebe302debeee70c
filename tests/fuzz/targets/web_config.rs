//! Web configurations in exporter-toolkit's format: refused with reasons, or read.

#![no_main]

use image_size_exporter::web::WebConfig;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), text).expect("it can be written");
    if let Err(error) = WebConfig::open(file.path()) {
        assert_ne!(error.to_string(), "");
    }
});
