//! Reads TOML tables: keys, types and bounds. Not here: what the keys mean.
//!
//! A problem does not stop the reading: it is noted under its key, and the caller continues without the value.

use std::fmt::Display;
use std::ops::RangeInclusive;

use figment::value::{Dict, Num, Value};

use super::problems::Problems;
use super::source::Sources;
use super::suggest::nearest;
use crate::target::Words;

/// The key by which figment marks a TOML date in its tree.
const DATE: &str = "$__toml_private_datetime";

/// A table, its full name, and which of its keys were read or refused.
pub(super) struct Table<'a> {
    name: String,
    entries: &'a Dict,
    known: Vec<&'static str>,
    refused: Vec<&'static str>,
    sources: &'a Sources,
    problems: &'a Problems,
}

impl<'a> Table<'a> {
    /// The whole file.
    pub(super) fn root(sources: &'a Sources, problems: &'a Problems) -> Self {
        Self { name: String::new(), entries: sources.root(), known: Vec::new(), refused: Vec::new(), sources, problems }
    }

    /// Notes that the value of `key` is wrong.
    pub(super) fn problem(&self, key: &str, message: impl Display) {
        let variable = self.entries.get(key).and_then(|value| self.sources.variable(value.tag()));
        self.problems.add(variable, &self.key(key), &message.to_string());
    }

    /// The full name of one of its keys.
    pub(super) fn key(&self, key: &str) -> String {
        let key = if is_bare(key) { key.to_owned() } else { format!("{key:?}") };
        if self.name.is_empty() { key } else { format!("{}.{key}", self.name) }
    }

    /// Whether `key` is set, to a value of any type.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// All keys, of a table whose keys are chosen by people.
    pub(super) fn keys(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.entries.keys().map(String::as_str)
    }

