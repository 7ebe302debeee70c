//! Shards on one database publish together what one exporter does, sums over all repositories included, while images are pushed
//! and deleted and while exporters and the database are killed: each sample is true before or after the last change. So are the
//! bytes that policies would free.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::json;

use super::truth::{
    Figures, Image, Layers, POLICIES, REGISTRY_RECLAIMABLE, REGISTRY_STORED, REPOSITORY_RECLAIMABLE, There, truth,
};
use super::*;
use crate::harness::push::{OCI_CONFIG, OCI_LAYER, OCI_MANIFEST};
use crate::harness::wait_for;

const TAGS: usize = 3;

/// How many repositories there are, and how many rounds of changes and kills: more if the environment says so.
#[expect(clippy::disallowed_methods, reason = "how much is tested")]
fn size() -> (usize, usize) {
    let number = |name: &str, default| std::env::var(name).map_or(default, |text| text.parse().expect("a number"));
    (number("FLEET_REPOSITORIES", 30), number("FLEET_ROUNDS", 20))
}

/// The same numbers in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % end
    }

    /// One of few bases, a layer that some share, and one that few do.
    fn layers(&mut self) -> Layers {
        let base = self.below(3);
        let shared = self.below(20);
        let own = self.below(200);
        vec![
            (u8::try_from(base).expect("small"), 5_000 + base),
            (u8::try_from(10 + shared).expect("small"), 1_000 + shared),
            (u8::try_from(50 + own).expect("small"), 100 + own),
        ]
    }
}

/// What an exporter publishes of these families.
fn figures(scrape: &Exposition, families: &BTreeSet<String>) -> Figures {
    let mut figures = Figures::new();
    for family in families {
        for sample in scrape.all(family, &[]) {
            let label = |name: &str| sample.labels.get(name).cloned().unwrap_or_default();
            figures.insert(
                (family.clone(), label("repository"), label("tag") + &label("group") + &label("policy")),
                sample.value,
            );
        }
    }
    figures
}

fn is_near(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-3
}

fn is_same(a: &Figures, b: &Figures) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|((name, a), (other, b))| name == other && is_near(*a, *b))
}

/// What differs, for people.
fn difference(a: &Figures, b: &Figures) -> String {
    let names: BTreeSet<_> = a.keys().chain(b.keys()).collect();
    let odd = names.into_iter().filter(|name| match (a.get(*name), b.get(*name)) {
        (Some(a), Some(b)) => !is_near(*a, *b),
        _ => true,
    });
    odd.take(10).fold(String::new(), |text, name| format!("{text}{name:?}: {:?} {:?}\n", a.get(name), b.get(name)))
}

/// Shards of one registry, and what is on it.
pub(super) struct Fleet {
    pub(super) site: Site,
    pub(super) exporters: Vec<Exporter>,
    repositories: usize,
    numbers: Numbers,
    there: There,
    digests: BTreeMap<(String, String), String>,
    families: BTreeSet<String>,
    /// The truth before the last change, and since.
    truths: [Figures; 2],
}

impl Fleet {
    /// So many shards.
    pub(super) fn start(repositories: usize, shards: usize, site: Site) -> Self {
        let url_files = vec![site.url_file(); shards];
        Self::start_with(repositories, &url_files, Exporter::start_with, site)
    }

    /// A shard for each file with the database's URL.
    pub(super) fn start_with(
        repositories: usize,
        url_files: &[PathBuf],
        exporter: impl Fn(&str, &[&str]) -> Exporter,
        site: Site,
    ) -> Self {
        let mut fleet = Self {
            site,
            exporters: Vec::new(),
            repositories,
            numbers: Numbers(2),
            there: There::new(),
            digests: BTreeMap::new(),
            families: BTreeSet::new(),
            truths: [Figures::new(), Figures::new()],
        };
        for number in 0..repositories * TAGS {
            fleet.push((format!("team/app-{}", number / TAGS), format!("v{}", number % TAGS)));
        }
        let truth = truth(&fleet.there);
        fleet.families = truth.keys().map(|(family, ..)| family.clone()).collect();
        fleet.truths = [truth.clone(), truth];
        for (number, url_file) in url_files.iter().enumerate() {
            let config = format!(
                "[scan]\ninterval = \"1s\"\n[state]\nurl_file = \"{}\"\n\
                 [[targets]]\nrepository = \"{}/team/*\"\nmatch = ['.']\ngroup_by = '([0-9])'\n{POLICIES}",
                url_file.display(),
                fleet.site.registry.address()
            );
            let arguments = [format!("--shard={number}"), format!("--total-shards={}", url_files.len())];
            fleet.exporters.push(exporter(&config, &[&arguments[0], &arguments[1]]));
        }
        fleet
    }

