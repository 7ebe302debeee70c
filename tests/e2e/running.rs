//! What runs on a real engine, and what a real Prometheus knows, is watched without being typed.

use std::path::Path;
use std::process::Command;

use crate::harness::engine::Engine;
use crate::harness::exporter::Exporter;
use crate::harness::exposed::Exposed;
use crate::harness::exposition::Exposition;
use crate::harness::prometheus::Prometheus;
use crate::harness::push::{OCI_LAYER, Pusher};
use crate::harness::registry::Registry;
use crate::harness::{Program, free_port, noise, run, scratch, skopeo, wait_for};

const CONTAINERS: &str = "container_image_running_containers";
const NODES: &str = "container_image_running_nodes";
const OUTDATED: &str = "container_image_running_outdated_containers";
const INFO: &str = "container_image_running_info";
const COMPRESSED: &str = "container_image_compressed_size_bytes";
const UP: &str = "image_size_exporter_source_up";

/// A program that does nothing, without libraries, in a context of its own.
fn context(directory: &Path) -> std::path::PathBuf {
    let context = directory.join("context");
    std::fs::create_dir(&context).expect("a directory for the context");
    let source = directory.join("pause.c");
    std::fs::write(&source, "#include <unistd.h>\nint main(void) { for (;;) pause(); }\n").expect("written");
    run(Command::new("gcc").args(["-static", "-Os", "-o"]).arg(context.join("pause")).arg(&source));
    context
}

/// Containers of one engine, removed in the end.
struct Containers<'a> {
    engine: &'a Engine,
    prefix: String,
}

impl Containers<'_> {
    fn start(&self, name: &str, image: &str) {
        let name = format!("{}-{name}", self.prefix);
        run(self.engine.docker().args(["run", "--detach", "--network", "none", "--name", &name, image]));
    }

    fn remove(&self, name: &str) {
        run(self.engine.docker().args(["rm", "--force", &format!("{}-{name}", self.prefix)]));
    }
}

impl Drop for Containers<'_> {
    fn drop(&mut self) {
        for name in ["one", "two", "three", "four"] {
            drop(self.engine.docker().args(["rm", "--force", &format!("{}-{name}", self.prefix)]).output());
        }
    }
}

/// The value of a family for a tag.
fn of(scrape: &Exposition, family: &str, tag: &str) -> Option<f64> {
    scrape.value(family, &[("tag", tag)])
}

