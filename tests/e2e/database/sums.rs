//! Shards on one database publish together what one exporter does, sums over all repositories included, while images are pushed
//! and deleted and while exporters and the database are killed: each sample is true before or after the last change.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::*;
use crate::harness::push::OCI_LAYER;
use crate::harness::wait_for;

const TAGS: usize = 3;

/// How many repositories there are, and how many rounds of changes and kills: more if the environment says so.
#[expect(clippy::disallowed_methods, reason = "how much is tested")]
fn size() -> (usize, usize) {
    let number = |name: &str, default| std::env::var(name).map_or(default, |text| text.parse().expect("a number"));
    (number("FLEET_REPOSITORIES", 30), number("FLEET_ROUNDS", 20))
}

/// By family, repository, and tag or group, what is published.
pub(super) type Figures = BTreeMap<(String, String, String), f64>;

/// The layers of a tag, by the byte that fills them and their sizes.
type Layers = Vec<(u8, usize)>;

/// What is in the registry, by repository and tag.
type There = BTreeMap<(String, String), Layers>;

pub(super) const REGISTRY_STORED: &str = "container_image_registry_stored_size_bytes";

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

/// Who has a layer.
#[derive(Default)]
struct Holders<'a> {
    series: f64,
    images: BTreeSet<&'a Layers>,
    repositories: BTreeSet<&'a str>,
    /// With how many series of each.
    groups: BTreeMap<String, f64>,
}

/// The first digit of its number.
fn group(repository: &str) -> String {
    repository.chars().find(char::is_ascii_digit).expect("a number").to_string()
}

/// The sums by their definitions. Images of the same layers are the same image here.
fn truth(there: &There) -> Figures {
    let mut holders: BTreeMap<(u8, usize), Holders> = BTreeMap::new();
    for ((repository, _), layers) in there {
        for layer in layers {
            let holders = holders.entry(*layer).or_default();
            holders.series += 1.0;
            holders.images.insert(layers);
            holders.repositories.insert(repository);
            *holders.groups.entry(group(repository)).or_default() += 1.0;
        }
    }
    let mut figures = Figures::new();
    let mut add = |family: &str, repository: &str, tag: &str, value: f64| {
        *figures.entry((family.to_owned(), repository.to_owned(), tag.to_owned())).or_default() += value;
    };
    for (layer, holders) in &holders {
        let bytes = layer.1 as f64;
        add(REGISTRY_STORED, "", "", bytes);
        for (group, series) in &holders.groups {
            let own = if holders.groups.len() == 1 { bytes } else { 0.0 };
            add("container_image_group_stored_size_bytes", "", group, bytes);
            add("container_image_group_unique_size_bytes", "", group, own);
            add("container_image_group_proportional_size_bytes", "", group, bytes * series / holders.series);
        }
        for repository in &holders.repositories {
            let own = if holders.repositories.len() == 1 { bytes } else { 0.0 };
            add("container_image_repository_stored_size_bytes", repository, "", bytes);
            add("container_image_repository_unique_size_bytes", repository, "", own);
        }
    }
    for ((repository, tag), layers) in there {
        for layer in layers {
            let (bytes, holders) = (layer.1 as f64, &holders[layer]);
            let own = if holders.images.len() == 1 { bytes } else { 0.0 };
            add(COMPRESSED, repository, tag, bytes);
            add("container_image_unique_size_bytes", repository, tag, own);
            add("container_image_proportional_size_bytes", repository, tag, bytes / holders.series);
            add("container_image_repository_proportional_size_bytes", repository, "", bytes / holders.series);
        }
    }
    figures
}

/// What an exporter publishes of these families.
fn figures(scrape: &Exposition, families: &BTreeSet<String>) -> Figures {
    let mut figures = Figures::new();
    for family in families {
        for sample in scrape.all(family, &[]) {
            let label = |name: &str| sample.labels.get(name).cloned().unwrap_or_default();
            figures.insert((family.clone(), label("repository"), label("tag") + &label("group")), sample.value);
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
    /// Each shard has its database's URL in a file of its own, if there is one of its number.
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
                 [[targets]]\nrepository = \"{}/team/*\"\nmatch = ['.']\ngroup_by = '([0-9])'\n",
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
        let manifest = app.image(Some(&name.1), "amd64", &blobs);
        self.digests.insert(name.clone(), manifest["digest"].as_str().expect("a digest").to_owned());
        self.there.insert(name, layers);
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
        let [_, truth] = &self.truths;
        let is_true = || is_same(&self.all(), truth).then_some(());
        wait_for("all figures to be true", is_true, || difference(&self.all(), truth));
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
    fleet.site.sql(
        "UPDATE image_size_exporter.layers SET series = series + 1; UPDATE image_size_exporter.holders SET counts = counts - 1",
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
}
