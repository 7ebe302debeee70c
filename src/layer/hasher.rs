//! The digests that prove a layer, and gzip's checksums, on a thread of their own: they take about as long as
//! decompressing does.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use bytes::Bytes;
use sha2::{Digest as _, Sha256, Sha512};

use super::measure::{BUFFER_BYTES, MeasureError};
use crate::oci::{Algorithm, Digest};

/// Pieces that may wait for the thread, compressed and decompressed ones in turn: with their buffers a megabyte or so.
const QUEUE: usize = 8;

/// A digest that can be checked here.
pub(crate) struct Proof {
    expected: Digest,
    state: State,
}

/// What the digests and checksums say, once all of the blob was hashed.
pub(crate) struct Verdict {
    /// Whether the blob is the one that was asked for. None: there is no telling.
    pub(crate) blob: Option<Result<(), Mismatch>>,
    /// Whether its tar is the one that the config names.
    pub(crate) tar: Result<(), Mismatch>,
    /// Whether all gzip checksums are right.
    pub(crate) checksums: Result<(), MeasureError>,
}

/// What a digest should be, and what it is.
pub(crate) struct Mismatch {
    pub(crate) expected: Digest,
    pub(crate) found: Digest,
}

enum State {
    Sha256(Sha256),
    Sha512(Sha512),
}

/// The thread, and the way to it.
pub(crate) struct Hasher {
    jobs: SyncSender<Job>,
    /// Buffers that the thread is done with.
    spare: Receiver<Vec<u8>>,
    hashes_blob: bool,
    thread: JoinHandle<Verdict>,
}

enum Job {
    /// Bytes of the blob.
    Blob(Bytes),
    /// Bytes of the tar.
    Plain(Bytes),
    /// The first so many bytes of a buffer, which then goes back.
    Tar {
        buffer: Vec<u8>,
        count: usize,
        checksum: bool,
    },
    MemberEnds(u32),
}

impl Proof {
    /// None where the digest's algorithm is unknown.
    pub(crate) fn new(expected: &Digest) -> Option<Self> {
        let state = match expected.algorithm() {
            Algorithm::Sha256 => State::Sha256(Sha256::new()),
            Algorithm::Sha512 => State::Sha512(Sha512::new()),
            Algorithm::Other => return None,
        };
        Some(Self { expected: expected.clone(), state })
    }

    fn update(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Sha256(state) => state.update(bytes),
            State::Sha512(state) => state.update(bytes),
        }
    }

    fn check(self) -> Result<(), Mismatch> {
        let found = match self.state {
            State::Sha256(state) => Digest::from_sha256(state.finalize().into()),
            State::Sha512(state) => Digest::from_sha512(state.finalize().into()),
        };
        if found == self.expected { Ok(()) } else { Err(Mismatch { expected: self.expected, found }) }
    }
}

impl Hasher {
    pub(crate) fn start(blob: Option<Proof>, tar: Option<Proof>) -> Self {
        let (jobs, queue) = sync_channel(QUEUE);
        let (give_back, spare) = sync_channel(QUEUE + 1);
        let hashes_blob = blob.is_some();
        let thread = std::thread::spawn(move || work(blob, tar, &queue, &give_back));
        Self { jobs, spare, hashes_blob, thread }
    }

    /// Bytes of the compressed blob.
    pub(crate) fn compressed(&self, bytes: &Bytes) {
        if self.hashes_blob {
            self.send(Job::Blob(bytes.clone()));
        }
    }

    /// Bytes of the tar that were never compressed.
    pub(crate) fn plain(&self, bytes: &Bytes) {
        self.send(Job::Plain(bytes.clone()));
    }

    /// `count` bytes of the tar in `buffer`; another buffer to go on with.
    pub(crate) fn tar(&self, buffer: Vec<u8>, count: usize, checksum: bool) -> Vec<u8> {
        self.send(Job::Tar { buffer, count, checksum });
        self.spare.try_recv().unwrap_or_else(|_| vec![0; BUFFER_BYTES])
    }

    /// The CRC-32 of all that came since the last member.
    pub(crate) fn member_ends(&self, crc32: u32) {
        self.send(Job::MemberEnds(crc32));
    }

    /// Whether the digests and all checksums are right.
    pub(crate) fn finish(self) -> Verdict {
        drop(self.jobs);
        self.thread.join().expect("the hashing thread does not panic")
    }

    /// The thread takes all jobs, so that this fails only when it panicked, which `finish` then tells.
    fn send(&self, job: Job) {
        let _ = self.jobs.send(job);
    }
}

fn work(
    mut blob: Option<Proof>,
    mut tar: Option<Proof>,
    queue: &Receiver<Job>,
    give_back: &SyncSender<Vec<u8>>,
) -> Verdict {
    let mut crc32 = crc32fast::Hasher::new();
    let mut checksums = Ok(());
    let update = |proof: &mut Option<Proof>, bytes: &[u8]| {
        if let Some(proof) = proof {
            proof.update(bytes);
        }
    };
    for job in queue {
        match job {
            Job::Blob(bytes) => update(&mut blob, &bytes),
            Job::Plain(bytes) => update(&mut tar, &bytes),
            Job::Tar { buffer, count, checksum } => {
                update(&mut tar, &buffer[..count]);
                if checksum {
                    crc32.update(&buffer[..count]);
                }
                let _ = give_back.try_send(buffer);
            }
            Job::MemberEnds(expected) => {
                if std::mem::take(&mut crc32).finalize() != expected {
                    checksums = Err(MeasureError::Gzip("a member's checksum is wrong"));
                }
            }
        }
    }
    Verdict { blob: blob.map(Proof::check), tar: tar.map_or(Ok(()), Proof::check), checksums }
}
