//! `check`: the verdict, what is printed, and the exit code.

mod files;
mod local;
mod pipelines;

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::support::images::{Blob, Pushed, image, index};
use crate::support::registry::{Access, TestRegistry};

/// The program in a directory of its own.
pub(crate) fn check(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_image-size-exporter"));
    command.arg("check").args(arguments).current_dir(directory).env_remove("DOCKER_HOST").env("HOME", directory);
    command.output().unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Its exit code and its result in JSON.
pub(crate) fn checked(directory: &Path, arguments: &[&str]) -> (Option<i32>, Value) {
    let output = check(directory, &[arguments, &["--format", "json"]].concat());
    let result = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}{}", text(&output.stdout), text(&output.stderr)));
    (output.status.code(), result)
}

const MIB: u64 = 1 << 20;

/// `acme/app:v1` of 100 MiB, `v2` of 135 MiB with the same base, `small` of the base alone.
fn world() -> (TestRegistry, tempfile::TempDir, impl Fn(&str) -> String) {
    let registry = TestRegistry::start();
    let (base, old, new) = (Blob::named("base", 80 * MIB), Blob::named("old", 20 * MIB), Blob::named("new", 55 * MIB));
    registry.push("acme/app", "v1", &image("linux/amd64", &[&base, &old]));
    registry.push("acme/app", "v2", &image("linux/amd64", &[&base, &new]));
    registry.push("acme/app", "small", &image("linux/amd64", &[&base]));
    let name = registry.name();
    (registry, tempfile::tempdir().unwrap(), move |tag: &str| format!("{name}/acme/app:{tag}"))
}

#[test]
fn an_image_passes_or_is_too_big() {
    let (_registry, directory, name) = world();
    let (v1, v2, small) = (name("v1"), name("v2"), name("small"));
    for (arguments, code, said) in [
        (&[v2.as_str()][..], 0, "fine"),
        (&[&v2, "--max-size", "135MiB"], 0, "ok    max-size  linux/amd64: 135 MiB compressed, allowed are 135 MiB"),
        (
            &[&v2, "--max-size", "134MiB"],
            7,
            "FAIL  max-size  linux/amd64: 135 MiB compressed, allowed are 134 MiB: 1.0 MiB too many",
        ),
        (&[&v2, "--against", &v1], 0, "fine"),
        (
            &[&v2, "--against", &v1, "--max-growth", "35%"],
            0,
            "ok    max-growth  linux/amd64: grew by 35.0 MiB (+35.0 %), allowed are 35 %",
        ),
        (
            &[&v2, "--against", &v1, "--max-growth", "34.9%"],
            7,
            "FAIL  max-growth  linux/amd64: grew by 35.0 MiB (+35.0 %), allowed are 34.9 %",
        ),
        (&[&v2, "--against", &v1, "--max-growth", "10%", "--max-growth-floor", "35MiB"], 0, "ok    max-growth"),
        (
            &[&v2, "--against", &v1, "--max-growth", "10%", "--max-growth-floor", "20MiB"],
            7,
            "      +55.0 MiB COPY 57671680 bytes",
        ),
        (&[&v1, "--against", &v2, "--max-growth", "0%"], 0, "grew by nothing, allowed are 0 %"),
        (&[&small, "--against", &v1, "--max-growth", "0%"], 0, "-  20.0 MiB            -20.0 MiB"),
    ] {
        let output = check(directory.path(), arguments);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{arguments:?}\n{out}{err}");
        assert!(out.contains(said), "{arguments:?}\n{out}");
        // What is wrong is on standard error too, where a pipeline's log shows it last.
        assert_eq!(err.starts_with(&format!("{v2} is too big: linux/amd64: ")), code == 7, "{err}");
    }
}

#[test]
fn sums_are_those_of_the_manifests() {
    let (_registry, directory, name) = world();
    let (code, result) = checked(directory.path(), &[&name("v2"), "--against", &name("v1"), "--max-size", "1GiB"]);
    assert_eq!(code, Some(0));
    let platform = &result["platforms"][0];
    let bytes = |key: &str| platform[key].as_u64().map(|bytes| bytes / MIB);
    let sums = ["old_bytes", "new_bytes", "shared_bytes", "update_bytes"].map(bytes);
    assert_eq!(sums, [Some(100), Some(135), Some(80), Some(55)]);
    let changes: Vec<&str> =
        platform["layers"].as_array().unwrap().iter().map(|layer| layer["change"].as_str().unwrap()).collect();
    assert_eq!(changes, ["shared", "added", "removed"]);
    assert_eq!((&result["verdict"], &result["size"]), (&json!("fine"), &json!("compressed")));
    assert_eq!(result["baseline"]["state"], "read");
    assert_eq!(result["baseline"]["reference"], name("v1"));
    assert_eq!(
        platform["rules"],
        json!([{"rule": "max_size", "passed": true, "message": "135 MiB compressed, allowed are 1.0 GiB"}])
    );
}

