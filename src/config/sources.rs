//! `[[sources]]` → sources, and the targets that they become.

use std::sync::Arc;
use std::time::Duration;

use url::Url;

use crate::oci::Platform;
use crate::sources::prometheus::PrometheusCredential;
use crate::sources::{Rewrite, Rules, Source, SourceKind, file, prometheus};
use crate::target::{Detail, ImagePattern, Repositories, Selection, Shard, Target, TargetName};

use super::files::Files;
use super::reader::Table;
use super::schema::Scan;
use super::targets::{Names, read_grouping};
use super::values;

const KINDS: [&str; 4] = ["kubernetes", "docker", "prometheus", "file"];

/// How often a Prometheus is asked without `interval`.
const QUERY_INTERVAL: Duration = Duration::from_secs(30);

/// Reads all sources. `names`: those that are taken, which its own are added to.
pub(super) fn read(root: &Table<'_>, scan: &Scan, names: &mut Names, files: &Files) -> Vec<Arc<Source>> {
    let mut sources: Vec<Arc<Source>> = Vec::new();
    for table in root.tables("sources").unwrap_or_default() {
        if let Some(source) = read_one(&table, scan, files) {
            let name = &source.target.name;
            if let Some(other) = names.insert(name.clone(), table.place()) {
                let place = table.seen(&other);
                table.problem("name", format!("`{name}` is also the name of {place}: give this source another `name`"));
            }
            sources.push(Arc::new(source));
        }
        table.finish();
    }
    sources
}

/// Reads one source; `None` without a valid name, or one thing to ask.
fn read_one(table: &Table<'_>, scan: &Scan, files: &Files) -> Option<Source> {
    if !table.has("name") {
        table.problem("name", "is missing: write for example name = \"production\"");
    }
    let name = table.text("name", values::name);
    let kind = read_kind(table, scan, files);
    let rules = Rules {
        exclude: table.texts("exclude", str::parse::<ImagePattern>).unwrap_or_default(),
        rewrite: table.tables("rewrite").into_iter().flatten().filter_map(read_rewrite).collect(),
    };
    let platforms = table.texts("platforms", str::parse::<Platform>).unwrap_or_default();
    let interval = table.duration("interval").unwrap_or(scan.interval);
    let uncompressed = table.word("uncompressed").unwrap_or_default();
    let budget_bytes = table.text("budget", values::bytes);
    let labels = table.pairs("labels", values::label).into_iter().collect();
    let grouping = read_grouping(table);
    let target = Target {
        name: TargetName(name?.into()),
        repositories: Repositories::Running(Shard::default()),
        selection: Selection::default(),
        newest: None,
        platforms: platforms.into(),
        interval,
        uncompressed,
        detail: Detail::Images,
        budget_bytes,
        labels,
        grouping,
        tags_max: scan.tags_max,
    };
    Some(Source { target: Arc::new(target), kind: kind?, rules })
}

fn read_rewrite(table: Table<'_>) -> Option<Rewrite> {
    for key in ["match", "with"] {
        if !table.has(key) {
            table.problem(
                key,
                "is missing: write for example { match = '^mirror\\.internal/hub/', with = \"docker.io/\" }",
            );
        }
    }
    let pattern = table.text("match", str::parse::<ImagePattern>);
    let with = table.text("with", |text| Ok::<_, String>(text.to_owned()));
    table.finish();
    Some(Rewrite { pattern: pattern?, with: with? })
}

/// The one thing that is asked.
fn read_kind(table: &Table<'_>, scan: &Scan, files: &Files) -> Option<SourceKind> {
    let mut there = KINDS.into_iter().filter(|kind| table.has(kind));
    let first = there.next();
    if let (Some(first), Some(second)) = (first, there.next()) {
        table.problem(second, format!("conflicts with `{first}`: write one source for each"));
    }
    match first {
        Some("kubernetes") => read_kubernetes(table, files),
        Some("docker") => read_docker(table),
        Some("prometheus") => {
            table.table("prometheus").and_then(|table| read_prometheus(table, scan, files)).map(SourceKind::from)
        }
        Some(_) => {
            let paths = table.texts("file", |text| {
                let path = files.path(text)?;
                file::check_pattern(&path).map(|()| path).map_err(|error| error.to_string())
            });
            if table.is_empty_list("file") {
                table.problem("file", "is empty: write a path such as \"images/*.txt\"");
            }
            paths.map(|paths| SourceKind::Files(file::Settings { paths }))
        }
        None => {
            table.problem("file", "is missing, and so are `kubernetes`, `docker` and `prometheus`: write one of them");
            None
        }
    }
}

impl From<prometheus::Settings> for SourceKind {
    fn from(settings: prometheus::Settings) -> Self {
        Self::Prometheus(Box::new(settings))
    }
}

