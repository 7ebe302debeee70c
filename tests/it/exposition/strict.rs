//! A parser of both text formats that takes nothing but what the specifications allow (OpenMetrics 1.0, section 4.1,
//! and the text format 0.0.4), and the rules that hold between lines.

use std::collections::{BTreeMap, BTreeSet};

use image_size_exporter::metrics::Format;

/// One family as it was exposed.
#[derive(Debug, PartialEq)]
pub struct Family {
    pub name: String,
    pub kind: String,
    pub help: String,
    pub samples: Vec<Sample>,
}

/// One line. Labels in their order, unescaped.
#[derive(Debug, PartialEq)]
pub struct Sample {
    pub name: String,
    pub labels: Vec<(String, String)>,
    pub value: f64,
}

impl Sample {
    pub fn label(&self, key: &str) -> &str {
        self.labels.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str()).unwrap()
    }
}

/// All families, by name.
pub fn parse(text: &str, format: Format) -> Result<BTreeMap<String, Family>, String> {
    let text = match format {
        Format::OpenMetrics => text.strip_suffix("# EOF\n").ok_or("does not end with # EOF")?,
        Format::Text => text,
    };
    if !text.is_empty() && !text.ends_with('\n') {
        return Err("the last line does not end".to_owned());
    }
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current: Option<Family> = None;
    for line in text.split_terminator('\n') {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').ok_or_else(|| format!("no help: {line}"))?;
            close(&mut families, current.take())?;
            let (name, help) = (name.to_owned(), unescape(help, format == Format::OpenMetrics)?);
            current = Some(Family { name, kind: String::new(), help, samples: Vec::new() });
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let family = current.as_mut().ok_or_else(|| format!("type before help: {line}"))?;
            let (name, kind) = rest.split_once(' ').ok_or_else(|| format!("no type: {line}"))?;
            if name != family.name || !family.kind.is_empty() || !["gauge", "counter", "histogram"].contains(&kind) {
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
    close(&mut families, current)?;
    Ok(families)
}

fn close(families: &mut BTreeMap<String, Family>, family: Option<Family>) -> Result<(), String> {
    let Some(family) = family else { return Ok(()) };
    let mut seen = BTreeSet::new();
    for sample in &family.samples {
        let mut labels = sample.labels.clone();
        labels.sort();
        if labels.windows(2).any(|pair| pair[0].0 == pair[1].0) || !seen.insert((&sample.name, labels)) {
            return Err(format!("twice: {sample:?}"));
        }
    }
    if family.samples.is_empty() {
        return Err(format!("{} has no samples", family.name));
    }
    match families.insert(family.name.clone(), family) {
        Some(family) => Err(format!("{} is not in one piece", family.name)),
        None => Ok(()),
    }
}

fn belongs(sample: &Sample, family: &Family, format: Format) -> bool {
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
    let mut labels = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (key, after) = rest.split_once("=\"").ok_or_else(|| wrong("no label"))?;
            let end = closing_quote(after).ok_or_else(|| wrong("an open label"))?;
            if !is_name(key, false) {
                return Err(wrong("not a label's name"));
            }
            labels.push((key.to_owned(), unescape(&after[..end], true)?));
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

#[test]
fn what_is_not_allowed_is_refused() {
    let good = "# HELP a A.\n# TYPE a gauge\na{b=\"c\"} 1\n";
    assert_eq!(parse(good, Format::Text).unwrap()["a"].samples[0].label("b"), "c");
    let bad = [
        "a 1\n",
        "# HELP a A.\n# TYPE a gauge\n",
        "# HELP a A.\n# TYPE a gauge\na 1",
        "# HELP a A.\n# TYPE a gauge\na 1\n\n",
        "# HELP a A.\n# TYPE a gauge\na 1\na 2\n",
        "# HELP a A.\n# TYPE a gauge\na{b=\"c\",b=\"d\"} 1\n",
        "# HELP a A.\n# TYPE a gauge\na{b=\"c\\t\"} 1\n",
        "# HELP a A.\n# TYPE a gauge\na{b=\"c} 1\n",
        "# HELP a A.\n# TYPE a gauge\na{b=\"c\"}1\n",
        "# HELP a A.\n# TYPE a gauge\na{1b=\"c\"} 1\n",
        "# HELP a A.\n# TYPE a gauge\na NaN\n",
        "# HELP a A.\n# TYPE a gauge\na{} 1\n",
        "# HELP a A.\n# TYPE a info\na 1\n",
        "# HELP a A.\n# TYPE a counter\na 1\n",
        "# HELP a A.\n# TYPE a gauge\na 1\n# HELP b B.\n# TYPE b gauge\nb 1\n# HELP a A.\n# TYPE a gauge\na{c=\"d\"} 1\n",
        "# comment\n",
    ];
    for text in bad {
        assert!(parse(text, Format::Text).is_err(), "{text}");
    }
    assert!(parse(good, Format::OpenMetrics).is_err());
}
