//! A reader of both text formats that takes nothing but what the specifications allow (OpenMetrics 1.0, section 4.1,
//! and the text format 0.0.4), and the rules that hold between lines. `it` and `e2e` share it.

use std::collections::{BTreeMap, BTreeSet};

use image_size_exporter::metrics::Format;

/// One answer of `/metrics`.
#[derive(Debug, Default)]
pub struct Exposition {
    /// What was said of each family, by its name.
    pub families: BTreeMap<String, Family>,
    /// All samples, in their order.
    pub samples: Vec<Sample>,
}

/// What HELP and TYPE say of a family.
#[derive(Debug, PartialEq)]
pub struct Family {
    pub kind: String,
    pub help: String,
}

/// One line, its labels unescaped.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

impl Sample {
    /// A label's value; a label that is not there is the same as an empty one, as for Prometheus.
    pub fn label(&self, key: &str) -> &str {
        self.labels.get(key).map_or("", String::as_str)
    }
}

impl Exposition {
    /// Reads a whole body. An error names the line that the format does not allow.
    pub fn parse(text: &str, format: Format) -> Result<Self, String> {
        let text = match format {
            Format::OpenMetrics => text.strip_suffix("# EOF\n").ok_or("does not end with # EOF")?,
            Format::Text => text,
        };
        if !text.is_empty() && !text.ends_with('\n') {
            return Err("the last line does not end".to_owned());
        }
        let mut exposition = Self::default();
        let mut current: Option<OpenFamily> = None;
        for line in text.split_terminator('\n') {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').ok_or_else(|| format!("no help: {line}"))?;
                exposition.close(current.take())?;
                let help = unescape(help, format == Format::OpenMetrics)?;
                current = Some(OpenFamily { name: name.to_owned(), help, ..OpenFamily::default() });
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let family = current.as_mut().ok_or_else(|| format!("type before help: {line}"))?;
                let (name, kind) = rest.split_once(' ').ok_or_else(|| format!("no type: {line}"))?;
                if name != family.name || !family.kind.is_empty() || !["gauge", "counter", "histogram"].contains(&kind)
                {
                    return Err(format!("misplaced: {line}"));
                }
                kind.clone_into(&mut family.kind);
            } else {
                let family = current.as_mut().ok_or_else(|| format!("a sample of no family: {line}"))?;
                let sample = sample(line)?;
                if !belongs(&sample, family, format) {
                    return Err(format!("not a sample of {} {}: {line}", family.kind, family.name));
                }
                family.samples.push(sample);
            }
        }
        exposition.close(current)?;
        Ok(exposition)
    }

    /// All samples of this name that have these labels.
    pub fn all(&self, name: &str, labels: &[(&str, &str)]) -> Vec<&Sample> {
        let has =
            |sample: &&Sample| sample.name == name && labels.iter().all(|(key, value)| sample.label(key) == *value);
        self.samples.iter().filter(has).collect()
    }

    /// The one sample of this name with these labels, if there is one; panics where there are several.
    pub fn one(&self, name: &str, labels: &[(&str, &str)]) -> Option<&Sample> {
        let all = self.all(name, labels);
        assert!(all.len() <= 1, "{name}{labels:?} names several series: {all:?}");
        all.first().copied()
    }

    /// The value of the one sample of this name with these labels.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.one(name, labels).map(|sample| sample.value)
    }

    fn close(&mut self, family: Option<OpenFamily>) -> Result<(), String> {
        let Some(OpenFamily { name, kind, help, samples }) = family else { return Ok(()) };
        let mut seen = BTreeSet::new();
        if let Some(twice) = samples.iter().find(|sample| !seen.insert((&sample.name, &sample.labels))) {
            return Err(format!("twice: {twice:?}"));
        }
        if samples.is_empty() || help.is_empty() {
            return Err(format!("{name} has no samples, or no help"));
        }
        self.samples.extend(samples);
        match self.families.insert(name.clone(), Family { kind, help }) {
            Some(_) => Err(format!("{name} is not in one piece")),
            None => Ok(()),
        }
    }
}

/// A family of which more lines may come.
#[derive(Default)]
struct OpenFamily {
    name: String,
    kind: String,
    help: String,
    samples: Vec<Sample>,
}

fn belongs(sample: &Sample, family: &OpenFamily, format: Format) -> bool {
    let suffix = sample.name.strip_prefix(&family.name);
    match (family.kind.as_str(), format) {
        ("gauge", _) => suffix == Some(""),
        ("counter", Format::OpenMetrics) => suffix == Some("_total") && sample.value >= 0.0,
        ("counter", Format::Text) => suffix == Some("") && sample.name.ends_with("_total") && sample.value >= 0.0,
        ("histogram", _) => matches!(suffix, Some("_bucket" | "_sum" | "_count")),
        _ => false,
    }
}

fn sample(line: &str) -> Result<Sample, String> {
    let wrong = |what: &str| format!("{what}: {line}");
    let end = line.find(['{', ' ']).ok_or_else(|| wrong("no value"))?;
    let (name, mut rest) = line.split_at(end);
    if !is_name(name, true) {
        return Err(wrong("not a metric's name"));
    }
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (key, after) = rest.split_once("=\"").ok_or_else(|| wrong("no label"))?;
            let end = closing_quote(after).ok_or_else(|| wrong("an open label"))?;
            if !is_name(key, false) {
                return Err(wrong("not a label's name"));
            }
            if labels.insert(key.to_owned(), unescape(&after[..end], true)?).is_some() {
                return Err(wrong("a label twice"));
            }
            rest = &after[end + 1..];
            match rest.split_at_checked(1) {
                Some((",", more)) => rest = more,
                Some(("}", more)) => {
                    rest = more;
                    break;
                }
                _ => return Err(wrong("neither , nor }")),
            }
        }
    }
    let value = rest.strip_prefix(' ').ok_or_else(|| wrong("no space"))?;
    if !value.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte)) && value != "+Inf" {
        return Err(wrong("not a number"));
    }
    let value = value.parse().map_err(|_| wrong("not a number"))?;
    Ok(Sample { name: name.to_owned(), labels, value })
}

fn is_name(name: &str, colons: bool) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || colons && byte == b':';
    !name.is_empty() && !name.as_bytes()[0].is_ascii_digit() && name.bytes().all(fits)
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    })
}

fn unescape(text: &str, quotes: bool) -> Result<String, String> {
    let (mut out, mut characters) = (String::new(), text.chars());
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some('\\') => out.push('\\'),
                Some('n') => out.push('\n'),
                Some('"') if quotes => out.push('"'),
                other => return Err(format!("no escape: {other:?} in {text}")),
            },
            '"' if quotes => return Err(format!("a bare quote in {text}")),
            other => out.push(other),
        }
    }
    Ok(out)
}
