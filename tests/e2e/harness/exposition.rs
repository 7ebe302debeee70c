//! A strict reader of the text format 0.0.4: what it accepts, every Prometheus accepts.

use std::collections::{BTreeMap, BTreeSet};

/// The result of one scrape.
#[derive(Debug, Default)]
pub struct Exposition {
    pub samples: Vec<Sample>,
    /// Family to its type.
    pub types: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

impl Sample {
    fn has(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        self.name == name && labels.iter().all(|(key, value)| self.label(key) == *value)
    }

    /// A label's value; a label that is not there is the same as an empty one, as for Prometheus.
    pub fn label(&self, key: &str) -> &str {
        self.labels.get(key).map_or("", String::as_str)
    }
}

impl Exposition {
    /// Reads a whole body; panics, naming the line, where it is not what the format wants.
    pub fn parse(body: &str) -> Self {
        let mut exposition = Self::default();
        let mut helped = BTreeSet::new();
        let mut seen = BTreeSet::new();
        let mut family = String::new();
        assert!(body.is_empty() || body.ends_with('\n'), "the last line has no end");
        for line in body.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let name = help.split(' ').next().unwrap_or("").to_owned();
                assert!(helped.insert(name.clone()), "a second HELP: {line}");
                family = name;
            } else if let Some(text) = line.strip_prefix("# TYPE ") {
                let (name, kind) = text.split_once(' ').unwrap_or_else(|| panic!("no type: {line}"));
                assert_eq!(name, family, "TYPE without its HELP before it: {line}");
                assert!(["gauge", "counter", "histogram"].contains(&kind), "an unknown type: {line}");
                assert!(exposition.types.insert(name.to_owned(), kind.to_owned()).is_none(), "a second TYPE: {line}");
            } else if line.starts_with("# UNIT ") {
                // A comment in this format.
            } else {
                let sample = sample(line).unwrap_or_else(|| panic!("no sample: {line}"));
                let kind = exposition.types.get(&family).map_or("", String::as_str);
                let belongs = sample.name == family
                    || kind == "histogram"
                        && ["_bucket", "_sum", "_count"].iter().any(|end| sample.name == format!("{family}{end}"));
                assert!(belongs, "a sample outside of its family: {line}");
                assert!(seen.insert((sample.name.clone(), sample.labels.clone())), "a series twice: {line}");
                exposition.samples.push(sample);
            }
        }
        exposition
    }

    /// All samples of this name that have these labels.
    pub fn all(&self, name: &str, labels: &[(&str, &str)]) -> Vec<&Sample> {
        self.samples.iter().filter(|sample| sample.has(name, labels)).collect()
    }

    /// The one sample of this name with these labels, if there is one; panics where there are several.
    pub fn one(&self, name: &str, labels: &[(&str, &str)]) -> Option<&Sample> {
        let all = self.all(name, labels);
        assert!(all.len() <= 1, "{name}{labels:?} means several series: {all:?}");
        all.first().copied()
    }

    /// The value of the one sample of this name with these labels.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.one(name, labels).map(|sample| sample.value)
    }
}

fn sample(line: &str) -> Option<Sample> {
    let name_end = line.find(['{', ' '])?;
    let name = &line[..name_end];
    let valid = |name: &str| {
        name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    if !valid(name) {
        return None;
    }
    let mut labels = BTreeMap::new();
    let mut rest = &line[name_end..];
    if let Some(mut inside) = rest.strip_prefix('{') {
        while !inside.starts_with('}') {
            let (key, after) = inside.split_once("=\"")?;
            let (value, after) = quoted(after)?;
            if !valid(key) || labels.insert(key.to_owned(), value).is_some() {
                return None;
            }
            inside = match after.strip_prefix(',') {
                Some(more) if !more.starts_with('}') => more,
                None if after.starts_with('}') => after,
                _ => return None,
            };
        }
        rest = &inside[1..];
    }
    let value = rest.strip_prefix(' ')?;
    // No own timestamps: they would keep vanished series alive.
    (!value.contains(' ')).then_some(())?;
    Some(Sample { name: name.to_owned(), labels, value: value.replace("Inf", "inf").parse().ok()? })
}

/// The value up to the closing quote, unescaped, and what follows the quote.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match characters.next()?.1 {
                'n' => '\n',
                escaped @ ('\\' | '"') => escaped,
                _ => return None,
            }),
            other => value.push(other),
        }
    }
    None
}
