//! Manifests, indexes and configs: any bytes, under any `Content-Type`, which stands before the first line break.

#![no_main]

use image_size_exporter::image::ConfigFacts;
use image_size_exporter::oci::{Document, ImageConfig};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let (content_type, body) = data.split_at(data.iter().position(|&byte| byte == b'\n').unwrap_or(0));
    let content_type = String::from_utf8_lossy(content_type);
    match Document::parse(&content_type, body) {
        Ok(document) => drop(document.media_type().to_string()),
        Err(error) => drop(error.to_string()),
    }
    if let Ok(config) = ImageConfig::parse(body) {
        drop(ConfigFacts::from(config));
    }
});