#[test]
fn a_container_of_a_docker_engine_is_published_with_its_digest_and_node() {
    let (registry, engine, files) = (Registry::start(), Engine::shared(), scratch());
    let context = context(files.path());
    let name = format!("{}/acme/pause:v1", registry.address());
    let containers = Containers { engine: &engine, prefix: format!("running-{}", free_port()) };
    let build = |text: &str| {
        std::fs::write(context.join("file"), text).expect("written");
        engine.build(&context, "FROM scratch\nCOPY pause /pause\nCOPY file /file\nENTRYPOINT [\"/pause\"]\n", &name);
        engine.push(&name);
        let inspected = run(skopeo().args(["inspect", "--raw", "--tls-verify=false", &format!("docker://{name}")]));
        let manifest: serde_json::Value = serde_json::from_str(&inspected).expect("a manifest");
        let layers = manifest["layers"].as_array().expect("layers");
        layers.iter().map(|layer| layer["size"].as_f64().expect("bytes")).sum::<f64>()
    };
    let bytes = build("one");
    containers.start("one", &name);
    let exporter = Exporter::start(&format!(
        "[scan]\ninterval = '1h'\n[[sources]]\nname = 'machine'\ndocker = {{ host = '{}' }}\n",
        engine.host()
    ));
    let scrape = exporter
        .wait_for("the container", |scrape| (of(scrape, COMPRESSED, "v1") == Some(bytes)).then(|| exporter.scrape()));
    let host = run(engine.docker().args(["info", "--format", "{{.Name}}"]));
    assert!(!host.trim().is_empty());
    let own = [("source", "machine"), ("registry", registry.address()), ("repository", "acme/pause"), ("tag", "v1")];
    assert_eq!((scrape.value(CONTAINERS, &own), scrape.value(NODES, &own)), (Some(1.0), Some(1.0)));
    assert_eq!(scrape.value(OUTDATED, &own), Some(0.0), "the engine knows the digest that it pushed");
    assert_eq!(scrape.value(INFO, &[("workload", &format!("{}-one", containers.prefix))]), Some(1.0));

    // The tag is pushed anew, and the new release is started beside the old one.
    let bytes = build("another one, and longer");
    containers.start("two", &name);
    let scrape = exporter.wait_for("the new release", |scrape| {
        (of(scrape, COMPRESSED, "v1") == Some(bytes) && of(scrape, OUTDATED, "v1") == Some(1.0))
            .then(|| exporter.scrape())
    });
    assert_eq!(of(&scrape, CONTAINERS, "v1"), Some(2.0), "the old one keeps the name that it was started with");

    // By digest alone.
    let digests = run(engine.docker().args(["image", "inspect", "--format", "{{index .RepoDigests 0}}", &name]));
    let digest = digests.trim().rsplit_once('@').expect("a digest").1.to_owned();
    containers.start("three", &format!("{}/acme/pause@{digest}", registry.address()));
    exporter.wait_for("the digest", |scrape| (of(scrape, COMPRESSED, &digest) == Some(bytes)).then_some(()));
    for name in ["one", "two", "three"] {
        containers.remove(name);
    }
    exporter.wait_for("the end of all", |scrape| scrape.all(CONTAINERS, &own[1..3]).is_empty().then_some(()));
}

#[test]
fn what_a_prometheus_knows_of_containers_is_published() {
    let registry = Registry::start();
    let app = Pusher { address: registry.address(), repository: "acme/app" };
    let layer = app.blob(OCI_LAYER, &noise(30_000));
    app.image(Some("v1"), "amd64", &[layer]);
    let image = format!("{}/acme/app:v1", registry.address());
    // As kube-state-metrics exposes it.
    let lines = |pods: &[&str]| -> String {
        let line = |pod: &&str| {
            format!(
                "kube_pod_container_info{{namespace=\"shop\",pod=\"{pod}\",uid=\"{pod}\",container=\"app\",image_spec=\"{image}\",image=\"{image}\",image_id=\"\",container_id=\"containerd://1\"}} 1\n\
                 kube_pod_info{{namespace=\"shop\",pod=\"{pod}\",node=\"node-{pod}\",created_by_kind=\"StatefulSet\",created_by_name=\"app\"}} 1\n"
            )
        };
        pods.iter().map(line).collect()
    };
    let exposed = Exposed::start();
    exposed.expose(lines(&["0", "1"]));
    let prometheus = Prometheus::start(&exposed.address);
    prometheus.wait_for("kube_pod_container_info", |found| (found.len() == 2).then_some(()));
    let query = "kube_pod_container_info * on (namespace, pod) group_left (node, created_by_kind, created_by_name) kube_pod_info";
    let exporter = Exporter::start(&format!(
        "[scan]\ninterval = '1h'\n[[sources]]\nname = 'cluster'\nprometheus = {{ url = 'http://{}', query = '{query}', interval = '500ms' }}\n",
        prometheus.address()
    ));
    let scrape = exporter.wait_for("the container", |scrape| of(scrape, COMPRESSED, "v1").map(|_| exporter.scrape()));
    assert_eq!((of(&scrape, CONTAINERS, "v1"), of(&scrape, NODES, "v1")), (Some(2.0), Some(2.0)));
    assert_eq!(of(&scrape, OUTDATED, "v1"), None, "no digest is known");
    let part = [("namespace", "shop"), ("workload_kind", "StatefulSet"), ("workload", "app"), ("container", "app")];
    assert_eq!((scrape.value(INFO, &part), scrape.all(INFO, &[]).len()), (Some(1.0), 1));
    exposed.expose(lines(&["0", "1", "2"]));
    exporter.wait_for("the third", |scrape| (of(scrape, CONTAINERS, "v1") == Some(3.0)).then_some(()));
    // No series at all is no empty cluster.
    exposed.expose(String::new());
    let scrape = exporter
        .wait_for("the source to be down", |scrape| (scrape.value(UP, &[]) == Some(0.0)).then(|| exporter.scrape()));
    assert_eq!(of(&scrape, CONTAINERS, "v1"), Some(3.0));
}

