//! Shards on one database publish together what one exporter does, sums over all repositories included, while images are pushed
//! and deleted and while exporters and the database are killed: each sample is true before or after the last change.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::harness::push::OCI_LAYER;
use crate::harness::wait_for;

const SHARDS: usize = 3;
const TAGS: usize = 3;

/// How many repositories there are, and how many rounds of changes and kills: more if the environment says so.
fn size() -> (usize, usize) {
    let number = |name: &str, default| std::env::var(name).map_or(default, |text| text.parse().expect("a number"));
    (number("FLEET_REPOSITORIES", 30), number("FLEET_ROUNDS", 20))
}

/// By family, repository and tag, the values that may be published.
type Figures = BTreeMap<(String, String, String), f64>;

/// The layers of a tag, by the byte that fills them and their sizes.
type Layers = Vec<(u8, usize)>;

/// What is in the registry, by repository and tag.
type There = BTreeMap<(String, String), Layers>;

const REGISTRY_STORED: &str = "container_image_registry_stored_size_bytes";

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

fn push(site: &Site, (repository, tag): &(String, String), layers: &Layers) -> String {
    let app = Pusher { address: site.registry.address(), repository };
    let blobs: Vec<_> = layers.iter().map(|&(filling, bytes)| app.blob(OCI_LAYER, &vec![filling; bytes])).collect();
    let manifest = app.image(Some(tag), "amd64", &blobs);
    manifest["digest"].as_str().expect("a digest").to_owned()
}

/// Who has a layer.
#[derive(Default)]
struct Holders<'a> {
    series: f64,
    images: BTreeSet<&'a Layers>,
    repositories: BTreeSet<&'a str>,
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
        }
    }
    let mut figures = Figures::new();
    let mut add = |family: &str, repository: &str, tag: &str, value: f64| {
        *figures.entry((family.to_owned(), repository.to_owned(), tag.to_owned())).or_default() += value;
    };
    for (layer, holders) in &holders {
        let bytes = layer.1 as f64;
        add(REGISTRY_STORED, "", "", bytes);
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
            figures.insert((family.clone(), label("repository"), label("tag")), sample.value);
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
    odd.take(10).map(|name| format!("{name:?}: {:?} {:?}\n", a.get(name), b.get(name))).collect()
}

#[test]
fn together_shards_publish_the_truth_and_nothing_else_through_changes_and_kills() {
    let (repositories, rounds) = size();
    let mut site = Site::start();
    let mut numbers = Numbers(2);
    let mut there = There::new();
    let mut digests = BTreeMap::new();
    for number in 0..repositories * TAGS {
        let name = (format!("team/app-{}", number / TAGS), format!("v{}", number % TAGS));
        let layers = numbers.layers();
        digests.insert(name.clone(), push(&site, &name, &layers));
        there.insert(name, layers);
    }
    let config = format!(
        "[scan]\ninterval = \"1s\"\n[state]\nurl_file = \"{}\"\n[[targets]]\nrepository = \"{}/team/*\"\nmatch = ['.']\n",
        site.directory.path().join("url").display(),
        site.registry.address()
    );
    let mut fleet: Vec<Exporter> = (0..SHARDS)
        .map(|number| {
            Exporter::start_with(&config, &[&format!("--shard={number}"), &format!("--total-shards={SHARDS}")])
        })
        .collect();
    let families: BTreeSet<String> = truth(&there).into_keys().map(|(family, ..)| family).collect();
    let mut before = truth(&there);
    for round in 0..=rounds {
        let after = truth(&there);
        // The last round changes nothing more.
        let may_be = |name: &(String, String, String), value: f64| {
            [&before, &after].into_iter().filter_map(|figures| figures.get(name)).any(|known| is_near(*known, value))
        };
        let all = |fleet: &[Exporter]| {
            let mut all = Figures::new();
            for (number, exporter) in fleet.iter().enumerate() {
                for (name, value) in figures(&exporter.scrape(), &families) {
                    assert!(
                        may_be(&name, value),
                        "round {round}, shard {number}: {name:?} {value}, and not {:?} or {:?}\n{}",
                        before.get(&name),
                        after.get(&name),
                        exporter.output()
                    );
                    assert!(all.insert(name.clone(), value).is_none(), "round {round}: {name:?} is published twice");
                }
            }
            all
        };
        match round % 6 {
            2 | 4 => {
                let killed = round % SHARDS;
                fleet[killed].program().kill();
                fleet[killed].restart();
            }
            5 => {
                site.database.kill();
                all(&fleet);
                site.database.restart();
            }
            _ => {}
        }
        wait_for(
            "all figures to be true",
            || is_same(&all(&fleet), &after).then_some(()),
            || difference(&all(&fleet), &after),
        );
        before = after;
        // One change.
        let name = (format!("team/app-{}", numbers.below(repositories)), format!("v{}", numbers.below(TAGS)));
        match digests.get(&name).filter(|_| numbers.below(3) == 0) {
            Some(digest) => {
                Pusher { address: site.registry.address(), repository: &name.0 }.delete(digest);
                let gone = digest.clone();
                there.retain(|(repository, tag), _| {
                    *repository != name.0 || digests[&(repository.clone(), tag.clone())] != gone
                });
                digests.retain(|(repository, _), digest| *repository != name.0 || *digest != gone);
            }
            None => {
                let layers = numbers.layers();
                digests.insert(name.clone(), push(&site, &name, &layers));
                there.insert(name, layers);
            }
        }
    }
}
