//! The digest that proves a layer, and gzip's checksums, on a thread of their own: both take about as long as
//! decompressing does.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use bytes::Bytes;
use sha2::{Digest as _, Sha256, Sha512};

use super::measure::{BUFFER_BYTES, MeasureError};
use crate::oci::{Algorithm, Digest};

/// Pieces that may wait for the thread: with their buffers a megabyte or so.
const QUEUE: usize = 4;

/// A digest that can be checked here, and what it is of.
pub(super) struct Proof {
    expected: Digest,
    subject: Subject,
    state: State,
}

/// What a digest is of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject {
    Compressed,
    Tar,
}

enum State {
    Sha256(Sha256),
    Sha512(Sha512),
}

/// The thread, and the way to it.
pub(super) struct Hasher {
    jobs: SyncSender<Job>,
    /// Buffers that the thread is done with.
    spare: Receiver<Vec<u8>>,
    subject: Subject,
    thread: JoinHandle<Result<(), MeasureError>>,
}

enum Job {
    Hash(Bytes),
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
    pub(super) fn new(expected: &Digest, subject: Subject) -> Option<Self> {
        let state = match expected.algorithm() {
            Algorithm::Sha256 => State::Sha256(Sha256::new()),
            Algorithm::Sha512 => State::Sha512(Sha512::new()),
            Algorithm::Other => return None,
        };
        Some(Self { expected: expected.clone(), subject, state })
    }

    fn update(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Sha256(state) => state.update(bytes),
            State::Sha512(state) => state.update(bytes),
        }
    }

    fn check(self) -> Result<(), MeasureError> {
        let found = match self.state {
            State::Sha256(state) => Digest::from_sha256(state.finalize().into()),
            State::Sha512(state) => Digest::from_sha512(state.finalize().into()),
        };
        if found == self.expected { Ok(()) } else { Err(MeasureError::Mismatch { expected: self.expected, found }) }
    }
}

impl Hasher {
    pub(super) fn start(proof: Proof) -> Self {
        let (jobs, queue) = sync_channel(QUEUE);
        let (give_back, spare) = sync_channel(QUEUE + 1);
        let subject = proof.subject;
        let thread = std::thread::spawn(move || work(proof, &queue, &give_back));
        Self { jobs, spare, subject, thread }
    }

    /// Bytes of the compressed blob.
    pub(super) fn compressed(&self, bytes: &Bytes) {
        if self.subject == Subject::Compressed {
            self.send(Job::Hash(bytes.clone()));
        }
    }

    /// Bytes of the tar that were never compressed.
    pub(super) fn plain(&self, bytes: &Bytes) {
        if self.subject == Subject::Tar {
            self.send(Job::Hash(bytes.clone()));
        }
    }

    /// `count` bytes of the tar in `buffer`; another buffer to go on with.
    pub(super) fn tar(&self, buffer: Vec<u8>, count: usize, checksum: bool) -> Vec<u8> {
        self.send(Job::Tar { buffer, count, checksum });
        self.spare.try_recv().unwrap_or_else(|_| vec![0; BUFFER_BYTES])
    }

    /// The CRC-32 of all that came since the last member.
    pub(super) fn member_ends(&self, crc32: u32) {
        self.send(Job::MemberEnds(crc32));
    }

    /// Whether the digest and all checksums are right.
    pub(super) fn finish(self) -> Result<(), MeasureError> {
        drop(self.jobs);
        self.thread.join().expect("the hashing thread does not panic")
    }

    /// The thread ends early at a wrong checksum, which `finish` then tells.
    fn send(&self, job: Job) {
        let _ = self.jobs.send(job);
    }
}

fn work(mut proof: Proof, queue: &Receiver<Job>, give_back: &SyncSender<Vec<u8>>) -> Result<(), MeasureError> {
    let mut crc32 = crc32fast::Hasher::new();
    for job in queue {
        match job {
            Job::Hash(bytes) => proof.update(&bytes),
            Job::Tar { buffer, count, checksum } => {
                if proof.subject == Subject::Tar {
                    proof.update(&buffer[..count]);
                }
                if checksum {
                    crc32.update(&buffer[..count]);
                }
                let _ = give_back.try_send(buffer);
            }
            Job::MemberEnds(expected) => {
                if std::mem::take(&mut crc32).finalize() != expected {
                    return Err(MeasureError::Gzip("a member's checksum is wrong"));
                }
            }
        }
    }
    proof.check()
}