#[cfg(feature = "kubernetes")]
fn read_kubernetes(table: &Table<'_>, files: &Files) -> Option<SourceKind> {
    use crate::sources::kubernetes::{NAMESPACES_MAX, Settings};

    let table = table.table("kubernetes")?;
    let text = |text: &str| match text {
        "" => Err("is empty: leave the key out"),
        text => Ok(text.to_owned()),
    };
    let settings = Settings {
        kubeconfig: table.text("kubeconfig", |text| files.readable(text)),
        context: table.text("context", text),
        namespaces: table.texts("namespaces", namespace).unwrap_or_default(),
        selector: table.text("selector", text),
        pull_secrets: table.flag("pull_secrets"),
    };
    if settings.namespaces.len() > NAMESPACES_MAX {
        table.problem(
            "namespaces",
            format!("names more than {NAMESPACES_MAX}: leave the key out to watch all, and choose with `selector`"),
        );
    }
    if table.is_empty_list("namespaces") {
        table.problem("namespaces", "is empty, so that nothing is watched: name one, or leave the key out for all");
    }
    if table.has("context") && !table.has("kubeconfig") {
        table.problem("context", "needs `kubeconfig` too");
    }
    table.finish();
    Some(SourceKind::Kubernetes(settings))
}

/// A namespace's name: a DNS label.
#[cfg(feature = "kubernetes")]
fn namespace(text: &str) -> Result<String, &'static str> {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_label =
        (1..=63).contains(&text.len()) && text.bytes().all(is_inner) && !text.starts_with('-') && !text.ends_with('-');
    is_label
        .then(|| text.to_owned())
        .ok_or("is no namespace: expected at most 63 lower-case letters, digits and `-`, as in \"web\"")
}

#[cfg(not(feature = "kubernetes"))]
fn read_kubernetes(table: &Table<'_>, _files: &Files) -> Option<SourceKind> {
    not_built_in(table, "kubernetes", "clusters")
}

#[cfg(feature = "docker")]
fn read_docker(table: &Table<'_>) -> Option<SourceKind> {
    use crate::sources::docker::{EngineAddress, Settings};

    let table = table.table("docker")?;
    let engine = table.text("host", |text| text.parse::<EngineAddress>().map_err(|_| {
        format!("`{text}`: expected unix:///PATH, or tcp://HOST:PORT without TLS, such as \"unix:///var/run/docker.sock\"")
    }));
    table.finish();
    Some(SourceKind::Docker(Settings { engine: engine.unwrap_or_default() }))
}

#[cfg(not(feature = "docker"))]
fn read_docker(table: &Table<'_>) -> Option<SourceKind> {
    not_built_in(table, "docker", "Docker's and Podman's engines")
}

/// What a build that lacks a kind of source says.
#[cfg(not(all(feature = "docker", feature = "kubernetes")))]
fn not_built_in(table: &Table<'_>, feature: &str, what: &str) -> Option<SourceKind> {
    table.problem(
        feature,
        format!(
            "this build cannot watch {what}: take a released package or image, or compile with `cargo install --features {feature} …`"
        ),
    );
    None
}

fn read_prometheus(table: Table<'_>, scan: &Scan, files: &Files) -> Option<prometheus::Settings> {
    if !table.has("url") {
        table.problem("url", "is missing: write for example url = \"http://prometheus:9090\"");
    }
    let url = table.text("url", url);
    let query = table.text("query", |text| match text.trim() {
        "" => Err("is empty: write for example \"kube_pod_container_info\""),
        query => Ok(query.to_owned()),
    });
    let interval = table.duration("interval").unwrap_or(QUERY_INTERVAL);
    let timeout = table.duration("timeout").unwrap_or(scan.timeout);
    let ca_file = table.text("ca_file", |text| files.readable(text));
    let username = table.text("username", |text| match text {
        "" => Err("is empty: write a name, or leave the key out"),
        text if text.contains(':') => Err("contains a colon, which HTTP basic authentication does not allow"),
        text => Ok(text.to_owned()),
    });
    let password_file = table.secret_name("password_file", |text| files.unquoted(text, Files::secret));
    let token_file = table.secret_name("token_file", |text| files.unquoted(text, Files::secret));
    match (table.has("username"), table.has("password_file")) {
        (true, false) => table.problem("username", "needs `password_file` too"),
        (false, true) => table.problem("password_file", "needs `username` too"),
        _ => {}
    }
    if table.has("token_file") && (table.has("username") || table.has("password_file")) {
        table.problem("token_file", "conflicts with `username`: keep one way to authenticate");
    }
    let credential = match (username, password_file, token_file) {
        (Some(username), Some(path), _) => Some(PrometheusCredential::Password { username, path }),
        (.., Some(path)) => Some(PrometheusCredential::Token(path)),
        _ => None,
    };
    if credential.is_some() && url.as_ref().is_some_and(|url| url.scheme() == "http") {
        table.warn("url", "credentials are sent in clear text: write https:// where the server has it");
    }
    let query = if table.has("query") { query? } else { "kube_pod_container_info".to_owned() };
    table.finish();
    Some(prometheus::Settings { url: url?, query, interval, timeout, credential, ca_file })
}

/// The address of a Prometheus. Messages do not quote it, since it may contain a password.
fn url(text: &str) -> Result<Url, String> {
    let remedy = "write an address such as \"http://prometheus:9090\"";
    let url: Url = text.parse().map_err(|error| format!("is not a URL ({error}): {remedy}"))?;
    if !["http", "https"].contains(&url.scheme()) || url.host_str().is_none_or(str::is_empty) {
        return Err(format!("is neither http nor https: {remedy}"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("has a user or password: write `username` and `password_file` instead".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!("has a query, which belongs in `query`: {remedy}"));
    }
    Ok(url)
}
