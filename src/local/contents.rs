//! Documents and layers of an archive or a directory, by name.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use super::archive::Archive;
use super::blob::{Blob, DOCUMENT_BYTES_MAX, Depth};
use super::error::LocalError;
use crate::oci::Digest;

/// Where documents and layers are.
pub(super) enum Contents {
    Directory(PathBuf),
    Archive(Archive),
}

impl Contents {
    /// Whether there is a file of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        match self {
            Self::Directory(directory) => directory.join(name).is_file(),
            Self::Archive(archive) => archive.get(name).is_some(),
        }
    }

    /// A document's bytes; `None` where there is no file of this name.
    pub(super) fn document(&self, name: &str) -> Result<Option<Cow<'_, [u8]>>, LocalError> {
        let too_long = || LocalError::Invalid(format!("`{name}` is no JSON document of at most 4 MiB"));
        match self {
            Self::Directory(directory) => {
                let path = directory.join(name);
                let file = match File::open(&path) {
                    Ok(file) => file,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                    Err(error) => return Err(LocalError::open(&path, &error)),
                };
                let mut bytes = Vec::new();
                file.take(DOCUMENT_BYTES_MAX + 1).read_to_end(&mut bytes)?;
                if bytes.len() as u64 > DOCUMENT_BYTES_MAX { Err(too_long()) } else { Ok(Some(bytes.into())) }
            }
            Self::Archive(archive) => match archive.get(name) {
                Some(file) => Ok(Some(file.document.as_deref().ok_or_else(too_long)?.into())),
                None => Ok(None),
            },
        }
    }

    /// The document with a digest, verified.
    pub(super) fn by_digest(&self, digest: &Digest) -> Result<Option<Cow<'_, [u8]>>, LocalError> {
        let Some(document) = self.document(&blob_name(digest))? else { return Ok(None) };
        if digest.verifies(&document) == Some(false) {
            return Err(LocalError::Invalid(format!("the content of `{}` has another digest", blob_name(digest))));
        }
        Ok(Some(document))
    }

    /// A layer; `None` where there is no file of this name.
    pub(super) fn blob(&self, name: &str, depth: Depth) -> Result<Option<Blob>, LocalError> {
        match self {
            Self::Directory(directory) => {
                let path = directory.join(name);
                let mut file = match File::open(&path) {
                    Ok(file) => file,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                    Err(error) => return Err(LocalError::open(&path, &error)),
                };
                let bytes = file.metadata()?.len();
                Ok(Some(Blob::read(&mut file, bytes, depth)?))
            }
            Self::Archive(archive) => Ok(archive.get(name).map(|file| file.blob.clone())),
        }
    }
}

/// Where an OCI layout keeps what has a digest (OCI image layout specification, "Blobs").
pub(super) fn blob_name(digest: &Digest) -> String {
    format!("blobs/{}", digest.to_string().replacen(':', "/", 1))
}
