//! `check` of images that are not pushed, as each tool writes them, against what public tools say of the same files.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::harness::engine::Engine;
use crate::harness::exporter;
use crate::harness::registry::Registry;
use crate::harness::{buildah, noise, run, scratch, skopeo};

/// `check --format json`, with the engine of the tests.
fn check(engine: &Engine, arguments: &[&str]) -> (Option<i32>, Value) {
    let mut command = exporter::command();
    command.arg("check").args(arguments).args(["--format", "json", "--uncompressed", "exact"]);
    command.env("DOCKER_HOST", engine.host());
    let output = command.output().expect("the program runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let result = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{arguments:?}: {said}"));
    (output.status.code(), result)
}

/// The sum of a manifest's layers, by `jq`.
fn jq(manifest: &str, files: &Path) -> u64 {
    let file = files.join("manifest-for-jq.json");
    std::fs::write(&file, manifest).expect("written");
    run(Command::new("jq").arg("[.layers[].size] | add").arg(&file)).trim().parse().expect("a sum")
}

/// Compressed bytes, by what `skopeo` reads there.
fn compressed(source: &str, files: &Path) -> u64 {
    jq(&run(skopeo().args(["inspect", "--raw", "--tls-verify=false", source])), files)
}

/// Uncompressed bytes, by what `skopeo` writes without compression.
fn uncompressed(source: &str, files: &Path) -> u64 {
    let directory = scratch();
    run(skopeo()
        .args(["copy", "--quiet", "--src-tls-verify=false", "--dest-decompress", source])
        .arg(format!("dir:{}", directory.path().display())));
    jq(&std::fs::read_to_string(directory.path().join("manifest.json")).expect("a manifest"), files)
}

/// One release in every format: as `check` names it, and as `skopeo` does.
fn formats(engine: &Engine, registry: &Registry, files: &Path, tag: &str) -> Vec<(String, String)> {
    let name = format!("{}/acme/app:{tag}", registry.address());
    let at = |kind: &str| files.join(format!("{kind}-{tag}")).display().to_string();
    run(engine.docker().args(["save", "--output", &at("saved.tar"), &name]));
    run(Command::new("gzip").args(["--keep", &at("saved.tar"), "--suffix", ".gz"]));
    let daemon = format!("docker-daemon:{name}");
    for to in [
        "docker-archive:".to_owned() + &at("skopeo.tar"),
        "oci:".to_owned() + &at("oci"),
        "oci-archive:".to_owned() + &at("oci.tar"),
    ] {
        run(skopeo().args(["copy", "--quiet", "--src-daemon-host", engine.host(), &daemon, &to]));
    }
    let local = ["docker-archive:".to_owned() + &at("saved.tar"), "docker-archive:".to_owned() + &at("skopeo.tar")];
    let layouts = ["oci:".to_owned() + &at("oci"), "oci-archive:".to_owned() + &at("oci.tar")];
    let mut formats: Vec<(String, String)> =
        local.into_iter().chain(layouts).map(|source| (source.clone(), source)).collect();
    formats.push((format!("docker-archive:{}.gz", at("saved.tar")), format!("docker-archive:{}", at("saved.tar"))));
    formats.push((name.clone(), format!("docker://{name}")));
    formats
}

