//! Layers that have content: tars, and what is pushed of them.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use image_size_exporter::oci::Digest;

use super::images::{Blob, OCI_LAYER};

/// A layer whose tar is known, pushed with gzip.
pub(crate) struct Tar {
    pub(crate) diff_id: Digest,
    pub(crate) gzip: Blob,
}

impl Tar {
    pub(crate) fn new(tar: &[u8]) -> Self {
        Self { diff_id: Digest::sha256_of(tar), gzip: Blob::new(OCI_LAYER, gzip(tar)) }
    }
}

/// A ustar header and the content of a file of this size.
fn file(path: &str, bytes: usize) -> Vec<u8> {
    let content: Vec<u8> = (0..bytes).map(|position| u8::try_from(position * position % 251).unwrap()).collect();
    entry(path, &content)
}

/// A ustar header and the content of a file.
fn entry(path: &str, content: &[u8]) -> Vec<u8> {
    let bytes = content.len();
    let mut block = vec![0; 512];
    block[..path.len()].copy_from_slice(path.as_bytes());
    block[124..136].copy_from_slice(format!("{bytes:011o}\0").as_bytes());
    block[156] = b'0';
    block[257..265].copy_from_slice(b"ustar\x0000");
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block.extend(content);
    block.resize(block.len().next_multiple_of(512), 0);
    block
}

/// A ustar header of a hard link.
pub(crate) fn hard_link(path: &str, target: &str) -> Vec<u8> {
    let mut block = file(path, 0);
    block[156] = b'1';
    block[157..157 + target.len()].copy_from_slice(target.as_bytes());
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// GNU's header of a sparse file that is one hole of so many bytes.
pub(crate) fn sparse_file(path: &str, bytes: i64) -> Vec<u8> {
    let mut block = file(path, 0);
    block[156] = b'S';
    block[257..265].copy_from_slice(b"ustar  \0");
    block[483] = 0x80;
    block[487..495].copy_from_slice(&bytes.to_be_bytes());
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// A tar of these files.
pub(crate) fn archive(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut tar: Vec<u8> = files.iter().flat_map(|(path, content)| entry(path, content)).collect();
    tar.resize(tar.len() + 1024, 0);
    tar
}

/// A tar of files of these sizes.
pub(crate) fn tar(sizes: &[usize]) -> Vec<u8> {
    let mut tar: Vec<u8> =
        sizes.iter().enumerate().flat_map(|(number, &bytes)| file(&format!("directory/{number}"), bytes)).collect();
    tar.resize(tar.len() + 1024, 0);
    tar
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
