//! A tar as it streams by: each entry's path, type and size, without ever holding a file's content.
//!
//! It reads what Docker's engine reads, and as it does: pax headers for the next entry (global ones are skipped), GNU
//! long names and links, GNU sparse files old and new, base-256 numbers. Extracting nothing, it has no use for owners,
//! modes and times.

mod header;
mod pax;

use header::{BLOCK, Header};
use pax::Pax;

/// Extended headers and long names beyond this many bytes are refused, as Docker's engine does.
const SPECIAL_BYTES_MAX: u64 = 1 << 20;

/// An entry of a tar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    /// What it is.
    pub(crate) kind: Kind,
    /// Its path as written.
    pub(crate) path: &'a [u8],
    /// A link's target as written; empty for what is no link.
    pub(crate) link: &'a [u8],
    /// Bytes of a regular file, holes included; 0 for what is none.
    pub(crate) bytes: u64,
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A regular file, perhaps sparse.
    File,
    /// A hard link.
    Link,
    /// A symbolic link.
    Symlink,
    /// A directory.
    Directory,
    /// A device or a FIFO.
    Special,
    /// A type that is no file: a volume label, a vendor's own.
    Unknown,
}

/// Why bytes are no tar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TarError {
    /// No header where one belongs.
    #[error("a header's checksum is wrong")]
    Checksum,
    /// A number that is none.
    #[error("a header has a number that is none, or out of range")]
    Number,
    /// A broken extended header.
    #[error("an extended header is broken")]
    Pax,
    /// An extended header or a long name that is absurd.
    #[error("an extended header or long name is longer than 1 MiB")]
    Special,
    /// An old GNU sparse file in another format's header.
    #[error("a sparse file's header is of the wrong format")]
    Sparse,
    /// One block of zeros and then more.
    #[error("a block of zeros stands between two entries")]
    Zeros,
    /// It ends within an entry.
    #[error("it ends in the middle of an entry")]
    Truncated,
}

/// Reads a tar in pieces of any length.
pub(crate) struct Tar {
    state: State,
    /// A block that began in an earlier piece.
    partial: Vec<u8>,
    pax: Pax,
    long_name: Vec<u8>,
    long_link: Vec<u8>,
}

enum State {
    /// At a header; whether one block of zeros has been seen.
    Header { zeros: bool },
    /// Within the content of an entry, and then its padding.
    Content { bytes: u64, padding: u64 },
    /// Within the content of an entry about the next one.
    Special { flag: u8, content: Vec<u8>, bytes: u64, padding: u64 },
    /// At a further block of an old GNU sparse file's map.
    SparseMap { header: Header },
    /// After the two blocks of zeros that end a tar: whatever follows is nothing.
    End,
}

impl Tar {
    pub(crate) fn new() -> Self {
        Self {
            state: State::Header { zeros: false },
            partial: Vec::with_capacity(BLOCK),
            pax: Pax::default(),
            long_name: Vec::new(),
            long_link: Vec::new(),
        }
    }

