//! Every key that a configuration may have: its kind, its bounds, its default, and what it means. `reader` takes what it
//! accepts from these tables, and `json` makes of them the JSON schema that editors read.

pub(super) mod json;
mod kind;

use std::time::Duration;

use crate::metrics::Family;
use crate::registry::ListApi;
use crate::target::{Detail, NewestBy, Sort, Uncompressed};

pub(super) use kind::{Key, Kind, Section};
use kind::{key, words};

use super::values::{AGE as AGE_BOUNDS, Bounds, Identity};

/// The families, under both of their names.
fn families() -> Vec<&'static str> {
    Family::ALL.iter().flat_map(|family| [family.short_name(), family.name()]).collect()
}

const TEXTS: Kind = Kind::Texts { words: None };
const MILLIS_100: Duration = Duration::from_millis(100);
const DAY: Duration = Duration::from_hours(24);
const INTERVAL: Kind = Kind::Duration(Bounds { min: MILLIS_100, max: DAY.saturating_mul(365), example: "5m" });
const TIMEOUT: Kind = Kind::Duration(Bounds { min: MILLIS_100, max: Duration::from_hours(1), example: "30s" });
const KEEP: Kind = Kind::Duration(Bounds { min: Duration::from_secs(1), max: DAY.saturating_mul(3650), example: "7d" });
const AGE: Kind = Kind::Duration(AGE_BOUNDS);
const CONCURRENCY: Kind = Kind::Count { min: 1, max: 256 };
const TAGS_MAX: Kind = Kind::Count { min: 1, max: 1_000_000 };

/// The whole file.
pub(super) static ROOT: Section = Section {
    keys: &[
        key("web", Kind::Table { section: &WEB, overridable: true }, "where the exporter listens"),
        key("scan", Kind::Table { section: &SCAN, overridable: true }, "how often registries are scanned, and how"),
        key(
            "state",
            Kind::Table { section: &STATE, overridable: true },
            "where what was read survives restarts: in a file or in a database",
        ),
        key("metrics", Kind::Table { section: &METRICS, overridable: false }, "what is published"),
        key(
            "notifications",
            Kind::Table { section: &NOTIFICATIONS, overridable: false },
            "opens the endpoint at which registries notify of pushes; without it there is none",
        ),
        key(
            "registries",
            Kind::Named { section: &REGISTRY, name: "a host in quotes, with its port if it is not the usual one" },
            "settings of a registry, under its host; without a section a registry has the defaults",
        ),
        key(
            "include",
            TEXTS,
            "files with further [[targets]] and [[sources]]: paths, or patterns such as \"conf.d/*.toml\"",
        ),
        key("targets", Kind::Tables(&TARGET), "the repositories that are watched: at least one, or a source"),
        key("sources", Kind::Tables(&SOURCE), "what says which images run: they are watched without being typed"),
        key("policies", Kind::Tables(&POLICY), "which tags are kept, to see what the others take; nothing is deleted"),
    ],
    required: &[],
};

