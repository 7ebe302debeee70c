//! The configuration: a TOML file, those that it includes, and a few environment variables, parsed into types that cannot hold a wrong value.
//!
//! All problems are found in one pass, and each message has file, line, key and remedy. Only this room reads TOML.
//! Secrets are only checked to exist: `registry` reads them when it needs them, and for a check. Certificates are read
//! here too, since nothing works without them.

mod schema;

mod keys;
mod source;

mod reader;

mod files;
mod notifications;
mod policies;
mod registries;
mod sources;
mod state;
mod targets;
mod values;

mod lints;
mod render;

mod problems;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::metrics::Family;
use crate::registry::Settings;
use crate::target::Shard;

use files::Files;
use keys::ROOT;
use problems::Problems;
use reader::Table;

pub use problems::ConfigError;
pub use schema::{Config, Overrides, Purpose, Scan, State, Web};
pub use source::Environment;
pub use values::{age, label, size, step};

/// The configuration file where `--config.file` names none.
pub const DEFAULT_FILE: &str = "config.toml";

/// The JSON schema of a configuration (draft 7), for editors.
pub fn json_schema() -> String {
    format!("{:#}", keys::json::schema())
}

impl Config {
    /// Reads a file, and the variables of this process's environment that override its values.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::load_for(path, Purpose::Run)
    }

    /// The same for another purpose than to run it.
    pub fn load_for(path: &Path, purpose: Purpose) -> Result<Self, ConfigError> {
        let text = |text: std::ffi::OsString| text.into_string().ok();
        let environment = std::env::vars_os().filter_map(|(name, value)| Some((text(name)?, text(value)?)));
        Self::read(path, &environment.collect(), purpose)
    }

    /// Reads a file to run it, with the given environment.
    pub fn load_with(path: &Path, environment: &Environment) -> Result<Self, ConfigError> {
        Self::read(path, environment, Purpose::Run)
    }

    /// Reads a file with the given environment.
    pub fn read(path: &Path, environment: &Environment, purpose: Purpose) -> Result<Self, ConfigError> {
        let problems = Problems::default();
        let entries = source::read(path, environment, &problems)?;
        let files = Files::new(path, environment, purpose);
        let mut config = read(path, Table::root(&entries, &ROOT, &problems), &files);
        if !problems.has_errors() {
            lints::check(&config, &Table::root(&entries, &ROOT, &problems));
        }
        let lines = problems.into_lines();
        if !lines.errors.is_empty() {
            return Err(ConfigError::Invalid(lines.errors));
        }
        config.warnings = source::warnings(environment);
        config.warnings.extend(lines.warnings);
        Ok(config)
    }

    /// The effective configuration as TOML, without secrets and without what may contain one.
    pub fn redacted(&self) -> String {
        render::render(self, self)
    }

    /// The same for a configuration that was reloaded: `[web]` and `[state]` are those of `started`, with which the daemon
    /// was started, and a comment says what a restart would change.
    pub fn redacted_since(&self, started: &Self) -> String {
        render::render(self, started)
    }
}

/// Reads the whole tree. An invalid value is noted and replaced by its default, so that the rest is read too.
fn read(path: &Path, root: Table<'_>, files: &Files) -> Config {
    let web = root.table("web").map_or_else(Web::default, |table| read_web(table, files));
    let scan = root.table("scan").map_or_else(Scan::default, read_scan);
    let state = root.table("state").and_then(|table| state::read(table, files));
    let omit = root.table("metrics").map(read_omit).unwrap_or_default();
    let notifications = root.table("notifications").and_then(|table| notifications::read(table, files));
    let registry_defaults = Settings { concurrency: scan.concurrency, timeout: scan.timeout, ..Settings::default() };
    let registries = registries::read(&root, &registry_defaults, files);
    // Reading the sources adds what is included.
    if root.texts("include", |text| Ok::<_, String>(text.to_owned())).is_some() && root.is_empty_list("include") {
        root.problem("include", "is empty: write for example \"conf.d/*.toml\", or leave the key out");
    }
    let mut names = BTreeMap::new();
    let targets = targets::read(&root, &scan, &mut names);
    let sources = sources::read(&root, &scan, &mut names, files);
    let policies = policies::read(&root, &targets, root.has("sources"));
    root.finish();
    Config {
        file: path.to_owned(),
        web,
        scan,
        state,
        omit,
        notifications,
        registries,
        registry_defaults,
        shard: Shard::default(),
        targets,
        sources,
        policies,
        warnings: Vec::new(),
    }
}

fn read_web(table: Table<'_>, files: &Files) -> Web {
    let mut web = Web::default();
    if let Some(listen) = table.texts("listen", str::parse) {
        if table.is_empty_list("listen") {
            table.problem("listen", "is empty: write an address such as \"0.0.0.0:10048\", or leave the key out");
        }
        web.listen = listen;
    }
    if let Some(hosts) = table.texts("hosts", values::host) {
        if table.is_empty_list("hosts") {
            table.problem(
                "hosts",
                "is empty: write a name such as \"exporter.example.com\", or leave the key out for any",
            );
        }
        web.hosts = hosts;
    }
    web.config_file = table.text("config_file", |text| files.readable(text));
    table.finish();
    web
}

fn read_scan(table: Table<'_>) -> Scan {
    let default = Scan::default();
    let scan = Scan {
        interval: table.duration("interval").unwrap_or(default.interval),
        concurrency: table.count("concurrency").unwrap_or(default.concurrency),
        timeout: table.duration("timeout").unwrap_or(default.timeout),
        keep: table.duration("keep").unwrap_or(default.keep),
        tags_max: table.count("tags_max").unwrap_or(default.tags_max),
    };
    table.finish();
    scan
}

fn read_omit(table: Table<'_>) -> BTreeSet<Family> {
    let omit = table.texts("omit", values::family).unwrap_or_default();
    table.finish();
    omit.into_iter().collect()
}
