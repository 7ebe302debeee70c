//! Reads TOML tables: keys, types and bounds, as the tables of `keys` have them. Not here: what the keys
//! mean.
//!
//! A problem does not stop the reading: it is noted under its key, and the caller continues without the value.

mod names;

use std::collections::BTreeMap;
use std::fmt::Display;

use self::names::{called, is_bare};
use super::keys::{Kind as KeyKind, Section};
use super::problems::{Problems, Refusal, Severity, nearest};
use super::source::tree::{Dict, FileNumber, Kind, Origin, Value};
use super::source::variable_of;
use super::values::{self, Bounds, unexpanded};
use crate::target::Words;

/// A table, its full name, and the keys that it may have.
pub(super) struct Table<'a> {
    name: String,
    /// What it calls itself, to be shown behind its name.
    called: String,
    entries: &'a Dict,
    origin: Origin,
    section: &'static Section,
    problems: &'a Problems,
}

impl<'a> Table<'a> {
    /// The whole file.
    pub(super) fn root(entries: &'a Dict, section: &'static Section, problems: &'a Problems) -> Self {
        Self {
            name: String::new(),
            called: String::new(),
            entries,
            origin: Origin::File(FileNumber(0)),
            section,
            problems,
        }
    }

    /// Notes that the value of `key` is wrong.
    pub(super) fn problem(&self, key: &str, message: impl Display) {
        self.note(Severity::Error, key, &message.to_string());
    }

    /// Notes that the value of `key` is valid, but probably a mistake.
    pub(super) fn warn(&self, key: &str, message: impl Display) {
        self.note(Severity::Warning, key, &message.to_string());
    }

    /// Notes why the value of `key` is refused.
    pub(super) fn note_refusal(&self, key: &str, refusal: &Refusal) {
        self.note(refusal.severity, key, &refusal.message);
    }

    fn note(&self, severity: Severity, key: &str, message: &str) {
        // What is missing belongs to the table.
        let origin = self.entries.get(key).map_or(&self.origin, |value| &value.origin);
        self.problems.add(severity, origin, &self.key(key), message);
    }

    /// The full name of one of its keys.
    pub(super) fn key(&self, key: &str) -> String {
        let key = if is_bare(key) { key.to_owned() } else { format!("{key:?}") };
        if self.name.is_empty() { key } else { format!("{}{}.{key}", self.name, self.called) }
    }

    /// Whether `key` is set, to a value of any type.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// All keys, of a table whose keys are chosen by users.
    pub(super) fn keys(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.entries.keys().map(String::as_str)
    }

    /// A text, or a whole number as text.
    pub(super) fn text<T, E: Into<Refusal>>(&self, key: &str, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        let value = self.value(key)?;
        self.parsed(key, value, parse)
    }

    /// The same for the name of a file or variable that holds a secret: it may be the secret itself by mistake, so that
    /// it is never shown.
    pub(super) fn secret_name<T, E: Into<Refusal>>(
        &self,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        match self.value(key).map(|value| &value.kind) {
            Some(Kind::Fraction(_)) => {
                self.problem(key, "is a number with a fraction: put it in quotes");
                None
            }
            Some(Kind::Text(text)) if unexpanded(text).is_some() => {
                self.problem(
                    key,
                    "variables are not expanded: `password_env` takes the name of a variable, and `password_file`, \
                     `token_file`, `docker_config` and `key_file` take paths",
                );
                None
            }
            _ => self.text(key, parse),
        }
    }

    /// A list of texts, or a single one. A wrong one is noted and left out.
    pub(super) fn texts<T, E: Into<Refusal>>(&self, key: &str, parse: impl Fn(&str) -> Result<T, E>) -> Option<Vec<T>> {
        let value = self.value(key)?;
        let Kind::List(items) = &value.kind else {
            return self.parsed(key, value, parse).map(|only| vec![only]);
        };
        let item = |(at, item): (usize, &Value)| {
            let name = format!("{}[{at}]", self.key(key));
            self.parsed_as(&name, key, item, &parse)
        };
        Some(items.iter().enumerate().filter_map(item).collect())
    }

    /// One of a few words.
    pub(super) fn word<T: Words>(&self, key: &str) -> Option<T> {
        let value = self.value(key)?;
        let parsed = match &value.kind {
            Kind::Text(text) => T::from_word(text),
            _ => Err(format!("{}: {}", value.found(), T::remedy())),
        };
        parsed.map_err(|message| self.refuse(key, value, message)).ok()
    }

    /// Texts under names chosen by users. `check` parses each name with its text.
    pub(super) fn pairs<T, E: Into<Refusal>>(&self, key: &str, check: impl Fn(&str, &str) -> Result<T, E>) -> Vec<T> {
        let Some(table) = self.table(key) else { return Vec::new() };
        let pair = |(name, value): (&String, &Value)| table.parsed(name, value, |text| check(name, text));
        table.entries.iter().filter_map(pair).collect()
    }

