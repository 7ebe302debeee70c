//! A corpus of configurations: good ones are read and can be shown, odd ones are read with warnings, bad ones give their
//! exact message.
//!
//! Each file in `bad/` and `odd/` has its messages beside it, a line for each. Lines `# env NAME=value` at the top of a
//! file are its environment; `# purpose check` or `# purpose strict` reads it as `--config.check` does.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use image_size_exporter::config::{Config, ConfigError, Environment, Purpose, State};
use image_size_exporter::oci::{Platform, Tag};
use image_size_exporter::registry::Credential;
use image_size_exporter::target::{Detail, NewestBy, Target, Uncompressed};

mod databases;
mod schema;
mod secrets;

fn corpus(directory: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/config").join(directory);
    let entries = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|ext| ext == "toml")).collect();
    files.sort();
    files
}

fn load(path: &Path) -> Result<Config, ConfigError> {
    let bytes = fs::read(path).unwrap();
    let text = String::from_utf8_lossy(&bytes);
    let settings = |name: &'static str| text.lines().filter_map(move |line| line.strip_prefix(name));
    let environment: Environment =
        settings("# env ").filter_map(|line| line.split_once('=')).map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
    let purpose = match settings("# purpose ").next() {
        Some("check") => Purpose::Check,
        Some("strict") => Purpose::StrictCheck,
        other => {
            assert_eq!(other, None);
            Purpose::Run
        }
    };
    Config::read(path, &environment, purpose)
}

fn write(text: &str) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.toml");
    fs::write(&path, text).unwrap();
    (directory, path)
}

fn parse(text: &str) -> Config {
    let (_directory, path) = write(text);
    Config::load_with(&path, &Environment::new()).unwrap_or_else(|error| panic!("{error}"))
}

