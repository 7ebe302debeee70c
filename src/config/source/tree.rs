//! The configuration as a tree of values, each with the place where it was written. figment reads and merges the values;
//! what it does not keep comes from the document of `toml_edit`: lines, and the spelling of numbers.

use std::collections::BTreeMap;
use std::ops::Range;

use figment::{Figment, Profile, Provider as _, value};
use toml_edit::{Document, Item, Key};

use super::PREFIX;

/// A table: its values by key.
pub(in crate::config) type Dict = BTreeMap<String, Value>;

/// A value, and where it was written.
pub(in crate::config) struct Value {
    pub(in crate::config) kind: Kind,
    pub(in crate::config) origin: Origin,
}

/// What a value is.
pub(in crate::config) enum Kind {
    Text(String),
    /// A whole number; none beyond 128 bits.
    Whole(Option<i128>),
    /// A number with a fraction or an exponent, as written.
    Fraction(String),
    Flag(bool),
    Date,
    List(Vec<Value>),
    Table(Dict),
}

/// Where a value was written.
#[derive(Clone)]
pub(in crate::config) enum Origin {
    /// In a file, nowhere in particular.
    File(FileNumber),
    /// In a line of a file, counted from 1: that of the key, or of the item of a list.
    Line(FileNumber, usize),
    /// In this environment variable.
    Variable(String),
}

/// One of the files of a configuration: its number among the `Problems`' files.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::config) struct FileNumber(pub(in crate::config) usize);

impl Origin {
    /// The file; none for a variable.
    pub(in crate::config) fn file(&self) -> Option<FileNumber> {
        match self {
            Self::File(file) | Self::Line(file, _) => Some(*file),
            Self::Variable(_) => None,
        }
    }
}

impl Value {
    /// The table, if it is one.
    pub(in crate::config) fn table(&self) -> Option<&Dict> {
        match &self.kind {
            Kind::Table(entries) => Some(entries),
            _ => None,
        }
    }

    /// The text, or the digits of a whole number. A fraction is refused, since other readers of TOML make `1.1` of `1.10`.
    pub(in crate::config) fn text(&self) -> Result<String, String> {
        match &self.kind {
            Kind::Text(text) => Ok(text.clone()),
            Kind::Whole(Some(number)) => Ok(number.to_string()),
            Kind::Whole(None) | Kind::Fraction(_) | Kind::Date => Err(format!("{}: put it in quotes", self.found())),
            Kind::Flag(_) | Kind::List(_) | Kind::Table(_) => Err(format!("{}: write text in quotes", self.found())),
        }
    }

    /// What kind of value it is, without the text, which may be long or secret.
    pub(in crate::config) fn found(&self) -> String {
        match &self.kind {
            Kind::Text(_) => "is text".to_owned(),
            Kind::Flag(flag) => format!("is {flag}"),
            Kind::Whole(Some(number)) => format!("is the number {number}"),
            Kind::Whole(None) => "is a number of more than 128 bits".to_owned(),
            Kind::Fraction(number) => format!("is the number {number}"),
            Kind::Date => "is a date".to_owned(),
            Kind::Table(_) => "is a table".to_owned(),
            Kind::List(_) => "is a list".to_owned(),
        }
    }
}

/// The file as it was written.
pub(super) struct Written<'a> {
    file: FileNumber,
    text: &'a str,
    document: Document<String>,
    /// The bytes at which lines start.
    lines: Vec<usize>,
}

impl<'a> Written<'a> {
    /// Parses a TOML document. The error has the byte at which it was found, and the parser's reason.
    pub(super) fn parse(file: FileNumber, text: &'a str) -> Result<Self, (usize, String)> {
        let mut readable = text.to_owned();
        let document = loop {
            match Document::parse(readable.clone()) {
                Ok(document) => break document,
                Err(error) => match (error.span(), error.message()) {
                    // No parser reads it, and its key is known only when the rest is read: 0 of the same length stands
                    // for it until then.
                    (Some(number), "integer number overflowed" | "floating-point number overflowed") => {
                        readable.replace_range(number.clone(), &format!("{:0<1$}", "0.", number.len()));
                    }
                    (span, why) => return Err((span.map_or(0, |span| span.start), why.to_owned())),
                },
            }
        };
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Ok(Self { file, text, document, lines })
    }

    /// The text, without the numbers that are too large for figment.
    pub(super) fn readable(&self) -> &str {
        self.document.raw()
    }

    /// Whether the file sets `key` to a value that is no table.
    pub(super) fn is_no_table(&self, key: &str) -> bool {
        self.document.get(key).is_some_and(|item| !item.is_table_like())
    }

    /// The merged values, each with its place. The error is what figment's parser shows.
    pub(super) fn tree(&self, figment: &Figment) -> Result<Dict, String> {
        let merged = figment.data().map_err(|error| error.to_string())?.remove(&Profile::Default).unwrap_or_default();
        Ok(self.dict(merged, Some(self.document.as_item()), figment))
    }

    fn dict(&self, merged: value::Dict, written: Option<&Item>, figment: &Figment) -> Dict {
        let table = written.and_then(Item::as_table_like);
        let entry = |(key, value): (String, value::Value)| {
            let (name, item) = table.and_then(|table| table.get_key_value(&key)).unzip();
            let value = self.value(value, item, name.and_then(Key::span), figment);
            (key, value)
        };
        merged.into_iter().map(entry).collect()
    }

    /// One value, with what the file has at its path, and where its key stands there if it has one.
    fn value(
        &self,
        merged: value::Value,
        written: Option<&Item>,
        key: Option<Range<usize>>,
        figment: &Figment,
    ) -> Value {
        let span = written.and_then(Item::span);
        let set_by = figment.get_metadata(merged.tag()).map(|metadata| metadata.name.as_ref());
        let origin = match (set_by.filter(|name| name.starts_with(PREFIX)), key.or_else(|| span.clone())) {
            // A variable only adds to a table.
            (Some(name), _) if merged.as_dict().is_none() => Origin::Variable(name.to_owned()),
            (_, Some(place)) => Origin::Line(self.file, self.lines.partition_point(|start| *start <= place.start)),
            (_, None) => Origin::File(self.file),
        };
        let kind = match merged {
            value::Value::Bool(_, flag) => Kind::Flag(flag),
            value::Value::Num(_, number) => match number.to_i128() {
                Some(number) => Kind::Whole(Some(number)),
                None => as_spelled(span.map_or("", |span| &self.text[span])),
            },
            // figment makes a table of a date.
            value::Value::Dict(..) if written.is_some_and(Item::is_datetime) => Kind::Date,
            value::Value::Dict(_, entries) => Kind::Table(self.dict(entries, written, figment)),
            value::Value::Array(_, items) => {
                let item = |(at, item)| self.value(item, written.and_then(|list| list.get(at)), None, figment);
                Kind::List(items.into_iter().enumerate().map(item).collect())
            }
            text => Kind::Text(text.into_string().unwrap_or_default()),
        };
        Value { kind, origin }
    }
}

/// A number that is not within 64 bits, or not whole.
fn as_spelled(number: &str) -> Kind {
    let digits = number.replace('_', "");
    let (radix, digits) = match digits.split_at_checked(2) {
        Some(("0x", digits)) => (16, digits),
        Some(("0o", digits)) => (8, digits),
        Some(("0b", digits)) => (2, digits),
        // `n` is in `inf` and `nan`.
        _ if digits.contains(['.', 'e', 'E', 'n']) => return Kind::Fraction(number.to_owned()),
        _ => (10, digits.as_str()),
    };
    Kind::Whole(i128::from_str_radix(digits, radix).ok())
}
