//! A database that is away, slow, read-only, full, or killed at any time: what is published stays true.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::*;
use crate::harness::noise;

#[test]
fn while_the_database_is_away_figures_go_on_and_are_written_once_it_is_back() {
    let (mut site, mut exporter) = Site::with_one_tag();

    site.database.stop();
    site.push("v1", 3_000);
    site.push("v2", 2_000);

    wait_for_sizes(&exporter, &[("v1", 3_000.0), ("v2", 2_000.0)]);
    wait_for_persistence(&exporter, 0.0);
    site.database.restart();
    wait_for_persistence(&exporter, 1.0);
    end(&mut exporter);
    site.registry.stop();
    exporter.restart();
    assert_eq!(sizes(&exporter.scrape()), BTreeMap::from([("v1".to_owned(), 3_000.0), ("v2".to_owned(), 2_000.0)]));
}

#[test]
fn a_start_without_the_database_reads_registries_and_replaces_what_is_there_later() {
    let mut site = Site::start();
    site.push("v1", 1_000);
    let gone = site.push("v2", 2_000);
    let mut exporter = Exporter::start(&site.config());
    wait_for_sizes(&exporter, &[("v1", 1_000.0), ("v2", 2_000.0)]);
    end(&mut exporter);
    site.database.stop();
    site.app().delete(gone["digest"].as_str().expect("a digest"));
    exporter.restart();
    wait_for_sizes(&exporter, &[("v1", 1_000.0)]);
    assert_eq!(exporter.scrape().value(PERSISTENT, &[]), Some(0.0));
    assert!(exporter.output().contains("cannot use the database of the state"), "{}", exporter.output());
    site.database.restart();
    wait_for_persistence(&exporter, 1.0);
    end(&mut exporter);
    assert_restored(&mut site, &mut exporter);
}

/// Neither the database nor the registry is there, so that nothing takes the place of what is in the database.
#[test]
fn a_start_that_reads_nothing_leaves_the_tags_that_are_there() {
    let (mut site, mut exporter) = Site::with_one_tag();
    wait_for_persistence(&exporter, 1.0);
    end(&mut exporter);
    site.database.stop();
    site.registry.stop();
    exporter.restart();
    assert_eq!(sizes(&exporter.scrape()), BTreeMap::new());
    site.database.restart();
    wait_for_persistence(&exporter, 1.0);
    end(&mut exporter);
    exporter.restart();
    assert_eq!(sizes(&exporter.scrape()), BTreeMap::from([("v1".to_owned(), 1_000.0)]));
}

/// As a node that died within a transaction leaves it behind.
#[test]
fn a_shard_that_is_locked_at_a_start_is_restored_and_held_later() {
    let (mut site, mut exporter) = Site::with_one_tag();
    wait_for_persistence(&exporter, 1.0);
    end(&mut exporter);
    site.registry.stop();
    let lock = "BEGIN; UPDATE image_size_exporter.holders SET seen_at = seen_at; SELECT pg_sleep(600)";
    let locked = site.database.session(DATABASE, lock);
    let sleeps = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
    crate::harness::wait_for("the lock", || (site.sql(sleeps).trim() == "1").then_some(()), String::new);

    exporter.restart();

    let before = BTreeMap::from([("v1".to_owned(), 1_000.0)]);
    let scrape = exporter.scrape();
    assert_eq!((sizes(&scrape), scrape.value(PERSISTENT, &[])), (before.clone(), Some(0.0)));
    site.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'");
    drop(locked);
    wait_for_persistence(&exporter, 1.0);
    end(&mut exporter);
    exporter.restart();
    assert_eq!(sizes(&exporter.scrape()), before);
}

#[test]
fn a_read_only_database_is_restored_from_and_not_written() {
    let (mut site, mut exporter) = Site::with_one_tag();
    end(&mut exporter);
    site.database.sql("postgres", &format!("ALTER DATABASE {DATABASE} SET default_transaction_read_only = on"));
    site.registry.stop();
    exporter.restart();
    let scrape = exporter.scrape();
    assert_eq!(sizes(&scrape), BTreeMap::from([("v1".to_owned(), 1_000.0)]));
    assert_eq!(scrape.value(PERSISTENT, &[]), Some(0.0));
    assert!(exporter.output().contains("name the primary and not a standby"), "{}", exporter.output());

    site.registry.restart();
    site.push("v1", 2_000);
    wait_for_sizes(&exporter, &[("v1", 2_000.0)]);
    site.database.sql("postgres", &format!("ALTER DATABASE {DATABASE} RESET default_transaction_read_only"));
    site.database.disconnect_all(DATABASE);
    wait_for_persistence(&exporter, 1.0);
}