    /// A duration.
    pub(super) fn duration(&self, key: &str) -> Option<std::time::Duration> {
        let bounds: &Bounds = match self.kind(key) {
            KeyKind::Duration(bounds) => bounds,
            _ => unreachable!("`{key}` is read as its kind"),
        };
        self.text(key, |text| values::duration(text, bounds))
    }

    /// A whole number within bounds.
    pub(super) fn count<T: TryFrom<u64>>(&self, key: &str) -> Option<T> {
        let KeyKind::Count { min, max } = self.kind(key) else { unreachable!("`{key}` is read as its kind") };
        let value = self.value(key)?;
        let from_variable = matches!(value.origin, Origin::Variable(_));
        let number: Option<u64> = match &value.kind {
            Kind::Whole(number) => number.and_then(|number| number.try_into().ok()),
            Kind::Text(text) if from_variable => text.trim().parse().ok(),
            _ => None,
        };
        let number = number.filter(|number| (min..=max).contains(&number)).and_then(|number| T::try_from(number).ok());
        if number.is_none() {
            let found = match &value.kind {
                Kind::Text(text) if from_variable => format!("`{text}`"),
                _ => value.found(),
            };
            self.refuse(key, value, format!("{found}: write a whole number from {min} to {max}"));
        }
        number
    }

    /// A number above 0, up to the key's maximum.
    pub(super) fn rate(&self, key: &str) -> Option<f64> {
        let KeyKind::Rate { max } = self.kind(key) else { unreachable!("`{key}` is read as its kind") };
        let value = self.value(key)?;
        let number: Option<f64> = match &value.kind {
            Kind::Fraction(text) => text.replace('_', "").parse().ok(),
            Kind::Whole(number) => number.and_then(|number| u32::try_from(number).ok()).map(f64::from),
            _ => None,
        };
        let number = number.filter(|number| *number > 0.0 && *number <= f64::from(*max));
        if number.is_none() {
            self.refuse(key, value, format!("{}: write a number above 0 and at most {max}", value.found()));
        }
        number
    }

    /// `true` or `false`; `false` when absent.
    pub(super) fn flag(&self, key: &str) -> bool {
        let Some(value) = self.value(key) else { return false };
        if let Kind::Flag(flag) = value.kind {
            return flag;
        }
        self.refuse(key, value, format!("{}: write true or false", value.found()));
        false
    }

