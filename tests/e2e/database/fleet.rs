//! Shards on one database: each goes on with what its number had, and nothing is read twice.

use super::*;
use crate::harness::push::OCI_LAYER;
use crate::harness::wait_for;

const REPOSITORIES: usize = 24;

/// The published sizes by repository.
fn sizes(exporter: &Exporter) -> BTreeMap<String, f64> {
    let all = exporter.scrape();
    all.all(COMPRESSED, &[]).iter().map(|sample| (sample.label("repository").to_owned(), sample.value)).collect()
}

/// What all of them publish; no repository twice.
fn together(exporters: &[Exporter]) -> BTreeMap<String, f64> {
    let mut together = BTreeMap::new();
    for (name, bytes) in exporters.iter().flat_map(sizes) {
        assert!(together.insert(name.clone(), bytes).is_none(), "{name} is published twice");
    }
    together
}

#[test]
fn a_fleet_reads_each_image_once_and_goes_on_with_its_values_after_kills_and_with_one_more() {
    let mut site = Site::start();
    let base = vec![7; 5_000];
    let mut expected = BTreeMap::new();
    for number in 0..REPOSITORIES {
        let name = format!("team/app-{number}");
        let app = Pusher { address: site.registry.address(), repository: &name };
        let base = app.blob(OCI_LAYER, &base);
        app.image(Some("v1"), "amd64", &[base, app.layer(100 + number)]);
        expected.insert(name, (5_100 + number) as f64);
    }
    let config = format!(
        "[scan]\ninterval = \"1s\"\n[state]\nurl_file = \"{}\"\n[[targets]]\nrepository = \"{}/team/*\"\nmatch = ['.']\n",
        site.directory.path().join("url").display(),
        site.registry.address()
    );
    let start = |number: u32, total: u32| {
        Exporter::start_with(&config, &[&format!("--shard={number}"), &format!("--total-shards={total}")])
    };
    let mut fleet: Vec<Exporter> = (0..3).map(|number| start(number, 3)).collect();
    for exporter in &fleet {
        exporter.after_a_scan();
        wait_for_persistence(exporter, 1.0);
    }
    assert_eq!(together(&fleet), expected);
    assert_eq!(site.registry.requests("manifest", "get"), REPOSITORIES as u64, "each manifest once");
    assert_eq!(site.registry.requests("blob", "get"), REPOSITORIES as u64, "each config once");

    // Nobody can read anything again. What is killed is replaced with its number, elsewhere.
    site.registry.stop();
    let before = sizes(&fleet[1]);
    assert!(!before.is_empty());
    fleet[1].program().kill();
    fleet[1] = start(1, 3);
    assert_eq!(sizes(&fleet[1]), before);
    assert_eq!(together(&fleet), expected);

    // One more: what stays is published at once, and what moves has no reader yet.
    let before: Vec<BTreeMap<String, f64>> = fleet.iter().map(sizes).collect();
    drop(fleet);
    let fleet: Vec<Exporter> = (0..4).map(|number| start(number, 4)).collect();
    let stayed = together(&fleet);
    assert!(stayed.len() < REPOSITORIES && stayed.len() >= REPOSITORIES / 2, "{stayed:?}");
    for (exporter, before) in fleet.iter().zip(&before) {
        let now = sizes(exporter);
        assert!(now.iter().all(|(name, bytes)| before.get(name) == Some(bytes)), "{before:?} {now:?}");
    }
    assert_eq!(sizes(&fleet[3]), BTreeMap::new());
    site.registry.restart();
    let is_all = || (together(&fleet) == expected).then_some(());
    wait_for("the new one to read its part", is_all, || format!("{:?}", together(&fleet)));
}