    /// Takes the next bytes; `each` gets the entries whose headers they complete.
    pub(crate) fn feed<E: From<TarError>>(
        &mut self,
        mut bytes: &[u8],
        mut each: impl FnMut(Entry<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        while !bytes.is_empty() {
            match &mut self.state {
                State::End => return Ok(()),
                State::Content { bytes: content, padding } => {
                    skip(&mut bytes, content);
                    skip(&mut bytes, padding);
                    if (*content, *padding) == (0, 0) {
                        self.state = State::Header { zeros: false };
                    }
                }
                State::Special { content, bytes: missing, padding, .. } => {
                    let taken = bytes.len().min(usize::try_from(*missing).unwrap_or(usize::MAX));
                    content.extend_from_slice(&bytes[..taken]);
                    skip(&mut bytes, missing);
                    skip(&mut bytes, padding);
                    if (*missing, *padding) == (0, 0) {
                        self.end_special()?;
                    }
                }
                State::Header { .. } | State::SparseMap { .. } => {
                    if let Some(block) = self.block(&mut bytes) {
                        self.take_block(&block, &mut each)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether the tar may end here. As in Docker's engine the last padding and the blocks of zeros may be missing.
    pub(crate) fn finish(&self) -> Result<(), TarError> {
        match &self.state {
            State::End | State::Content { bytes: 0, .. } => Ok(()),
            State::Header { .. } if self.partial.is_empty() => Ok(()),
            _ => Err(TarError::Truncated),
        }
    }

    /// The next whole block, once its last byte is there.
    fn block(&mut self, bytes: &mut &[u8]) -> Option<[u8; BLOCK]> {
        if self.partial.is_empty()
            && let Some((block, rest)) = bytes.split_first_chunk::<BLOCK>()
        {
            *bytes = rest;
            return Some(*block);
        }
        let (head, rest) = bytes.split_at(bytes.len().min(BLOCK - self.partial.len()));
        self.partial.extend_from_slice(head);
        *bytes = rest;
        let block = <[u8; BLOCK]>::try_from(&*self.partial).ok()?;
        self.partial.clear();
        Some(block)
    }

    fn take_block<E: From<TarError>>(
        &mut self,
        block: &[u8; BLOCK],
        each: &mut impl FnMut(Entry<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        match std::mem::replace(&mut self.state, State::End) {
            State::Header { zeros } if block.iter().all(|&byte| byte == 0) => {
                if !zeros {
                    self.state = State::Header { zeros: true };
                }
                Ok(())
            }
            State::Header { zeros: true } => Err(TarError::Zeros.into()),
            State::SparseMap { header } if block[504] != 0 => {
                self.state = State::SparseMap { header };
                Ok(())
            }
            State::SparseMap { header } => self.take_entry(&header, each),
            _ => {
                let header = Header::parse(block)?;
                match header {
                    Header { flag: b'x' | b'g' | b'L' | b'K', .. } => Ok(self.begin_special(&header)?),
                    Header { sparse: Some(sparse), .. } if sparse.extended => {
                        self.state = State::SparseMap { header };
                        Ok(())
                    }
                    header => self.take_entry(&header, each),
                }
            }
        }
    }

    fn begin_special(&mut self, header: &Header) -> Result<(), TarError> {
        if header.bytes > SPECIAL_BYTES_MAX {
            return Err(TarError::Special);
        }
        let (flag, bytes) = (header.flag, header.bytes);
        self.state = State::Special { flag, content: Vec::new(), bytes, padding: padding(bytes) };
        if bytes == 0 { self.end_special() } else { Ok(()) }
    }

    fn end_special(&mut self) -> Result<(), TarError> {
        let ended = std::mem::replace(&mut self.state, State::Header { zeros: false });
        let State::Special { flag, content, .. } = ended else { return Ok(()) };
        match flag {
            b'x' => self.pax = Pax::parse(&content)?,
            b'L' => self.long_name = header::text(&content).to_vec(),
            b'K' => self.long_link = header::text(&content).to_vec(),
            // A global header is checked and means nothing to the entries after it, as in Docker's engine.
            _ => {
                Pax::parse(&content)?;
                self.pax = Pax::default();
                self.long_name.clear();
                self.long_link.clear();
            }
        }
        Ok(())
    }

    fn take_entry<E: From<TarError>>(
        &mut self,
        header: &Header,
        each: &mut impl FnMut(Entry<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let pax = std::mem::take(&mut self.pax);
        let long_name = std::mem::take(&mut self.long_name);
        let long_link = std::mem::take(&mut self.long_link);
        let first = |long: Vec<u8>, pax: &Option<Vec<u8>>, short: &[u8]| match (long, pax) {
            (long, _) if !long.is_empty() => long,
            (_, Some(pax)) => pax.clone(),
            (_, None) => short.to_vec(),
        };
        let mut path = first(long_name, &pax.path, &header.name);
        let link = first(long_link, &pax.link, &header.link);
        let kind = Kind::of(header.flag, &path);
        let stored = if kind.has_content() { pax.bytes.unwrap_or(header.bytes) } else { 0 };
        let mut apparent = header.sparse.map_or(stored, |sparse| sparse.apparent_bytes);
        if header.sparse.is_none()
            && let Some(sparse) = pax.sparse()?
        {
            apparent = sparse.apparent_bytes.unwrap_or(apparent);
            if !sparse.name.is_empty() {
                path = sparse.name.to_vec();
            }
        }
        self.state = match stored {
            0 => State::Header { zeros: false },
            bytes => State::Content { bytes, padding: padding(bytes) },
        };
        let is_link = matches!(kind, Kind::Link | Kind::Symlink);
        each(Entry {
            kind,
            path: &path,
            link: if is_link { &link } else { &[] },
            bytes: if kind == Kind::File { apparent } else { 0 },
        })
    }
}

impl Kind {
    fn of(flag: u8, path: &[u8]) -> Self {
        match flag {
            // Before POSIX a directory was told by its slash.
            0 if path.ends_with(b"/") => Self::Directory,
            0 | b'0' | b'7' | b'S' => Self::File,
            b'1' => Self::Link,
            b'2' => Self::Symlink,
            b'3' | b'4' | b'6' => Self::Special,
            b'5' => Self::Directory,
            _ => Self::Unknown,
        }
    }

    /// Whether content may follow the header: the others' size fields mean nothing.
    fn has_content(self) -> bool {
        matches!(self, Self::File | Self::Unknown)
    }
}

/// Bytes from the end of `bytes` bytes to the end of their last block.
fn padding(bytes: u64) -> u64 {
    bytes.wrapping_neg() % BLOCK as u64
}

/// Drops as many of the next bytes as are left of `bytes`.
fn skip(input: &mut &[u8], bytes: &mut u64) {
    let taken = input.len().min(usize::try_from(*bytes).unwrap_or(usize::MAX));
    *input = &input[taken..];
    *bytes -= taken as u64;
}
