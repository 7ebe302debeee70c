//! A database whose disk is full.

use std::path::Path;
use std::process::Command;

use super::*;
use crate::harness::run;

/// A file system of 16 MiB in memory, until it is dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Self {
        let directory = scratch();
        run(Command::new("mount").args(["-t", "tmpfs", "-o", "size=16m", "tmpfs"]).arg(directory.path()));
        Self(directory)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a database of a test that failed may still use it.
        drop(Command::new("umount").arg("--lazy").arg(self.0.path()).status());
    }
}

#[test]
fn a_full_disk_is_named_and_what_did_not_fit_is_written_once_there_is_room() {
    let disk = SmallDisk::mount();
    let mut site = Site::start();
    site.database.keep_tables_in(DATABASE, disk.path());
    site.push("v1", 1_000);
    let mut exporter = Exporter::start(&site.config());
    wait_for_sizes(&exporter, &[("v1", 1_000.0)]);
    wait_for_persistence(&exporter, 1.0);
    site.sql("CREATE TABLE filler (bytes text); ALTER TABLE filler ALTER bytes SET STORAGE EXTERNAL");
    for rows in [64, 1] {
        let fill = format!("INSERT INTO filler SELECT repeat('x', 8000) FROM generate_series(1, {rows})");
        while site.database.try_sql(DATABASE, &fill) {}
    }

    // More layers than fit into what is left of a page.
    let layers: Vec<_> = (0..120).map(|_| site.app().layer(100)).collect();
    site.app().image(Some("v2"), "amd64", &layers);

    wait_for_sizes(&exporter, &[("v1", 1_000.0), ("v2", 12_000.0)]);
    wait_for_persistence(&exporter, 0.0);
    assert!(exporter.output().contains("free some space on its disk"), "{}", exporter.output());
    site.sql("DROP TABLE filler");
    wait_for_persistence(&exporter, 1.0);
    end(&mut exporter);
    site.registry.stop();
    exporter.restart();
    assert_eq!(sizes(&exporter.scrape()), BTreeMap::from([("v1".to_owned(), 1_000.0), ("v2".to_owned(), 12_000.0)]));
}
