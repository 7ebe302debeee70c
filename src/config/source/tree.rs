//! The configuration as a tree of values, each with the place where it was written. TOML is parsed only here.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

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
    /// In the file, nowhere in particular.
    File,
    /// In a line of the file, counted from 1: that of the key, or of the item of a list.
    Line(usize),
    /// In this environment variable.
    Variable(String),
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

/// Parses a TOML document. The error has the byte at which it was found, and the parser's reason.
pub(super) fn parse(text: &str) -> Result<Dict, (usize, String)> {
    let table = DeTable::parse(text)
        .map_err(|error| (error.span().map_or(0, |span| span.start), error.message().to_owned()))?;
    let lines = Lines::of(text);
    Ok(dict(table.get_ref(), &lines))
}

/// The bytes at which a text's lines start.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect())
    }

    /// The line of a byte.
    fn at(&self, byte: usize) -> Origin {
        Origin::Line(self.0.partition_point(|start| *start <= byte))
    }
}

fn dict(table: &DeTable<'_>, lines: &Lines) -> Dict {
    let entry = |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
        let key: &Spanned<std::borrow::Cow<'_, str>> = key;
        let value = Value { kind: kind(value.get_ref(), lines), origin: lines.at(key.span().start) };
        (key.get_ref().to_string(), value)
    };
    table.iter().map(entry).collect()
}

fn kind(value: &DeValue<'_>, lines: &Lines) -> Kind {
    match value {
        DeValue::String(text) => Kind::Text(text.to_string()),
        DeValue::Integer(number) => Kind::Whole(i128::from_str_radix(number.as_str(), number.radix()).ok()),
        DeValue::Float(number) => Kind::Fraction(number.as_str().to_owned()),
        DeValue::Boolean(flag) => Kind::Flag(*flag),
        DeValue::Datetime(_) => Kind::Date,
        DeValue::Array(items) => {
            let item = |item: &Spanned<DeValue<'_>>| Value {
                kind: kind(item.get_ref(), lines),
                origin: lines.at(item.span().start),
            };
            Kind::List(items.iter().map(item).collect())
        }
        DeValue::Table(table) => Kind::Table(dict(table, lines)),
    }
}
