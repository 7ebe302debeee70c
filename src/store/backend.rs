//! What is behind the queue.

use std::sync::Arc;

use super::batch::Batch;
use super::error::StoreError;
use super::file::tables::File;
use super::file::writer::OpenFile;
#[cfg(feature = "postgres")]
use super::postgres::Database;
use super::stored::FactsOf;
use crate::oci::{Digest, Repository, Tag};
use crate::tag::TagRecord;

/// Where everything is that is not in the queue.
#[derive(Debug)]
pub(super) enum Backend {
    /// Nowhere: the queue has everything.
    Memory,
    /// In the state file.
    File(Arc<OpenFile>),
    /// In a database, and what is in use in memory too.
    #[cfg(feature = "postgres")]
    Database(Arc<Database>),
}

impl Backend {
    /// Looks up one value: in the file, or in what a database has in memory.
    #[cfg_attr(not(feature = "postgres"), expect(unused_variables, reason = "only databases have batches in memory"))]
    pub(super) fn find<T>(
        &self,
        in_batch: impl Fn(&Batch) -> Option<T>,
        in_file: impl Fn(&File) -> Result<Option<T>, StoreError>,
    ) -> Option<T> {
        match self {
            Self::Memory => None,
            Self::File(file) => file.read(in_file).flatten(),
            #[cfg(feature = "postgres")]
            Self::Database(database) => database.find(in_batch),
        }
    }

    /// Brings into memory what a database has of these digests. Others are asked when a value is looked up.
    #[cfg_attr(
        not(feature = "postgres"),
        expect(clippy::unused_async, unused_variables, reason = "only databases are waited for")
    )]
    pub(super) async fn load(&self, digests: &[Digest], facts: FactsOf) {
        match self {
            Self::Memory | Self::File(_) => {}
            #[cfg(feature = "postgres")]
            Self::Database(database) => database.load(digests, facts).await,
        }
    }

    /// Every tag's record.
    pub(super) fn tags(&self) -> Vec<(Repository, Tag, TagRecord)> {
        match self {
            Self::Memory => Vec::new(),
            Self::File(file) => file.read(File::tags).unwrap_or_default(),
            #[cfg(feature = "postgres")]
            Self::Database(database) => database.tags(),
        }
    }

    /// The number of documents.
    pub(super) fn documents(&self) -> u64 {
        match self {
            Self::Memory => 0,
            Self::File(file) => file.read(File::documents).unwrap_or(0),
            #[cfg(feature = "postgres")]
            Self::Database(database) => database.documents(),
        }
    }

    /// Whether the writer can write: otherwise what is in the queue stays there.
    pub(super) fn is_open(&self) -> bool {
        match self {
            Self::Memory => false,
            Self::File(file) => file.is_open(),
            #[cfg(feature = "postgres")]
            Self::Database(_) => true,
        }
    }

    /// What the writer waits for, for people.
    pub(super) fn written_to(&self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::File(_) => "the disk of the state file",
            #[cfg(feature = "postgres")]
            Self::Database(_) => "the database",
        }
    }

    /// Called after the writer has ended.
    pub(super) fn close(&self) {
        match self {
            Self::Memory => {}
            Self::File(file) => file.close(),
            #[cfg(feature = "postgres")]
            Self::Database(_) => {}
        }
    }
}