#[test]
fn what_docker_and_skopeo_write_is_as_big_as_jq_says_whatever_it_is_compared_with() {
    let (registry, engine, files) = (Registry::start(), Engine::shared(), scratch());
    let context = files.path().join("context");
    std::fs::create_dir(&context).expect("a directory for the context");
    for (name, bytes) in [("base", 60_000), ("one", 9_000), ("two", 22_000)] {
        std::fs::write(context.join(name), noise(bytes)).expect("written");
    }
    let mut releases = Vec::new();
    for (tag, file) in [("v1", "one"), ("v2", "two")] {
        let name = format!("{}/acme/app:{tag}", registry.address());
        engine.build(&context, &format!("FROM scratch\nCOPY base /base\nCOPY {file} /app\n"), &name);
        engine.push(&name);
        let formats = formats(&engine, &registry, files.path(), tag);
        let sizes: Vec<(String, u64, u64)> = formats
            .iter()
            .map(|(ours, skopeo)| (ours.clone(), compressed(skopeo, files.path()), uncompressed(skopeo, files.path())))
            .collect();
        let unpacked = run(engine.docker().args(["image", "inspect", "--format", "{{.Size}}", &name]));
        releases.push((name, sizes, unpacked.trim().parse::<u64>().expect("bytes")));
    }
    let [(old_name, olds, old_unpacked), (new_name, news, new_unpacked)] = &releases[..] else {
        panic!("two releases")
    };
    let sums = |result: &Value| {
        let platform = &result["platforms"][0];
        ["old_bytes", "new_bytes"].map(|key| platform[key].as_u64().unwrap_or_else(|| panic!("{result}")))
    };
    for (old, old_compressed, old_uncompressed) in olds {
        for (new, new_compressed, new_uncompressed) in news {
            let (code, result) = check(&engine, &[new, "--against", old]);
            let is_open = [old, new].iter().any(|side| side.starts_with("docker-archive:"));
            let (kind, expected) = if is_open {
                ("uncompressed", [*old_uncompressed, *new_uncompressed])
            } else {
                ("compressed", [*old_compressed, *new_compressed])
            };
            assert_eq!((code, result["size"].as_str()), (Some(0), Some(kind)), "{old} {new}");
            assert_eq!(sums(&result), expected, "{old} {new}");
            // The command of the layer that grew.
            let layers = result["platforms"][0]["layers"].as_array().expect("layers");
            let changes: Vec<&str> = layers.iter().map(|layer| layer["change"].as_str().expect("a word")).collect();
            assert_eq!(changes, ["shared", "added", "removed"], "{old} {new}");
            assert!(layers[1]["command"].as_str().expect("a command").contains("/app"), "{old} {new}");
        }
        let (_, result) = check(&engine, &[&format!("docker-daemon:{new_name}"), "--against", old]);
        assert_eq!(
            (result["size"].as_str(), sums(&result)),
            (Some("unpacked"), [*old_unpacked, *new_unpacked]),
            "{old}"
        );
    }
    let (code, result) = check(
        &engine,
        &[
            &format!("docker-daemon:{new_name}"),
            "--against",
            &format!("docker-daemon:{old_name}"),
            "--max-growth",
            "10%",
        ],
    );
    assert_eq!((code, sums(&result)), (Some(7), [*old_unpacked, *new_unpacked]));
    let (code, result) =
        check(&engine, &[&format!("docker-daemon:{new_name}"), "--against", "docker-daemon:acme/no:such"]);
    assert_eq!((code, result["baseline"]["state"].as_str()), (Some(0), Some("missing")), "{result}");
}

/// An image of two layers by `umoci`, in a layout.
fn by_umoci(files: &Path) -> PathBuf {
    let layout = files.join("umoci");
    let image = format!("{}:one", layout.display());
    for (name, bytes) in [("etc", 33_000), ("srv", 5_000)] {
        let tree = files.join(name);
        std::fs::create_dir(&tree).expect("a directory");
        std::fs::write(tree.join("noise"), noise(bytes)).expect("written");
    }
    run(Command::new("umoci").args(["init", "--layout"]).arg(&layout));
    run(Command::new("umoci").args(["new", "--image", &image]));
    for name in ["etc", "srv"] {
        run(Command::new("umoci").args(["insert", "--image", &image]).arg(files.join(name)).arg(format!("/{name}")));
    }
    layout
}

#[test]
fn what_umoci_and_buildah_write_is_as_big_as_jq_says() {
    let (registry, engine, files) = (Registry::start(), Engine::shared(), scratch());
    let umoci = format!("oci:{}:one", by_umoci(files.path()).display());
    let context = files.path().join("context");
    std::fs::create_dir(&context).expect("a directory for the context");
    std::fs::write(context.join("own"), noise(70_000)).expect("written");
    std::fs::write(context.join("Dockerfile"), "FROM scratch\nCOPY own /own\n").expect("written");
    let storage = files.path().join("storage");
    run(buildah(&storage).args(["bud", "--quiet", "--isolation", "chroot", "--tag", "app"]).arg(&context));
    let at = |name: &str| files.path().join(name).display().to_string();
    let built = [
        format!("oci:{}:v2", at("buildah")),
        format!("oci-archive:{}:v2", at("buildah-oci.tar")),
        format!("docker-archive:{}:localhost/app:v2", at("buildah-docker.tar")),
        format!("docker://{}/acme/app:v2", registry.address()),
    ];
    for to in &built {
        run(buildah(&storage).args(["push", "--quiet", "--tls-verify=false", "app", to]));
    }
    for new in &built {
        let ours = new.strip_prefix("docker://").unwrap_or(new);
        let (code, result) = check(&engine, &[ours, "--against", &umoci]);
        assert_eq!(code, Some(0), "{result}");
        let of = if new.starts_with("docker-archive:") { uncompressed } else { compressed };
        let platform = &result["platforms"][0];
        let sums = ["old_bytes", "new_bytes", "update_bytes"].map(|key| platform[key].as_u64());
        let (old, new_bytes) = (of(&umoci, files.path()), of(new, files.path()));
        assert_eq!(sums, [Some(old), Some(new_bytes), Some(new_bytes)], "{new}");
        let (code, _) =
            check(&engine, &[ours, "--against", &umoci, "--max-growth", "10%", "--max-growth-floor", "10KiB"]);
        assert_eq!(code, Some(7), "{new}");
    }
}
