//! `retain`: what a policy keeps of a registry, and what is handed over to be deleted.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use image_size_exporter::commands::inspect::Terminal;
use image_size_exporter::commands::retain::retention;
use image_size_exporter::config::{Config, Environment};
use image_size_exporter::oci::MediaType;
use image_size_exporter::registry::{Registries, Settings};
use serde_json::{Value, json};

use crate::support::configured::{Configured, text};
use crate::support::images::{Blob, Pushed, artifact, dated, entry, index};
use crate::support::registry::Reply;

/// Bytes of the manifest and config of an image.
fn metadata(image: &Pushed) -> u64 {
    image.manifest.size + image.blobs.iter().find(|blob| blob.media_type == MediaType::OCI_CONFIG).unwrap().size
}

/// `tag fate reason [held_by]` of each tag.
fn fates(repository: &Value) -> Vec<String> {
    let tags = repository["tags"].as_array().unwrap();
    let fate = |tag: &Value| {
        let held = tag["held_by"].as_str().map(|by| format!(" {by}")).unwrap_or_default();
        let word = |key: &str| tag[key].as_str().unwrap().to_owned();
        format!("{} {} {}{held}", word("tag"), word("fate"), word("reason"))
    };
    tags.iter().map(fate).collect()
}

/// The digests to delete, in their order.
fn digests(repository: &Value) -> Vec<String> {
    let digests = repository["digests"].as_array().unwrap();
    digests.iter().map(|digest| digest["digest"].as_str().unwrap().to_owned()).collect()
}

const POLICY: &str = "[[targets]]\nname = 'api'\nrepository = 'REGISTRY/acme/api'\nmatch = ['^v']\n\n\
[[targets]]\nname = 'web'\nrepository = 'REGISTRY/acme/web'\nmatch = ['.']\n\n\
[[policies]]\nname = 'two'\ntargets = ['api']\nkeep_newest = 2\nkeep_match = ['^v0$']\n";

/// `v1` to `v4` of one base; `v0` is kept by name, `stable` is `v2` and selected by no target; another repository has the
/// base and the layer of `v1`.
fn fixture() -> (Configured, BTreeMap<&'static str, Pushed>) {
    let fixture = Configured::new("retain", POLICY);
    let base = Blob::named("base", 1_000);
    let mut images = BTreeMap::new();
    for (tag, day, own) in [("v0", 1, 5), ("v1", 2, 10), ("v2", 3, 20), ("v3", 4, 40), ("v4", 5, 80)] {
        let created = format!("2024-01-0{day}T00:00:00Z");
        let image = dated("linux/amd64", &created, &[&base, &Blob::named(tag, own)]);
        fixture.registry.push("acme/api", tag, &image);
        images.insert(tag, image);
    }
    fixture.registry.push("acme/api", "stable", &images["v2"]);
    let web = dated("linux/amd64", "2020-01-01T00:00:00Z", &[&Blob::named("v1", 10)]);
    fixture.registry.push("acme/web", "main", &web);
    (fixture, images)
}

