//! `[registries."host"]` → settings of that registry.

use std::collections::BTreeMap;

use url::Url;

use crate::oci::Registry;
use crate::registry;
use crate::registry::{Credential, ListApi, Settings};
use crate::target::Words;

use super::files::Files;
use super::reader::Table;
use super::values::{Identity, unexpanded};

/// Reads all registries. A setting that is absent is taken from `defaults`.
pub(super) fn read(root: &Table<'_>, defaults: &Settings, files: &Files) -> BTreeMap<Registry, Settings> {
    let Some(all) = root.table("registries") else { return BTreeMap::new() };
    let mut registries = BTreeMap::new();
    let mut written = BTreeMap::new();
    for host in all.keys() {
        let unquoted_names = all.unquoted_names(host);
        for unquoted in &unquoted_names {
            let name = &unquoted.name;
            all.problem_of(
                unquoted,
                &format!("without quotes TOML reads its dots as nested tables: write [registries.{name:?}]"),
            );
        }
        if !unquoted_names.is_empty() {
            continue;
        }
        let Some(table) = all.table_named(host) else { continue };
        let parsed = host_only(host).and_then(|()| host.parse::<Registry>().map_err(|e| e.to_string()));
        let settings = read_one(table, parsed.as_ref().ok(), defaults, files);
        let registry = match parsed {
            Ok(registry) => registry,
            Err(message) => {
                all.problem(host, message);
                continue;
            }
        };
        if let Some(other) = written.insert(registry.clone(), host) {
            all.problem(host, format!("is the same registry as {}: keep one of them", all.key(other)));
        }
        registries.insert(registry, settings);
    }
    registries
}

fn read_one(table: Table<'_>, registry: Option<&Registry>, defaults: &Settings, files: &Files) -> Settings {
    let settings = Settings {
        credential: read_credential(&table, files),
        plain_http: table.flag("plain_http"),
        ca_file: table.text("ca_file", |text| files.readable(text)),
        cert_file: table.text("cert_file", |text| files.readable(text)),
        key_file: table.secret_name("key_file", |text| files.unquoted(text, Files::readable)),
        proxy_url: table.text("proxy_url", proxy_url),
        insecure_skip_verify: table.flag("insecure_skip_verify"),
        requests_per_second: table.rate("requests_per_second"),
        ratelimit_reserve: table.count("ratelimit_reserve"),
        list: table.word("list"),
        api_url: table.text("api_url", api_url),
        api_token_file: table.secret_name("api_token_file", |text| files.unquoted(text, Files::secret)),
        pull_through: table.flag("pull_through"),
        concurrency: table.count("concurrency").unwrap_or(defaults.concurrency),
        timeout: table.duration("timeout").unwrap_or(defaults.timeout),
    };
    for (one, other) in [("cert_file", "key_file"), ("key_file", "cert_file")] {
        if table.has(one) && !table.has(other) {
            table.problem(one, format!("needs `{other}` too: a client certificate takes both"));
        }
    }
    if settings.plain_http {
        for tls in ["ca_file", "cert_file", "key_file", "insecure_skip_verify"] {
            if table.has(tls) {
                table.problem(tls, "has no effect with `plain_http = true`: keep one of them");
            }
        }
    }
    check_list(registry, &table, &settings);
    let found = [("ca_file", &settings.ca_file), ("cert_file", &settings.cert_file), ("key_file", &settings.key_file)];
    let is_whole = found.iter().all(|(key, path)| table.has(key) == path.is_some());
    if is_whole && table.has("cert_file") == table.has("key_file") && !settings.plain_http {
        check_certificates(&table, &settings);
    }
    // A start reads them when they are needed, so that a file may be written late.
    if files.are_checked()
        && let Err((key, problem)) = registry::check_credential(&settings.credential)
    {
        table.problem(key, problem);
    }
    if files.are_checked()
        && let Some(registry) = registry
        && let Some((key, problem)) = registry::missing_helper(&settings.credential, registry)
    {
        table.note_refusal(key, &files.lenient(problem));
    }
    table.finish();
    settings
}

/// Refuses an API that nothing can be asked of, and settings that have no effect.
fn check_list(registry: Option<&Registry>, table: &Table<'_>, settings: &Settings) {
    let Some(registry) = registry else { return };
    let list = settings.list.unwrap_or_else(|| ListApi::by_host(registry));
    if settings.list == Some(list) && list != ListApi::by_host(registry) && !table.has("api_url") {
        let example = match list {
            ListApi::GitHub => "https://github.example.com/api/v3",
            ListApi::GitLab => "https://gitlab.example.com",
            _ => return,
        };
        table.problem("list", format!("needs `api_url` too: write for example api_url = {example:?}"));
    }
    for key in ["api_url", "api_token_file"] {
        if list == ListApi::Catalog && table.has(key) {
            table.problem(
                key,
                "has no effect while the catalog lists this registry's repositories: choose another API by `list`: \
                 \"dockerhub\", \"github\", \"gitlab\", \"harbor\" or \"quay\"",
            );
        }
    }
}

