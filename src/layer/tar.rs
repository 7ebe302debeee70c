//! Reads a tar stream: each entry's path, type and size. Contents are skipped unless somebody reads them.
//!
//! It reads a tar as Docker's engine does, whose reader is Go's `archive/tar`: pax headers for the next entry (global
//! ones are skipped), GNU long names and links, GNU sparse files old and new, base-256 numbers. Owners, modes and times
//! are not read. ARCHITECTURE.md says why this is not the `tar` crate.

mod error;
mod header;
mod pax;

use std::io::{self, BufRead, Read};

pub(crate) use error::TarError;
use header::{BLOCK, Header};
use pax::Pax;

/// The limit for an extended header or a long name, as in Docker's engine.
const SPECIAL_BYTES_MAX: u64 = 1 << 20;

const ZEROS: [u8; BLOCK] = [0; BLOCK];

/// An entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    pub(crate) kind: Kind,
    /// Its path as written.
    pub(crate) path: &'a [u8],
    /// A link's target as written; empty for other kinds.
    pub(crate) link: &'a [u8],
    /// Bytes of a regular file, holes included; 0 for other kinds.
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
    /// Any other type: a volume label, a vendor's own.
    Unknown,
}

/// Reads `tar` up to the two blocks of zeros that end it, or to the end of the input: as in Docker's engine the last
/// padding and the blocks of zeros may be missing. Calls `each` with every entry, and with its content, which it may read:
/// that of a sparse file without its holes.
pub(crate) fn read_contents<E: From<TarError> + From<io::Error>>(
    tar: &mut impl BufRead,
    mut each: impl FnMut(Entry<'_>, &mut dyn BufRead) -> Result<(), E>,
) -> Result<(), E> {
    let mut overrides = Overrides::default();
    while let Some(header) = next_header::<E>(tar)? {
        match header.flag {
            b'x' => overrides.pax = Pax::parse(&special::<E>(tar, &header)?)?,
            b'L' => overrides.name = header::text(&special::<E>(tar, &header)?).to_vec(),
            b'K' => overrides.link = header::text(&special::<E>(tar, &header)?).to_vec(),
            // As in Docker's engine a global header is checked, then ignored, and so is what preceded it.
            b'g' => {
                Pax::parse(&special::<E>(tar, &header)?)?;
                overrides = Overrides::default();
            }
            _ => {
                let stored_bytes = take_entry(tar, header, std::mem::take(&mut overrides), &mut each)?;
                skip(tar, padding(stored_bytes))?;
            }
        }
    }
    Ok(())
}

/// The values of extended headers and long names for the next entry.
#[derive(Default)]
struct Overrides {
    pax: Pax,
    name: Vec<u8>,
    link: Vec<u8>,
}

/// Calls `each` with an entry. Returns the bytes of its content, all of which are consumed.
fn take_entry<E: From<TarError> + From<io::Error>>(
    tar: &mut impl BufRead,
    header: Header,
    Overrides { pax, name: long_name, link: long_link }: Overrides,
    each: &mut impl FnMut(Entry<'_>, &mut dyn BufRead) -> Result<(), E>,
) -> Result<u64, E> {
    let first = |long: Vec<u8>, pax: &Option<Vec<u8>>, short: Vec<u8>| match (long, pax) {
        (long, _) if !long.is_empty() => long,
        (_, Some(pax)) => pax.clone(),
        (_, None) => short,
    };
    let mut path = first(long_name, &pax.path, header.name);
    let link = first(long_link, &pax.link, header.link);
    let kind = Kind::from_flag(header.flag, &path);
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
    if header.sparse.is_some_and(|sparse| sparse.extended) {
        while block::<E>(tar)?.ok_or(TarError::Truncated)?[504] != 0 {}
    }
    let is_link = matches!(kind, Kind::Link | Kind::Symlink);
    let mut content = tar.by_ref().take(stored);
    each(
        Entry {
            kind,
            path: &path,
            link: if is_link { &link } else { &[] },
            bytes: if kind == Kind::File { apparent } else { 0 },
        },
        &mut content,
    )?;
    let left = content.limit();
    if skip(tar, left)? < left { Err(TarError::Truncated.into()) } else { Ok(stored) }
}

fn next_header<E: From<TarError> + From<io::Error>>(tar: &mut impl BufRead) -> Result<Option<Header>, E> {
    match block::<E>(tar)? {
        Some(block) if block != ZEROS => Ok(Some(Header::parse(&block)?)),
        Some(_) if block::<E>(tar)?.is_some_and(|block| block != ZEROS) => Err(TarError::Zeros.into()),
        _ => Ok(None),
    }
}

/// The content of an extended header or a long name.
fn special<E: From<TarError> + From<io::Error>>(tar: &mut impl BufRead, header: &Header) -> Result<Vec<u8>, E> {
    if header.bytes > SPECIAL_BYTES_MAX {
        return Err(TarError::Special.into());
    }
    let mut content = Vec::new();
    tar.take(header.bytes).read_to_end(&mut content)?;
    if (content.len() as u64) < header.bytes {
        return Err(TarError::Truncated.into());
    }
    skip(tar, padding(header.bytes))?;
    Ok(content)
}

/// The next block; `None` at the end of the input.
fn block<E: From<TarError> + From<io::Error>>(tar: &mut impl BufRead) -> Result<Option<[u8; BLOCK]>, E> {
    let mut block = ZEROS;
    let mut filled = 0;
    while filled < BLOCK {
        match tar.read(&mut block[filled..])? {
            0 if filled == 0 => return Ok(None),
            0 => return Err(TarError::Truncated.into()),
            count => filled += count,
        }
    }
    Ok(Some(block))
}

/// Skips `bytes` bytes, or fewer where the input ends. Returns how many.
fn skip(tar: &mut impl BufRead, bytes: u64) -> io::Result<u64> {
    let mut left = bytes;
    while left > 0 {
        let available = tar.fill_buf()?.len();
        if available == 0 {
            break;
        }
        let count = available.min(usize::try_from(left).unwrap_or(usize::MAX));
        tar.consume(count);
        left -= count as u64;
    }
    Ok(bytes - left)
}

/// Bytes from the end of `bytes` bytes to the end of their last block.
fn padding(bytes: u64) -> u64 {
    bytes.wrapping_neg() % BLOCK as u64
}

impl Kind {
    fn from_flag(flag: u8, path: &[u8]) -> Self {
        match flag {
            // Before POSIX a trailing slash marked a directory.
            0 if path.ends_with(b"/") => Self::Directory,
            0 | b'0' | b'7' | b'S' => Self::File,
            b'1' => Self::Link,
            b'2' => Self::Symlink,
            b'3' | b'4' | b'6' => Self::Special,
            b'5' => Self::Directory,
            _ => Self::Unknown,
        }
    }

    /// Whether content may follow the header. The size field of other kinds is ignored.
    fn has_content(self) -> bool {
        matches!(self, Self::File | Self::Unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    struct NotATar;

    impl From<TarError> for NotATar {
        fn from(_: TarError) -> Self {
            Self
        }
    }

    impl From<io::Error> for NotATar {
        fn from(_: io::Error) -> Self {
            Self
        }
    }

    const USTAR: &[u8] = b"ustar\x0000";
    const GNU: &[u8] = b"ustar  \0";

    /// A header of these fields, each an offset and its bytes.
    fn header(flag: u8, size: &[u8], fields: &[(usize, &[u8])]) -> Vec<u8> {
        let mut block = vec![0; BLOCK];
        for (at, bytes) in
            [(0, &b"name"[..]), (124, size), (156, &[flag]), (157, b"link"), (257, USTAR)].iter().chain(fields)
        {
            block[*at..at + bytes.len()].copy_from_slice(bytes);
        }
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        block
    }

    fn padded(content: &[u8]) -> Vec<u8> {
        let mut content = content.to_vec();
        content.resize(content.len().next_multiple_of(BLOCK), 0);
        content
    }

    fn special(flag: u8, content: &[u8]) -> Vec<u8> {
        [header(flag, format!("{:011o}\0", content.len()).as_bytes(), &[]), padded(content)].concat()
    }

    /// Each entry's kind, path, link and bytes.
    fn entries(tar: &[u8]) -> Result<Vec<String>, NotATar> {
        let mut entries = Vec::new();
        read_contents(&mut &*tar, |Entry { kind, path, link, bytes }, _| {
            let text = String::from_utf8_lossy;
            entries.push(format!("{kind:?} {} {} {bytes}", text(path), text(link)));
            Ok::<_, NotATar>(())
        })?;
        Ok(entries)
    }

    /// Expected: the entries that Go 1.19's archive/tar, the reader of Docker's engine, reads from the same bytes;
    /// `None` where it fails.
    #[test]
    fn a_tar_is_read_as_dockers_engine_reads_it() {
        let file = |fields: &[(usize, &[u8])]| [header(b'0', b"00000000003\0", fields), padded(b"abc")].concat();
        let plain = file(&[]);
        let of_size = |flag: u8| [header(flag, b"00000001000\0", &[]), plain.clone()].concat();
        let after = |flag: u8, content: &[u8]| [special(flag, content), plain.clone()].concat();
        let comment = format!("{} comment={}\n", (1 << 20) + 17, "c".repeat(1 << 20));
        for (what, tar, expected) in [
            ("a hard link with a size has no content", of_size(b'1'), Some("Link name link 0, File name  3")),
            ("a directory with a size has no content", of_size(b'5'), Some("Directory name  0, File name  3")),
            ("a device with a size has no content", of_size(b'3'), Some("Special name  0, File name  3")),
            (
                "nor has a hard link with a pax size",
                [special(b'x', b"12 size=700\n"), header(b'1', b"0", &[]), plain.clone()].concat(),
                Some("Link name link 0, File name  3"),
            ),
            (
                "records after a value with a newline",
                [after(b'x', b"14 SCHILY=a\nb\n9 path=p\n"), plain.clone()].concat(),
                Some("File p  3, File name  3"),
            ),
            ("a path with a newline", after(b'x', b"12 path=a\nb\n"), Some("File a\nb  3")),
            ("a path with a NUL", after(b'x', b"12 path=a\0b\n"), None),
            ("an empty path", after(b'x', b"8 path=\n"), Some("File name  3")),
            ("the last of two sizes", after(b'x', b"9 size=9\n9 size=3\n"), Some("File name  3")),
            ("a negative size", after(b'x', b"11 size=-3\n"), None),
            ("a size with a sign", after(b'x', b"11 size=+3\n"), Some("File name  3")),
            ("a size beyond 63 bits", after(b'x', b"29 size=99999999999999999999\n"), None),
            (
                "the second of two extended headers",
                [special(b'x', b"9 path=x\n"), after(b'x', b"12 comment=\n")].concat(),
                Some("File name  3"),
            ),
            (
                "the second of two long names",
                [special(b'L', b"first\0"), after(b'L', b"second\0")].concat(),
                Some("File second  3"),
            ),
            (
                "a long name in a v7 header",
                [header(b'L', b"5", &[(257, &[0; 8])]), padded(b"other"), plain.clone()].concat(),
                Some("File other  3"),
            ),
            ("an extended header of more than 1 MiB", after(b'x', comment.as_bytes()), None),
            ("a global header", after(b'g', b"9 path=x\n9 size=9\n"), Some("File name  3")),
            ("a header without a size", header(b'0', b"", &[]), Some("File name  0")),
            ("a base-256 size", header(b'0', b"\x80\0\0\x01\0\0\0\0\0\0\0\0", &[]), None),
            ("a v7 directory", header(0, b"", &[(0, b"name/")]), Some("Directory name/  0")),
            (
                "a star header",
                file(&[(345, b"prefix"), (476, b"00000000000 00000000000 "), (508, b"tar\0")]),
                Some("File prefix/name  3"),
            ),
            (
                "a GNU header with a prefix",
                file(&[(257, GNU), (345, b"a/long/prefix")]),
                Some("File a/long/prefix/name  3"),
            ),
            ("a GNU header with a time", file(&[(257, GNU), (345, b"14000000000\0")]), Some("File name  3")),
            ("one block of zeros between entries", [&plain[..], &[0; BLOCK], &plain].concat(), None),
            ("two blocks of zeros", [&plain[..], &[0; 2 * BLOCK], &plain].concat(), Some("File name  3")),
            ("no padding", plain[..BLOCK + 3].to_vec(), Some("File name  3")),
            ("a truncated file", plain[..BLOCK + 2].to_vec(), None),
            ("a truncated header", plain[..BLOCK - 1].to_vec(), None),
        ] {
            let entries = entries(&tar).ok().map(|entries| entries.join(", "));
            assert_eq!(entries.as_deref(), expected, "{what}");
        }
    }
}
