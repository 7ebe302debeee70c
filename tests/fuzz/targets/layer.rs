//! Compressed layers, in pieces of any length: gzip, zstd, neither; the pieces change nothing.

#![no_main]

use bytes::Bytes;
use image_size_exporter::image::LayerContent;
use image_size_exporter::oci::Digest;
use image_size_exporter::layer::Measure;
use libfuzzer_sys::fuzz_target;

fn measured(blob: &[u8], piece_bytes: usize) -> Option<LayerContent> {
    let measure = Measure::new(&Digest::sha256_of(blob), None).expect("sha256 is supported");
    measure.read(blob.chunks(piece_bytes).map(Bytes::copy_from_slice)).ok()
}

fuzz_target!(|data: &[u8]| {
    let Some((piece_bytes, blob)) = data.split_first() else { return };
    assert_eq!(measured(blob, usize::from(*piece_bytes).max(1)), measured(blob, blob.len().max(1)));
});
