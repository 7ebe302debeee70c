//! Reads what a start restores, a little ahead of what takes it.

use std::sync::mpsc;

use super::store::Store;
use super::stored::Stored;
use crate::oci::{Digest, Repository, Tag};
use crate::tag::TagRecord;

/// A tag as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct RestoredTag {
    /// Its repository.
    pub repository: Repository,
    /// The tag.
    pub tag: Tag,
    /// Its record.
    pub record: TagRecord,
    /// Its index, if it has one, and its images, without those that were lost.
    pub documents: Vec<(Digest, Stored)>,
}

/// So many are handed over at a time.
const TAGS_TOGETHER: usize = 64;

/// So often may the reader be ahead: little memory, and neither side waits for the other's slow moments.
const AHEAD: usize = 4;

impl RestoredTag {
    /// One of its documents.
    pub fn document(&self, digest: &Digest) -> Option<&Stored> {
        self.documents.iter().find(|(one, _)| one == digest).map(|(_, stored)| stored)
    }
}

impl Store {
    /// Passes every tag to `take`, in no particular order, while another thread reads and decodes the next ones. For the
    /// start.
    ///
    /// # Panics
    ///
    /// If the machine cannot start a thread.
    pub fn restore(&self, take: impl FnMut(RestoredTag)) {
        let (sender, restored) = mpsc::sync_channel(AHEAD);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let mut tags = self.tags().into_iter();
                loop {
                    let next: Vec<_> = tags.by_ref().take(TAGS_TOGETHER).map(|tag| self.with_documents(tag)).collect();
                    // The receiver is gone when `take` panicked.
                    if next.is_empty() || sender.send(next).is_err() {
                        return;
                    }
                }
            });
            restored.into_iter().flatten().for_each(take);
        });
    }

    fn with_documents(&self, (repository, tag, record): (Repository, Tag, TagRecord)) -> RestoredTag {
        let index = (record.known.index_bytes > 0).then_some(&record.known.digest);
        let digests = index.into_iter().chain(record.known.images.iter().map(|(_, digest)| digest));
        let documents = digests.filter_map(|digest| Some((digest.clone(), self.document(digest)?))).collect();
        RestoredTag { repository, tag, record, documents }
    }
}
