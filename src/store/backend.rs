//! What is behind the queue.

use std::sync::Arc;

use super::error::StoreError;
use super::file::tables::File;
use super::file::writer::OpenFile;
use crate::oci::{Repository, Tag};
use crate::tag::TagRecord;

/// Where everything is that is not in the queue.
#[derive(Debug)]
pub(super) enum Backend {
    /// Nowhere: the queue has everything.
    Memory,
    /// In the state file.
    File(Arc<OpenFile>),
}

impl Backend {
    /// Looks up one value.
    pub(super) fn find<T>(&self, in_file: impl Fn(&File) -> Result<Option<T>, StoreError>) -> Option<T> {
        match self {
            Self::Memory => None,
            Self::File(file) => file.read(in_file).flatten(),
        }
    }

    /// Every tag's record.
    pub(super) fn tags(&self) -> Vec<(Repository, Tag, TagRecord)> {
        match self {
            Self::Memory => Vec::new(),
            Self::File(file) => file.read(File::tags).unwrap_or_default(),
        }
    }

    /// The number of documents.
    pub(super) fn documents(&self) -> u64 {
        match self {
            Self::Memory => 0,
            Self::File(file) => file.read(File::documents).unwrap_or(0),
        }
    }

    /// Whether the writer can write: otherwise what is in the queue stays there.
    pub(super) fn is_open(&self) -> bool {
        match self {
            Self::Memory => false,
            Self::File(file) => file.is_open(),
        }
    }

    /// What the writer waits for, for people.
    pub(super) fn written_to(&self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::File(_) => "the disk of the state file",
        }
    }

    /// Called after the writer has ended.
    pub(super) fn close(&self) {
        match self {
            Self::Memory => {}
            Self::File(file) => file.close(),
        }
    }
}
