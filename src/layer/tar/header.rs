//! One 512-byte header block: POSIX.1-1988 ustar, its GNU and star variants, and the older v7.

use super::error::TarError;

/// Bytes of a block: everything in a tar is padded to whole blocks.
pub(crate) const BLOCK: usize = 512;

/// What a header block says of its entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// The type flag.
    pub(crate) flag: u8,
    /// The name, with its prefix where the format has one.
    pub(crate) name: Vec<u8>,
    /// The target of a link.
    pub(crate) link: Vec<u8>,
    /// The size field: bytes of the data that follow, unless the type has none.
    pub(crate) bytes: u64,
    /// Only of an old GNU sparse file (type `S`).
    pub(crate) sparse: Option<OldSparse>,
}

/// What an old GNU sparse file's header adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OldSparse {
    /// Bytes of the file with its holes.
    pub(crate) apparent_bytes: u64,
    /// Whether a further block of the sparse map follows the header.
    pub(crate) extended: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum TarFormat {
    V7,
    Ustar,
    Star,
    Gnu,
}

impl Header {
    /// Reads a block that is not all zeros.
    pub(crate) fn parse(block: &[u8; BLOCK]) -> Result<Self, TarError> {
        let sum = octal(&block[148..156]).ok_or(TarError::Checksum)?;
        if !is_checksum(block, sum) {
            return Err(TarError::Checksum);
        }
        let format = TarFormat::detect(block);
        let flag = block[156];
        let prefix = match format {
            TarFormat::V7 => &[][..],
            TarFormat::Ustar => text(&block[345..500]),
            TarFormat::Star => text(&block[345..476]),
            TarFormat::Gnu => gnu_prefix(block),
        };
        let name = text(&block[..100]);
        let name = if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() };
        let sparse = match (flag, format) {
            (b'S', TarFormat::Gnu) => Some(OldSparse {
                apparent_bytes: number(&block[483..495]).ok_or(TarError::Number)?,
                extended: block[482] != 0,
            }),
            (b'S', _) => return Err(TarError::Sparse),
            _ => None,
        };
        Ok(Self {
            flag,
            name,
            link: text(&block[157..257]).to_vec(),
            bytes: number(&block[124..136]).ok_or(TarError::Number)?,
            sparse,
        })
    }
}

impl TarFormat {
    fn detect(block: &[u8; BLOCK]) -> Self {
        match (&block[257..263], &block[263..265], &block[508..512]) {
            (b"ustar\0", _, b"tar\0") => Self::Star,
            (b"ustar\0", ..) => Self::Ustar,
            (b"ustar ", b" \0", _) => Self::Gnu,
            _ => Self::V7,
        }
    }
}

/// GNU keeps times where ustar has the prefix. Some writers mix the two: as in Docker's engine, text that is not a time
/// is a prefix.
fn gnu_prefix(block: &[u8; BLOCK]) -> &[u8] {
    let is_time = |field: &[u8]| field[0] == 0 || field[0] & 0x80 != 0 || octal(field).is_some();
    let prefix = text(&block[345..500]);
    if is_time(&block[345..357]) && is_time(&block[357..369]) || !prefix.is_ascii() { &[] } else { prefix }
}

/// Whether it is the sum of all bytes with the checksum field as spaces: of unsigned bytes, or of signed ones as some old
/// programs write it.
fn is_checksum(block: &[u8; BLOCK], sum: u64) -> bool {
    let is = |found: i32| u64::try_from(found) == Ok(sum);
    is(summed(block, i32::from)) || is(summed(block, |byte| i32::from(byte.cast_signed())))
}

/// Plain sums of slices, which the compiler turns into vector instructions: a layer has many small files.
fn summed(block: &[u8; BLOCK], value: impl Fn(u8) -> i32) -> i32 {
    let bytes = |bytes: &[u8]| bytes.iter().map(|&byte| value(byte)).sum::<i32>();
    bytes(block) - bytes(&block[148..156]) + 8 * i32::from(b' ')
}

/// The text before the first NUL.
pub(crate) fn text(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or(field)
}

/// Octal digits, or GNU's base-256 where the first bit is set. `None` if the number is malformed, negative or beyond
/// 63 bits.
fn number(field: &[u8]) -> Option<u64> {
    if field[0] & 0x80 == 0 {
        return octal(field);
    }
    if field[0] & 0x40 != 0 {
        return None;
    }
    let value = field.iter().enumerate().try_fold(0_u64, |value, (position, &byte)| {
        let byte = if position == 0 { byte & 0x7f } else { byte };
        (value >> 56 == 0).then(|| value << 8 | u64::from(byte))
    })?;
    (value >> 63 == 0).then_some(value)
}

/// Octal digits between spaces and NULs; an empty field is 0.
fn octal(field: &[u8]) -> Option<u64> {
    let blank = |byte: &u8| *byte == b' ' || *byte == 0;
    let start = field.iter().position(|byte| !blank(byte)).unwrap_or(field.len());
    let digits = text(&field[start..]).trim_ascii_end();
    digits.iter().try_fold(0_u64, |value, &digit| {
        let digit = matches!(digit, b'0'..=b'7').then(|| u64::from(digit - b'0'))?;
        (value >> 60 == 0).then_some(value << 3 | digit)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_octal_or_base_256() {
        for (field, expected) in [
            (&b"00000000012\0"[..], Some(10)),
            (b"        7 \0 ", Some(7)),
            (b"\0\0\0\0\0\0\0\0\0\0\0\0", Some(0)),
            (b"777777777777", Some(0o777_777_777_777)),
            (b"12x\0", None),
            (b"8\0", None),
            (b"-1\0", None),
            (b"\x80\0\0\0\0\0\0\x02\0\0\0\0", Some(1 << 33)),
            (b"\x80\0\0\0\x80\0\0\0\0\0\0\0", None),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", None),
            (b"\x81\0\0\0\0\0\0\0\0\0\0\0", None),
        ] {
            assert_eq!(number(field), expected, "{field:?}");
        }
    }

    proptest! {
        #[test]
        fn no_block_panics_the_parser_and_both_checksums_are_valid(
            mut block in proptest::collection::vec(any::<u8>(), BLOCK),
            valid: bool,
            signed: bool,
        ) {
            block[148..156].fill(b' ');
            let value = |&byte: &u8| if signed { i64::from(byte.cast_signed()) } else { i64::from(byte) };
            let sum: i64 = block.iter().map(value).sum();
            if valid && sum >= 0 {
                block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            }
            let parsed = Header::parse(block.as_slice().try_into().unwrap());
            prop_assert!(!valid || sum < 0 || parsed != Err(TarError::Checksum));
        }
    }
}
