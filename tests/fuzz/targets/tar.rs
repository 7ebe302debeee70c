//! Tars, every block of which has the checksum of a header: no fuzzer guesses those, and content may be anything.

#![no_main]

use bytes::Bytes;
use image_size_exporter::oci::Digest;
use image_size_exporter::layer::Measure;
use libfuzzer_sys::fuzz_target;

const BLOCK_BYTES: usize = 512;

/// Where a header has its checksum: six octal digits, NUL, space (POSIX.1-1988, ustar).
const CHECKSUM: std::ops::Range<usize> = 148..156;

fuzz_target!(|data: &[u8]| {
    let mut tar = data.to_vec();
    for block in tar.chunks_exact_mut(BLOCK_BYTES).filter(|block| block.iter().any(|&byte| byte != 0)) {
        block[CHECKSUM].fill(b' ');
        let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
        block[CHECKSUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    let measure = Measure::new(&Digest::sha256_of(&tar), None).expect("sha256 is supported");
    let _ = measure.read([Bytes::from(tar)]);
});
