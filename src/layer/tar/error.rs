//! Why bytes are not a tar.

/// Why bytes are not a tar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TarError {
    /// No header where one belongs.
    #[error("a header's checksum is wrong")]
    Checksum,
    /// A number that is malformed, negative or beyond 63 bits.
    #[error("a header has an invalid number")]
    Number,
    /// A broken extended header.
    #[error("an extended header is broken")]
    Pax,
    /// An extended header or a long name beyond the limit.
    #[error("an extended header or long name is longer than 1 MiB")]
    Special,
    /// An old GNU sparse file in another format's header.
    #[error("a sparse file's header is of the wrong format")]
    Sparse,
    /// One block of zeros instead of two.
    #[error("a block of zeros stands between two entries")]
    Zeros,
    /// It ends within an entry.
    #[error("it ends in the middle of an entry")]
    Truncated,
}
