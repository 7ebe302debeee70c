//! Shards whose database is on another host, with a cable to each of them that is pulled out.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::sums::Fleet;
use super::*;
use crate::harness::namespace::Namespace;

const SHARDS: u8 = 3;

/// Three shards of a database that each reaches by a cable of its own.
fn start() -> Fleet {
    let site = Site::with(Postgresql::start_on(Some(Namespace::start(SHARDS)), DATABASE, &[]));
    site.sql("ALTER ROLE postgres PASSWORD 'sesame'");
    let url_file = |cable| {
        let file = site.directory.path().join(format!("url-{cable}"));
        let (host, port) = (site.database.host().address(cable), site.database.port());
        std::fs::write(&file, format!("postgres://postgres:sesame@{host}:{port}/{DATABASE}")).expect("a file");
        file
    };
    let url_files: Vec<PathBuf> = (0..SHARDS).map(url_file).collect();
    Fleet::start_with(12, &url_files, Exporter::start_with, site)
}

#[test]
fn a_shard_whose_cable_is_pulled_out_publishes_what_it_knows_and_the_truth_when_it_is_back() {
    let mut fleet = start();
    fleet.wait_until_all_is_true();
    for cable in (0..SHARDS).chain(0..SHARDS) {
        let host = fleet.site.database.host();
        host.pull_out(cable);
        let to_it = SocketAddr::from((host.address(cable), fleet.site.database.port()));
        assert!(TcpStream::connect_timeout(&to_it, Duration::from_millis(200)).is_err(), "it was not pulled out");
        fleet.change();
        // Scans go on in all of them, and what they find is published.
        for exporter in &fleet.exporters {
            exporter.after_a_scan();
            fleet.all();
        }
        fleet.site.database.host().plug_in(cable);
        fleet.wait_until_all_is_true();
    }
}

#[test]
fn a_shard_that_starts_without_its_cable_publishes_no_sum_and_the_truth_when_it_is_plugged_in() {
    let mut fleet = start();
    fleet.wait_until_all_is_true();
    fleet.site.database.host().pull_out(1);
    wait_for_persistence(&fleet.exporters[1], 0.0);
    fleet.change();
    fleet.exporters[1].program().kill();
    fleet.exporters[1].restart();
    // It reads all of its own again, and knows nothing of the others.
    let scrape = fleet.exporters[1].after_a_scan();
    assert!(!scrape.all(COMPRESSED, &[]).is_empty());
    assert!(scrape.all("container_image_unique_size_bytes", &[]).is_empty());
    fleet.all();
    fleet.site.database.host().plug_in(1);
    fleet.wait_until_all_is_true();
}