/// A lock holds up every read and write, as an overloaded database does.
#[test]
fn a_database_that_does_not_answer_holds_up_neither_scrapes_nor_scans_for_long() {
    let (site, exporter) = Site::with_one_tag();
    let lock = "BEGIN; LOCK TABLE image_size_exporter.facts, image_size_exporter.holders IN ACCESS EXCLUSIVE MODE; \
                SELECT pg_sleep(600)";
    let locked = site.database.session(DATABASE, lock);
    let held = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted \
                AND relation = 'image_size_exporter.holders'::regclass";
    crate::harness::wait_for("the lock", || (site.sql(held).trim() == "1").then_some(()), String::new);

    site.push("v2", 2_000);

    let slowest = exporter.wait_for("the push", |scrape| {
        let started = Instant::now();
        exporter.scrape();
        (sizes(scrape).len() == 2).then(|| started.elapsed())
    });
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    site.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)%' AND pid <> pg_backend_pid()");
    drop(locked);
    wait_for_persistence(&exporter, 1.0);
    let written = || site.sql("SELECT count(*) FROM image_size_exporter.tags").trim() == "2";
    crate::harness::wait_for("both tags in the database", || written().then_some(()), String::new);
}

/// A published size is one that the tag had; the repository's is the sum of what is published, since tags share no layer.
fn check(scrape: &Exposition, had: &BTreeMap<String, BTreeSet<usize>>) {
    let published = sizes(scrape);
    for (tag, bytes) in &published {
        let is_true = had.get(tag).is_some_and(|had| had.iter().any(|&had| (had as f64 - bytes).abs() < 0.5));
        assert!(is_true, "{tag} never had {bytes}: {had:?}");
    }
    if let Some(stored) = scrape.value("container_image_registry_stored_size_bytes", &[]) {
        let sum: f64 = published.values().sum();
        assert!((stored - sum).abs() < 0.5, "{stored} is published for {published:?}");
    }
}

#[test]
fn kills_of_exporter_and_database_at_any_time_publish_nothing_false() {
    let mut site = Site::start();
    let mut had: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
    let mut now: BTreeMap<String, (usize, String)> = BTreeMap::new();
    let mut exporter = Exporter::start(&site.config());
    for round in 0..50_usize {
        let [action, which, killed, when] = noise(4).try_into().expect("four bytes");
        let tag = format!("v{}", which % 8);
        if action % 5 == 0
            && let Some((_, digest)) = now.remove(&tag)
        {
            site.app().delete(&digest);
        } else {
            let bytes = 1_000 + round;
            had.entry(tag.clone()).or_default().insert(bytes);
            let digest = site.push(&tag, bytes)["digest"].as_str().expect("a digest").to_owned();
            now.insert(tag, (bytes, digest));
        }
        // Anywhere within a scan and a write, which follow each other by a second.
        let until = Instant::now() + Duration::from_millis(u64::from(when) * 5);
        while Instant::now() < until {
            check(&exporter.scrape(), &had);
        }
        match killed % 4 {
            0 => {
                site.database.kill();
                check(&exporter.scrape(), &had);
                site.database.restart();
            }
            1 => {
                site.database.kill();
                exporter.program().kill();
                // Rarely without the database, which a start waits for.
                if killed % 32 == 1 {
                    exporter.restart();
                    check(&exporter.scrape(), &had);
                    site.database.restart();
                } else {
                    site.database.restart();
                    exporter.restart();
                }
            }
            2 => {
                exporter.program().kill();
                exporter.restart();
            }
            _ => {}
        }
        check(&exporter.scrape(), &had);
    }
    let truth: BTreeMap<String, f64> = now.iter().map(|(tag, (bytes, _))| (tag.clone(), *bytes as f64)).collect();
    exporter.wait_for("the truth", |scrape| (sizes(scrape) == truth).then_some(()));
    wait_for_persistence(&exporter, 1.0);
    end(&mut exporter);
    site.registry.stop();
    exporter.restart();
    assert_eq!(sizes(&exporter.scrape()), truth);
}
