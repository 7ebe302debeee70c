//! A fleet of an earlier build, of which one shard after the other is replaced by this one.

use std::ops::Range;
use std::path::Path;

use super::sums::Fleet;
use super::*;
use crate::harness::wait_for;

const SHARDS: usize = 3;

/// As the variable `EARLIER_EXPORTER` names it, with all features: of the last release, for example.
#[expect(clippy::disallowed_methods, reason = "which program is tested")]
fn earlier_build() -> PathBuf {
    let path = std::env::var_os("EARLIER_EXPORTER").expect("EARLIER_EXPORTER is the path of an earlier build");
    std::fs::canonicalize(path).expect("the earlier build is there")
}

fn sizes_of_all(scrape: &Exposition) -> f64 {
    scrape.all(COMPRESSED, &[]).iter().map(|sample| sample.value).sum()
}

/// Replaces a shard's program, and changes something. `counting` are the shards of this version from then on.
fn replace(fleet: &mut Fleet, shard: usize, built: &Path, counting: Range<usize>, do_all_count: bool) {
    end(&mut fleet.exporters[shard]);
    fleet.exporters[shard].restart_as(built);
    fleet.change();
    for exporter in &fleet.exporters {
        exporter.after_a_scan();
        fleet.all();
    }
    // Else the next change comes before the others know of this one.
    if do_all_count {
        fleet.wait_until_sums_are_true();
        return;
    }
    for number in counting {
        let published = || -> f64 { sizes_of_all(&fleet.exporters[number].scrape()) };
        let counted = "SELECT coalesce(sum(bytes * series), 0) FROM image_size_exporter.layers WHERE shard";
        let counted = || fleet.site.sql(&format!("{counted} = {number}")).trim().parse::<f64>().expect("bytes");
        let is_counted = || ((counted() - published()).abs() < 0.5).then_some(());
        wait_for("what is counted", is_counted, || format!("{} {}", counted(), published()));
    }
}

#[test]
#[ignore = "it needs an earlier build, in EARLIER_EXPORTER"]
fn shards_of_two_versions_publish_nothing_false_while_a_fleet_is_upgraded_and_taken_back() {
    let (earlier, this) = (earlier_build(), PathBuf::from(crate::harness::exporter::command().get_program()));
    let site = Site::start();
    let start = |config: &str, arguments: &[&str]| Exporter::start_built(&earlier, config, arguments);
    let url_files = vec![site.url_file(); SHARDS];
    let mut fleet = Fleet::start_with(30, &url_files, start, site);
    for exporter in &fleet.exporters {
        exporter.after_a_scan();
    }
    fleet.all();
    let counted = "SELECT count(*) FROM pg_tables WHERE schemaname = 'image_size_exporter' AND tablename = 'layers'";
    let do_all_count = fleet.site.sql(counted).trim() == "1";
    let replace = |fleet: &mut Fleet, shard: usize, built: &Path, counting: Range<usize>| {
        replace(fleet, shard, built, counting, do_all_count);
    };
    for _ in 0..2 {
        for shard in 0..SHARDS {
            replace(&mut fleet, shard, &this, 0..shard + 1);
        }
        fleet.wait_until_all_is_true();
        for shard in 0..SHARDS {
            replace(&mut fleet, shard, &earlier, shard + 1..SHARDS);
        }
    }
    for shard in 0..SHARDS {
        replace(&mut fleet, shard, &this, 0..shard + 1);
    }
    fleet.wait_until_all_is_true();
    for exporter in &mut fleet.exporters {
        assert!(exporter.program().terminate().success());
    }
}
