//! A registry filled by the usual tools, and by hand with documents that no tool makes.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::harness::engine::Engine;
use crate::harness::push::{OCI_CONFIG, OCI_INDEX, OCI_MANIFEST, Pusher};
use crate::harness::registry::{Auth, Registry};
use crate::harness::{buildah, noise, run, scratch, skopeo};

/// All tags, by repository.
pub const TAGS: [(&str, &[&str]); 8] = [
    ("acme/web", &["v1.0.0", "v1.1.0", "stable"]),
    ("acme/api", &["latest"]),
    ("acme/oci", &["v1"]),
    ("acme/zstd", &["v1"]),
    ("acme/umoci", &["one"]),
    ("acme/multi", &["docker", "oci"]),
    ("acme/odd", &["attested", "sparse", "repeated", "foreign"]),
    ("charts/web", &["2.0.0"]),
];

/// Starts a registry and fills it.
pub fn filled_registry() -> Registry {
    // Foreign layers are refused unless their addresses are allowed.
    let registry = Registry::start_with(&Auth::None, "validation: {manifests: {urls: {allow: ['^https://']}}}\n");
    let files = scratch();
    by_docker(&registry, files.path());
    by_skopeo(&registry);
    by_umoci(&registry, files.path());
    by_buildah(&registry, files.path());
    by_hand(&registry);
    registry
}

/// Docker schema 2: two releases on one base, one of them under a second tag, and the base again elsewhere.
fn by_docker(registry: &Registry, files: &Path) {
    let engine = Engine::shared();
    let context = files.join("docker");
    std::fs::create_dir(&context).expect("a directory for the context");
    for (name, bytes) in [("base", 60_000), ("runtime", 25_000), ("one", 9_000), ("two", 12_000), ("api", 5_000)] {
        std::fs::write(context.join(name), noise(bytes)).expect("the context can be written");
    }
    let base = "FROM scratch\nCOPY base /base\nCOPY runtime /runtime\n";
    let image = |repository: &str, tag: &str| format!("{}/{repository}:{tag}", registry.address());
    let (v1, v2, api) = (image("acme/web", "v1.0.0"), image("acme/web", "v1.1.0"), image("acme/api", "latest"));
    engine.build(&context, &format!("{base}COPY one /web\nLABEL empty=layer\n"), &v1);
    engine.build(&context, &format!("{base}COPY two /web\n"), &v2);
    engine.build(&context, &format!("{base}COPY api /api\n"), &api);
    let stable = image("acme/web", "stable");
    run(engine.docker().args(["tag", &v2, &stable]));
    for reference in [&v1, &v2, &stable, &api] {
        engine.push(reference);
    }
    // What the registry has never seen compressed otherwise: skopeo would take that instead of compressing anew.
    engine.build(&context, "FROM scratch\nCOPY base /other\nCOPY api /more\n", "never-pushed:1");
    run(skopeo()
        .args(["copy", "--quiet", "--dest-tls-verify=false", "--format", "oci", "--dest-compress-format", "zstd"])
        .args(["--src-daemon-host", engine.host(), "docker-daemon:never-pushed:1"])
        .arg(format!("docker://{}", image("acme/zstd", "v1"))));
}

/// OCI from Docker's: the same layers, another config and manifest.
fn by_skopeo(registry: &Registry) {
    run(skopeo()
        .args(["copy", "--quiet", "--src-tls-verify=false", "--dest-tls-verify=false", "--format", "oci"])
        .arg(format!("docker://{}/acme/web:v1.0.0", registry.address()))
        .arg(format!("docker://{}/acme/oci:v1", registry.address())));
}

/// A manifest that does not say its own media type.
fn by_umoci(registry: &Registry, files: &Path) {
    let layout = files.join("umoci");
    let image = format!("{}:one", layout.display());
    let tree = files.join("tree");
    std::fs::create_dir_all(tree.join("etc")).expect("a directory for the tree");
    std::fs::write(tree.join("etc/noise"), noise(33_000)).expect("the tree can be written");
    let umoci = || Command::new("umoci");
    run(umoci().args(["init", "--layout"]).arg(&layout));
    run(umoci().args(["new", "--image", &image]));
    run(umoci().args(["insert", "--image", &image]).arg(&tree).arg("/"));
    run(umoci().args(["config", "--image", &image, "--config.cmd", "/bin/true"]));
    run(skopeo()
        .args(["copy", "--quiet", "--dest-tls-verify=false"])
        .arg(format!("oci:{image}"))
        .arg(format!("docker://{}/acme/umoci:one", registry.address())));
}