impl Words for ListApi {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("catalog", Self::Catalog),
        ("dockerhub", Self::DockerHub),
        ("github", Self::GitHub),
        ("gitlab", Self::GitLab),
        ("harbor", Self::Harbor),
        ("quay", Self::Quay),
    ];
}

/// Checks the certificates and the key, so that `--config.check` finds what would keep the daemon from starting.
fn check_certificates(table: &Table<'_>, settings: &Settings) {
    let Err(error) = registry::check_files(settings) else { return };
    let remedy = match error.key {
        "key_file" => "name a file with the private key of `cert_file`, which has a line -----BEGIN PRIVATE KEY-----",
        _ => "name a file with a line -----BEGIN CERTIFICATE-----",
    };
    table.problem(error.key, format!("`{}`: {}: {remedy}", error.value, error.problem));
}

/// Reads at most one authentication method, with all of its keys.
fn read_credential(table: &Table<'_>, files: &Files) -> Credential {
    let username = table.text("username", |text| match text {
        "" => Err("is empty: write a name, or leave the key out"),
        text if text.contains(':') => Err("contains a colon, which HTTP basic authentication does not allow"),
        text => Ok(text.to_owned()),
    });
    let password_file = table.secret_name("password_file", |text| files.unquoted(text, Files::secret));
    let password_env = table.secret_name("password_env", |text| files.variable(text));
    let token_file = table.secret_name("token_file", |text| files.unquoted(text, Files::secret));
    let docker_config = table.secret_name("docker_config", |text| files.unquoted(text, Files::readable));
    let anonymous = table.flag("anonymous");
    let identity = table.word("identity");

    let password = ["password_file", "password_env"].into_iter().find(|key| table.has(key));
    match (table.has("username"), password) {
        (true, None) => table.problem("username", "needs `password_file` or `password_env` too"),
        (false, Some(key)) => table.problem(key, "needs `username` too"),
        _ => {}
    }
    if table.has("password_file") && table.has("password_env") {
        table.problem("password_env", "conflicts with `password_file`: keep one of them");
    }
    let methods = [
        ("username", table.has("username")),
        ("token_file", table.has("token_file")),
        ("docker_config", table.has("docker_config")),
        ("anonymous", anonymous),
        ("identity", matches!(identity, Some(Identity::Of(_)))),
    ];
    let mut methods = methods.into_iter().filter_map(|(key, there)| there.then_some(key));
    if let (Some(first), Some(second)) = (methods.next(), methods.next()) {
        table.problem(second, format!("conflicts with `{first}`: keep one way to authenticate"));
    }

    if let Some(Identity::Of(cloud)) = identity
        && !cloud.is_built_in()
    {
        table.problem("identity", cloud.not_built_in());
    }

    match (username, password_file, password_env, token_file, docker_config) {
        (Some(username), Some(path), ..) => Credential::PasswordFile { username, path },
        (Some(username), None, Some(variable), ..) => Credential::PasswordEnv { username, variable },
        (.., Some(path), _) => Credential::TokenFile(path),
        (.., Some(path)) => Credential::DockerConfig(path),
        _ if anonymous => Credential::Anonymous,
        _ => match identity {
            Some(Identity::Of(cloud)) => Credential::Identity(cloud),
            Some(Identity::None) => Credential::UsualFiles,
            None => Credential::Usual,
        },
    }
}

/// Users paste URLs and whole repositories.
fn host_only(host: &str) -> Result<(), String> {
    if let Some(sign) = unexpanded(host) {
        return Err(format!("has `{sign}`, and variables and templates are not expanded: write the host itself"));
    }
    let bare = host.split_once("://").map_or(host, |(_, rest)| rest);
    let bare = bare.split('/').next().unwrap_or(bare);
    if bare == host { Ok(()) } else { Err(format!("is more than a host: write [registries.{bare:?}]")) }
}

/// The address of an API. Paths are joined to it, so that it ends with a slash.
fn api_url(text: &str) -> Result<Url, String> {
    let remedy = "write an address such as \"https://gitlab.example.com\"";
    let url: Url = text.parse().map_err(|error| format!("is not a URL ({error}): {remedy}"))?;
    if !["http", "https"].contains(&url.scheme()) || url.host_str().is_none_or(str::is_empty) {
        return Err(format!("is neither http nor https: {remedy}"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("has a user or password, which belong in `api_token_file`: leave them out".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!("has a query: {remedy}"));
    }
    let mut base = url;
    if !base.path().ends_with('/') {
        base.set_path(&format!("{}/", base.path()));
    }
    Ok(base)
}

/// A proxy's URL. Messages never quote it, since it may contain a password.
fn proxy_url(text: &str) -> Result<Url, String> {
    let remedy = "write an address such as \"http://proxy.example.com:3128\"";
    let url: Url = text.parse().map_err(|error| format!("is not a URL ({error}): {remedy}"))?;
    if !registry::PROXY_SCHEMES.contains(&url.scheme()) {
        let [others @ .., last] = registry::PROXY_SCHEMES;
        return Err(format!("is neither {} nor {last}: {remedy}", others.join(", ")));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(format!("has no host: {remedy}"));
    }
    Ok(url)
}
