//! The configuration: one TOML file and a few environment variables, parsed into types that cannot be wrong.
//!
//! Everything that is wrong is found at once, and said with file, key and remedy. This is the only module that
//! knows figment. Not here: the contents of secrets, which `registry` reads when it needs them; here they are only
//! looked for. Certificates it reads once here too, since nothing works without them.

mod error;
mod files;
mod lints;
mod reader;
mod registries;
mod render;
mod source;
mod suggest;
mod targets;
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::metrics::Family;
use crate::oci::Registry;
use crate::registry::Settings;
use crate::target::Target;

use files::Files;
use reader::{Problems, Table};

pub use error::ConfigError;
pub use source::Environment;
pub use values::listen_address;

/// Everything that can be configured, with defaults filled in and paths made independent of where the file is.
#[derive(Clone, PartialEq)]
pub struct Config {
    /// The file that it was read from.
    pub file: PathBuf,
    /// `[web]`
    pub web: Web,
    /// `[scan]`
    pub scan: Scan,
    /// Where what was learnt is kept across restarts; in memory only when left out.
    pub state: Option<PathBuf>,
    /// Families that are not published.
    pub omit: BTreeSet<Family>,
    /// How each configured registry is spoken to.
    pub registries: BTreeMap<Registry, Settings>,
    /// How all other registries are spoken to.
    pub registry_defaults: Settings,
    /// What is watched: at least one target, with unique names, in the file's order.
    pub targets: Vec<Arc<Target>>,
    /// What is allowed but probably not meant: each a line to log, with file and key.
    pub warnings: Vec<String>,
}

/// `[web]`: where the exporter listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Web {
    /// Addresses as Prometheus exporters take them: `host:port`, `:port` for all interfaces, `[address]:port`.
    pub listen: Vec<String>,
    /// The host names, without port, under which `/` and `/config` answer; empty: any.
    pub hosts: Vec<String>,
    /// TLS and authentication, in exporter-toolkit's format.
    pub config_file: Option<PathBuf>,
}

/// `[scan]`: how often and how hard registries are asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    /// Between the starts of two scans of a target that has no interval of its own.
    pub interval: Duration,
    /// Requests under way at once, per registry.
    pub concurrency: usize,
    /// For one request; for streams, without progress.
    pub timeout: Duration,
    /// What stayed unreadable for so long is dropped.
    pub keep: Duration,
    /// At most so many tags are listed per repository, where the target does not say otherwise.
    pub tags_max: usize,
}

impl Default for Web {
    fn default() -> Self {
        Self { listen: vec!["0.0.0.0:10048".to_owned()], hosts: Vec::new(), config_file: None }
    }
}

impl Default for Scan {
    fn default() -> Self {
        Self {
            interval: Duration::from_mins(5),
            concurrency: 8,
            timeout: Duration::from_secs(30),
            keep: Duration::from_hours(7 * 24),
            tags_max: 10_000,
        }
    }
}

impl Config {
    /// Reads a file, and the variables of this process's environment that override it.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = |text: std::ffi::OsString| text.into_string().ok();
        let environment = std::env::vars_os().filter_map(|(name, value)| Some((text(name)?, text(value)?)));
        Self::load_with(path, &environment.collect())
    }

    /// The same with the environment given.
    pub fn load_with(path: &Path, environment: &Environment) -> Result<Self, ConfigError> {
        let problems = Problems::default();
        let sources = source::read(path, environment, &problems)?;
        let files = Files::new(path, environment);
        let config = read(path, Table::root(&sources, &problems), &files);
        let problems = problems.into_lines(path);
        if !problems.is_empty() {
            return Err(ConfigError::Invalid(problems));
        }
        let mut config = config;
        config.warnings = source::warnings(environment);
        config.warnings.extend(lints::warnings(&config));
        Ok(config)
    }

    /// The effective configuration as TOML, for people to look at: no secrets, nor what may hold one.
    pub fn masked(&self) -> String {
        render::render(self)
    }

    /// How a registry is spoken to.
    pub fn settings(&self, registry: &Registry) -> &Settings {
        self.registries.get(registry).unwrap_or(&self.registry_defaults)
    }
}

/// Reads the whole tree. What is wrong is noted and stands at its default meanwhile, so that the rest is read too.
fn read(path: &Path, mut root: Table<'_>, files: &Files) -> Config {
    let web = root.table("web").map_or_else(Web::default, |table| read_web(table, files));
    let scan = root.table("scan").map_or_else(Scan::default, read_scan);
    let state = root.table("state").and_then(|mut table| {
        let path = table.text("path", |text| files.state(text));
        table.finish();
        path
    });
    let omit = root.table("metrics").map(read_omit).unwrap_or_default();
    let registry_defaults = Settings { concurrency: scan.concurrency, timeout: scan.timeout, ..Settings::default() };
    let registries = registries::read(&mut root, &registry_defaults, files);
    let targets = targets::read(&mut root, &scan);
    root.finish();
    Config {
        file: path.to_owned(),
        web,
        scan,
        state,
        omit,
        registries,
        registry_defaults,
        targets,
        warnings: Vec::new(),
    }
}

fn read_web(mut table: Table<'_>, files: &Files) -> Web {
    let mut web = Web::default();
    if let Some(listen) = table.texts("listen", listen_address) {
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

fn read_scan(mut table: Table<'_>) -> Scan {
    let default = Scan::default();
    let scan = Scan {
        interval: table.text("interval", values::interval).unwrap_or(default.interval),
        concurrency: table.count("concurrency", values::CONCURRENCY).unwrap_or(default.concurrency),
        timeout: table.text("timeout", values::timeout).unwrap_or(default.timeout),
        keep: table.text("keep", values::keep).unwrap_or(default.keep),
        tags_max: table.count("tags_max", values::TAGS_MAX).unwrap_or(default.tags_max),
    };
    table.finish();
    scan
}

fn read_omit(mut table: Table<'_>) -> BTreeSet<Family> {
    let omit = table.texts("omit", values::family).unwrap_or_default();
    table.finish();
    omit.into_iter().collect()
}