/// A layer that is listed twice, or at another place, is fetched once or not at all.
#[test]
fn an_update_is_the_distinct_layers_that_the_old_image_lacks() {
    let registry = TestRegistry::start();
    let (a, b, c) = (Blob::named("a", 100), Blob::named("b", 20), Blob::named("c", 7));
    registry.push("acme/app", "v1", &image("linux/amd64", &[&a, &b]));
    registry.push("acme/app", "v2", &image("linux/amd64", &[&b, &a, &c, &c]));
    let name = |tag: &str| format!("{}/acme/app:{tag}", registry.name());
    let (_, result) = checked(tempfile::tempdir().unwrap().path(), &[&name("v2"), "--against", &name("v1")]);
    let platform = &result["platforms"][0];
    let sums = ["old_bytes", "new_bytes", "shared_bytes", "update_bytes"].map(|key| platform[key].as_u64());
    assert_eq!(sums, [Some(120), Some(134), Some(120), Some(7)]);
}

#[test]
fn a_first_push_has_nothing_to_compare_with_and_is_no_failure_unless_asked() {
    let (registry, directory, name) = world();
    registry.missing("/v2/acme/app/manifests/v0");
    registry.missing("/v2/acme/other/");
    let v2 = name("v2");
    for old in [name("v0"), format!("{}/acme/other:v1", registry.name()), "docker-archive:no.tar".to_owned()] {
        let compare = [v2.as_str(), "--against", &old, "--max-growth", "1%"];
        let (code, result) = checked(directory.path(), &compare);
        assert_eq!((code, &result["verdict"]), (Some(0), &json!("fine")), "{result}");
        assert_eq!((&result["baseline"]["state"], &result["baseline"]["reference"]), (&json!("missing"), &json!(old)));
        let required = check(directory.path(), &[&compare[..], &["--require-baseline"]].concat());
        assert_eq!(required.status.code(), Some(8));
        let said = text(&required.stderr);
        assert!(said.starts_with(&format!("nothing to compare {v2} with: ")), "{said}");
        // Its own size is judged all the same.
        let too_big = check(directory.path(), &[&compare[..], &["--require-baseline", "--max-size", "1MiB"]].concat());
        assert_eq!(too_big.status.code(), Some(7));
        let out = text(&too_big.stdout);
        assert!(
            out.contains("does not exist, nothing to compare with: ") && out.contains("COPY 57671680 bytes"),
            "{out}"
        );
    }
}

#[test]
fn what_cannot_be_read_exits_as_inspect_does() {
    let (registry, directory, name) = world();
    registry.missing("/v2/acme/app/manifests/v9");
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let closed = format!("{closed}/acme/app:v1");
    let code = |arguments: &[&str]| check(directory.path(), arguments).status.code();
    assert_eq!(code(&[&name("v9")]), Some(4));
    assert_eq!(code(&[&name("v1"), "--platform", "linux/s390x"]), Some(4));
    assert_eq!(code(&[&closed]), Some(5));
    assert_eq!(code(&[&name("v1"), "--against", &closed]), Some(5));
    assert_eq!(code(&["docker-archive:no.tar"]), Some(4));
    assert_eq!(code(&[&name("v1"), "--against", "newest:app"]), Some(64));
    for wrong in [
        &["oci:"][..],
        &["Acme/app"],
        &["x", "--max-growth", "1%"],
        &["x", "--against", "y", "--max-growth-floor", "1MiB"],
        &["x", "--max-size", "1M"],
        &["x", "--format", "xml"],
        &["x", "--uncompressed", "off"],
    ] {
        assert_eq!(code(wrong), Some(2), "{wrong:?}");
    }
    registry.require(Access::Basic(vec![("somebody", "else")]));
    assert_eq!(code(&[&name("v1")]), Some(3));
}

