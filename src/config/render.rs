//! The effective configuration as TOML, for `/config`: defaults filled in, secrets masked. The program can read it.

use std::fmt::{Display, Write as _};
use std::path::Path;
use std::time::Duration;

use crate::notify::TokenSource;
use crate::registry::{Credential, Settings};
use crate::retention::RetentionPolicy;
use crate::sources::prometheus::PrometheusCredential;
use crate::sources::{Rewrite, Source, SourceKind};
use crate::target::{Grouping, ImagePattern, Selection, TagPattern, Target, VersionRange, Words};

use super::problems::redacted_url;
use super::schema::{Config, State, Web};
use super::values::{Identity, shown_duration};

/// `[web]` and `[state]` are those of `started`, since only a restart changes them.
pub(super) fn render(config: &Config, started: &Config) -> String {
    let mut toml = Toml::default();
    if !config.shard.is_only() {
        let (number, total) = (config.shard.number(), config.shard.total());
        let watched = "of these repositories only those of this shard are watched.";
        let _ = writeln!(toml.0, "# --shard={number} --total-shards={total}: {watched}");
    }
    toml.header("[web]");
    render_startup(&mut toml, &startup_web(started), &startup_web(config));
    toml.header("[scan]");
    toml.duration("interval", config.scan.interval);
    toml.bare("concurrency", Some(config.scan.concurrency));
    toml.duration("timeout", config.scan.timeout);
    toml.duration("keep", config.scan.keep);
    toml.bare("tags_max", Some(config.scan.tags_max));
    if started.state.is_some() || config.state.is_some() {
        toml.header("[state]");
        render_startup(&mut toml, &startup_state(started), &startup_state(config));
    }
    if !config.omit.is_empty() {
        toml.header("[metrics]");
        toml.list("omit", config.omit.iter().map(|family| family.short_name()));
    }
    match &config.notifications {
        Some(TokenSource::File(path)) => {
            toml.header("[notifications]");
            toml.path("token_file", Some(path));
        }
        Some(TokenSource::Env(variable)) => {
            toml.header("[notifications]");
            toml.text("token_env", Some(variable));
        }
        None => {}
    }
    for (registry, settings) in &config.registries {
        toml.header(&format!("[registries.{}]", quoted(registry.as_str())));
        render_settings(&mut toml, settings);
    }
    for target in &config.targets {
        toml.header("[[targets]]");
        render_target(&mut toml, target);
    }
    for source in &config.sources {
        toml.header("[[sources]]");
        render_source(&mut toml, source);
    }
    for policy in &config.policies {
        toml.header("[[policies]]");
        render_policy(&mut toml, policy);
    }
    toml.0
}