#[test]
fn what_a_policy_does_not_keep_is_handed_over_with_its_reason_and_its_bytes() {
    let (fixture, images) = fixture();
    let retention = fixture.json(&[]);
    assert_eq!(retention["errors"], json!([]));
    let policy = &retention["policies"][0];
    let registry = &policy["registries"][0];
    assert_eq!(
        (policy["policy"].as_str(), registry["registry"].as_str()),
        (Some("two"), Some(fixture.registry.name().as_str()))
    );
    assert_eq!(registry["repositories"].as_array().unwrap().len(), 1, "the policy is about one repository");
    let repository = &registry["repositories"][0];
    assert_eq!(
        fates(repository),
        ["v0 kept match", "v1 gone no_rule", "v2 held no_rule stable", "v3 kept newest", "v4 kept newest"]
    );
    // What `v2` points at is what `stable` points at, so that only `v1` goes; another repository has its layer.
    assert_eq!(digests(repository), [images["v1"].digest().to_string()]);
    assert_eq!(repository["digests"][0]["tags"], json!(["v1"]));
    assert_eq!(registry["freed_bytes"].as_u64(), Some(metadata(&images["v1"])));
    assert_eq!(repository["freed_bytes"], registry["freed_bytes"]);
    let counts = ["tags_kept", "tags_gone", "tags_held"].map(|key| registry[key].as_u64().unwrap());
    assert_eq!(counts, [3, 1, 1]);

    let output = fixture.run(&["--format", "digests"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let expected = format!("{}/acme/api@{}\n", fixture.registry.name(), images["v1"].digest());
    assert_eq!(text(&output.stdout), expected);

    let table = text(&fixture.run(&["--bytes"]).stdout);
    for line in [
        "v2   no rule keeps it, but its manifest is one of stable".to_owned(),
        format!("1 digest to delete, {} freed by them alone", metadata(&images["v1"])),
        format!("{}, two: 3 tags kept, 1 gone, 1 held: {} freed", fixture.registry.name(), metadata(&images["v1"])),
    ] {
        assert!(table.contains(&line), "{line}\n{table}");
    }
    assert!(table.find("gone").unwrap() < table.find("kept").unwrap(), "what goes is first\n{table}");
}

#[test]
fn a_rule_of_the_command_line_is_about_repositories_and_about_what_the_configuration_watches() {
    let (fixture, images) = fixture();
    let api = format!("{}/acme/api", fixture.registry.name());
    let retention = fixture.json(&[&api, "--keep-match", "^v[0234]$"]);
    let registry = &retention["policies"][0]["registries"][0];
    let names: Vec<&Value> = registry["repositories"].as_array().unwrap().iter().map(|r| &r["repository"]).collect();
    assert_eq!(names, ["acme/api"]);
    // Now `stable` is judged too, and its manifest is one of `v2`, which is kept.
    let expected = [
        "stable held no_rule v2",
        "v0 kept match",
        "v1 gone no_rule",
        "v2 kept match",
        "v3 kept match",
        "v4 kept match",
    ];
    assert_eq!(fates(&registry["repositories"][0]), expected);
    assert_eq!(registry["freed_bytes"].as_u64(), Some(metadata(&images["v1"])), "`web` has its layer");
    std::fs::remove_file(fixture.directory.path().join("config.toml")).unwrap();
    let retention = fixture.json(&[&api, "--keep-match", "^v[0234]$"]);
    let registry = &retention["policies"][0]["registries"][0];
    assert_eq!(registry["freed_bytes"].as_u64(), Some(metadata(&images["v1"]) + 10), "`web` is not watched");

    let all = format!("{}/acme/*", fixture.registry.name());
    let retention = fixture.json(&[&all, "--keep-younger", "1d"]);
    let registry = &retention["policies"][0]["registries"][0];
    let alone: Vec<u64> =
        registry["repositories"].as_array().unwrap().iter().map(|r| r["freed_bytes"].as_u64().unwrap()).collect();
    let api_metadata: u64 = images.values().map(metadata).sum();
    let api_layers = 1_000 + 5 + 20 + 40 + 80;
    assert_eq!(alone[0], api_metadata + api_layers);
    // The layer of both goes only with both.
    assert_eq!(registry["freed_bytes"].as_u64(), Some(alone[0] + alone[1] + 10));
}

#[test]
fn the_children_of_an_index_go_with_it_unless_another_tag_has_them_and_so_do_referrers() {
    let fixture = Configured::new(
        "retain",
        "[[targets]]\nname = 'api'\nrepository = 'REGISTRY/acme/api'\nmatch = ['^v']\n\n[[policies]]\nname = 'p'\nkeep_match = ['^v2$']\n",
    );
    let made = "2024-01-01T00:00:00Z";
    let shared = dated("linux/amd64", made, &[&Blob::named("shared", 100)]);
    let own = dated("linux/arm64", made, &[&Blob::named("own", 10)]);
    let statement = dated("unknown/unknown", made, &[&Blob::named("statement", 7)]);
    let mut attestation = entry("unknown/unknown", &statement);
    attestation["annotations"] = json!({"vnd.docker.reference.type": "attestation-manifest"});
    let document = json!({"schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests":
        [entry("linux/amd64", &shared), entry("linux/arm64", &own), attestation]});
    let children = vec![shared.clone(), own.clone(), statement.clone()];
    let v1 = Pushed::from_json(MediaType::OCI_INDEX, &document, vec![], children);
    let v2 = index(&[("linux/amd64", &shared)]);
    fixture.registry.push("acme/api", "v1", &v1);
    fixture.registry.push("acme/api", "v2", &v2);
    // One tag points at a manifest of an index that stays: deleting it would break the index.
    fixture.registry.push("acme/api", "v1-amd64", &shared);
    // A signature of the index that goes, one of it, and one of the index that stays.
    let tag_of = |pushed: &Pushed, end: &str| pushed.digest().to_string().replace(':', "-") + end;
    let empty = Blob::new("application/vnd.oci.empty.v1+json", "{}");
    let referrer = |name: &str, bytes| {
        let mut pushed = artifact("application/example", &[&Blob::named(name, bytes)]);
        pushed.blobs.push(empty.clone());
        pushed
    };
    let signature = referrer("signature", 3);
    let second = referrer("second", 2);
    fixture.registry.push("acme/api", &tag_of(&v1, ".sig"), &signature);
    fixture.registry.push("acme/api", &tag_of(&signature, ".att"), &second);
    fixture.registry.push("acme/api", &tag_of(&v2, ".sig"), &referrer("other", 1));

    let retention = fixture.json(&[]);
    assert_eq!(retention["errors"], json!([]));
    let registry = &retention["policies"][0]["registries"][0];
    let repository = &registry["repositories"][0];
    let mut expected = vec![
        format!("{} gone subject_gone", tag_of(&v1, ".sig")),
        format!("{} gone subject_gone", tag_of(&signature, ".att")),
        format!("{} kept subject_stays", tag_of(&v2, ".sig")),
        "v1 gone no_rule".to_owned(),
        "v1-amd64 held no_rule v2".to_owned(),
        "v2 kept match".to_owned(),
    ];
    expected.sort();
    assert_eq!(fates(repository), expected);
    let handed = digests(repository);
    let gone = [v1.digest(), own.digest(), statement.digest(), signature.digest(), second.digest()];
    assert_eq!(handed.iter().cloned().collect::<BTreeSet<_>>(), gone.map(ToString::to_string).into());
    let at = |pushed: &Pushed| handed.iter().position(|digest| *digest == pushed.digest().to_string()).unwrap();
    assert!(at(&v1) < at(&own) && at(&v1) < at(&statement), "an index goes before what it names: {handed:?}");
    // The empty config is that of the signature that stays.
    let bytes = v1.manifest.size + metadata(&own) + 10 + metadata(&statement) + 7;
    assert_eq!(registry["freed_bytes"].as_u64(), Some(bytes + signature.manifest.size + 3 + second.manifest.size + 2));
}

#[test]
fn a_child_that_only_another_repository_has_is_held_as_a_blob_and_what_it_names_is_not() {
    let fixture = Configured::new(
        "retain",
        "[[targets]]\nname = 'api'\nrepository = 'REGISTRY/acme/api'\nmatch = ['.']\n\n\
         [[targets]]\nrepository = 'REGISTRY/acme/web'\nmatch = ['.']\n\n\
         [[policies]]\nname = 'p'\ntargets = ['api']\nkeep_match = ['^nothing$']\n",
    );
    let child = dated("linux/amd64", "2024-01-01T00:00:00Z", &[&Blob::named("own", 10)]);
    fixture.registry.push("acme/api", "v1", &child);
    let sparse = Pushed { children: vec![], ..index(&[("linux/amd64", &child)]) };
    fixture.registry.push("acme/web", "main", &sparse);
    fixture.registry.missing(&format!("/v2/acme/web/manifests/{}", child.digest()));
    let retention = fixture.json(&[]);
    let registry = &retention["policies"][0]["registries"][0];
    assert_eq!(retention["errors"], json!([]));
    assert_eq!(digests(&registry["repositories"][0]), [child.digest().to_string()]);
    assert_eq!(registry["freed_bytes"].as_u64(), Some(metadata(&child) - child.manifest.size + 10));
}

#[test]
fn where_anything_is_unread_no_bytes_are_claimed_and_its_repository_loses_nothing() {
    let (fixture, images) = fixture();
    fixture.registry.always("GET /v2/acme/web/manifests/main", Reply::status(403));
    let output = fixture.run(&["--json"]);
    assert_eq!(output.status.code(), Some(3));
    let retention: Value = serde_json::from_slice(&output.stdout).unwrap();
    let registry = &retention["policies"][0]["registries"][0];
    assert_eq!((&registry["freed_bytes"], &registry["repositories"][0]["freed_bytes"]), (&Value::Null, &Value::Null));
    assert_eq!(
        digests(&registry["repositories"][0]),
        [images["v1"].digest().to_string()],
        "it is of another repository"
    );
    assert!(text(&output.stderr).contains("no freed bytes are shown"), "{}", text(&output.stderr));
    assert_eq!(retention["errors"].as_array().unwrap().len(), 1);

    fixture.registry.always("GET /v2/acme/api/manifests/v3", Reply::status(403));
    let retention = fixture.json(&[]);
    let repository = &retention["policies"][0]["registries"][0]["repositories"][0];
    assert_eq!(repository["is_partial"], true);
    let expected = ["v0 kept match", "v1 kept partial", "v2 kept newest", "v3 kept unread", "v4 kept newest"];
    assert_eq!((fates(repository).as_slice(), digests(repository).len()), (&expected.map(str::to_owned)[..], 0));
    let table = text(&fixture.run(&[]).stdout);
    assert!(table.contains("nothing to delete: it could not be read wholly"), "{table}");
    assert!(table.contains("unknown bytes freed"), "{table}");
}

#[test]
fn a_date_that_cannot_be_right_keeps_a_tag() {
    let fixture = Configured::new(
        "retain",
        "[[targets]]\nrepository = 'REGISTRY/acme/api'\nmatch = ['.']\n\n[[policies]]\nname = 'p'\nkeep_younger = '30d'\n",
    );
    for (tag, created) in [
        ("epoch", "1970-01-01T00:00:00Z"),
        ("zip", "1980-01-01T00:00:00Z"),
        ("future", "2999-01-01T00:00:00Z"),
        ("old", "2020-01-01T00:00:00Z"),
    ] {
        fixture.registry.push("acme/api", tag, &dated("linux/amd64", created, &[&Blob::named(tag, 1)]));
    }
    let retention = fixture.json(&[]);
    let expected = ["epoch kept undated", "future kept undated", "old gone no_rule", "zip kept undated"];
    assert_eq!(fates(&retention["policies"][0]["registries"][0]["repositories"][0]), expected);
}

#[test]
fn what_cannot_be_asked_is_refused_with_what_to_write() {
    let (fixture, _) = fixture();
    let api = format!("{}/acme/api", fixture.registry.name());
    for (arguments, exit_code, said) in [
        (&[api.as_str()][..], 64, "a repository needs a rule: add `--keep-newest`"),
        (&["--policy", "tow"], 64, "no policy is named `tow`: there are two"),
        (&["--keep-newest", "0"], 2, "write a whole number above 0"),
        (&["--keep-younger", "1y"], 2, "such as \"30d\""),
        (&["--keep-match", "("], 2, "is not a regular expression"),
        (&["--policy", "two", "--keep-newest", "1"], 2, "cannot be used with"),
    ] {
        let output = fixture.run(arguments);
        assert_eq!(output.status.code(), Some(exit_code), "{arguments:?}");
        assert!(text(&output.stderr).contains(said), "{arguments:?}: {}", text(&output.stderr));
    }
    let path = fixture.directory.path().join("config.toml");
    let toml = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{toml}[[policies]]\nname = 'other'\nkeep_newest = 1\n")).unwrap();
    let output = fixture.run(&["--format", "digests"]);
    assert_eq!(output.status.code(), Some(64));
    assert!(text(&output.stderr).contains("with `--policy`, of two, other"), "{}", text(&output.stderr));
    std::fs::write(&path, "[[targets]]\nrepository = 'r.io/a'\n").unwrap();
    let output = fixture.run(&[]);
    assert!(text(&output.stderr).contains("has no [[policies]]: add one"), "{}", text(&output.stderr));
}

#[tokio::test]
async fn progress_is_shown_where_a_terminal_reads_it() {
    let (fixture, _) = fixture();
    let registries = Registries::new(BTreeMap::new(), Settings::default()).unwrap();
    let config = Config::load_with(&fixture.directory.path().join("config.toml"), &Environment::new()).unwrap();
    for progress in [true, false] {
        let mut err = Vec::new();
        let terminal = Terminal { progress, ..Terminal::default() };
        retention(&registries, &config.targets, &config.policies, &[], 1.8e9, terminal, &mut err).await;
        assert_eq!(text(&err).contains("acme/api: 6 of 6 tags"), progress, "{}", text(&err));
    }
}

#[test]
fn the_keys_of_the_json_are_those_of_its_page() {
    let (fixture, _) = fixture();
    let mut keys = BTreeSet::new();
    collect(&fixture.json(&[]), &mut keys);
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/retain.md")).unwrap();
    let schema = page.split("## JSON").nth(1).unwrap();
    for key in keys {
        assert!(schema.contains(&key), "docs/retain.md does not say what `{key}` is");
    }
}

fn collect(value: &Value, keys: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| {
            keys.insert(key.clone());
            collect(value, keys);
        }),
        Value::Array(items) => items.iter().for_each(|item| collect(item, keys)),
        _ => {}
    }
}