/// Holds what is said of each file in `directory` against what stands beside it.
fn compare(directory: &str, said: impl Fn(Result<Config, ConfigError>) -> String) {
    let mut wrong = Vec::new();
    for path in corpus(directory) {
        let directory = format!("{}/", path.parent().unwrap().display());
        let shown = said(load(&path)).replace(&directory, "").replace(directory.trim_end_matches('/'), "DIR");
        let expected = fs::read_to_string(path.with_extension("txt")).unwrap_or_default();
        if shown != expected.trim_end() {
            let expected = expected.trim_end();
            wrong.push(format!("{}\n  expected: {expected}\n  got:      {shown}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn each_bad_file_gives_its_message() {
    assert!(corpus("bad").len() >= 100, "only {} bad files", corpus("bad").len());
    compare("bad", |result| result.err().map_or("accepted".to_owned(), |error| error.to_string()));
}

#[test]
fn each_odd_file_is_accepted_with_its_warnings() {
    assert!(corpus("odd").len() >= 5, "only {} odd files", corpus("odd").len());
    compare("odd", |result| match result {
        Ok(config) if config.warnings.is_empty() => "no warning".to_owned(),
        Ok(config) => config.warnings.join("\n"),
        Err(error) => format!("refused: {error}"),
    });
}

#[test]
fn dollars_that_belong_to_expressions_users_and_labels_are_no_variables() {
    let path = corpus("good").into_iter().find(|path| path.ends_with("dollars.toml")).unwrap();
    assert_eq!(load(&path).unwrap_or_else(|error| panic!("{error}")).warnings, Vec::<String>::new());
}

#[test]
fn each_good_file_is_read_and_its_rendering_is_equivalent() {
    for path in corpus("good") {
        let config = load(&path).unwrap_or_else(|error| panic!("{error}"));
        let (_directory, shown) = write(&config.redacted());
        let mut again = Config::load_with(&shown, &Environment::from([("SECRET".to_owned(), "x".to_owned())]))
            .unwrap_or_else(|error| panic!("{}: {error}\n{}", path.display(), config.redacted()));
        again.file.clone_from(&config.file);
        assert_eq!(again.redacted(), config.redacted(), "{}", path.display());
        assert!(again.targets == config.targets, "{}", path.display());
        assert!(again.registries == config.registries, "{}", path.display());
        assert!(again.sources == config.sources, "{}", path.display());
        assert!(again.policies == config.policies, "{}", path.display());
    }
}

#[test]
fn included_files_add_their_targets_in_the_order_of_their_names() {
    let path = corpus("good").into_iter().find(|path| path.ends_with("include.toml")).unwrap();
    let config = load(&path).unwrap_or_else(|error| panic!("{error}"));
    let names: Vec<&str> = config.targets.iter().map(|target| &*target.name.0).collect();
    assert_eq!(names, ["docker.io/library/alpine", "two"]);
}

#[test]
fn the_shipped_file_is_valid_and_needs_no_password_and_writes_no_file() {
    let config = Config::load_with(&Path::new(env!("CARGO_MANIFEST_DIR")).join("config.toml"), &Environment::new())
        .unwrap_or_else(|error| panic!("{error}"));
    assert!(config.registries.is_empty());
    assert!(config.state.is_none());
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    let registries: std::collections::BTreeSet<_> =
        config.targets.iter().map(|target| target.repositories.registry()).collect();
    assert!(registries.len() >= 5, "{registries:?}");
}

/// Not in the corpus, since a build without a feature refuses its sources.
#[cfg(all(feature = "docker", feature = "kubernetes"))]
#[test]
fn sources_of_features_are_read_and_their_rendering_is_equivalent() {
    let (_directory, path) = write(
        r#"
        [[sources]]
        name = "here"
        kubernetes = {}
        [[sources]]
        name = "there"
        kubernetes = { kubeconfig = "config.toml", context = "b", namespaces = ["x", "y"], selector = "a=b", pull_secrets = true }
        [[sources]]
        name = "machine"
        docker = {}
        [[sources]]
        name = "podman"
        docker = { host = "unix:///run/podman/podman.sock" }
        "#,
    );
    let config = Config::load_with(&path, &Environment::new()).unwrap_or_else(|error| panic!("{error}"));
    let (_directory, shown) = write(&config.redacted());
    let again = Config::load_with(&shown, &Environment::new()).unwrap_or_else(|error| panic!("{error}"));
    assert!(again.sources == config.sources, "{}", config.redacted());
    assert_eq!(config.all_targets().len(), 4);
    let (_directory, bad) = write(
        "[[sources]]\nname = 'a'\nkubernetes = { context = 'b', namespaces = [] }\n\
         [[sources]]\nname = 'b'\ndocker = { host = 'ssh://x' }\n",
    );
    let said = Config::load_with(&bad, &Environment::new()).err().unwrap().to_string();
    for expected in [
        "kubernetes.namespaces: is empty, so that nothing is watched: name one, or leave the key out for all",
        "kubernetes.context: needs `kubeconfig` too",
        "docker.host: `ssh://x`: expected unix:///PATH, or tcp://HOST:PORT without TLS, such as \"unix:///var/run/docker.sock\"",
    ] {
        assert!(said.contains(expected), "{said}");
    }
}

#[cfg(not(feature = "kubernetes"))]
#[test]
fn a_build_without_clusters_says_how_to_get_one() {
    let (_directory, path) = write("[[sources]]\nname = 'a'\nkubernetes = {}\n");
    let said = Config::load_with(&path, &Environment::new()).err().unwrap().to_string();
    let expected = "kubernetes: this build cannot watch clusters: take a released package or image, or compile with \
                    `cargo install --features kubernetes …`";
    assert!(said.contains(expected), "{said}");
}

#[test]
fn every_key_of_a_configuration_is_read() {
    let path = corpus("good").into_iter().find(|path| path.ends_with("everything.toml")).unwrap();
    let config = load(&path).unwrap_or_else(|error| panic!("{error}"));
    let directory = path.parent().unwrap();
    assert_eq!(config.web.listen, ["127.0.0.1:10048", "[::1]:10048"].map(|address| address.parse().unwrap()));
    assert_eq!(config.web.hosts, ["exporter.example.com", "::1"]);
    assert_eq!(config.web.config_file, Some(directory.join("file")));
    assert_eq!(config.scan.interval, Duration::from_mins(10), "the environment wins");
    assert_eq!(config.scan.concurrency, 4);
    assert_eq!(config.scan.timeout, Duration::from_secs(20));
    assert_eq!(config.scan.keep, Duration::from_hours(48));
    assert_eq!(config.scan.tags_max, 500);
    assert_eq!(config.state, Some(State::File("/home/me/state.redb".into())));
    assert_eq!(config.omit.iter().map(|f| f.short_name()).collect::<Vec<_>>(), ["config_size", "manifest_size"]);

    let hub = &config.registries[&"docker.io".parse().unwrap()];
    let password = Credential::PasswordFile { username: "me".to_owned(), path: directory.join("file") };
    assert!(hub.credential == password);
    assert_eq!((hub.requests_per_second, hub.ratelimit_reserve), (Some(5.0), Some(20)));
    assert_eq!((hub.concurrency, hub.timeout), (4, Duration::from_secs(20)), "from [scan]");
    let internal = config.settings(&"registry.internal:5000".parse().unwrap());
    assert!(internal.plain_http && internal.credential == Credential::Anonymous);
    assert_eq!((internal.concurrency, internal.timeout), (2, Duration::from_mins(1)));
    let other = config.settings(&"elsewhere.example.com".parse().unwrap());
    assert!(other.credential == Credential::Usual && other.concurrency == 4);

    let alpine = &config.targets[0];
    assert_eq!(alpine.name.to_string(), "docker.io/library/alpine");
    assert_eq!(alpine.named_tags().iter().map(Tag::as_str).collect::<Vec<_>>(), ["latest"]);
    assert!(!alpine.selection.lists());
    assert_eq!(alpine.interval, Duration::from_mins(10));
    assert_eq!((alpine.uncompressed, alpine.detail, alpine.newest), (Uncompressed::Off, Detail::Images, None));
    assert_eq!((alpine.tags_max, alpine.budget_bytes), (500, None));
    let group = |target: &Target| target.grouping.as_ref()?.group(&"r.example.com/library/x".parse().unwrap());
    assert_eq!(group(alpine).as_deref(), Some("library"));

    let backend = &config.targets[1];
    assert_eq!(backend.name.to_string(), "backend");
    assert_eq!(backend.repositories.to_string(), "registry.internal:5000/acme/*");
    assert!(backend.selection.lists());
    assert_eq!(backend.newest, Some(NewestBy::Created));
    assert_eq!(backend.platforms.platforms(), ["linux/amd64", "linux/arm64"].map(|p| p.parse::<Platform>().unwrap()));
    assert_eq!(backend.interval, Duration::from_mins(15));
    assert_eq!((backend.uncompressed, backend.budget_bytes), (Uncompressed::Cheap, Some(250 << 20)));
    assert_eq!(backend.labels.get("team").map(String::as_str), Some("payments"));
    assert_eq!(backend.tags_max, 50);
    assert_eq!(group(backend).as_deref(), Some("payments"));
}

#[test]
fn the_rendered_configuration_has_no_secret() {
    let (_directory, path) = write(
        "[registries.\"r.example.com\"]\nusername = \"me\"\npassword_env = \"HUB\"\n\
         proxy_url = \"http://robot:hunter2@proxy:3128/?token=hunter2\"\n[[targets]]\nrepository = \"r.example.com/a\"\n",
    );
    let environment = Environment::from([("HUB".to_owned(), "hunter2".to_owned())]);
    let shown = Config::load_with(&path, &environment).unwrap_or_else(|error| panic!("{error}")).redacted();
    assert!(!shown.contains("hunter2") && !shown.contains("robot"), "{shown}");
    assert!(shown.contains("proxy_url = \"http://<secret>@proxy:3128/?<secret>\""), "{shown}");
    assert!(shown.contains("password_env = \"HUB\""), "{shown}");
}

#[test]
fn variables_that_kubernetes_sets_are_not_configuration() {
    let (_directory, path) = write("[[targets]]\nrepository = \"ghcr.io/acme/a\"\n");
    let variables = ["IMAGE_SIZE_EXPORTER_PORT", "IMAGE_SIZE_EXPORTER_SERVICE_HOST", "IMAGE_SIZE_EXPORTER_PORT_80_TCP"];
    let environment = variables.map(|name| (name.to_owned(), "tcp://10.0.0.1:80".to_owned())).into();
    assert!(Config::load_with(&path, &environment).unwrap_or_else(|error| panic!("{error}")).warnings.is_empty());
}

#[test]
fn a_variable_with_too_few_underscores_is_warned_about() {
    let (_directory, path) = write("[[targets]]\nrepository = \"ghcr.io/acme/a\"\n");
    let environment = Environment::from([("IMAGE_SIZE_EXPORTER_SCAN_INTERVAL".to_owned(), "1m".to_owned())]);
    let config = Config::load_with(&path, &environment).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(config.scan.interval, Duration::from_mins(5));
    assert_eq!(
        config.warnings,
        [
            "IMAGE_SIZE_EXPORTER_SCAN_INTERVAL: ignored: two underscores are missing, as in IMAGE_SIZE_EXPORTER__SCAN__INTERVAL"
        ]
    );
}

#[test]
fn variables_override_each_scalar() {
    let (_directory, path) = write("[scan]\ninterval = \"1m\"\n[[targets]]\nrepository = \"a\"\n");
    let environment: Environment = [
        ("WEB__LISTEN", "127.0.0.1:1, [::1]:2"),
        ("WEB__HOSTS", "localhost, ::1"),
        ("SCAN__INTERVAL", "10m"),
        ("SCAN__CONCURRENCY", "3"),
        ("SCAN__TIMEOUT", "5s"),
        ("SCAN__KEEP", "1d"),
        ("SCAN__TAGS_MAX", "7"),
        ("STATE__PATH", "/var/lib/x.redb"),
    ]
    .map(|(name, value)| (format!("IMAGE_SIZE_EXPORTER__{name}"), value.to_owned()))
    .into();
    let config = Config::load_with(&path, &environment).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(config.web.listen, ["127.0.0.1:1", "[::1]:2"].map(|address| address.parse().unwrap()));
    assert_eq!(config.web.hosts, ["localhost", "::1"]);
    assert_eq!((config.scan.interval, config.scan.concurrency), (Duration::from_mins(10), 3));
    assert_eq!((config.scan.timeout, config.scan.keep), (Duration::from_secs(5), Duration::from_hours(24)));
    assert_eq!(config.scan.tags_max, 7);
    assert_eq!(config.state, Some(State::File("/var/lib/x.redb".into())));
}

#[test]
fn a_missing_file_and_a_directory_say_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let shown = |path: &Path| {
        let error = Config::load_with(path, &Environment::new()).err().unwrap().to_string();
        error.replace(&directory.path().display().to_string(), "DIR")
    };
    assert_eq!(
        shown(&directory.path().join("config.toml")),
        "DIR/config.toml: no such file: write one, or name another with --config.file; `image-size-exporter demo` needs no configuration"
    );
    assert!(shown(directory.path()).starts_with("DIR: cannot be read: "));
}

#[test]
fn a_list_may_be_written_as_its_only_item_and_bare_whole_numbers_are_text() {
    let config = parse("[[targets]]\nrepository = \"a\"\ntags = [3, \"3.20\"]\nplatforms = \"linux/amd64\"\n");
    assert_eq!(config.targets[0].named_tags().iter().map(Tag::as_str).collect::<Vec<_>>(), ["3", "3.20"]);
    assert_eq!(config.targets[0].platforms.platforms().len(), 1);
}

#[test]
fn at_most_ten_thousand_tags_of_a_repository_are_looked_at_unless_more_are_allowed() {
    let config =
        parse("[[targets]]\nrepository = \"a\"\n[[targets]]\nname = \"b\"\nrepository = \"a\"\ntags_max = 50000\n");
    assert_eq!([config.targets[0].tags_max, config.targets[1].tags_max], [10_000, 50_000]);
}

#[test]
fn probable_mistakes_are_warned_about() {
    let (_directory, path) = write(
        "[registries.\"unused.example.com\"]\nanonymous = true\n\
         [registries.\"r.example.com\"]\nplain_http = true\nusername = \"me\"\npassword_env = \"P\"\n\
         [[targets]]\nname = \"a\"\nrepository = \"r.example.com/acme/*\"\nlabels = { team = \"x\", tier = \"1\" }\n\
         [[targets]]\nname = \"b\"\nrepository = \"r.example.com/acme/app\"\nlabels = { team = \"y\", tier = 1 }\n\
         [[targets]]\nname = \"c\"\nrepository = \"r.example.com/acme/app\"\nlabels = { team = \"y\" }\n\
         [[targets]]\nname = \"d\"\nrepository = \"r.example.com/other\"\nlabels = { team = \"z\" }\n\
         detail = \"repository\"\nbudget = \"1MiB\"\nuncompressed = \"exact\"\n\
         [[targets]]\nname = \"e\"\nrepository = \"r.example.com/e\"\nnewest = \"semver\"\nlimit = 1\n\
         [[targets]]\nname = \"f\"\nrepository = \"r.example.com/e\"\nnewest = \"semver\"\nlimit = 2\n\
         [[targets]]\nname = \"g\"\nrepository = \"r.example.com/e\"\nlimit = 1\n",
    );
    let environment = Environment::from([("P".to_owned(), "x".to_owned())]);
    let config = Config::load_with(&path, &environment).unwrap_or_else(|error| panic!("{error}"));
    let file = format!("{}:", path.display());
    let shown: Vec<String> = config.warnings.iter().map(|warning| warning.replace(&file, "")).collect();
    assert_eq!(
        shown,
        [
            "1: registries.\"unused.example.com\": no target uses this registry",
            "4: registries.\"r.example.com\".plain_http: credentials are sent in clear text",
            "14: targets[1] (\"b\").labels.team: targets[0] gives repositories of r.example.com/acme/app the value `x`, and the first target in the file wins",
            "18: targets[2] (\"c\").labels.team: targets[0] gives repositories of r.example.com/acme/app the value `x`, and the first target in the file wins",
            "24: targets[3] (\"d\").budget: not published with `detail = \"repository\"`",
            "25: targets[3] (\"d\").uncompressed: not published with `detail = \"repository\"`",
            "30: targets[4] (\"e\").limit: with 1 the release before the newest is not read, so `newest` has nothing to compare with: write 2 or more",
        ]
    );
}
