//! Gzip (RFC 1952), many members too, around the deflate that they hold.

use flate2::{Decompress, FlushDecompress, Status};

use super::measure::{MeasureError, Output};

/// Decompresses gzip in pieces of any length.
pub(crate) struct Gzip {
    at: At,
    inflate: Decompress,
    /// Bytes that the member gave so far, modulo 2^32 as its trailer counts them.
    member_bytes: u32,
}

enum At {
    Header(Header),
    Deflate,
    /// The trailer so far.
    Trailer(Vec<u8>),
    /// After a member: another one, zeros, or the end.
    Between,
    /// Zeros that pad the last member, as `gzip` lets them.
    Padding,
}

/// A member's header, byte by byte.
#[derive(Default)]
struct Header {
    /// Bytes of the fixed part that were read.
    fixed: usize,
    flags: u8,
    field: Field,
}

#[derive(Clone, Copy, Default)]
enum Field {
    #[default]
    Fixed,
    ExtraLength(Option<u8>),
    Extra(u16),
    Name,
    Comment,
    Checksum(u8),
    Done,
}

const EXTRA: u8 = 4;
const NAME: u8 = 8;
const COMMENT: u8 = 16;
const CHECKSUM: u8 = 2;

impl Gzip {
    pub(crate) fn new() -> Self {
        Self { at: At::Header(Header::default()), inflate: Decompress::new(false), member_bytes: 0 }
    }

    pub(crate) fn feed(&mut self, mut input: &[u8], output: &mut Output) -> Result<(), MeasureError> {
        while let Some((&byte, rest)) = input.split_first() {
            match &mut self.at {
                At::Header(header) => {
                    header.take(byte)?;
                    input = rest;
                    if matches!(header.field, Field::Done) {
                        self.at = At::Deflate;
                    }
                }
                At::Deflate => self.inflate(&mut input, output)?,
                At::Trailer(trailer) => {
                    trailer.push(byte);
                    input = rest;
                    if let [a, b, c, d, length @ ..] = &trailer[..]
                        && let Ok(length) = <[u8; 4]>::try_from(length)
                    {
                        if u32::from_le_bytes(length) != self.member_bytes {
                            return Err(MeasureError::Gzip("a member's length is not what its trailer says"));
                        }
                        output.member_ends(u32::from_le_bytes([*a, *b, *c, *d]));
                        self.at = At::Between;
                    }
                }
                At::Between if byte == 0 => self.at = At::Padding,
                At::Between => {
                    self.inflate.reset(false);
                    self.member_bytes = 0;
                    self.at = At::Header(Header::default());
                }
                At::Padding if byte == 0 => input = rest,
                At::Padding => return Err(MeasureError::Gzip("something other than a member follows the last one")),
            }
        }
        Ok(())
    }

    pub(crate) fn finish(&self) -> Result<(), MeasureError> {
        match self.at {
            At::Between | At::Padding => Ok(()),
            _ => Err(MeasureError::Truncated),
        }
    }

    /// Until the input or the member ends.
    fn inflate(&mut self, input: &mut &[u8], output: &mut Output) -> Result<(), MeasureError> {
        loop {
            let space = output.space();
            let room = space.len();
            let (read, written) = (self.inflate.total_in(), self.inflate.total_out());
            let status = self
                .inflate
                .decompress(input, space, FlushDecompress::None)
                .map_err(|_| MeasureError::Gzip("its deflate data is broken"))?;
            let read = usize::try_from(self.inflate.total_in() - read).expect("no more than the input");
            let written = usize::try_from(self.inflate.total_out() - written).expect("no more than the output");
            *input = &input[read..];
            self.member_bytes =
                self.member_bytes.wrapping_add(u32::try_from(written).expect("a buffer is shorter than 4 GiB"));
            output.wrote(written, true)?;
            if status == Status::StreamEnd {
                self.at = At::Trailer(Vec::with_capacity(8));
                return Ok(());
            }
            // With room left, all that could be decompressed was.
            if input.is_empty() && (written < room || written == 0) {
                return Ok(());
            }
            if (read, written) == (0, 0) {
                return Err(MeasureError::Gzip("its deflate data is broken"));
            }
        }
    }
}

impl Header {
    fn take(&mut self, byte: u8) -> Result<(), MeasureError> {
        self.field = match self.field {
            Field::Fixed => {
                match (self.fixed, byte) {
                    (0, 0x1f) | (1, 0x8b) | (2, 8) | (4.., _) => {}
                    (3, flags) if flags & 0xe0 == 0 => self.flags = flags,
                    _ => return Err(MeasureError::Gzip("a member's header is none")),
                }
                self.fixed += 1;
                if self.fixed < 10 { Field::Fixed } else { self.after(0) }
            }
            Field::ExtraLength(None) => Field::ExtraLength(Some(byte)),
            Field::ExtraLength(Some(low)) => match u16::from_le_bytes([low, byte]) {
                0 => self.after(EXTRA),
                length => Field::Extra(length),
            },
            Field::Extra(1) => self.after(EXTRA),
            Field::Extra(left) => Field::Extra(left - 1),
            Field::Name if byte == 0 => self.after(NAME),
            Field::Comment if byte == 0 => self.after(COMMENT),
            Field::Checksum(1) => Field::Done,
            Field::Checksum(left) => Field::Checksum(left - 1),
            field => field,
        };
        Ok(())
    }

    /// The field that follows the one of flag `done`, in the order in which they stand.
    fn after(&self, done: u8) -> Field {
        let order = [
            (EXTRA, Field::ExtraLength(None)),
            (NAME, Field::Name),
            (COMMENT, Field::Comment),
            (CHECKSUM, Field::Checksum(2)),
        ];
        let position = order.iter().position(|(flag, _)| *flag == done).map_or(0, |position| position + 1);
        order[position..].iter().find(|(flag, _)| self.flags & flag != 0).map_or(Field::Done, |(_, field)| *field)
    }
}