#[test]
fn each_platform_is_compared_with_its_own_and_one_bad_platform_fails() {
    let registry = TestRegistry::start();
    let blob = |name: &str, size| Blob::named(name, size);
    let platforms = |sizes: &[(&str, u64)]| {
        let images: Vec<(&str, Pushed)> =
            sizes.iter().map(|(platform, size)| (*platform, image(platform, &[&blob(platform, *size)]))).collect();
        index(&images.iter().map(|(platform, image)| (*platform, image)).collect::<Vec<_>>())
    };
    registry.push("acme/app", "v1", &platforms(&[("linux/amd64", 100), ("linux/arm64", 200)]));
    registry.push("acme/app", "v2", &platforms(&[("linux/amd64", 105), ("linux/arm64", 300), ("linux/s390x", 9)]));
    registry.push("acme/app", "other", &platforms(&[("linux/386", 105), ("linux/riscv64", 300)]));
    let name = |tag: &str| format!("{}/acme/app:{tag}", registry.name());
    let directory = tempfile::tempdir().unwrap();
    let (new, old) = (name("v2"), name("v1"));
    let arguments = [new.as_str(), "--against", &old, "--max-growth", "10%"];
    let (code, result) = checked(directory.path(), &arguments);
    assert_eq!((code, &result["verdict"]), (Some(7), &json!("too_big")));
    let passed: Vec<Value> = result["platforms"]
        .as_array()
        .unwrap()
        .iter()
        .map(|platform| json!([platform["platform"], platform["compared"], platform["rules"][0]["passed"]]))
        .collect();
    assert_eq!(
        passed,
        [json!(["linux/amd64", true, true]), json!(["linux/arm64", true, false]), json!(["linux/s390x", false, null])]
    );
    assert_eq!(result["notes"], json!(["the old image has no linux/s390x, so its growth is not judged"]));
    let (code, _) = checked(directory.path(), &[&arguments[..], &["--platform", "linux/amd64"]].concat());
    assert_eq!(code, Some(0));
    let incomparable = check(directory.path(), &[&new, "--against", &name("other")]);
    assert_eq!(incomparable.status.code(), Some(1));
    assert!(text(&incomparable.stderr).ends_with("have no platform in common\n"));
}

#[test]
fn a_platform_that_cannot_be_read_leaves_the_image_without_a_verdict() {
    let registry = TestRegistry::start();
    let (amd64, arm64) = (image("linux/amd64", &[&Blob::named("a", 1)]), image("linux/arm64", &[&Blob::named("b", 1)]));
    registry.push("acme/app", "v1", &index(&[("linux/amd64", &amd64), ("linux/arm64", &arm64)]));
    registry.always(
        &format!("GET /v2/acme/app/manifests/{}", arm64.digest()),
        crate::support::registry::Reply::Answer(200, vec![], "{}".to_owned()),
    );
    let reference = format!("{}/acme/app:v1", registry.name());
    let directory = tempfile::tempdir().unwrap();
    let (code, result) = checked(directory.path(), &[&reference]);
    assert_eq!((code, &result["verdict"]), (Some(6), &json!("unknown")), "{result}");
    let (code, _) = checked(directory.path(), &[&reference, "--max-size", "0"]);
    assert_eq!(code, Some(7), "a platform that was read is judged");
}

/// Releases `v1`, `v2`, `v3` of 100, 200 and 300 bytes; `latest` is `v3`.
fn releases(newest: &str) -> (TestRegistry, tempfile::TempDir, impl Fn(&str) -> String) {
    let registry = TestRegistry::start();
    for (release, size) in [("v1.0.0", 100), ("v2.0.0", 200), ("v3.0.0", 300)] {
        let layer = Blob::named("layer", size);
        let mut config = crate::support::images::config("linux/amd64", &[&layer]);
        let bytes = text(config.bytes.as_ref().unwrap()).replace("2024-01-01", &format!("2024-01-{:02}", size / 100));
        config = Blob::new(&config.media_type, bytes);
        let manifest = json!({
            "schemaVersion": 2, "config": config.descriptor(), "layers": [layer.descriptor()],
            "mediaType": image_size_exporter::oci::MediaType::OCI_MANIFEST,
        });
        let image =
            Pushed::from_json("application/vnd.oci.image.manifest.v1+json", &manifest, vec![config, layer], vec![]);
        registry.push("acme/app", release, &image);
        registry.push("acme/app", "latest", &image);
    }
    let directory = tempfile::tempdir().unwrap();
    let toml = format!(
        "[[targets]]\nname = 'api'\nrepository = '{0}/acme/app'\nmatch = ['^v']\n{newest}budget = '250B'\n\n\
         [[targets]]\nname = 'all'\nrepository = '{0}/acme/*'\nmatch = ['^v']\n{newest}budget = '1KiB'\n",
        registry.name()
    );
    std::fs::write(directory.path().join("config.toml"), toml).unwrap();
    let name = registry.name();
    (registry, directory, move |tag: &str| format!("{name}/acme/app:{tag}"))
}