/// One image for two platforms that share their base, as a Docker manifest list and as an OCI index.
fn by_buildah(registry: &Registry, files: &Path) {
    let context = files.join("buildah");
    std::fs::create_dir(&context).expect("a directory for the context");
    std::fs::write(context.join("base"), noise(40_000)).expect("the context can be written");
    let storage = files.join("storage");
    let buildah = || buildah(&storage);
    for platform in ["linux/amd64", "linux/arm/v7"] {
        std::fs::write(context.join("own"), noise(7_000)).expect("the context can be written");
        std::fs::write(context.join("Dockerfile"), "FROM scratch\nCOPY base /base\nCOPY own /own\n")
            .expect("the context can be written");
        run(buildah()
            .args(["bud", "--quiet", "--layers", "--isolation", "chroot"])
            .args(["--platform", platform, "--manifest", "multi"])
            .arg(&context));
    }
    for (tag, format) in [("docker", "v2s2"), ("oci", "oci")] {
        run(buildah()
            .args(["manifest", "push", "--quiet", "--all", "--tls-verify=false", "--format", format, "multi"])
            .arg(format!("docker://{}/acme/multi:{tag}", registry.address())));
    }
}

/// Documents that no tool of Debian makes.
fn by_hand(registry: &Registry) {
    let odd = Pusher { address: registry.address(), repository: "acme/odd" };
    let shared = odd.layer(21_000);
    let entry = |descriptor: serde_json::Value, architecture: &str| {
        let mut entry = descriptor;
        entry["platform"] = json!({"os": "linux", "architecture": architecture});
        entry
    };

    // As BuildKit pushes it: an image and the attestation about it in one index.
    let image = odd.image(None, "amd64", &[shared.clone(), odd.layer(1_500)]);
    let config = odd.blob(
        OCI_CONFIG,
        br#"{"architecture":"unknown","os":"unknown","config":{},"rootfs":{"type":"layers","diff_ids":[]}}"#,
    );
    let statement = odd.blob("application/vnd.in-toto+json", br#"{"_type":"https://in-toto.io/Statement/v0.1"}"#);
    let attestation = json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": [statement]});
    let mut attestation = odd.manifest(None, OCI_MANIFEST, &attestation);
    attestation["platform"] = json!({"os": "unknown", "architecture": "unknown"});
    attestation["annotations"] = json!({
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": image["digest"],
    });
    let index =
        |entries: &[serde_json::Value]| json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries});
    odd.manifest(Some("attested"), OCI_INDEX, &index(&[entry(image, "amd64"), attestation]));

    // Sparse: an index, one of whose platforms somebody deleted.
    let kept = odd.image(None, "arm64", &[shared.clone(), odd.layer(2_500)]);
    let deleted = odd.image(None, "s390x", &[odd.layer(3_500)]);
    let deleted_digest = deleted["digest"].as_str().expect("a digest").to_owned();
    odd.manifest(Some("sparse"), OCI_INDEX, &index(&[entry(kept, "arm64"), entry(deleted, "s390x")]));
    odd.delete(&deleted_digest);

    // One layer three times in one manifest.
    let twice = odd.layer(4_500);
    odd.image(Some("repeated"), "amd64", &[twice.clone(), shared.clone(), twice.clone(), twice]);

    // A layer that is distributed elsewhere, as Windows' were.
    let foreign = json!({
        "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "size": 1_000_000,
        "digest": crate::harness::push::digest(&noise(16)),
        "urls": ["https://layers.example/base"],
    });
    let own = odd.blob("application/vnd.docker.image.rootfs.diff.tar.gzip", &noise(6_500));
    let config = odd.blob(
        "application/vnd.docker.container.image.v1+json",
        br#"{"architecture":"amd64","os":"windows","os.version":"10.0.20348.2322","created":"0001-01-01T00:00:00Z","rootfs":{"type":"layers","diff_ids":[]}}"#,
    );
    let docker = "application/vnd.docker.distribution.manifest.v2+json";
    let manifest = json!({"schemaVersion": 2, "mediaType": docker, "config": config, "layers": [foreign, own]});
    odd.manifest(Some("foreign"), docker, &manifest);

    // A Helm chart: an artifact.
    let charts = Pusher { address: registry.address(), repository: "charts/web" };
    let chart = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": charts.blob("application/vnd.cncf.helm.config.v1+json", br#"{"name":"web","version":"2.0.0"}"#),
        "layers": [charts.blob("application/vnd.cncf.helm.chart.content.v1.tar+gzip", &noise(3_000))],
        "annotations": {"org.opencontainers.image.created": "2024-01-02T03:04:05Z"},
    });
    charts.manifest(Some("2.0.0"), OCI_MANIFEST, &chart);
}
