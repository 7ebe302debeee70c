//! The effective configuration as TOML, for `/config`: defaults filled in, secrets masked. The program can read it.

use std::fmt::{Display, Write as _};
use std::path::Path;
use std::time::Duration;

use crate::registry::{Credential, Settings};
use crate::target::{Selection, TagPattern, Target, VersionRange, Words};

use super::redact::redacted_url;
use super::schema::Config;

pub(super) fn render(config: &Config) -> String {
    let mut toml = Toml::default();
    toml.header("[web]");
    toml.list("listen", &config.web.listen);
    if !config.web.hosts.is_empty() {
        toml.list("hosts", &config.web.hosts);
    }
    toml.path("config_file", config.web.config_file.as_deref());
    toml.header("[scan]");
    toml.duration("interval", config.scan.interval);
    toml.bare("concurrency", Some(config.scan.concurrency));
    toml.duration("timeout", config.scan.timeout);
    toml.duration("keep", config.scan.keep);
    toml.bare("tags_max", Some(config.scan.tags_max));
    if let Some(path) = &config.state {
        toml.header("[state]");
        toml.path("path", Some(path));
    }
    if !config.omit.is_empty() {
        toml.header("[metrics]");
        toml.list("omit", config.omit.iter().map(|family| family.short_name()));
    }
    for (registry, settings) in &config.registries {
        toml.header(&format!("[registries.{}]", quoted(registry.as_str())));
        render_settings(&mut toml, settings);
    }
    for target in &config.targets {
        toml.header("[[targets]]");
        render_target(&mut toml, target);
    }
    toml.0
}

fn render_settings(toml: &mut Toml, settings: &Settings) {
    match &settings.credential {
        Credential::Usual => {}
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
    toml.bare("pull_through", settings.pull_through.then_some(true));
    toml.bare("requests_per_second", settings.requests_per_second);
    toml.bare("ratelimit_reserve", settings.ratelimit_reserve);
    toml.bare("concurrency", Some(settings.concurrency));
    toml.duration("timeout", settings.timeout);
}

fn render_target(toml: &mut Toml, target: &Target) {
    toml.text("name", Some(&target.name));
    toml.text("repository", Some(&target.repositories));
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
    if !target.labels.is_empty() {
        let pairs: Vec<String> =
            target.labels.iter().map(|(key, value)| format!("{key} = {}", quoted(value))).collect();
        toml.bare("labels", Some(format!("{{ {} }}", pairs.join(", "))));
    }
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
        self.text(key, path.map(Path::display));
    }

    fn duration(&mut self, key: &str, duration: Duration) {
        let shown = humantime::format_duration(duration).to_string();
        self.text(key, Some(shown));
    }

    fn list<T: Display>(&mut self, key: &str, items: impl IntoIterator<Item = T>) {
        let items: Vec<String> = items.into_iter().map(|item| quoted(&item.to_string())).collect();
        self.bare(key, Some(format!("[{}]", items.join(", "))));
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