#[test]
fn newest_is_the_release_before_the_image_that_is_judged() {
    for newest in ["newest = 'semver'\n", "newest = 'created'\n"] {
        let (registry, directory, name) = releases(newest);
        registry.missing("/v2/acme/app/manifests/v4.0.0");
        for (new, old) in [
            ("v3.0.0", "v2.0.0"),
            ("v1.0.0", "v3.0.0"),
            // The same image as the newest release, under a tag that is none.
            ("latest", "v2.0.0"),
        ] {
            for target in ["newest:api", "newest:all"] {
                let (_, result) = checked(directory.path(), &[&name(new), "--against", target]);
                assert_eq!(result["baseline"]["reference"], name(old), "{newest} {new} {target}");
            }
        }
        let layout = local::layout(
            directory.path(),
            "dist",
            &[&crate::support::tar::Tar::new(&crate::support::tar::tar(&[50]))],
        );
        let against = |target: &str, more: &[&str]| {
            checked(directory.path(), &[&[layout.as_str(), "--against", target][..], more].concat()).1
        };
        assert_eq!(against("newest:api", &[])["baseline"]["reference"], name("v3.0.0"));
        assert_eq!(against("newest:all", &["--as", &name("v3.0.0")])["baseline"]["reference"], name("v2.0.0"));
        for (target, more, said) in [
            ("newest:all", vec![], "say by --as which one the image belongs to"),
            ("newest:nothing", vec![], "no target is named `nothing`: there are api, all"),
        ] {
            let output = check(directory.path(), &[&[layout.as_str(), "--against", target][..], &more].concat());
            assert_eq!(output.status.code(), Some(64));
            assert!(text(&output.stderr).contains(said), "{}", text(&output.stderr));
        }
    }
}

#[test]
fn a_target_without_an_earlier_release_is_a_first_push() {
    let (registry, directory, name) = releases("newest = 'semver'\n");
    for tag in ["v1.0.0", "v2.0.0"] {
        registry.untag("acme/app", tag);
    }
    let (code, result) = checked(directory.path(), &[&name("v3.0.0"), "--against", "newest:api", "--max-growth", "1%"]);
    assert_eq!(
        (&result["baseline"]["state"], &result["baseline"]["reference"]),
        (&json!("missing"), &json!("newest:api"))
    );
    // The target's budget of 250 bytes.
    assert_eq!(code, Some(7));
    let (registry, directory, name) = releases("");
    let output = check(directory.path(), &[&name("v3.0.0"), "--against", "newest:api"]);
    assert_eq!(output.status.code(), Some(64));
    assert!(text(&output.stderr).contains("add newest = \"semver\" to it"), "{}", text(&output.stderr));
    drop(registry);
}

#[test]
fn the_smallest_budget_of_the_targets_that_select_the_image_holds() {
    let (_registry, directory, name) = releases("");
    for (arguments, code, said) in [
        (&[name("v2.0.0")][..], 0, "200 B compressed, the budget is 250 B"),
        (&[name("v3.0.0")], 7, "300 B compressed, the budget is 250 B: 50 B too many"),
        // `match` does not select it.
        (&[name("latest")], 0, ""),
        (&[name("latest"), "--as".to_owned(), name("v9")], 7, "300 B compressed, the budget is 250 B: 50 B too many"),
    ] {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let (exit, result) = checked(directory.path(), &arguments);
        assert_eq!(exit, Some(code), "{result}");
        let message = result["platforms"][0]["rules"][0]["message"].as_str().unwrap_or_default();
        assert_eq!(message, said, "{arguments:?}");
    }
}

#[test]
fn two_images_cost_what_inspecting_them_costs() {
    let (registry, directory, name) = world();
    let (code, _) = checked(directory.path(), &[&name("v2"), "--against", &name("v1"), "--max-growth", "50%"]);
    assert_eq!(code, Some(0));
    // As `inspect`, which reads a config again for its history.
    assert_eq!(registry.counts(), "get_blob 4, get_manifest 2");
}