    fn push(&mut self, name: (String, String)) {
        let layers = self.numbers.layers();
        let app = Pusher { address: self.site.registry.address(), repository: &name.0 };
        let blobs: Vec<_> = layers.iter().map(|&(filling, bytes)| app.blob(OCI_LAYER, &vec![filling; bytes])).collect();
        let day = 1 + layers.iter().map(|(_, bytes)| bytes).sum::<usize>() % 28;
        let diff_ids: Vec<_> = blobs.iter().map(|blob| &blob["digest"]).collect();
        let config = json!({
            "architecture": "amd64",
            "os": "linux",
            "created": format!("2024-05-{day:02}T07:08:09Z"),
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config = app.blob(OCI_CONFIG, config.to_string().as_bytes());
        let manifest = json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": blobs});
        let manifest = app.manifest(Some(&name.1), OCI_MANIFEST, &manifest);
        let document = |descriptor: &serde_json::Value| {
            let bytes = descriptor["size"].as_u64().and_then(|bytes| usize::try_from(bytes).ok());
            (descriptor["digest"].as_str().expect("a digest").to_owned(), bytes.expect("a size"))
        };
        let documents = [document(&manifest), document(&config)];
        self.digests.insert(name.clone(), documents[0].0.clone());
        self.there.insert(name, Image { layers, day, documents });
    }

    /// Pushes something, or deletes an image with all tags that its repository has of it.
    pub(super) fn change(&mut self) {
        let (app, tag) = (self.numbers.below(self.repositories), self.numbers.below(TAGS));
        let name = (format!("team/app-{app}"), format!("v{tag}"));
        match self.digests.get(&name).filter(|_| self.numbers.below(3) == 0).cloned() {
            Some(digest) => {
                Pusher { address: self.site.registry.address(), repository: &name.0 }.delete(&digest);
                self.digests.retain(|(repository, _), other| *repository != name.0 || *other != digest);
                self.there.retain(|name, _| self.digests.contains_key(name));
            }
            None => self.push(name),
        }
        self.truths = [std::mem::take(&mut self.truths[1]), truth(&self.there)];
    }

    /// What all of them publish: each value is true before or after the last change, and no series is there twice.
    pub(super) fn all(&self) -> Figures {
        let mut all = Figures::new();
        for (number, exporter) in self.exporters.iter().enumerate() {
            for (name, value) in figures(&exporter.scrape(), &self.families) {
                let true_ones: Vec<f64> = self.truths.iter().filter_map(|truth| truth.get(&name).copied()).collect();
                assert!(
                    true_ones.iter().any(|known| is_near(*known, value)),
                    "shard {number}: {name:?} {value}, and not one of {true_ones:?}\n{}",
                    exporter.output()
                );
                assert!(all.insert(name.clone(), value).is_none(), "{name:?} is published twice");
            }
        }
        all
    }

    pub(super) fn wait_until_all_is_true(&self) {
        self.wait_until_true(|_| true);
    }

    /// Waits for all but what policies free.
    pub(super) fn wait_until_sums_are_true(&self) {
        self.wait_until_true(|family| !family.contains("reclaimable"));
    }

    fn wait_until_true(&self, families: impl Fn(&str) -> bool) {
        let of_families = |figures: &Figures| -> Figures {
            figures
                .iter()
                .filter(|((family, ..), _)| families(family))
                .map(|(name, value)| (name.clone(), *value))
                .collect()
        };
        let truth = of_families(&self.truths[1]);
        let shown = || of_families(&self.all());
        wait_for("all figures to be true", || is_same(&shown(), &truth).then_some(()), || difference(&shown(), &truth));
    }
}

#[test]
fn together_shards_publish_the_truth_and_nothing_else_through_changes_and_kills() {
    let (repositories, rounds) = size();
    let mut fleet = Fleet::start(repositories, 3, Site::start());
    fleet.wait_until_all_is_true();
    for _ in 0..rounds {
        fleet.change();
        // What follows falls now before the scan that reads the change, now amid writing it, now after.
        for _ in 0..fleet.numbers.below(20) {
            fleet.all();
        }
        match fleet.numbers.below(8) {
            victim @ 0..3 => {
                let killed = &mut fleet.exporters[victim];
                killed.program().kill();
                killed.restart();
            }
            3..6 => {
                fleet.site.database.kill();
                fleet.all();
                fleet.site.database.restart();
            }
            _ => {}
        }
        fleet.wait_until_all_is_true();
    }
}

/// What a shard counts is not kept up to date by a program that does not count, as the one before was.
#[test]
fn while_an_older_program_has_a_shard_sums_over_all_are_unknown() {
    let fleet = Fleet::start(9, 2, Site::start());
    fleet.wait_until_all_is_true();
    let stored = |exporter: &Exporter| exporter.scrape().value(REGISTRY_STORED, &[]);
    assert!(fleet.exporters.iter().any(|exporter| stored(exporter).is_some()));
    // As its statement does.
    fleet.site.sql("UPDATE image_size_exporter.holders SET epoch = epoch + 1, seen_at = now() WHERE shard = 1");
    let first = &fleet.exporters[0];
    first.wait_for("sums to be withheld", |scrape| {
        let shared = ["container_image_unique_size_bytes", "container_image_group_stored_size_bytes", REGISTRY_STORED];
        shared.iter().all(|family| scrape.all(family, &[]).is_empty()).then_some(())
    });
    assert!(!first.scrape().all("container_image_repository_stored_size_bytes", &[]).is_empty());
    assert!(first.output().contains("these shards have yet to say what they count"), "{}", first.output());
    // It has ended: the newer one takes the shard back.
    wait_for_persistence(&fleet.exporters[1], 0.0);
    fleet.site.sql("UPDATE image_size_exporter.holders SET seen_at = now() - interval '2 minutes' WHERE shard = 1");
    fleet.wait_until_all_is_true();
}

/// What it has is not told by a program that counts and knows no policies, and what the one before said of that may no longer be so.
#[test]
fn while_a_program_of_before_has_a_shard_only_what_policies_free_is_unknown() {
    let fleet = Fleet::start(9, 2, Site::start());
    fleet.wait_until_all_is_true();
    let freed = |exporter: &Exporter| {
        let scrape = exporter.scrape();
        [REGISTRY_RECLAIMABLE, REPOSITORY_RECLAIMABLE].map(|family| scrape.all(family, &[]).len())
    };
    assert!(freed(&fleet.exporters[0])[1] > 0);
    // As its statement does.
    fleet.site.sql(
        "UPDATE image_size_exporter.holders SET epoch = epoch + 1, seen_at = now(), \
         counts_epoch = counts_epoch + (counts_epoch = epoch)::integer WHERE shard = 1",
    );
    let first = &fleet.exporters[0];
    first.wait_for("it to be withheld", |_| (freed(first) == [0, 0]).then_some(()));
    let shared = first.scrape().all("container_image_unique_size_bytes", &[]).len();
    assert!(shared > 0, "it counts all the same");
    // It writes by its own statement, which leaves the rest as it was.
    fleet.site.sql("UPDATE image_size_exporter.holders SET counts = counts + 1, counts_epoch = epoch WHERE shard = 1");
    let counts = || fleet.site.sql("SELECT count(*) FROM image_size_exporter.registries WHERE policies IS NOT NULL");
    assert_eq!(counts().trim(), "2");
    first.after_a_scan();
    first.after_a_scan();
    assert_eq!(freed(first), [0, 0]);
    // It has ended: the newer one takes the shard back.
    wait_for_persistence(&fleet.exporters[1], 0.0);
    fleet.site.sql("UPDATE image_size_exporter.holders SET seen_at = now() - interval '2 minutes' WHERE shard = 1");
    fleet.wait_until_all_is_true();
}

/// One of them has nothing of the only repository, and cannot restore that it had nothing before.
#[test]
fn a_shard_without_a_repository_says_so_although_the_database_was_away_at_its_start() {
    let mut site = Site::start();
    site.database.stop();
    let mut fleet = Fleet::start(1, 2, site);
    fleet.site.database.restart();
    fleet.wait_until_all_is_true();
}

/// As a backup does that is read into a database under a running fleet.
#[test]
fn what_was_put_back_to_an_earlier_state_is_written_again() {
    let fleet = Fleet::start(9, 2, Site::start());
    fleet.wait_until_all_is_true();
    let number = |sql: &str| -> i64 { fleet.site.sql(sql).trim().parse().expect("a number") };
    let last = number("SELECT max(counts) FROM image_size_exporter.holders");
    fleet.site.sql(
        "UPDATE image_size_exporter.layers SET series = series + 1; UPDATE image_size_exporter.blobs SET gone = 0; \
         UPDATE image_size_exporter.holders SET counts = counts - 1",
    );
    // Nothing else happens, and each of them notices that.
    for exporter in &fleet.exporters {
        let is_noticed = || exporter.output().contains("it was put back to an earlier state").then_some(());
        wait_for("it to be noticed", is_noticed, || exporter.output());
    }
    let is_true = || {
        let shown = fleet.exporters.iter().flat_map(|exporter| figures(&exporter.scrape(), &fleet.families)).collect();
        is_same(&shown, &fleet.truths[1]).then_some(())
    };
    wait_for("all figures to be true", is_true, String::new);
    // So a shard that had read what is lost reads all again, even if it looks only once that number is reached again.
    let since = || number("SELECT min(counts_since) FROM image_size_exporter.holders");
    wait_for("all to be written again", || (since() > last).then_some(()), || format!("{} {last}", since()));
}
