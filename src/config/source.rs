//! Where the configuration's values come from: the file, and environment variables over it. Everything figment
//! does for us is in here and in the value type that `table` reads.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use figment::providers::{Format as _, Toml};
use figment::value::{Dict, Map, Tag, Value};
use figment::{Figment, Metadata, Profile, Provider};

use super::error::ConfigError;
use super::problems::Problems;
use super::suggest::nearest;

/// The environment: names and values.
pub type Environment = BTreeMap<String, String>;

/// What a configuration may be long, in bytes.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// What the names of all variables start with. Two underscores, since Kubernetes sets `IMAGE_SIZE_EXPORTER_PORT` and
/// the like by itself.
const PREFIX: &str = "IMAGE_SIZE_EXPORTER__";

/// What can come from variables: each a section and its scalar keys.
const OVERRIDABLE: [(&str, &[&str]); 3] = [
    ("web", &["listen", "config_file"]),
    ("scan", &["interval", "concurrency", "timeout", "keep", "tags_max"]),
    ("state", &["path"]),
];

/// The merged tree, which knows of every value where it came from.
pub(super) struct Sources {
    figment: Figment,
    root: Dict,
}

impl Sources {
    pub(super) fn root(&self) -> &Dict {
        &self.root
    }

    /// The environment variable that a value came from, if it came from one.
    pub(super) fn variable(&self, tag: Tag) -> Option<&str> {
        let name = self.figment.get_metadata(tag)?.name.as_ref();
        name.starts_with(PREFIX).then_some(name)
    }
}

/// Reads the file and what overrides it.
pub(super) fn read(path: &Path, environment: &Environment, problems: &Problems) -> Result<Sources, ConfigError> {
    let text = read_file(path)?;
    let mut figment = Figment::from(Toml::string(&text));
    if let Err(error) = figment.data() {
        return Err(ConfigError::Syntax(path.to_owned(), syntax_error(&error.to_string())));
    }
    for (name, value) in environment.iter().filter(|(name, _)| name.starts_with(PREFIX)) {
        match Variable::parse(name, value) {
            Ok(variable) => figment = figment.merge(variable),
            Err(message) => problems.add_to_variable(name, &message),
        }
    }
    let mut profiles = figment.data().map_err(|error| ConfigError::Syntax(path.to_owned(), error.to_string()))?;
    Ok(Sources { root: profiles.remove(&Profile::Default).unwrap_or_default(), figment })
}

/// Variables that look like overrides and are none, for want of the second underscores.
pub(super) fn warnings(environment: &Environment) -> Vec<String> {
    let known = OVERRIDABLE.iter().flat_map(|(section, keys)| keys.iter().map(move |key| (section, key)));
    let known = known.map(|(section, key)| {
        let (section, key) = (section.to_uppercase(), key.to_uppercase());
        (
            format!("{}{section}_{key}", PREFIX.trim_end_matches("__").to_owned() + "_"),
            format!("{PREFIX}{section}__{key}"),
        )
    });
    known
        .filter(|(mistaken, _)| environment.contains_key(mistaken))
        .map(|(mistaken, meant)| format!("{mistaken}: ignored: with two underscores it is {meant}"))
        .collect()
}

fn read_file(path: &Path) -> Result<String, ConfigError> {
    let unreadable = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => ConfigError::Missing(path.to_owned()),
        _ => ConfigError::Unreadable(path.to_owned(), error),
    };
    let mut text = String::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(ConfigError::TooLong(path.to_owned(), FILE_BYTES_MAX));
    }
    Ok(text)
}

/// The parser draws the line in question over several lines; where and what it is make one, which also keeps the
/// file's text out of logs.
fn syntax_error(shown: &str) -> String {
    let shown = shown.trim_end();
    let mut lines = shown.lines();
    let first = lines.next().unwrap_or_default();
    let place = first.strip_prefix("TOML parse error at ").unwrap_or(first);
    let why: Vec<&str> = lines.filter(|line| !line.contains('|')).map(str::trim).collect();
    // What follows a value without quotes surprises the parser, and its words surprise people.
    let hint = match unquoted_registry(shown) {
        Some(host) => format!(": write [registries.{host:?}]"),
        None if why.iter().any(|why| why.starts_with("expected newline")) => ": text belongs in quotes".to_owned(),
        None => String::new(),
    };
    format!("not TOML: {place}: {}{hint}", why.join(", "))
}

/// The registry in the line that the parser draws, if that is a table's head without the quotes that a port needs.
fn unquoted_registry(shown: &str) -> Option<&str> {
    let drawn = shown.lines().find_map(|line| line.split_once(" | ").map(|(_, drawn)| drawn.trim()))?;
    let host = drawn.strip_prefix("[registries.")?.split(']').next()?;
    let of_a_host = |c: char| c.is_ascii_alphanumeric() || ".-:".contains(c);
    (host.contains(':') && host.chars().all(of_a_host)).then_some(host)
}

/// One variable, `IMAGE_SIZE_EXPORTER__SCAN__INTERVAL`. Its value is text: a number is read where one belongs.
struct Variable {
    name: String,
    section: &'static str,
    key: String,
    value: String,
}

impl Variable {
    fn parse(name: &str, value: &str) -> Result<Self, String> {
        let lower = name[PREFIX.len()..].to_ascii_lowercase();
        let (section, key) = lower.split_once("__").unwrap_or((&lower, ""));
        let Some((section, keys)) = OVERRIDABLE.iter().find(|(known, _)| *known == section) else {
            return Err("only scalars of [web], [scan] and [state] come from the environment: \
                        write everything else in the file, and unset this variable"
                .to_owned());
        };
        if !keys.contains(&key) {
            let meant = nearest(key, keys.iter().copied()).unwrap_or(keys[0]);
            let meant = format!("{PREFIX}{section}__{meant}").to_uppercase();
            return Err(format!("unknown key: write for example {meant}, or unset this variable"));
        }
        Ok(Self { name: name.to_owned(), section, key: key.to_owned(), value: value.to_owned() })
    }
}

impl Provider for Variable {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        // Several addresses fit one variable, since none has a comma.
        let value = match self.key.as_str() {
            "listen" => self.value.split(',').map(|address| address.trim().to_owned()).collect::<Vec<_>>().into(),
            _ => Value::from(self.value.clone()),
        };
        let section = Dict::from([(self.key.clone(), value)]);
        Ok(Map::from([(Profile::Default, Dict::from([(self.section.to_owned(), section.into())]))]))
    }
}
