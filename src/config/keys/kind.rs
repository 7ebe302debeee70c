//! What a table of keys says of each.

use crate::config::values::Bounds;
use crate::target::Words;

/// The keys of a table.
pub(in crate::config) struct Section {
    pub(in crate::config) keys: &'static [Key],
    pub(in crate::config) required: &'static [&'static str],
}

/// One key.
pub(in crate::config) struct Key {
    pub(in crate::config) name: &'static str,
    pub(in crate::config) kind: Kind,
    /// What holds without the key, in JSON; none if that is no single value.
    pub(in crate::config) default: Option<&'static str>,
    /// A phrase for users, as an editor shows it.
    pub(in crate::config) about: &'static str,
}

/// What may be written.
pub(in crate::config) enum Kind {
    /// Text, or a whole number as text.
    Text,
    /// A list of texts, or a single one: any, or some of these words.
    Texts { words: Option<fn() -> Vec<&'static str>> },
    /// Text with numbers and units of time.
    Duration(Bounds),
    /// Text with a number and a unit of bytes.
    Size,
    /// A whole number.
    Count { min: u64, max: u64 },
    /// A number above 0.
    Rate { max: u32 },
    /// `true` or `false`; `false` when absent.
    Flag,
    /// One of a few words.
    Word { words: fn() -> Vec<&'static str> },
    /// Labels: texts under names that users choose.
    Labels,
    /// A table.
    Table { section: &'static Section, overridable: bool },
    /// Tables of the same keys under names that users choose.
    Named { section: &'static Section, name: &'static str },
    /// An array of tables.
    Tables(&'static Section),
    /// A key that users may expect, and why there is none.
    Refused(&'static str),
}

impl Section {
    /// A section that knows no keys: of a table whose keys users choose.
    pub(in crate::config) const ANY: Self = Self { keys: &[], required: &[] };

    pub(in crate::config) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// The names of the keys that may be written.
    pub(in crate::config) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.keys.iter().filter(|key| !matches!(key.kind, Kind::Refused(_))).map(|key| key.name)
    }
}

pub(super) const fn key(name: &'static str, kind: Kind, about: &'static str) -> Key {
    Key { name, kind, default: None, about }
}

impl Key {
    pub(super) const fn default(mut self, default: &'static str) -> Self {
        self.default = Some(default);
        self
    }
}

/// The words of an enum.
pub(super) fn words<T: Words>() -> Vec<&'static str> {
    T::WORDS.iter().map(|(word, _)| *word).collect()
}