/// The keys of `[web]` with their values as TOML.
fn startup_web(config: &Config) -> [(&'static str, Option<String>); 3] {
    let Web { listen, hosts, config_file } = &config.web;
    [
        ("listen", (!listen.is_empty()).then(|| listed(listen))),
        ("hosts", (!hosts.is_empty()).then(|| listed(hosts))),
        ("config_file", path(config_file.as_deref())),
    ]
}

/// The same of `[state]`.
fn startup_state(config: &Config) -> [(&'static str, Option<String>); 2] {
    let state = config.state.as_ref();
    [("path", path(state.and_then(State::file))), ("url_file", path(state.and_then(State::url_file)))]
}

/// Keys that only a restart changes: those in force, and what the file has instead.
fn render_startup(toml: &mut Toml, in_force: &[(&str, Option<String>)], written: &[(&str, Option<String>)]) {
    for ((key, value), (_, next)) in in_force.iter().zip(written) {
        if value != next {
            let next = next.as_ref().map_or_else(|| format!("without `{key}`"), |next| format!("{key} = {next}"));
            toml.line(&format!("# The file has changed, and a restart applies it: {next}"));
        }
        if *key == "listen" && value.is_none() {
            toml.line("# listen: the sockets that systemd passes");
        }
        toml.bare(key, value.as_ref());
    }
}

fn render_settings(toml: &mut Toml, settings: &Settings) {
    match &settings.credential {
        Credential::Usual => {}
        Credential::UsualFiles => toml.text("identity", Some(Identity::None.word())),
        Credential::Identity(cloud) => toml.text("identity", Some(Identity::Of(*cloud).word())),
        Credential::DockerConfig(path) => toml.path("docker_config", Some(path)),
        Credential::PasswordFile { username, path } => {
            toml.text("username", Some(username));
            toml.path("password_file", Some(path));
        }
        Credential::PasswordEnv { username, variable } => {
            toml.text("username", Some(username));
            toml.text("password_env", Some(variable));
        }
        Credential::TokenFile(path) => toml.path("token_file", Some(path)),
        Credential::Anonymous => toml.bare("anonymous", Some(true)),
    }
    toml.bare("plain_http", settings.plain_http.then_some(true));
    toml.path("ca_file", settings.ca_file.as_deref());
    toml.path("cert_file", settings.cert_file.as_deref());
    toml.path("key_file", settings.key_file.as_deref());
    toml.text("proxy_url", settings.proxy_url.as_ref().map(redacted_url));
    toml.bare("insecure_skip_verify", settings.insecure_skip_verify.then_some(true));
    toml.text("list", settings.list.map(Words::word));
    toml.text("api_url", settings.api_url.as_ref().map(redacted_url));
    toml.path("api_token_file", settings.api_token_file.as_deref());
    toml.bare("pull_through", settings.pull_through.then_some(true));
    toml.bare("requests_per_second", settings.requests_per_second);
    toml.bare("ratelimit_reserve", settings.ratelimit_reserve);
    toml.bare("concurrency", Some(settings.concurrency));
    toml.duration("timeout", settings.timeout);
}

fn render_target(toml: &mut Toml, target: &Target) {
    toml.text("name", Some(&target.name));
    match target.repositories.written() {
        [several @ .., _] if !several.is_empty() => toml.list("repository", target.repositories.written()),
        _ => toml.text("repository", Some(&target.repositories)),
    }
    render_selection(toml, &target.selection);
    toml.text("newest", target.newest.map(Words::word));
    if !target.platforms.is_all() {
        toml.list("platforms", target.platforms.platforms());
    }
    toml.duration("interval", target.interval);
    toml.text("uncompressed", Some(target.uncompressed.word()));
    toml.text("detail", Some(target.detail.word()));
    toml.bare("budget", target.budget_bytes);
    toml.bare("tags_max", Some(target.tags_max));
    render_labels(toml, target);
}

/// Its labels and groups.
fn render_labels(toml: &mut Toml, target: &Target) {
    if !target.labels.is_empty() {
        let pairs: Vec<String> =
            target.labels.iter().map(|(key, value)| format!("{key} = {}", quoted(value))).collect();
        toml.bare("labels", Some(format!("{{ {} }}", pairs.join(", "))));
    }
    match &target.grouping {
        Some(Grouping::Named(group)) => toml.text("group", Some(group)),
        Some(Grouping::By(pattern)) => toml.text("group_by", Some(pattern.as_str())),
        None => {}
    }
}

fn render_source(toml: &mut Toml, Source { target, kind, rules }: &Source) {
    toml.text("name", Some(&target.name));
    match kind {
        #[cfg(feature = "kubernetes")]
        SourceKind::Kubernetes(settings) => {
            let mut keys = Vec::new();
            keys.extend(path(settings.kubeconfig.as_deref()).map(|path| format!("kubeconfig = {path}")));
            keys.extend(settings.context.as_ref().map(|context| format!("context = {}", quoted(context))));
            if !settings.namespaces.is_empty() {
                keys.push(format!("namespaces = {}", listed(&settings.namespaces)));
            }
            keys.extend(settings.selector.as_ref().map(|selector| format!("selector = {}", quoted(selector))));
            keys.extend(settings.pull_secrets.then(|| "pull_secrets = true".to_owned()));
            toml.table("kubernetes", &keys);
        }
        #[cfg(feature = "docker")]
        SourceKind::Docker(settings) => {
            toml.table("docker", &[format!("host = {}", quoted(&settings.engine.to_string()))]);
        }
        SourceKind::Prometheus(settings) => {
            let mut keys = vec![
                format!("url = {}", quoted(&redacted_url(&settings.url))),
                format!("query = {}", quoted(&settings.query)),
                format!("interval = {}", quoted(&shown_duration(settings.interval))),
                format!("timeout = {}", quoted(&shown_duration(settings.timeout))),
            ];
            match &settings.credential {
                Some(PrometheusCredential::Password { username, path }) => {
                    keys.push(format!("username = {}", quoted(username)));
                    keys.push(format!("password_file = {}", quoted(&path.display().to_string())));
                }
                Some(PrometheusCredential::Token(path)) => {
                    keys.push(format!("token_file = {}", quoted(&path.display().to_string())));
                }
                None => {}
            }
            keys.extend(path(settings.ca_file.as_deref()).map(|path| format!("ca_file = {path}")));
            toml.table("prometheus", &keys);
        }
        SourceKind::Files(settings) => toml.list("file", settings.paths.iter().map(|path| path.display())),
    }
    if !rules.exclude.is_empty() {
        toml.list("exclude", rules.exclude.iter().map(ImagePattern::as_str));
    }
    if !rules.rewrite.is_empty() {
        let rules = rules.rewrite.iter().map(|Rewrite { pattern, with }| {
            format!("{{ match = {}, with = {} }}", quoted(pattern.as_str()), quoted(with))
        });
        toml.bare("rewrite", Some(format!("[{}]", rules.collect::<Vec<_>>().join(", "))));
    }
    if !target.platforms.is_all() {
        toml.list("platforms", target.platforms.platforms());
    }
    toml.duration("interval", target.interval);
    toml.text("uncompressed", Some(target.uncompressed.word()));
    toml.bare("budget", target.budget_bytes);
    render_labels(toml, target);
}

fn render_selection(toml: &mut Toml, selection: &Selection) {
    if !selection.tags.is_empty() {
        toml.list("tags", &selection.tags);
    }
    let Some(listing) = &selection.listing else { return };
    if !listing.matches.is_empty() {
        toml.list("match", listing.matches.iter().map(TagPattern::as_str));
    }
    if !listing.exclude.is_empty() {
        toml.list("exclude", listing.exclude.iter().map(TagPattern::as_str));
    }
    toml.text("semver", listing.semver.as_ref().map(VersionRange::as_str));
    toml.text("sort", Some(listing.sort.word()));
    toml.bare("limit", listing.limit);
}

fn render_policy(toml: &mut Toml, policy: &RetentionPolicy) {
    toml.text("name", Some(&policy.name));
    if let Some(targets) = &policy.targets {
        toml.list("targets", targets);
    }
    toml.bare("keep_newest", policy.keep_newest);
    if !policy.keep_match.is_empty() {
        toml.list("keep_match", policy.keep_match.iter().map(TagPattern::as_str));
    }
    toml.text("keep_younger", policy.keep_younger.map(shown_duration));
    toml.bare("keep_running", policy.keep_running.then_some(true));
}

/// A TOML document under construction. Keys without a value are left out.
#[derive(Default)]
struct Toml(String);

impl Toml {
    fn header(&mut self, header: &str) {
        let gap = if self.0.is_empty() { "" } else { "\n" };
        self.line(&format!("{gap}{header}"));
    }

    fn text(&mut self, key: &str, value: Option<impl Display>) {
        self.bare(key, value.map(|value| quoted(&value.to_string())));
    }

    fn path(&mut self, key: &str, path: Option<&Path>) {
        self.bare(key, self::path(path));
    }

    fn duration(&mut self, key: &str, duration: Duration) {
        self.text(key, Some(shown_duration(duration)));
    }

    fn list<T: Display>(&mut self, key: &str, items: impl IntoIterator<Item = T>) {
        self.bare(key, Some(listed(items)));
    }

    /// An inline table of these keys.
    fn table(&mut self, key: &str, keys: &[String]) {
        let inner = if keys.is_empty() { String::new() } else { format!(" {} ", keys.join(", ")) };
        self.bare(key, Some(format!("{{{inner}}}")));
    }

    fn bare(&mut self, key: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.line(&format!("{key} = {value}"));
        }
    }

    fn line(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }
}

fn path(path: Option<&Path>) -> Option<String> {
    path.map(|path| quoted(&path.display().to_string()))
}

fn listed<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| quoted(&item.to_string())).collect();
    format!("[{}]", items.join(", "))
}

/// A basic string (TOML 1.0, "String").
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => {
                // Writing to a string cannot fail.
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
