//! Extended headers (POSIX.1-2001 pax), which override parts of the next entry's header.

use super::error::TarError;

/// The records of an extended header. Empty values override nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pax {
    /// `path`.
    pub(crate) path: Option<Vec<u8>>,
    /// `linkpath`.
    pub(crate) link: Option<Vec<u8>>,
    /// `size`: bytes of the data that follow.
    pub(crate) bytes: Option<u64>,
    sparse: Sparse,
}

/// A sparse file's own name and size: its header describes what is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SparseFile<'a> {
    /// Empty where the header's name is right.
    pub(crate) name: &'a [u8],
    /// Bytes of the file with its holes; `None` where it is as many as are stored.
    pub(crate) apparent_bytes: Option<u64>,
}

/// GNU tar's records of a sparse file, in its versions 0.0, 0.1 and 1.0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Sparse {
    major: Vec<u8>,
    minor: Vec<u8>,
    name: Vec<u8>,
    size: Vec<u8>,
    real_size: Vec<u8>,
    has_map: bool,
}

impl Pax {
    /// Reads the records of one extended header: `length key=value\n`, where the length is that of the whole record. A
    /// value may contain newlines.
    pub(crate) fn parse(mut records: &[u8]) -> Result<Self, TarError> {
        let mut pax = Self::default();
        while !records.is_empty() {
            let (key, value, rest) = record(records).ok_or(TarError::Pax)?;
            pax.take(key, value)?;
            records = rest;
        }
        Ok(pax)
    }

    /// `None` unless the entry is a sparse file.
    pub(crate) fn sparse(&self) -> Result<Option<SparseFile<'_>>, TarError> {
        let sparse = &self.sparse;
        let known = match (&*sparse.major, &*sparse.minor) {
            (b"0", b"0" | b"1") | (b"1", b"0") => true,
            (b"", b"") => sparse.has_map,
            _ => false,
        };
        if !known {
            return Ok(None);
        }
        let size = if sparse.size.is_empty() { &sparse.real_size } else { &sparse.size };
        let bytes = if size.is_empty() { None } else { Some(decimal(size).ok_or(TarError::Number)?) };
        Ok(Some(SparseFile { name: &sparse.name, apparent_bytes: bytes }))
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), TarError> {
        let text = |value: &[u8]| if value.contains(&0) { Err(TarError::Pax) } else { Ok(value.to_vec()) };
        match key {
            b"path" => self.path = Some(text(value)?).filter(|text| !text.is_empty()),
            b"linkpath" => self.link = Some(text(value)?).filter(|text| !text.is_empty()),
            b"size" if value.is_empty() => self.bytes = None,
            b"size" => self.bytes = Some(decimal(value).ok_or(TarError::Number)?),
            b"GNU.sparse.major" => self.sparse.major = value.to_vec(),
            b"GNU.sparse.minor" => self.sparse.minor = value.to_vec(),
            b"GNU.sparse.name" => self.sparse.name = text(value)?,
            b"GNU.sparse.size" => self.sparse.size = value.to_vec(),
            b"GNU.sparse.realsize" => self.sparse.real_size = value.to_vec(),
            b"GNU.sparse.map" | b"GNU.sparse.offset" => self.sparse.has_map |= !value.is_empty(),
            _ => {}
        }
        Ok(())
    }
}

/// The first record's key and value, and the records after it.
fn record(records: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = records.iter().position(|&byte| byte == b' ')?;
    let length = usize::try_from(decimal(&records[..space])?).ok()?;
    let (record, rest) = records.split_at_checked(length)?;
    let record = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|&byte| byte == b'=').filter(|&equals| equals > 0)?;
    Some((&record[..equals], &record[equals + 1..], rest))
}

/// A decimal number of at most 63 bits. As in Docker's engine a plus sign may precede it.
fn decimal(text: &[u8]) -> Option<u64> {
    let number: i64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    u64::try_from(number).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn records_are_counted_by_their_own_length() {
        let pax = Pax::parse(b"13 path=a\nb=\n16 size=1048576\n12 comment=\n").unwrap();
        assert_eq!(pax.path.as_deref(), Some(&b"a\nb="[..]));
        assert_eq!(pax.bytes, Some(1_048_576));
        for broken in
            [&b"9 path=a"[..], b"x path=a\n", b"99 path=a\n", b"5 a b\n", b"7 =abc\n", b"3 \n", b"12 size=-5x\n"]
        {
            assert!(Pax::parse(broken).is_err(), "{broken:?}");
        }
    }

    /// A record with its length in front.
    fn with_length(pair: &str) -> String {
        let length =
            (pair.len()..=2 * pair.len() + 9).find(|length| format!("{length} {pair}\n").len() == *length).unwrap();
        format!("{length} {pair}\n")
    }

    #[test]
    fn a_sparse_file_has_its_apparent_size_in_every_version() {
        let file = |name: &'static str, bytes| Some(SparseFile { name: name.as_bytes(), apparent_bytes: Some(bytes) });
        for (records, expected) in [
            (&["major=1", "minor=0", "name=x", "realsize=99"][..], file("x", 99)),
            (&["major=0", "minor=1", "name=x", "size=98", "map=0,1"], file("x", 98)),
            (&["size=100", "numblocks=1", "offset=0", "numbytes=10"], file("", 100)),
            (&["size=100", "map=0,10"], file("", 100)),
            (&["size=100"], None),
            (&["major=2", "minor=0"], None),
        ] {
            let text: String = records.iter().map(|record| with_length(&format!("GNU.sparse.{record}"))).collect();
            assert_eq!(Pax::parse(text.as_bytes()).unwrap().sparse().unwrap(), expected, "{records:?}");
        }
    }

    proptest! {
        #[test]
        fn no_records_panic_the_parser(records: Vec<u8>) {
            let _ = Pax::parse(&records).map(|pax| pax.sparse().map(|_| ()));
        }
    }
}
