//! A pooler between exporters and their database: Debian's PgBouncer.

use super::*;
use crate::harness::{Program, free_port, postgresql, wait_for};

/// A pooler that gives its clients sessions in this mode, which is written into the URL's file.
fn start(site: &Site, mode: &str) -> Program {
    let (directory, port) = (site.directory.path(), free_port());
    let settings = format!(
        "[databases]\n* = host={} port={} user=postgres\n\
         [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = {mode}\n",
        site.database.socket().display(),
        site.database.port()
    );
    let file = directory.join("pgbouncer.ini");
    std::fs::write(&file, settings).expect("its settings");
    // It refuses to run as root.
    postgresql::open_to_all(directory);
    let mut pooler = Program::start(postgresql::as_postgres("pgbouncer", directory).arg(&file), directory);
    pooler.wait_until_ready(|| std::net::TcpStream::connect(("127.0.0.1", port)).ok());
    site.write_url(&format!("postgres://postgres@127.0.0.1:{port}/{DATABASE}"));
    pooler
}

#[test]
fn a_pooler_that_keeps_sessions_is_as_good_as_the_database() {
    let mut site = Site::start();
    let _pooler = start(&site, "session");
    site.push("v1", 1_000);
    let mut exporter = Exporter::start(&site.config());
    wait_for_sizes(&exporter, &[("v1", 1_000.0)]);
    wait_for_persistence(&exporter, 1.0);
    end(&mut exporter);
    assert_restored(&mut site, &mut exporter);
}

/// Such a pooler gives a statement of one client to another, so that nothing is written at all.
#[test]
fn a_pooler_that_does_not_keep_sessions_is_refused_with_what_to_do() {
    let site = Site::start();
    let _pooler = start(&site, "transaction");
    site.push("v1", 1_000);
    let exporter = Exporter::start(&site.config());
    wait_for_sizes(&exporter, &[("v1", 1_000.0)]);
    let is_said = || exporter.output().contains("set its pool mode to `session`").then_some(());
    wait_for("the reason", is_said, || exporter.output());
    assert_eq!(exporter.scrape().value(PERSISTENT, &[]), Some(0.0));
    assert!(!site.database.try_sql(DATABASE, "SELECT 1 FROM image_size_exporter.tags"), "it has written something");
}
