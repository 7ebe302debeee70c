//! The sources of the configuration's values: the file, those that it includes, and environment variables that override it.

mod include;
mod text;
pub(super) mod tree;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use figment::providers::{Format as _, Toml};
use figment::value::{self, Map};
use figment::{Figment, Metadata, Profile, Provider};

use super::keys::{Kind as KeyKind, ROOT, Section};
use super::problems::{ConfigError, Problems, nearest};
use tree::{Dict, FileNumber, Origin, Written};

/// Environment variables: names and values.
pub type Environment = BTreeMap<String, String>;

/// The largest configuration file, in bytes.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// The prefix of all variables. Two underscores, since Kubernetes sets `IMAGE_SIZE_EXPORTER_PORT` and similar names.
const PREFIX: &str = "IMAGE_SIZE_EXPORTER__";

/// The variable that sets a key, in capitals as users write it, of a section that variables can set.
pub(super) fn variable_of(section: &str, key: &str) -> Option<String> {
    let (_, known) = overridable().find(|(name, _)| *name == section)?;
    known.key(key).map(|_| format!("{PREFIX}{section}__{key}").to_uppercase())
}

/// What variables can set: the sections whose keys are single values. Registries and targets come from the file only.
fn overridable() -> impl Iterator<Item = (&'static str, &'static Section)> {
    ROOT.keys.iter().filter_map(|key| match &key.kind {
        KeyKind::Table { section, overridable: true } => Some((key.name, *section)),
        _ => None,
    })
}

/// Reads the file and those that it includes, and applies the environment variables.
pub(super) fn read(path: &Path, environment: &Environment, problems: &Problems) -> Result<Dict, ConfigError> {
    let file = problems.add_file(path);
    let mut tree = read_one(path, file, environment, problems)?;
    include::add(&mut tree, path, problems);
    Ok(tree)
}

/// Reads a file with these environment variables.
fn read_one(
    path: &Path,
    file: FileNumber,
    environment: &Environment,
    problems: &Problems,
) -> Result<Dict, ConfigError> {
    let wrong = |wrong: text::Wrong| {
        let column = wrong.column.map(|column| format!(":{column}")).unwrap_or_default();
        ConfigError::Syntax(path.to_owned(), format!("{}{column}", wrong.line), wrong.message)
    };
    let text = text::decode(read_file(path)?).map_err(wrong)?;
    let written = Written::parse(file, &text).map_err(|(byte, why)| wrong(text::not_toml(&text, byte, &why)))?;
    let mut figment = Figment::from(Toml::string(written.readable()));
    for (name, value) in environment.iter().filter(|(name, _)| name.starts_with(PREFIX)) {
        match Variable::parse(name, value) {
            // A section that is no table is a problem of its own, which merging would hide.
            Ok(variable) if written.is_no_table(variable.section) => {}
            Ok(variable) => figment = figment.merge(variable),
            Err(message) => problems.add_error(&Origin::Variable(name.clone()), "", &message),
        }
    }
    written.tree(&figment).map_err(|shown| wrong(text::not_read(&shown)))
}

/// Variables that look like overrides but have only one underscore between the words.
pub(super) fn warnings(environment: &Environment) -> Vec<String> {
    let known = overridable().flat_map(|(section, keys)| keys.keys.iter().map(move |key| (section, key.name)));
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

fn read_file(path: &Path) -> Result<Vec<u8>, ConfigError> {
    let unreadable = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => ConfigError::Missing(path.to_owned()),
        _ => ConfigError::Unreadable(path.to_owned(), error),
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(ConfigError::TooLong(path.to_owned(), FILE_BYTES_MAX));
    }
    Ok(bytes)
}

/// One variable, such as `IMAGE_SIZE_EXPORTER__SCAN__INTERVAL`. Its value is text; `reader` parses numbers.
struct Variable {
    name: String,
    section: &'static str,
    key: &'static str,
    value: value::Value,
}

impl Variable {
    fn parse(name: &str, value: &str) -> Result<Self, String> {
        let lower = name[PREFIX.len()..].to_ascii_lowercase();
        let (section, key) = lower.split_once("__").unwrap_or((&lower, ""));
        let Some((section, known)) = overridable().find(|(known, _)| *known == section) else {
            return Err("only single values of [web], [scan] and [state] can be set by variables: \
                        set the others in the file, and unset this variable"
                .to_owned());
        };
        let Some(key) = known.key(key) else {
            let meant = nearest(key, known.names()).or_else(|| known.names().next()).unwrap_or_default();
            let meant = format!("{PREFIX}{section}__{meant}").to_uppercase();
            return Err(format!("unknown key: write for example {meant}, or unset this variable"));
        };
        let value = match &key.kind {
            // A comma separates addresses or names: none of them contains one.
            KeyKind::Texts { .. } => value.split(',').map(str::trim).collect::<Vec<_>>().into(),
            _ => value.into(),
        };
        Ok(Self { name: name.to_owned(), section, key: key.name, value })
    }
}

impl Provider for Variable {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> figment::Result<Map<Profile, value::Dict>> {
        let section = value::Dict::from([(self.key.to_owned(), self.value.clone())]);
        Ok(Profile::Default.collect(value::Dict::from([(self.section.to_owned(), section.into())])))
    }
}
