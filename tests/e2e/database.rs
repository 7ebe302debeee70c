//! The state in a database: Debian's PostgreSQL, killed, stopped, locked, read-only, full, cut off and behind TLS.

mod cables;
mod disk;
mod fleet;
mod network;
mod pooler;
mod shared;
mod sums;
mod tls;
mod trouble;
mod truth;
mod upgrade;

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::harness::exporter::Exporter;
use crate::harness::exposition::Exposition;
use crate::harness::postgresql::Postgresql;
use crate::harness::push::Pusher;
use crate::harness::registry::Registry;
use crate::harness::scratch;

const COMPRESSED: &str = "container_image_compressed_size_bytes";
const PERSISTENT: &str = "image_size_exporter_state_persistent";
const DATABASE: &str = "sizes";

/// A registry, a database, and the file with its URL.
struct Site {
    registry: Registry,
    database: Postgresql,
    directory: tempfile::TempDir,
}

impl Site {
    fn start() -> Self {
        Self::with(Postgresql::start(DATABASE))
    }

    fn with(database: Postgresql) -> Self {
        let site = Self { registry: Registry::start(), database, directory: scratch() };
        site.write_url(&site.database.url(DATABASE));
        site
    }

    /// With a tag `v1` of 1,000 bytes, and an exporter that publishes it.
    fn with_one_tag() -> (Self, Exporter) {
        let site = Self::start();
        site.push("v1", 1_000);
        let exporter = Exporter::start(&site.config());
        wait_for_sizes(&exporter, &[("v1", 1_000.0)]);
        (site, exporter)
    }

    fn url_file(&self) -> PathBuf {
        self.directory.path().join("url")
    }

    fn write_url(&self, url: &str) {
        std::fs::write(self.url_file(), format!("{url}\n")).expect("the URL can be written");
    }

    fn app(&self) -> Pusher<'_> {
        Pusher { address: self.registry.address(), repository: "acme/app" }
    }

    /// Pushes a tag with one layer of its own.
    fn push(&self, tag: &str, bytes: usize) -> serde_json::Value {
        self.app().image(Some(tag), "amd64", &[self.app().layer(bytes)])
    }

    /// Every tag of one repository.
    fn config(&self) -> String {
        format!(
            "[scan]\ninterval = \"1s\"\n[state]\nurl_file = \"{}\"\n[[targets]]\nrepository = \"{}/acme/app\"\nmatch = [\".\"]\n",
            self.url_file().display(),
            self.registry.address()
        )
    }

    fn sql(&self, statements: &str) -> String {
        self.database.sql(DATABASE, statements)
    }
}

/// The published sizes by tag.
fn sizes(scrape: &Exposition) -> BTreeMap<String, f64> {
    scrape.all(COMPRESSED, &[]).iter().map(|sample| (sample.label("tag").to_owned(), sample.value)).collect()
}

fn wait_for_sizes(exporter: &Exporter, expected: &[(&str, f64)]) {
    let expected: BTreeMap<String, f64> = expected.iter().map(|(tag, bytes)| ((*tag).to_owned(), *bytes)).collect();
    exporter.wait_for(&format!("{expected:?}"), |scrape| (sizes(scrape) == expected).then_some(()));
}

fn wait_for_persistence(exporter: &Exporter, persistent: f64) {
    exporter.wait_for(&format!("{PERSISTENT} {persistent}"), |scrape| {
        (scrape.value(PERSISTENT, &[]) == Some(persistent)).then_some(())
    });
}

/// Starts one that has ended again, without the registry: it publishes the tag that the database has.
fn assert_restored(site: &mut Site, exporter: &mut Exporter) {
    site.registry.stop();
    exporter.restart();
    assert_eq!(sizes(&exporter.scrape()), BTreeMap::from([("v1".to_owned(), 1_000.0)]));
}

/// Ends in order, so that everything is written.
fn end(exporter: &mut Exporter) {
    assert!(exporter.program().terminate().success(), "{}", exporter.output());
}

#[test]
fn another_process_publishes_what_the_last_one_knew_without_asking_the_registry() {
    let mut site = Site::start();
    site.push("v1", 1_000);
    site.push("v2", 2_000);
    let mut exporter = Exporter::start(&site.config());
    wait_for_sizes(&exporter, &[("v1", 1_000.0), ("v2", 2_000.0)]);
    wait_for_persistence(&exporter, 1.0);
    let stored = exporter.scrape().value("container_image_registry_stored_size_bytes", &[]);
    assert_eq!(stored, Some(3_000.0));
    end(&mut exporter);
    site.registry.stop();

    // In another directory, as on another machine.
    let exporter = Exporter::start(&site.config());

    let scrape = exporter.scrape();
    assert_eq!(sizes(&scrape), BTreeMap::from([("v1".to_owned(), 1_000.0), ("v2".to_owned(), 2_000.0)]));
    assert_eq!(scrape.value("container_image_registry_stored_size_bytes", &[]), Some(3_000.0));
    assert_eq!(scrape.value(PERSISTENT, &[]), Some(1.0));
    // It reads nothing again: the documents are there by their digests.
    site.registry.restart();
    let before = site.registry.requests("manifest", "get");
    let scrape = exporter.after_a_scan();
    assert_eq!(scrape.value("image_size_exporter_store_documents", &[]), Some(2.0));
    assert_eq!(site.registry.requests("manifest", "get"), before);
    assert_eq!(site.registry.requests("blob", "get"), 0, "a registry that was started anew has sent no config");
}

