//! The parsed configuration, with defaults filled in.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::metrics::Family;
use crate::notify::TokenSource;
use crate::oci::Registry;
use crate::registry::Settings;
use crate::retention::RetentionPolicy;
use crate::sources::Source;
use crate::target::{Shard, Target};
use crate::web::ListenAddress;

/// The parsed configuration, with defaults filled in and paths resolved.
#[derive(Clone, PartialEq)]
pub struct Config {
    /// The file that it was read from.
    pub file: PathBuf,
    /// `[web]`
    pub web: Web,
    /// `[scan]`
    pub scan: Scan,
    /// Where the store is kept across restarts; `None`: in memory only.
    pub state: Option<State>,
    /// Families that are left out of the metrics.
    pub omit: BTreeSet<Family>,
    /// Where the token of notifications is; `None`: there is no endpoint for them.
    pub notifications: Option<TokenSource>,
    /// The settings of each configured registry.
    pub registries: BTreeMap<Registry, Settings>,
    /// The settings of all other registries.
    pub registry_defaults: Settings,
    /// Which shard's part of the configured repositories the targets and sources have.
    pub shard: Shard,
    /// With unique names, in the file's order.
    pub targets: Vec<Arc<Target>>,
    /// With names that are unique among targets too, in the file's order. There is at least one target or source.
    pub sources: Vec<Arc<Source>>,
    /// What is kept, with unique names, in the file's order.
    pub policies: Vec<Arc<RetentionPolicy>>,
    /// Warnings about valid settings that are probably mistakes: each a line to log, with file and key.
    pub warnings: Vec<String>,
}

/// `[web]`: where the exporter listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Web {
    /// The addresses; none with the sockets that systemd passes.
    pub listen: Vec<ListenAddress>,
    /// The host names, without port, under which `/` and `/config` answer; empty: any.
    pub hosts: Vec<String>,
    /// TLS and authentication, in exporter-toolkit's format.
    pub config_file: Option<PathBuf>,
}

/// `[state]`: where what was read survives restarts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// In a file.
    File(PathBuf),
    /// In a database.
    #[cfg(feature = "postgres")]
    Database {
        /// The file with its URL, which may have a password.
        url_file: PathBuf,
    },
}

impl State {
    /// The state file.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            #[cfg(feature = "postgres")]
            Self::Database { .. } => None,
        }
    }

    /// The file with a database's URL.
    pub fn url_file(&self) -> Option<&Path> {
        match self {
            Self::File(_) => None,
            #[cfg(feature = "postgres")]
            Self::Database { url_file } => Some(url_file),
        }
    }
}

/// `[scan]`: how often registries are scanned, and with how many requests at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    /// Time between the starts of two scans of a target without its own interval.
    pub interval: Duration,
    /// Concurrent requests per registry.
    pub concurrency: usize,
    /// Time for one request; for streams, time without progress.
    pub timeout: Duration,
    /// A tag that cannot be read for this long is dropped.
    pub keep: Duration,
    /// The most selected tags that are read of a repository, for targets without their own limit.
    pub tags_max: usize,
}

/// What a configuration is read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To run: each file and variable that it names has to be there.
    Run,
    /// To judge it where its secrets may not be: files and variables that are missing are warnings. The content of those
    /// that are there is read.
    Check,
    /// To judge it where it is going to run: as `Check`, and what is missing is an error.
    StrictCheck,
}

/// What flags set in place of the configuration's values.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// Where the exporter listens; empty: as configured.
    pub listen: Vec<ListenAddress>,
    /// It listens on the sockets that systemd passes.
    pub systemd_socket: bool,
    /// TLS and authentication.
    pub web_config_file: Option<PathBuf>,
    /// Which part of what is configured this exporter has.
    pub shard: Shard,
}

impl Default for Web {
    fn default() -> Self {
        Self { listen: vec!["0.0.0.0:10048".parse().expect("a valid address")], hosts: Vec::new(), config_file: None }
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
    /// Puts the flags' values in place of the configuration's.
    pub fn apply(&mut self, overrides: &Overrides) {
        let Overrides { listen, systemd_socket, web_config_file, shard } = overrides;
        if *systemd_socket {
            self.web.listen.clear();
        } else if !listen.is_empty() {
            self.web.listen.clone_from(listen);
        }
        if web_config_file.is_some() {
            self.web.config_file.clone_from(web_config_file);
        }
        self.keep_shard(*shard);
    }

    /// Leaves out of the targets and sources what other shards have. Each keeps at least its name.
    pub fn keep_shard(&mut self, shard: Shard) {
        self.shard = shard;
        if shard.is_only() {
            return;
        }
        for target in &mut self.targets {
            *target = Arc::new(target.in_shard(shard));
        }
        for source in &mut self.sources {
            let target = Arc::new(source.target.in_shard(shard));
            *source = Arc::new(Source { target, ..(**source).clone() });
        }
    }

    /// The targets, and what the sources become.
    pub fn all_targets(&self) -> Vec<Arc<Target>> {
        self.targets.iter().chain(self.sources.iter().map(|source| &source.target)).cloned().collect()
    }

    /// The settings of a registry.
    pub fn settings(&self, registry: &Registry) -> &Settings {
        self.registries.get(registry).unwrap_or(&self.registry_defaults)
    }
}