/// Podman's own service, and its storage.
struct Podman {
    directory: tempfile::TempDir,
    _service: Program,
}

impl Podman {
    fn start() -> Self {
        // Podman takes no path of more than 50 characters.
        let directory = tempfile::Builder::new().prefix("podman-").tempdir_in("/tmp").expect("a directory");
        let mut command = Self::command(directory.path());
        command
            .args(["system", "service", "--time=0"])
            .arg(format!("unix://{}/podman.sock", directory.path().display()));
        let service = Program::start(&command, directory.path());
        let socket = directory.path().join("podman.sock");
        wait_for("podman's socket", || socket.exists().then_some(()), || service.output());
        Self { directory, _service: service }
    }

    fn command(directory: &Path) -> Command {
        let mut command = Command::new("podman");
        command.arg("--root").arg(directory.join("root")).arg("--runroot").arg(directory.join("run"));
        // What works in a container, too, on any of the kernel's hierarchies of cgroups.
        command.args(["--runtime", "runc", "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs"]);
        command.args(["--events-backend", "file"]);
        command.arg("--tmpdir").arg(directory.join("tmp"));
        command
    }

    fn run(&self, arguments: &[&str]) -> String {
        run(Self::command(self.directory.path()).args(arguments))
    }
}

#[test]
fn a_container_of_podman_is_published_with_its_digest() {
    let (registry, podman, files) = (Registry::start(), Podman::start(), scratch());
    let context = context(files.path());
    std::fs::write(context.join("Dockerfile"), "FROM scratch\nCOPY pause /pause\nENTRYPOINT [\"/pause\"]\n")
        .expect("written");
    let name = format!("{}/acme/pause:v1", registry.address());
    let context = context.display().to_string();
    podman.run(&["build", "--quiet", "--isolation", "chroot", "--tag", &name, &context]);
    podman.run(&["push", "--quiet", "--tls-verify=false", &name]);
    podman.run(&["rmi", "--all", "--force"]);
    podman.run(&["pull", "--quiet", "--tls-verify=false", &name]);
    let exporter = Exporter::start(&format!(
        "[scan]\ninterval = '1h'\n[[sources]]\nname = 'machine'\ndocker = {{ host = 'unix://{}/podman.sock' }}\n",
        podman.directory.path().display()
    ));
    exporter.wait_for("an answer", |scrape| (scrape.value(UP, &[]) == Some(1.0)).then_some(()));
    let limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"];
    let id = podman.run(&[&["run", "--detach", "--network", "none", "--name", "one"], &limits[..], &[&name]].concat());
    let scrape = exporter.wait_for("the container", |scrape| of(scrape, COMPRESSED, "v1").map(|_| exporter.scrape()));
    assert_eq!((of(&scrape, CONTAINERS, "v1"), of(&scrape, NODES, "v1")), (Some(1.0), Some(1.0)));
    assert_eq!(of(&scrape, OUTDATED, "v1"), Some(0.0), "podman knows the digest that it pulled");
    podman.run(&["rm", "--force", "--time", "0", id.trim()]);
    exporter.wait_for("its end", |scrape| of(scrape, CONTAINERS, "v1").is_none().then_some(()));
}