#[test]
fn a_killed_exporter_forgets_no_more_than_its_last_second() {
    let (mut site, mut exporter) = Site::with_one_tag();
    let written = || site.sql("SELECT count(*) FROM image_size_exporter.tags").trim() == "1";
    crate::harness::wait_for("the tag in the database", || written().then_some(()), String::new);
    exporter.program().kill();
    assert_restored(&mut site, &mut exporter);
}

#[test]
fn of_two_exporters_the_later_one_keeps_the_state_and_both_publish_the_truth() {
    let site = Site::start();
    site.push("v1", 1_000);
    let first = Exporter::start(&site.config());
    wait_for_sizes(&first, &[("v1", 1_000.0)]);
    wait_for_persistence(&first, 1.0);

    let mut second = Exporter::start(&site.config());

    wait_for_persistence(&first, 0.0);
    wait_for_persistence(&second, 1.0);
    assert!(first.output().contains("another exporter that was started later has shard 0 of 1"), "{}", first.output());
    site.push("v1", 3_000);
    for exporter in [&first, &second] {
        wait_for_sizes(exporter, &[("v1", 3_000.0)]);
    }
    assert_eq!(second.scrape().value(PERSISTENT, &[]), Some(1.0));
    // The one that is left takes it back after a minute of silence, which is made up here.
    end(&mut second);
    site.sql("UPDATE image_size_exporter.holders SET seen_at = now() - interval '2 minutes'");
    wait_for_persistence(&first, 1.0);
}

/// Programs with another encoding of values, as in an upgrade, or with a newer schema that this program can go on using.
#[test]
fn rows_of_other_versions_are_left_alone_and_a_schema_that_is_too_new_is_refused() {
    let (mut site, mut exporter) = Site::with_one_tag();
    end(&mut exporter);
    site.sql(
        "UPDATE image_size_exporter.tags SET encoding = 99; \
         INSERT INTO image_size_exporter.facts (digest, encoding, kind, value) VALUES ('x', 99, 1, 'x'), ('x', 2, 99, 'x'); \
         INSERT INTO image_size_exporter.migrations (version, oldest_program) VALUES (99, 1)",
    );
    site.registry.stop();
    exporter.restart();
    assert_eq!(sizes(&exporter.scrape()), BTreeMap::new(), "another version's tags are not this one's");
    site.registry.restart();
    wait_for_sizes(&exporter, &[("v1", 1_000.0)]);
    wait_for_persistence(&exporter, 1.0);
    end(&mut exporter);
    assert_eq!(site.sql("SELECT count(*) FROM image_size_exporter.tags WHERE encoding = 99").trim(), "1");

    site.sql("UPDATE image_size_exporter.migrations SET oldest_program = 99 WHERE version = 99");
    exporter.restart();
    wait_for_sizes(&exporter, &[("v1", 1_000.0)]);
    wait_for_persistence(&exporter, 0.0);
    assert!(exporter.output().contains("its schema has version 99"), "{}", exporter.output());
}

#[test]
fn a_schema_that_is_dropped_is_made_again_and_filled_with_what_is_known() {
    let (mut site, mut exporter) = Site::with_one_tag();
    wait_for_persistence(&exporter, 1.0);
    site.sql("DROP SCHEMA image_size_exporter CASCADE");
    site.push("v2", 2_000);
    wait_for_sizes(&exporter, &[("v1", 1_000.0), ("v2", 2_000.0)]);
    let written = || site.database.try_sql(DATABASE, "SELECT 1 / count(*) FROM image_size_exporter.tags");
    crate::harness::wait_for("the tag in the new schema", || written().then_some(()), || exporter.output());
    wait_for_persistence(&exporter, 1.0);
    end(&mut exporter);
    site.registry.stop();
    exporter.restart();
    assert_eq!(sizes(&exporter.scrape()), BTreeMap::from([("v1".to_owned(), 1_000.0), ("v2".to_owned(), 2_000.0)]));
}

#[test]
fn the_role_that_the_document_describes_suffices() {
    let site = Site::start();
    let document = include_str!("../../docs/postgres.md");
    let (_, rest) = document.split_once("```sql\n").expect("the document says what to grant");
    let (grant, _) = rest.split_once("```").expect("the block ends");
    // Each statement by itself: a database cannot be made within a transaction.
    for statement in grant.split(';').map(str::trim).filter(|statement| !statement.is_empty()) {
        site.database.sql("postgres", statement);
    }
    site.write_url(&format!("postgres://image_size_exporter:change-me@127.0.0.1:{}/image_sizes", site.database.port()));
    site.push("v1", 1_000);
    let exporter = Exporter::start(&site.config());
    wait_for_sizes(&exporter, &[("v1", 1_000.0)]);
    wait_for_persistence(&exporter, 1.0);
    assert!(!exporter.output().contains("change-me"));

    // The password changes while it runs. The file is read again.
    site.database.sql("postgres", "ALTER ROLE image_size_exporter PASSWORD 'sesame'");
    site.database.disconnect_all("image_sizes");
    site.push("v2", 2_000);
    wait_for_persistence(&exporter, 0.0);
    wait_for_sizes(&exporter, &[("v1", 1_000.0), ("v2", 2_000.0)]);
    site.write_url(&format!("postgres://image_size_exporter:sesame@127.0.0.1:{}/image_sizes", site.database.port()));
    wait_for_persistence(&exporter, 1.0);
    assert!(exporter.output().contains("correct user and password"), "{}", exporter.output());
    assert!(!exporter.output().contains("sesame"));
}