    /// A table in this one.
    pub(super) fn table(&self, key: &str) -> Option<Table<'a>> {
        let section = match self.kind(key) {
            KeyKind::Table { section, .. } | KeyKind::Named { section, .. } => section,
            _ => &Section::ANY,
        };
        self.table_of(key, self.entries.get(key)?, section)
    }

    /// A table in this one, under a name chosen by users.
    pub(super) fn table_named(&self, name: &str) -> Option<Table<'a>> {
        self.table_of(name, self.entries.get(name)?, self.section)
    }

    /// The dotted names below `key` that were meant as one quoted name: `[a.b.c]` written for `[a."b.c"]`. Empty if
    /// `key` contains no tables.
    pub(super) fn unquoted_names(&self, key: &str) -> Vec<UnquotedName> {
        let Some(value) = self.entries.get(key).filter(|_| is_bare(key)) else { return Vec::new() };
        let mut found = Vec::new();
        let mut open = vec![(key.to_owned(), value)];
        while let Some((name, value)) = open.pop() {
            let entries = value.table().into_iter().flatten();
            let tables: Vec<_> = entries.filter(|(_, value)| value.table().is_some()).collect();
            if tables.is_empty() && name != key {
                found.push(UnquotedName { name, origin: value.origin.clone() });
            } else {
                open.extend(tables.into_iter().rev().map(|(key, table)| (format!("{name}.{key}"), table)));
            }
        }
        found
    }

    /// Notes a problem of an unquoted name.
    pub(super) fn problem_of(&self, unquoted: &UnquotedName, message: &str) {
        self.problems.add_error(&unquoted.origin, &format!("{}.{}", self.name, unquoted.name), message);
    }

    /// Whether `key` is set to an empty list.
    pub(super) fn is_empty_list(&self, key: &str) -> bool {
        matches!(self.entries.get(key).map(|value| &value.kind), Some(Kind::List(items)) if items.is_empty())
    }

    /// An array of tables, written as `[[key]]`. Positions are counted in each file.
    pub(super) fn tables(&self, key: &str) -> Option<Vec<Table<'a>>> {
        let KeyKind::Tables(section) = self.kind(key) else { unreachable!("`{key}` is read as its kind") };
        let value = self.value(key)?;
        let remedy = if self.name.is_empty() {
            format!("write [[{key}]] above the keys of each one")
        } else {
            format!("write tables, {key} = [{{ … }}]")
        };
        let Kind::List(items) = &value.kind else {
            self.problem(key, format!("{}: {remedy}", value.found()));
            return None;
        };
        let mut ends: BTreeMap<Option<FileNumber>, usize> = BTreeMap::new();
        let table = |item: &'a Value| {
            let at = ends.entry(item.origin.file()).or_default();
            let name = format!("{}[{at}]", self.key(key));
            *at += 1;
            if let Kind::Table(entries) = &item.kind {
                let shown = called(entries);
                return Some(Table { called: shown, ..self.inner(name, entries, &item.origin, section) });
            }
            self.problems.add_error(&item.origin, &name, &format!("{}: {remedy}", item.found()));
            None
        };
        Some(items.iter().filter_map(table).collect())
    }

    /// Where it is, for messages about other tables.
    pub(super) fn place(&self) -> Place {
        Place { name: self.name.clone(), file: self.origin.file() }
    }

    /// A place as this table names it: `targets[0]`, with its file if that is another.
    pub(super) fn seen(&self, place: &Place) -> String {
        match place.file {
            Some(file) if self.origin.file() != Some(file) => {
                format!("{} of {}", place.name, self.problems.path(file).display())
            }
            _ => place.name.clone(),
        }
    }

    /// Notes every key that is unknown or refused.
    pub(super) fn finish(self) {
        let expected = || self.section.names().collect::<Vec<_>>().join(", ");
        for key in self.entries.keys() {
            match self.section.key(key).map(|key| &key.kind) {
                Some(KeyKind::Refused(why)) => self.problem(key, why),
                Some(_) => {}
                None => {
                    let meant = nearest(key, self.section.names());
                    let remedy = meant.map_or_else(
                        || format!(": expected one of {}", expected()),
                        |meant| format!(", did you mean `{meant}`?"),
                    );
                    self.problem(key, format!("unknown key{remedy}"));
                }
            }
        }
    }

    /// What the section's table says of a key.
    fn kind(&self, key: &str) -> &'static KeyKind {
        &self.section.key(key).expect("only keys of the section's table are read").kind
    }

    fn value(&self, key: &str) -> Option<&'a Value> {
        debug_assert!(self.section.key(key).is_some(), "`{key}` is missing in the tables of `keys`");
        self.entries.get(key)
    }

    fn parsed<T, E: Into<Refusal>>(
        &self,
        key: &str,
        value: &Value,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        self.parsed_as(&self.key(key), key, value, parse)
    }

    /// The value that has the full name `name` and belongs to `key`.
    fn parsed_as<T, E: Into<Refusal>>(
        &self,
        name: &str,
        key: &str,
        value: &Value,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let note = |severity, message: &str| self.problems.add(severity, &value.origin, name, message);
        let text = match value.text() {
            Ok(text) => text,
            Err(message) => {
                note(Severity::Error, &message);
                return None;
            }
        };
        let hint = || unexpanded(&text).map(|sign| self.not_expanded(key, sign, value));
        match parse(&text).map_err(Into::into) {
            Ok(parsed) => {
                // A regular expression may end its alternatives with `$`.
                if let Some(hint) = hint().filter(|_| !EXPRESSIONS.contains(&key)) {
                    note(Severity::Warning, &hint);
                }
                Some(parsed)
            }
            Err(refusal) => {
                note(refusal.severity, &hint().unwrap_or(refusal.message));
                None
            }
        }
    }

    /// Notes that a value is wrong, perhaps since it is a variable.
    fn refuse(&self, key: &str, value: &Value, message: String) {
        let sign = match &value.kind {
            Kind::Text(text) => unexpanded(text),
            _ => None,
        };
        self.problem(key, sign.map_or(message, |sign| self.not_expanded(key, sign, value)));
    }

    fn not_expanded(&self, key: &str, sign: &str, value: &Value) -> String {
        let remedy = match variable_of(&self.name, key) {
            Some(variable) if !matches!(value.origin, Origin::Variable(_)) => format!("set {variable} instead"),
            _ => "write the value itself".to_owned(),
        };
        format!("has `{sign}`, and variables and templates are not expanded: {remedy}")
    }

    fn table_of(&self, key: &str, value: &'a Value, section: &'static Section) -> Option<Table<'a>> {
        if let Kind::Table(entries) = &value.kind {
            return Some(self.inner(self.key(key), entries, &value.origin, section));
        }
        let name = self.key(key);
        let remedy = if name.contains('[') { format!("{key} = {{ … }}") } else { format!("as [{name}] starts it") };
        self.problem(key, format!("{}: write a table, {remedy}", value.found()));
        None
    }

    fn inner(&self, name: String, entries: &'a Dict, origin: &Origin, section: &'static Section) -> Table<'a> {
        Table { name, called: String::new(), entries, origin: origin.clone(), section, problems: self.problems }
    }
}

/// Keys with regular expressions, in which `$` has a meaning.
const EXPRESSIONS: [&str; 4] = ["match", "exclude", "keep_match", "with"];

/// Where a table is.
pub(super) struct Place {
    name: String,
    file: Option<FileNumber>,
}

/// A name that TOML divides at its dots, since it has no quotes.
pub(super) struct UnquotedName {
    pub(super) name: String,
    origin: Origin,
}