static WEB: Section = Section {
    keys: &[
        key("listen", TEXTS, "`host:port`, `:port`, `[address]:port`, or a list of them").default(r#""0.0.0.0:10048""#),
        key("hosts", TEXTS, "names under which / and /config answer, without port; any if it is left out"),
        key("config_file", Kind::Text, "a file with TLS, client certificates and users, in exporter-toolkit's format"),
    ],
    required: &[],
};

static SCAN: Section = Section {
    keys: &[
        key("interval", INTERVAL, "time between the starts of two scans of a target").default(r#""5m""#),
        key("concurrency", CONCURRENCY, "requests under way at once per registry").default("8"),
        key("timeout", TIMEOUT, "time for one request; for streams, time without progress").default(r#""30s""#),
        key("keep", KEEP, "what cannot be read for this long is dropped").default(r#""7d""#),
        key("tags_max", TAGS_MAX, "selected tags that are read per repository").default("10000"),
    ],
    required: &[],
};

static STATE: Section = Section {
    keys: &[
        key("path", Kind::Text, "the state file; without one what was read is kept in memory only"),
        key(
            "url_file",
            Kind::Text,
            "in place of `path`: a file with the URL of a PostgreSQL database, postgres://USER:PASSWORD@HOST/DATABASE",
        ),
        key("url", Kind::Refused(URL_IN_FILE), ""),
    ],
    required: &[],
};

static METRICS: Section = Section {
    keys: &[key(
        "omit",
        Kind::Texts { words: Some(families) },
        "families that are not published, by their short or whole names",
    )
    .default("[]")],
    required: &[],
};

static NOTIFICATIONS: Section = Section {
    keys: &[
        key("token_file", Kind::Text, "the file with the token that registries send"),
        key("token_env", Kind::Text, "the name of the environment variable with that token"),
        key("token", Kind::Refused(TOKEN_IN_FILE), ""),
    ],
    required: &[],
};

const TOKEN_IN_FILE: &str = "a secret does not belong in this file: put it into a file or an environment variable, and name \
                       that with `token_file` or `token_env`";

const URL_IN_FILE: &str =
    "its password does not belong in this file: put the URL into a file of its own, and name that with `url_file`";

const SECRET_IN_FILE: &str = "a secret does not belong in this file: put it into a file or an environment variable, and name \
                        that with `password_file`, `password_env` or `token_file`";

static REGISTRY: Section = Section {
    keys: &[
        key("username", Kind::Text, "a user, with `password_file` or `password_env`"),
        key("password_file", Kind::Text, "the file with the password of `username`"),
        key("password_env", Kind::Text, "the name of the environment variable with the password of `username`"),
        key("token_file", Kind::Text, "a file with a bearer token"),
        key("docker_config", Kind::Text, "a docker config.json, in place of the usual ones"),
        key("anonymous", Kind::Flag, "no credentials, even if the usual places have some"),
        key(
            "identity",
            Kind::Word { words: words::<Identity> },
            "a cloud's identity, such as the role of a service account; without it the host chooses one where the usual places have no credentials",
        ),
        key("password", Kind::Refused(SECRET_IN_FILE), ""),
        key("token", Kind::Refused(SECRET_IN_FILE), ""),
        key("auth", Kind::Refused(SECRET_IN_FILE), ""),
        key("plain_http", Kind::Flag, "plain HTTP; without it only loopback is spoken to so"),
        key("ca_file", Kind::Text, "PEM authorities, trusted beside the system's"),
        key("cert_file", Kind::Text, "a client certificate in PEM form, with `key_file`"),
        key("key_file", Kind::Text, "the private key of `cert_file`"),
        key(
            "proxy_url",
            Kind::Text,
            "a proxy, with scheme http, https, socks5 or socks5h, in place of the environment's",
        ),
        key("insecure_skip_verify", Kind::Flag, "believe any certificate of the registry's own host"),
        key("requests_per_second", Kind::Rate { max: 10_000 }, "the most requests per second; unlimited without it"),
        key(
            "ratelimit_reserve",
            Kind::Count { min: 0, max: 1_000_000_000 },
            "metered pulls kept for people: below it only free requests are made",
        ),
        key(
            "list",
            Kind::Word { words: words::<ListApi> },
            "what lists its repositories for a wildcard; by the host if it is left out",
        ),
        key("api_url", Kind::Text, "where that API is, if not where the service has it"),
        key("api_token_file", Kind::Text, "a file with a token for that API, in place of the registry's login"),
        key("pull_through", Kind::Flag, "it fetches from another registry when asked: layers are not probed"),
        key("concurrency", CONCURRENCY, "requests under way at once; `scan.concurrency` if it is left out"),
        key("timeout", TIMEOUT, "time for one request; `scan.timeout` if it is left out"),
    ],
    required: &[],
};

// Of a target, and of a source for all that it finds.
const PLATFORMS: Key =
    key("platforms", TEXTS, "such as linux/amd64, linux/arm/v7 or windows/amd64; all if it is left out");
const SCAN_INTERVAL: Key =
    key("interval", INTERVAL, "time between the starts of two scans; `scan.interval` if it is left out");
const UNCOMPRESSED: Key =
    key("uncompressed", Kind::Word { words: words::<Uncompressed> }, "how uncompressed sizes are found")
        .default(r#""off""#);
const BUDGET: Key =
    key("budget", Kind::Size, "what an image's compressed size should stay under, such as 250MiB; for alerts");
const LABELS: Key = key("labels", Kind::Labels, "published in container_image_repository_labels");
const GROUP: Key =
    key("group", Kind::Text, "the group, such as a team, whose storage is published in the families of groups");
const GROUP_BY: Key = key(
    "group_by",
    Kind::Text,
    "in place of `group`: a regular expression on the repository's name, whose first parentheses find the group",
);

static TARGET: Section = Section {
    keys: &[
        key(
            "name",
            Kind::Text,
            "the `target` label, unique; the repository as written if it is left out and there is one",
        ),
        key(
            "repository",
            TEXTS,
            "docker.io/library/alpine, for example, or a list; `*` within a segment, `**` any number of segments",
        ),
        key("tags", TEXTS, "these tags, without listing; `latest` if nothing else selects any"),
        key("match", TEXTS, "regular expressions: of the listed tags those that one finds; not anchored"),
        key("exclude", TEXTS, "regular expressions: none of the listed tags that one finds"),
        key("semver", Kind::Text, "of the listed tags versions in a range: `>=2, <4`, `^1.2`, `~1.2.3`, `1.x`, `*`"),
        key("sort", Kind::Word { words: words::<Sort> }, "the order that `limit` cuts, newest first")
            .default(r#""semver""#),
        key(
            "limit",
            Kind::Count { min: 1, max: 1_000_000 },
            "how many of the listed tags are kept; with `newest` 2 or more",
        ),
        key("newest", Kind::Word { words: words::<NewestBy> }, "also publish the newest tag as one stable series"),
        PLATFORMS,
        SCAN_INTERVAL,
        UNCOMPRESSED,
        key("detail", Kind::Word { words: words::<Detail> }, "whether images are published, or only repositories")
            .default(r#""images""#),
        BUDGET,
        key("tags_max", TAGS_MAX, "selected tags that are read per repository; `scan.tags_max` if it is left out"),
        LABELS,
        GROUP,
        GROUP_BY,
    ],
    required: &["repository"],
};

static SOURCE: Section = Section {
    keys: &[
        key(
            "name",
            Kind::Text,
            "the `source` label, and the `target` label of what it finds; unique among targets too",
        ),
        key(
            "kubernetes",
            Kind::Table { section: &KUBERNETES, overridable: false },
            "the pods of a cluster: with {} the one that this program runs in",
        ),
        key(
            "docker",
            Kind::Table { section: &DOCKER, overridable: false },
            "the containers of a Docker or Podman engine: with {} the one of this machine",
        ),
        key(
            "prometheus",
            Kind::Table { section: &PROMETHEUS, overridable: false },
            "what a Prometheus knows of containers, from kube-state-metrics for example",
        ),
        key("file", TEXTS, "files with a reference a line, such as images/*.txt; read again when they change"),
        key("exclude", TEXTS, "regular expressions: no image in whose reference one is found; not anchored"),
        key(
            "rewrite",
            Kind::Tables(&REWRITE),
            "where images are read instead, such as past a mirror; the first that is found",
        ),
        PLATFORMS,
        SCAN_INTERVAL,
        UNCOMPRESSED,
        BUDGET,
        LABELS,
        GROUP,
        GROUP_BY,
    ],
    required: &["name"],
};

static KUBERNETES: Section = Section {
    keys: &[
        key("kubeconfig", Kind::Text, "a kubeconfig; the service account of this program's pod without one"),
        key("context", Kind::Text, "a context of the kubeconfig; its current one if it is left out"),
        key("namespaces", TEXTS, "only these namespaces; all if it is left out"),
        key("selector", Kind::Text, "a label selector of pods, such as team=payments"),
        key("pull_secrets", Kind::Flag, "use the pods' imagePullSecrets for registries without a credential"),
    ],
    required: &[],
};

static DOCKER: Section = Section {
    keys: &[key("host", Kind::Text, "unix:///PATH, or tcp://HOST:PORT without TLS")
        .default(r#""unix:///var/run/docker.sock""#)],
    required: &[],
};

static PROMETHEUS: Section = Section {
    keys: &[
        key("url", Kind::Text, "the server's address, such as http://prometheus:9090"),
        key("query", Kind::Text, "an expression whose series have an image as label")
            .default(r#""kube_pod_container_info""#),
        key("interval", INTERVAL, "time between two queries").default(r#""30s""#),
        key("timeout", TIMEOUT, "time for an answer; `scan.timeout` if it is left out"),
        key("username", Kind::Text, "a user, with `password_file`"),
        key("password_file", Kind::Text, "the file with the password of `username`"),
        key("token_file", Kind::Text, "a file with a bearer token"),
        key("ca_file", Kind::Text, "PEM authorities, trusted beside the system's"),
        key("password", Kind::Refused(PROMETHEUS_SECRET_IN_FILE), ""),
        key("token", Kind::Refused(PROMETHEUS_SECRET_IN_FILE), ""),
    ],
    required: &["url"],
};

const PROMETHEUS_SECRET_IN_FILE: &str =
    "a secret does not belong in this file: put it into a file, and name that with `password_file` or `token_file`";

static REWRITE: Section = Section {
    keys: &[
        key("match", Kind::Text, "a regular expression on an image's reference, such as ^mirror\\.internal/hub/"),
        key("with", Kind::Text, "what takes the place of what is found; $1 is what the first parentheses found"),
    ],
    required: &["match", "with"],
};

static POLICY: Section = Section {
    keys: &[
        key("name", Kind::Text, "the `policy` label, unique"),
        key("targets", TEXTS, "the targets whose tags it judges, by name; all if it is left out"),
        key(
            "keep_newest",
            Kind::Count { min: 1, max: 1_000_000 },
            "in each repository the tags of so many digests are kept, newest first by creation date",
        ),
        key("keep_match", TEXTS, "regular expressions: tags that one finds are kept; not anchored"),
        key("keep_younger", AGE, "tags that were created less than this long ago are kept"),
        key("keep_running", Kind::Flag, "tags that run according to a source are kept"),
    ],
    required: &["name"],
};
