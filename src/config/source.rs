//! The sources of the configuration's values: the file, and environment variables that override it. figment is used
//! only here and, for its value type, in `reader`.

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

/// Environment variables: names and values.
pub type Environment = BTreeMap<String, String>;

/// The largest configuration file, in bytes.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// The prefix of all variables. Two underscores, since Kubernetes sets `IMAGE_SIZE_EXPORTER_PORT` and similar names.
const PREFIX: &str = "IMAGE_SIZE_EXPORTER__";

/// The keys that variables can set, by section.
const OVERRIDABLE: [(&str, &[&str]); 3] = [
    ("web", &["listen", "hosts", "config_file"]),
    ("scan", &["interval", "concurrency", "timeout", "keep", "tags_max"]),
    ("state", &["path"]),
];

/// The merged tree. Every value has a tag that says where it came from.
pub(super) struct Sources {
    figment: Figment,
    root: Dict,
}

impl Sources {
    pub(super) fn root(&self) -> &Dict {
        &self.root
    }

    /// The environment variable that set a value, if one did.
    pub(super) fn variable(&self, tag: Tag) -> Option<&str> {
        let name = self.figment.get_metadata(tag)?.name.as_ref();
        name.starts_with(PREFIX).then_some(name)
    }
}

/// Reads the file and applies the environment variables.
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

/// Variables that look like overrides but have only one underscore between the words.
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
        .map(|(mistaken, meant)| format!("{mistaken}: ignored: two underscores are missing, as in {meant}"))
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

/// The parser's message as one line: the position and the reason, without the excerpt of the file, which does not belong
/// in logs.
fn syntax_error(shown: &str) -> String {
    let shown = shown.trim_end();
    let mut lines = shown.lines();
    let first = lines.next().unwrap_or_default();
    let position = first.strip_prefix("TOML parse error at ").unwrap_or(first);
    let why: Vec<&str> = lines.filter(|line| !line.contains('|')).map(str::trim).collect();
    // The parser reports what follows an unquoted text, which does not help the user.
    let hint = match unquoted_registry(shown) {
        Some(host) => format!(": write [registries.{host:?}]"),
        None if why.iter().any(|why| why.starts_with("expected newline")) => ": put text in quotes".to_owned(),
        None => String::new(),
    };
    format!("invalid TOML: {position}: {}{hint}", why.join(", "))
}

/// The registry in the parser's excerpt, if the line is a table header that lacks the quotes that a port needs.
fn unquoted_registry(shown: &str) -> Option<&str> {
    let drawn = shown.lines().find_map(|line| line.split_once(" | ").map(|(_, drawn)| drawn.trim()))?;
    let host = drawn.strip_prefix("[registries.")?.split(']').next()?;
    let of_a_host = |c: char| c.is_ascii_alphanumeric() || ".-:".contains(c);
    (host.contains(':') && host.chars().all(of_a_host)).then_some(host)
}

/// One variable, such as `IMAGE_SIZE_EXPORTER__SCAN__INTERVAL`. Its value is text; `reader` parses numbers.
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
            return Err("only single values of [web], [scan] and [state] can be set by variables: \
                        set the others in the file, and unset this variable"
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
        // A comma separates addresses or names: none of them contains one.
        let value = match self.key.as_str() {
            "listen" | "hosts" => self.value.split(',').map(|item| item.trim().to_owned()).collect::<Vec<_>>().into(),
            _ => Value::from(self.value.clone()),
        };
        let section = Dict::from([(self.key.clone(), value)]);
        Ok(Map::from([(Profile::Default, Dict::from([(self.section.to_owned(), section.into())]))]))
    }
}
