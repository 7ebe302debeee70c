//! What buildah says of the base of a real build, and what happens when that base is built again.

use std::process::Command;

use serde_json::Value;

use crate::harness::exporter::Exporter;
use crate::harness::registry::Registry;
use crate::harness::{buildah, noise, run, scratch, skopeo};

#[test]
fn what_buildah_built_on_is_named_and_outdated_once_it_is_built_again() {
    let (registry, files) = (Registry::start(), scratch());
    let at = |name: &str| format!("{}/acme/{name}", registry.address());
    let context = files.path().join("context");
    std::fs::create_dir(&context).expect("a directory for the context");
    let storage = files.path().join("storage");
    let build = |dockerfile: &str, name: &str| {
        std::fs::write(context.join("own"), noise(7_000)).expect("the context can be written");
        std::fs::write(context.join("Dockerfile"), dockerfile).expect("the context can be written");
        let options =
            ["bud", "--quiet", "--isolation", "chroot", "--format", "oci", "--tls-verify=false", "--tag", name];
        run(buildah(&storage).args(options).arg(&context));
        let to = format!("docker://{}", at(name));
        run(buildah(&storage).args(["push", "--quiet", "--tls-verify=false", name]).arg(to));
    };
    let raw = |name: &str| -> Value {
        let mut inspect: Command = skopeo();
        inspect.args(["inspect", "--raw", "--tls-verify=false"]).arg(format!("docker://{}", at(name)));
        serde_json::from_str(&run(&mut inspect)).expect("a manifest")
    };
    build("FROM scratch\nCOPY own /base\n", "base:1");
    build(&format!("FROM {}\nCOPY own /own\n", at("base:1")), "app:1");
    let annotations = raw("app:1")["annotations"].clone();
    let digest = annotations["org.opencontainers.image.base.digest"].as_str().expect("buildah writes it").to_owned();
    assert_eq!(annotations["org.opencontainers.image.base.name"], at("base:1"));

    let target = |name: &str| format!("[[targets]]\nrepository = \"{}\"\ntags = [\"1\"]\n", at(name));
    let exporter = Exporter::start(&format!("[scan]\ninterval = \"1s\"\n{}{}", target("base"), target("app")));
    let current = |value: f64| {
        exporter.wait_for("whether the base is current", |scrape| {
            (scrape.value("container_image_base_current", &[]) == Some(value)).then_some(())
        });
    };
    current(1.0);
    let base = raw("base:1");
    let bytes = base["layers"].as_array().expect("a list").iter().filter_map(|layer| layer["size"].as_f64()).sum();
    let check = || {
        let scrape = exporter.scrape();
        let repository = at("base");
        let of = [("base_repository", &*repository), ("base_tag", "1"), ("base_digest", &*digest)];
        assert_eq!(scrape.value("container_image_base_info", &of), Some(1.0));
        assert_eq!(scrape.value("container_image_base_size_bytes", &[("repository", "acme/app")]), Some(bytes));
    };
    check();
    build("FROM scratch\nCOPY own /base\n", "base:1");
    current(0.0);
    check();
}
