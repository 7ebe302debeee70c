//! Several exporters that share the distribution registry's repositories, started with flags and with hosts' names.

use std::collections::BTreeMap;
use std::process::Command;

use crate::harness::exporter::{Exporter, command};
use crate::harness::push::Pusher;
use crate::harness::registry::Registry;

const REPOSITORIES: usize = 20;
const STORED: &str = "container_image_repository_stored_size_bytes";

/// What one exporter publishes of each repository, once as many as expected are there.
fn stored(exporter: &Exporter, is_all: impl Fn(usize) -> bool) -> BTreeMap<String, f64> {
    exporter.wait_for("the repositories' sizes", |scrape| {
        let all = scrape.all(STORED, &[]);
        let scanned = scrape.value("image_size_exporter_target_up", &[]) == Some(1.0);
        let by_name = || all.iter().map(|sample| (sample.label("repository").to_owned(), sample.value)).collect();
        (scanned && is_all(all.len())).then(by_name)
    })
}

#[test]
fn shards_publish_together_what_one_exporter_does_and_a_further_one_takes_its_part() {
    let registry = Registry::start();
    let names: Vec<String> = (0..REPOSITORIES).map(|number| format!("team/app-{number}")).collect();
    for (number, name) in names.iter().enumerate() {
        let app = Pusher { address: registry.address(), repository: name };
        app.image(Some("v1"), "amd64", &[app.layer(300), app.layer(400 + number)]);
    }
    let config = format!(
        "[scan]\ninterval = \"1s\"\n[state]\npath = \"state.redb\"\n[[targets]]\nrepository = \"{}/team/*\"\nmatch = ['.']\n",
        registry.address()
    );
    let alone = Exporter::start(&config);
    let expected = stored(&alone, |count| count == REPOSITORIES);

    let start = |number: u32, total: u32| {
        Exporter::start_with(&config, &[&format!("--shard={number}"), &format!("--total-shards={total}")])
    };
    let mut places = Vec::new();
    for total in [3, 4] {
        let mut together = BTreeMap::new();
        let mut place = BTreeMap::new();
        for number in 0..total {
            let exporter = start(number, total);
            for (name, bytes) in stored(&exporter, |_| true) {
                assert!(together.insert(name.clone(), bytes).is_none(), "{name} is published twice");
                place.insert(name, number);
            }
            let scrape = exporter.scrape();
            assert_eq!(scrape.value("image_size_exporter_total_shards", &[]), Some(f64::from(total)));
            assert_eq!(scrape.all("container_image_registry_stored_size_bytes", &[]).len(), 0);
        }
        assert_eq!(together, expected, "{total} shards");
        places.push(place);
    }
    let moved = places[0].iter().filter(|(name, number)| places[1][*name] != **number);
    assert!(moved.clone().all(|(name, _)| places[1][name] == 3), "what moves goes to the new one: {places:?}");
    assert!(moved.count() < REPOSITORIES / 2, "{places:?}");
}

#[test]
fn a_shard_takes_its_number_from_the_hosts_name() {
    let directory = crate::harness::scratch();
    std::fs::write(directory.path().join("config.toml"), "[[targets]]\nrepository = 'r.example.com/app'\n")
        .expect("a file");
    // A host's name in a namespace of its own, as a pod has it.
    let ended = |name: &str| {
        let mut named = Command::new("unshare");
        named.args(["--uts", "--", "sh", "-c", "hostname \"$0\" && exec \"$@\"", name]);
        named.arg(command().get_program()).args(["plan", "--json", "--shard.from-hostname", "--total-shards=3"]);
        let output = named.current_dir(directory.path()).output().expect("unshare");
        (output.status.code(), String::from_utf8(output.stderr).expect("text"))
    };
    let (code, said) = ended("sizes-3");
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("on the host `sizes-3`: of 3 shards there is no number 3"), "{said}");
    let (code, said) = ended("sizes");
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("the host's name `sizes` does not end in a number"), "{said}");
    let (code, said) = ended("sizes-2");
    // The one repository is in shard 1: nothing is asked.
    assert_eq!((code, said.as_str()), (Some(0), ""));
}