/// What is shown in a pull request.
#[test]
fn every_format_names_the_layer_to_blame() {
    let (registry, directory, name) = world();
    let (v1, v2) = (name("v1"), name("v2"));
    let arguments =
        [v2.as_str(), "--against", &v1, "--max-growth", "10%", "--max-growth-floor", "20MiB", "--max-size", "1GiB"];
    let formats = [
        "--format",
        "github",
        "--format",
        "markdown=size.md",
        "--format",
        "junit=size.xml",
        "--format",
        "json=size.json",
    ];
    let output = check(directory.path(), &[&arguments[..], &formats].concat());
    assert_eq!(output.status.code(), Some(7));
    let digest = &Blob::named("new", 55 * MIB).digest.to_string()[7..18];
    let escaped = v2.replace(':', "%3A");
    assert_eq!(
        text(&output.stdout),
        format!(
            "::error title={escaped}%3A max-growth::linux/amd64: grew by 35.0 MiB (+35.0 %25), allowed are 10 %25 and 20.0 MiB\
             %0A+55.0 MiB COPY 57671680 bytes%0Acompressed sizes, against {v1}\n"
        )
    );
    let file = |name: &str| std::fs::read_to_string(directory.path().join(name)).unwrap();
    assert_eq!(
        file("size.md"),
        format!(
            "**❌ `{v2}` is too big**\n\n\
             | platform | old | new | growth | to update |\n|---|--:|--:|--:|--:|\n\
             | `linux/amd64` | 100 MiB | 135 MiB | +35.0 MiB (+35.0 %) | 55.0 MiB |\n\n\
             ❌ `linux/amd64` max-growth: grew by 35.0 MiB (+35.0 %), allowed are 10 % and 20.0 MiB.\n\n\
             | `linux/amd64` | layer | command |\n|--:|---|---|\n\
             | +55.0 MiB | `{digest}` | `COPY 57671680 bytes` |\n\n\
             Compressed sizes, against `{v1}`.\n"
        )
    );
    assert_eq!(
        file("size.xml"),
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <testsuite name=\"image size\" tests=\"2\" failures=\"1\" errors=\"0\" skipped=\"0\">\n  \
             <testcase classname=\"{v2}\" name=\"linux/amd64: max-size\"><system-out>135 MiB compressed, allowed are 1.0 GiB</system-out></testcase>\n  \
             <testcase classname=\"{v2}\" name=\"linux/amd64: max-growth\"><failure message=\"grew by 35.0 MiB (+35.0 %), allowed are 10 % and 20.0 MiB\">grew by 35.0 MiB (+35.0 %), allowed are 10 % and 20.0 MiB\n\
             +55.0 MiB COPY 57671680 bytes\ncompressed sizes, against {v1}</failure></testcase>\n\
             </testsuite>\n"
        )
    );
    assert_eq!(serde_json::from_str::<Value>(&file("size.json")).unwrap()["verdict"], "too_big");
    let output = check(directory.path(), &[&arguments[..], &["--json"]].concat());
    assert_eq!(text(&output.stdout), file("size.json"));
    // A first push.
    registry.missing("/v2/acme/app/manifests/v0");
    let output = check(directory.path(), &[&v2, "--against", &name("v0"), "--format", "markdown"]);
    let out = text(&output.stdout);
    assert!(
        out.starts_with(&format!(
            "**✅ `{v2}` is within its limits**\n\n| platform | size |\n|---|--:|\n| `linux/amd64` | 135 MiB |\n"
        )),
        "{out}"
    );
    assert!(out.ends_with(&format!("Compressed sizes, nothing to compare with at `{}`.\n", name("v0"))), "{out}");
    // Where it cannot be written it says so.
    let output = check(directory.path(), &[&v2, "--format", "json=no/such.json"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).starts_with("cannot write: no/such.json: "), "{}", text(&output.stderr));
}

/// The documented keys, no more and no fewer.
#[test]
fn the_json_is_what_the_page_says() {
    let (_registry, directory, name) = world();
    let (_, result) = checked(directory.path(), &[&name("v2"), "--against", &name("v1"), "--max-size", "1GiB"]);
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/check.md")).unwrap();
    let schema = page.split("## JSON").nth(1).unwrap().split("```").nth(1).unwrap();
    let words: std::collections::BTreeSet<&str> =
        schema.split(|c: char| !(c.is_ascii_lowercase() || c == '_')).filter(|word| !word.is_empty()).collect();
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let platform = &result["platforms"][0];
    let all = [
        keys(&result),
        keys(&result["new"]),
        keys(&result["baseline"]),
        keys(platform),
        keys(&platform["rules"][0]),
        keys(&platform["layers"][0]),
    ];
    let missing: Vec<&String> = all.iter().flatten().filter(|key| !words.contains(key.as_str())).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
