//! One pass over the tar of an archive.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};

use super::blob::{Blob, DOCUMENT_BYTES_MAX, Depth};
use super::error::LocalError;
use crate::layer::{Entry, Kind, decompress, read_contents};

/// An archive with more files is refused. An image has two to four for each layer.
const FILES_MAX: usize = 100_000;

/// The bytes of all documents together.
const DOCUMENTS_BYTES_MAX: u64 = 64 << 20;

/// A longer name is that of no file that is looked for.
const NAME_BYTES_MAX: usize = 1024;

/// Symbolic links are followed so many times.
const LINKS_MAX: usize = 8;

/// The files of an archive.
#[derive(Debug, Default)]
pub(super) struct Archive {
    files: HashMap<String, ArchivedFile>,
    /// Links, by name, with the name of their target.
    links: HashMap<String, String>,
    document_bytes: u64,
}

/// One file.
#[derive(Debug)]
pub(super) struct ArchivedFile {
    pub(super) blob: Blob,
    /// Its bytes, where it may be a JSON document.
    pub(super) document: Option<Vec<u8>>,
}

impl Archive {
    /// Reads a tar, which may be compressed as `docker load` accepts it.
    pub(super) fn read(tar: impl BufRead, mut depth: Depth) -> Result<Self, LocalError> {
        let mut archive = Self::default();
        let mut tar = BufReader::with_capacity(256 << 10, decompress(tar)?);
        read_contents(&mut tar, |entry, content| archive.take(entry, content, &mut depth))?;
        Ok(archive)
    }

    /// A file by its name. Links are followed: older engines write one for a layer that two images share.
    pub(super) fn get(&self, name: &str) -> Option<&ArchivedFile> {
        let mut name = name;
        for _ in 0..LINKS_MAX {
            if let Some(file) = self.files.get(name) {
                return Some(file);
            }
            name = self.links.get(name)?;
        }
        None
    }

    fn take(&mut self, entry: Entry<'_>, mut content: &mut dyn BufRead, depth: &mut Depth) -> Result<(), LocalError> {
        let Some(name) = normal(entry.path, "") else { return Ok(()) };
        if self.files.len() + self.links.len() >= FILES_MAX {
            return Err(LocalError::Invalid(format!("it has more than {FILES_MAX} files, which no image has")));
        }
        match entry.kind {
            Kind::File => {
                let file = self.file(entry.bytes, &mut content, *depth)?;
                *depth = depth.after(&file.blob);
                self.files.insert(name, file);
            }
            Kind::Symlink => {
                let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
                self.links.extend(normal(entry.link, folder).map(|target| (name.clone(), target)));
            }
            Kind::Link => self.links.extend(normal(entry.link, "").map(|target| (name, target))),
            Kind::Directory | Kind::Special | Kind::Unknown => {}
        }
        Ok(())
    }

    fn file(&mut self, bytes: u64, content: &mut dyn Read, depth: Depth) -> Result<ArchivedFile, LocalError> {
        if bytes > DOCUMENT_BYTES_MAX {
            return Ok(ArchivedFile { blob: Blob::read(content, bytes, depth)?, document: None });
        }
        let mut whole = Vec::new();
        content.read_to_end(&mut whole)?;
        let is_document = whole.trim_ascii_start().starts_with(b"{") || whole.trim_ascii_start().starts_with(b"[");
        let blob = Blob::read(&mut &whole[..], bytes, depth)?;
        if !is_document {
            return Ok(ArchivedFile { blob, document: None });
        }
        self.document_bytes += bytes;
        if self.document_bytes > DOCUMENTS_BYTES_MAX {
            return Err(LocalError::Invalid("its JSON documents are more than 64 MiB".to_owned()));
        }
        Ok(ArchivedFile { blob, document: Some(whole) })
    }
}