    /// A text, or a whole number as text.
    pub(super) fn text<T, E: Display>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let value = self.value(key)?;
        self.parsed(key, value, parse)
    }

    /// The same for the name of a file or variable that holds a secret: it may be the secret itself by mistake, so that
    /// it is never shown.
    pub(super) fn secret_name<T, E: Display>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        if matches!(self.entries.get(key), Some(Value::Num(_, number)) if is_float(*number)) {
            self.problem(key, "is a number with a fraction: put it in quotes");
            self.known.push(key);
            return None;
        }
        self.text(key, parse)
    }

    /// A list of texts, or a single one. A wrong one is noted and left out.
    pub(super) fn texts<T, E: Display>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<Vec<T>> {
        let value = self.value(key)?;
        let Value::Array(_, items) = value else {
            return self.parsed(key, value, parse).map(|only| vec![only]);
        };
        let parsed = items.iter().enumerate().filter_map(|(at, item)| {
            let problem = |message: String| {
                self.problems.add(self.sources.variable(item.tag()), &format!("{}[{at}]", self.key(key)), &message);
            };
            text(item).and_then(|text| parse(&text).map_err(|error| error.to_string())).map_err(problem).ok()
        });
        Some(parsed.collect())
    }

    /// One of a few words.
    pub(super) fn word<T: Words>(&mut self, key: &'static str) -> Option<T> {
        let parsed = match self.value(key)? {
            Value::String(_, text) => T::from_word(text),
            other => Err(format!("{}: {}", found(other), T::remedy())),
        };
        parsed.map_err(|message| self.problem(key, message)).ok()
    }

    /// Texts under names chosen by people. `check` parses each name with its text.
    pub(super) fn pairs<T, E: Display>(
        &mut self,
        key: &'static str,
        check: impl Fn(&str, &str) -> Result<T, E>,
    ) -> Vec<T> {
        let Some(mut table) = self.table(key) else { return Vec::new() };
        let names: Vec<&'a str> = table.keys().collect();
        let pair = |name| {
            let value = table.entries.get(name)?;
            table.parsed(name, value, |text| check(name, text))
        };
        let pairs = names.into_iter().filter_map(pair).collect();
        table.known.clear();
        pairs
    }

    /// A whole number within bounds.
    pub(super) fn count<T: TryFrom<u128>>(&mut self, key: &'static str, bounds: RangeInclusive<u128>) -> Option<T> {
        let value = self.value(key)?;
        let from_variable = self.sources.variable(value.tag()).is_some();
        let number = match value {
            Value::Num(_, number) => whole(*number),
            Value::String(_, text) if from_variable => text.trim().parse().ok(),
            _ => None,
        };
        let number = number.filter(|number| bounds.contains(number)).and_then(|number| T::try_from(number).ok());
        if number.is_none() {
            let found = match value {
                Value::String(_, text) if from_variable => format!("`{text}`"),
                other => found(other),
            };
            self.problem(key, format!("{found}: write a whole number from {} to {}", bounds.start(), bounds.end()));
        }
        number
    }

    /// A number above 0, up to `max`.
    pub(super) fn rate(&mut self, key: &'static str, max: f64) -> Option<f64> {
        let value = self.value(key)?;
        let number = match value {
            Value::Num(_, number) if is_float(*number) => number.to_f64(),
            Value::Num(_, number) => whole(*number).and_then(|whole| u32::try_from(whole).ok()).map(f64::from),
            _ => None,
        };
        let number = number.filter(|number| *number > 0.0 && *number <= max);
        if number.is_none() {
            self.problem(key, format!("{}: write a number above 0 and at most {max}", found(value)));
        }
        number
    }

    /// `true` or `false`; `false` when absent.
    pub(super) fn flag(&mut self, key: &'static str) -> bool {
        match self.value(key) {
            None => false,
            Some(Value::Bool(_, flag)) => *flag,
            Some(other) => {
                self.problem(key, format!("{}: write true or false", found(other)));
                false
            }
        }
    }

    /// A table in this one.
    pub(super) fn table(&mut self, key: &'static str) -> Option<Table<'a>> {
        let value = self.value(key)?;
        self.table_of(key, value)
    }

    /// A table in this one, under a name chosen by people.
    pub(super) fn table_named(&self, name: &str) -> Option<Table<'a>> {
        self.table_of(name, self.entries.get(name)?)
    }

    /// The dotted names below `key` that were meant as one quoted name: `[a.b.c]` written for `[a."b.c"]`. Empty if
    /// `key` contains no tables.
    pub(super) fn unquoted_names(&self, key: &str) -> Vec<String> {
        let inner = |entries: &'a Dict| {
            let tables = entries.iter().filter_map(|(key, value)| value.as_dict().map(|table| (key, table)));
            tables.filter(|(_, table)| !table.contains_key(DATE)).collect::<Vec<_>>()
        };
        let Some(entries) = self.entries.get(key).and_then(Value::as_dict).filter(|_| is_bare(key)) else {
            return Vec::new();
        };
        let mut found = Vec::new();
        let mut open: Vec<(String, &Dict)> = vec![(key.to_owned(), entries)];
        while let Some((name, entries)) = open.pop() {
            let tables = inner(entries);
            if tables.is_empty() && name != key {
                found.push(name);
            } else {
                open.extend(tables.into_iter().rev().map(|(key, table)| (format!("{name}.{key}"), table)));
            }
        }
        found
    }

    /// Notes a problem of a nested key, given as a dotted path.
    pub(super) fn problem_at(&self, path: &str, message: &str) {
        self.problems.add(None, &format!("{}.{path}", self.name), message);
    }

    /// Whether `key` is set to an empty list.
    pub(super) fn is_empty_list(&self, key: &str) -> bool {
        matches!(self.entries.get(key), Some(Value::Array(_, items)) if items.is_empty())
    }

    /// An array of tables, written as `[[key]]`, each with its position.
    pub(super) fn tables(&mut self, key: &'static str) -> Option<Vec<(usize, Table<'a>)>> {
        let value = self.value(key)?;
        let remedy = format!("write [[{key}]] above the keys of each one");
        let Value::Array(_, items) = value else {
            self.problem(key, format!("{}: {remedy}", found(value)));
            return None;
        };
        let table = |(at, item): (usize, &'a Value)| {
            let name = format!("{}[{at}]", self.key(key));
            if let Value::Dict(_, entries) = item {
                return Some((at, self.inner(name, entries)));
            }
            self.problems.add(None, &name, &format!("{}: {remedy}", found(item)));
            None
        };
        Some(items.iter().enumerate().filter_map(table).collect())
    }

    /// Refuses a key that users may expect, with the reason.
    pub(super) fn refuse(&mut self, key: &'static str, why: &str) {
        if self.entries.contains_key(key) {
            self.problem(key, why);
        }
        self.refused.push(key);
    }

    /// Notes every unknown key.
    pub(super) fn finish(self) {
        let asked_for = |key: &&String| self.known.contains(&key.as_str()) || self.refused.contains(&key.as_str());
        for key in self.entries.keys().filter(|key| !asked_for(key)) {
            let message = match nearest(key, self.known.iter().copied()) {
                Some(meant) => format!("unknown key, did you mean `{meant}`?"),
                None => format!("unknown key: expected one of {}", self.known.join(", ")),
            };
            self.problem(key, message);
        }
    }

    fn value(&mut self, key: &'static str) -> Option<&'a Value> {
        self.known.push(key);
        self.entries.get(key)
    }

    fn parsed<T, E: Display>(&self, key: &str, value: &Value, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        let parsed = text(value).and_then(|text| parse(&text).map_err(|error| error.to_string()));
        parsed.map_err(|message| self.problem(key, message)).ok()
    }

    fn table_of(&self, key: &str, value: &'a Value) -> Option<Table<'a>> {
        if let Value::Dict(_, entries) = value
            && !entries.contains_key(DATE)
        {
            return Some(self.inner(self.key(key), entries));
        }
        let name = self.key(key);
        self.problem(key, format!("{}: write a table, as [{name}] starts it", found(value)));
        None
    }

    fn inner(&self, name: String, entries: &'a Dict) -> Table<'a> {
        Table { name, entries, known: Vec::new(), refused: Vec::new(), sources: self.sources, problems: self.problems }
    }
}

/// Whether TOML accepts the key without quotes.
fn is_bare(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// The text as written. Whole numbers keep theirs; fractions and dates do not: `1.10` becomes `1.1`.
fn text(value: &Value) -> Result<String, String> {
    match value {
        Value::String(_, text) => Ok(text.clone()),
        Value::Num(_, number) if !is_float(*number) => Ok(decimal(*number)),
        Value::Num(..) => Err(format!("{}, which may have lost digits: put it in quotes", found(value))),
        Value::Dict(_, entries) if entries.contains_key(DATE) => Err(format!("{}: put it in quotes", found(value))),
        _ => Err(format!("{}: write text in quotes", found(value))),
    }
}

/// What kind of value it is, without the text, which may be long or secret.
fn found(value: &Value) -> String {
    match value {
        Value::String(..) | Value::Char(..) => "is text".to_owned(),
        Value::Bool(_, flag) => format!("is {flag}"),
        Value::Num(_, number) if is_float(*number) => {
            format!("is the number {:?}", number.to_f64().unwrap_or_default())
        }
        Value::Num(_, number) => format!("is the number {}", decimal(*number)),
        Value::Empty(..) => "is empty".to_owned(),
        Value::Dict(_, entries) if entries.contains_key(DATE) => "is a date".to_owned(),
        Value::Dict(..) => "is a table".to_owned(),
        Value::Array(..) => "is a list".to_owned(),
    }
}

/// A whole number in decimal digits. TOML's have at most 64 bits.
fn decimal(number: Num) -> String {
    match (number.to_i128(), number.to_u128()) {
        (Some(signed), _) => signed.to_string(),
        (None, unsigned) => unsigned.unwrap_or_default().to_string(),
    }
}

/// A whole number that is not negative.
fn whole(number: Num) -> Option<u128> {
    if is_float(number) { None } else { decimal(number).parse().ok() }
}

fn is_float(number: Num) -> bool {
    matches!(number, Num::F32(_) | Num::F64(_))
}
