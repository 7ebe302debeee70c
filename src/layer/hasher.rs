//! Computes the digests that verify a layer, on a thread of its own: that takes about as long as decompression.

use std::cell::Cell;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use bytes::Bytes;
use sha2::{Digest as _, Sha256, Sha512};

use crate::oci::{Algorithm, Digest};

/// Bytes of the tar that are hashed at a time.
const BUFFER_BYTES: usize = 256 << 10;

/// The queue's length in chunks, alternately compressed and decompressed: with their buffers about a megabyte.
const QUEUE: usize = 8;

/// A digest of a supported algorithm, and the state of its computation.
pub(crate) struct Proof {
    expected: Digest,
    state: HashState,
}

/// The outcome, once the whole blob was hashed.
pub(crate) struct Verification {
    /// Whether the blob is the one that was asked for; `None` where its digest cannot be verified.
    pub(crate) blob: Option<Result<(), Mismatch>>,
    /// Whether its tar is the one that the config names, if it names one.
    pub(crate) tar: Result<(), Mismatch>,
}

/// The expected digest and the actual one.
pub(crate) struct Mismatch {
    pub(crate) expected: Digest,
    pub(crate) found: Digest,
}

enum HashState {
    Sha256(Sha256),
    Sha512(Sha512),
}

/// The hashing thread.
pub(crate) struct Hasher {
    jobs: SyncSender<Job>,
    /// Buffers that the thread has hashed.
    spare: Receiver<Vec<u8>>,
    blob_bytes: Cell<u64>,
    thread: JoinHandle<Verification>,
}

enum Job {
    /// Bytes of the blob.
    Blob(Bytes),
    /// The first `count` bytes of `buffer` are the next ones of the tar.
    Tar { buffer: Vec<u8>, count: usize },
}

impl Proof {
    /// `None` where the digest's algorithm is not supported.
    pub(crate) fn new(expected: &Digest) -> Option<Self> {
        let state = match expected.algorithm() {
            Algorithm::Sha256 => HashState::Sha256(Sha256::new()),
            Algorithm::Sha512 => HashState::Sha512(Sha512::new()),
            Algorithm::Other => return None,
        };
        Some(Self { expected: expected.clone(), state })
    }

    fn update(&mut self, bytes: &[u8]) {
        match &mut self.state {
            HashState::Sha256(state) => state.update(bytes),
            HashState::Sha512(state) => state.update(bytes),
        }
    }

    fn check(self) -> Result<(), Mismatch> {
        let found = match self.state {
            HashState::Sha256(state) => Digest::from_sha256(state.finalize().into()),
            HashState::Sha512(state) => Digest::from_sha512(state.finalize().into()),
        };
        if found == self.expected { Ok(()) } else { Err(Mismatch { expected: self.expected, found }) }
    }
}

impl Hasher {
    pub(crate) fn start(blob: Option<Proof>, tar: Option<Proof>) -> Self {
        let (jobs, queue) = sync_channel(QUEUE);
        let (hashed, spare) = sync_channel(QUEUE + 1);
        let thread = std::thread::spawn(move || run(blob, tar, &queue, &hashed));
        Self { jobs, spare, blob_bytes: Cell::new(0), thread }
    }

    /// Hashes the next bytes of the compressed blob.
    pub(crate) fn blob(&self, bytes: &Bytes) {
        self.blob_bytes.set(self.blob_bytes.get() + bytes.len() as u64);
        self.send(Job::Blob(bytes.clone()));
    }

    /// Bytes of the compressed blob so far.
    pub(crate) fn blob_bytes(&self) -> u64 {
        self.blob_bytes.get()
    }

    /// A buffer for bytes of the tar.
    pub(crate) fn buffer(&self) -> Vec<u8> {
        self.spare.try_recv().unwrap_or_else(|_| vec![0; BUFFER_BYTES])
    }

    /// Hashes the next bytes of the tar: the first `count` bytes of `buffer`.
    pub(crate) fn tar(&self, buffer: Vec<u8>, count: usize) {
        self.send(Job::Tar { buffer, count });
    }

    /// Waits until everything is hashed.
    pub(crate) fn finish(self) -> Verification {
        drop(self.jobs);
        self.thread.join().expect("the hashing thread does not panic")
    }

    /// Fails only if the thread panicked, which `finish` reports.
    fn send(&self, job: Job) {
        let _ = self.jobs.send(job);
    }
}

fn run(
    mut blob: Option<Proof>,
    mut tar: Option<Proof>,
    queue: &Receiver<Job>,
    hashed: &SyncSender<Vec<u8>>,
) -> Verification {
    let update = |proof: &mut Option<Proof>, bytes: &[u8]| {
        if let Some(proof) = proof {
            proof.update(bytes);
        }
    };
    for job in queue {
        match job {
            Job::Blob(bytes) => update(&mut blob, &bytes),
            Job::Tar { buffer, count } => {
                update(&mut tar, &buffer[..count]);
                let _ = hashed.try_send(buffer);
            }
        }
    }
    Verification { blob: blob.map(Proof::check), tar: tar.map_or(Ok(()), Proof::check) }
}