/// A path in the archive, from the folder that it stands in, without `.` and `..`. None for one that is too long, not
/// UTF-8 or that leads out of the archive.
fn normal(path: &[u8], folder: &str) -> Option<String> {
    if path.len() > NAME_BYTES_MAX {
        return None;
    }
    let path = std::str::from_utf8(path).ok()?;
    let folder = if path.starts_with('/') { "" } else { folder };
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_found_however_a_tar_writes_them() {
        for (path, folder, expected) in [
            ("./index.json", "", Some("index.json")),
            ("/a//b/", "", Some("a/b")),
            ("../b/layer.tar", "a", Some("b/layer.tar")),
            ("../../b", "a", None),
        ] {
            assert_eq!(normal(path.as_bytes(), folder).as_deref(), expected, "{path}");
        }
        assert_eq!(normal(&[b'x'; NAME_BYTES_MAX + 1], ""), None);
    }

    /// A tar of one regular file of each name and content, as `tar` writes it.
    fn tar(files: &[(&str, u8, &[u8])]) -> Vec<u8> {
        let mut tar = Vec::new();
        for (name, flag, content) in files {
            let mut block = vec![0; 512];
            block[..name.len()].copy_from_slice(name.as_bytes());
            let (link, content) = if *flag == b'0' { (&b""[..], *content) } else { (*content, &b""[..]) };
            block[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
            block[156] = *flag;
            block[157..157 + link.len()].copy_from_slice(link);
            block[257..265].copy_from_slice(b"ustar\x0000");
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            tar.extend(block);
            tar.extend(content);
            tar.resize(tar.len().next_multiple_of(512), 0);
        }
        tar.resize(tar.len() + 1024, 0);
        tar
    }

    #[test]
    fn documents_are_kept_and_of_layers_the_sizes() {
        let inner = tar(&[("etc/motd", b'0', b"hello")]);
        let files: [(&str, u8, &[u8]); 4] = [
            ("manifest.json", b'0', b" [1]"),
            ("a/layer.tar", b'0', &inner),
            ("b/layer.tar", b'2', b"../a/layer.tar"),
            ("loop", b'2', b"loop"),
        ];
        for depth in [Depth::Open, Depth::Whole] {
            let archive = Archive::read(&tar(&files)[..], depth).unwrap();
            assert_eq!(archive.get("manifest.json").unwrap().document.as_deref(), Some(&b" [1]"[..]));
            let layer = archive.get("b/layer.tar").unwrap();
            assert!(layer.document.is_none() && !layer.blob.is_compressed);
            let content = layer.blob.measured.clone().unwrap().unwrap().content;
            assert_eq!((layer.blob.bytes, content.uncompressed_bytes), (2048, 2048));
            assert_eq!(content.unpacked.bytes(), (depth == Depth::Whole).then_some(5));
            assert!(archive.get("loop").is_none() && archive.get("nothing").is_none());
        }
    }

    #[test]
    fn what_is_no_archive_is_refused() {
        let error = |bytes: &[u8]| Archive::read(bytes, Depth::Open).unwrap_err().to_string();
        assert!(error(&[b'x'; 600]).starts_with("not a tar: "), "{}", error(&[b'x'; 600]));
        let whole = tar(&[("a", b'0', &[7; 2000])]);
        assert!(error(&whole[..1500]).starts_with("not a tar: "), "{}", error(&whole[..1500]));
        assert_eq!(error(&[0x1f, 0x8b, 8, 0, 0]), "the archive is truncated: its compressed stream ends in the middle");
    }

    proptest! {
        #[test]
        fn no_bytes_panic_the_reader(mut bytes in proptest::collection::vec(any::<u8>(), 0..3000), at in 0..2000_usize) {
            drop(Archive::read(&bytes[..], Depth::Whole));
            let whole = tar(&[("manifest.json", b'0', &bytes), ("b", b'1', b"manifest.json")]);
            bytes = whole;
            let position = at % bytes.len();
            bytes[position] ^= 0x55;
            drop(Archive::read(&bytes[..], Depth::Whole));
        }
    }
}
