//! What sources see: tags of their targets, what is read because of it, and what is published.

use std::collections::BTreeMap;

use super::fixtures::*;
use super::reclaimable::{policy, reclaimable};
use crate::inventory::snapshot::RepositoryView;
use crate::inventory::*;
use crate::oci::Tag;
use crate::retention::RetentionPolicy;
use crate::tag::*;
use crate::target::{Repositories, Shard, Target};

fn source(name: &str) -> Target {
    Target { repositories: Repositories::Running(Shard::default()), ..target(name, "r.io/any", "") }
}

/// Images such as `r.io/a:v1` or `r.io/a:v1=digest*2`, each with its containers and, where it is named, their digest.
fn running(text: &str) -> Running {
    let mut images: BTreeMap<(Repository, Tag), RunningImage> = BTreeMap::new();
    for word in text.split_whitespace() {
        let (name, digest_of) = word.split_once('=').map_or((word, None), |(name, of)| (name, Some(of)));
        let (name, tag_of) = name.rsplit_once(':').unwrap();
        let (name, tag) = (repository(name), tag(tag_of));
        let image = images.entry((name.clone(), tag.clone())).or_insert(RunningImage {
            repository: name,
            tag,
            containers: 0,
            nodes: None,
            digests: BTreeMap::new(),
            parts: Vec::new(),
        });
        let (of, containers) = digest_of.map_or((None, 1), |of| match of.split_once('*') {
            Some((of, containers)) => (Some(of), containers.parse().unwrap()),
            None => (Some(of), 1),
        });
        image.containers += containers;
        if let Some(of) = of {
            *image.digests.entry(single(&of.replace(',', " ")).digest).or_default() += containers;
        }
    }
    Running { images: images.into_values().map(Arc::new).collect(), ..Running::default() }
}

/// A source's answer; what is to be read because of it.
fn seen(inventory: &mut Inventory, source: &str, text: &str) -> Vec<String> {
    let seen = inventory.seen(&TargetName(source.into()), running(text));
    seen.requests.iter().map(|request| format!("{}:{}", request.repository, request.tag)).collect()
}

/// `s a:v1 2 outdated=1` of each image of each source.
fn runs(inventory: &mut Inventory) -> Vec<String> {
    let snapshot = inventory.snapshot();
    let lines = snapshot.sources.iter().flat_map(|source| {
        source.images.iter().map(|view| {
            let image = &view.image;
            let outdated = view.outdated.map(|count| format!(" outdated={count}")).unwrap_or_default();
            format!("{} {}:{} {}{outdated}", source.source, image.repository.name(), image.tag, image.containers)
        })
    });
    lines.collect()
}

#[test]
fn what_is_new_is_read_and_what_ends_is_forgotten() {
    let mut inventory = inventory(&[source("s")]);
    assert_eq!(seen(&mut inventory, "s", "r.io/a:v1 q.io/b:v1"), ["q.io/b:v1", "r.io/a:v1"]);
    assert_eq!(runs(&mut inventory), ["s b:v1 1", "s a:v1 1"], "before anything is read");
    assert_eq!(assign(&mut inventory, "s"), ["q.io/b:v1 new", "r.io/a:v1 new"], "on any registry");
    read(&mut inventory, "r.io/a:v1", 10.0, single("x:10"));
    read(&mut inventory, "q.io/b:v1", 10.0, single("y:20"));
    assert_eq!(seen(&mut inventory, "s", "r.io/a:v1 r.io/a:v1 q.io/b:v1"), Vec::<String>::new());
    assert_eq!(seen(&mut inventory, "s", "r.io/a:v1 r.io/a:v2"), ["r.io/a:v2"]);
    assert_eq!(published(&mut inventory), ["a:v1 up=1 success=10", "a:v1 linux/amd64 compressed=10", "a:v2"]);
    scan_ended(&mut inventory, "s");
    let stored = "a:v1 up=1 success=10 stored=10";
    let image = "a:v1 linux/amd64 compressed=10 unique=10 proportional=10";
    assert_eq!(published(&mut inventory), [stored, image, "a:v2"]);
    let forgotten = inventory.seen(&TargetName("s".into()), Running::default()).changes;
    assert!(forgotten.iter().all(|change| change.kept.is_none()) && forgotten.len() == 2, "{forgotten:?}");
    assert_eq!((published(&mut inventory), runs(&mut inventory)), (Vec::new(), Vec::new()));
}

#[test]
fn a_container_is_outdated_whose_digest_the_tag_no_longer_has() {
    let mut inventory = inventory(&[source("s")]);
    seen(&mut inventory, "s", "r.io/a:v1=x:10*2 r.io/a:v1");
    assert_eq!(runs(&mut inventory), ["s a:v1 3"], "the tag was not read yet");
    read(&mut inventory, "r.io/a:v1", 10.0, single("x:10"));
    assert_eq!(runs(&mut inventory), ["s a:v1 3 outdated=0"]);
    read(&mut inventory, "r.io/a:v1", 20.0, single("y:10"));
    assert_eq!(runs(&mut inventory), ["s a:v1 3 outdated=2"], "the third one's digest is unknown");
    // A digest that nobody knew is news once.
    assert_eq!(seen(&mut inventory, "s", "r.io/a:v1=x:10 r.io/a:v1=z:10"), ["r.io/a:v1"]);
    assert_eq!(seen(&mut inventory, "s", "r.io/a:v1=x:10 r.io/a:v1=z:10*5"), Vec::<String>::new());
    assert_eq!(seen(&mut inventory, "s", "r.io/a:v1=y:10"), Vec::<String>::new(), "it is known");
    record(&mut inventory, "r.io/a:v1", 30.0, Outcome::Failed(crate::oci::Reason::Network));
    assert_eq!(runs(&mut inventory), ["s a:v1 1 outdated=0"], "what was last known stays");
    seen(&mut inventory, "s", "r.io/a:v1=y:10 r.io/a:v1=new:10");
    assert_eq!(runs(&mut inventory), ["s a:v1 2"], "it may be newer than what was last known");
    seen(&mut inventory, "s", "r.io/a:v1=y:10");
    record(&mut inventory, "r.io/a:v1", 40.0, Outcome::Gone);
    assert_eq!(runs(&mut inventory), ["s a:v1 1 outdated=1"], "the tag has none any more");
    assert_eq!(published(&mut inventory), ["a:v1 up=0 success=20 changed=20"], "what runs is expected");
    seen(&mut inventory, "s", "r.io/a:v1");
    assert_eq!(runs(&mut inventory), ["s a:v1 1"], "unknown is not zero");
}

#[test]
fn a_platform_of_the_tags_index_is_its_own_digest() {
    let mut inventory = inventory(&[source("s")]);
    let of_index = index("i", &[("linux/amd64", "x:10"), ("linux/arm64", "y:10")]);
    let child = of_index.images[1].digest.clone();
    let mut answer = running("r.io/a:v1");
    Arc::make_mut(&mut answer.images[0]).digests = [(child, 1)].into();
    inventory.seen(&TargetName("s".into()), answer);
    read(&mut inventory, "r.io/a:v1", 10.0, of_index);
    assert_eq!(runs(&mut inventory), ["s a:v1 1 outdated=0"]);
}

#[test]
fn restored_tags_are_a_sources_until_it_answers_unless_a_target_selects_them() {
    let targets = [target("t", "r.io/a", "v1"), source("s"), source("u")];
    let mut before = inventory(&targets);
    seen(&mut before, "s", "r.io/a:v1 r.io/b:v1 q.io/c:v1");
    let changes: Vec<TagChange> = ["r.io/a:v1", "r.io/b:v1", "q.io/c:v1"]
        .into_iter()
        .map(|name| read(&mut before, name, 10.0, single("x:10")).unwrap())
        .collect();
    let mut after = super::restart::restart(&targets, &changes, &single("x:10").images);
    after.restored(|_, _| false);
    assert_eq!(published(&mut after).len(), 6, "all are published at once");
    assert!(runs(&mut after).is_empty(), "what runs now is unknown");
    assert_eq!(seen(&mut after, "s", "r.io/b:v1"), Vec::<String>::new());
    assert_eq!(published(&mut after).len(), 6, "the other source may still see them");
    let forgotten = after.seen(&TargetName("u".into()), Running::default()).changes;
    assert_eq!(forgotten.iter().map(|change| change.repository.to_string()).collect::<Vec<_>>(), ["q.io/c"]);
    assert_eq!(assign(&mut after, "s"), ["r.io/b:v1"]);
    assert_eq!(assign(&mut after, "t"), ["r.io/a:v1"]);
}

#[test]
fn what_a_source_could_not_read_since_a_restart_stays_and_what_ends_goes() {
    let targets = [source("s")];
    let mut before = inventory(&targets);
    seen(&mut before, "s", "r.io/a:v1 r.io/b:v1");
    let changes: Vec<TagChange> = ["r.io/a:v1", "r.io/b:v1"]
        .into_iter()
        .map(|name| read(&mut before, name, 10.0, single("x:10")).unwrap())
        .collect();
    let mut after = super::restart::restart(&targets, &changes, &single("x:10").images);
    after.restored(|_, _| false);
    let answer = |text: &str, is_part| Running { is_part, ..running(text) };
    let mut forgotten = |text: &str, is_part| -> Vec<String> {
        let seen = after.seen(&TargetName("s".into()), answer(text, is_part));
        seen.changes.iter().map(|change| change.repository.to_string()).collect()
    };
    assert!(forgotten("r.io/a:v1 r.io/c:v1", true).is_empty(), "b may run in the part that could not be read");
    assert_eq!(forgotten("r.io/c:v1", true), ["r.io/a"], "it was seen, and has ended");
    assert_eq!(forgotten("r.io/c:v1", false), ["r.io/b"], "the same images, and these are all");
}

#[test]
fn a_reload_keeps_what_a_source_that_stays_has_said() {
    let mut inventory = inventory(&[source("s"), source("u")]);
    seen(&mut inventory, "s", "r.io/a:v1");
    seen(&mut inventory, "u", "r.io/b:v1");
    read(&mut inventory, "r.io/a:v1", 10.0, single("x:10"));
    read(&mut inventory, "r.io/b:v1", 10.0, single("x:10"));
    let budget = Target { budget_bytes: Some(5), ..source("s") };
    let forgotten = inventory.reconfigure(&shared(&[target("t", "r.io/c", "v1"), budget]), WEEK);
    assert_eq!(forgotten.iter().map(|change| change.repository.to_string()).collect::<Vec<_>>(), ["r.io/b"]);
    assert_eq!(runs(&mut inventory), ["s a:v1 1"]);
    assert!(published(&mut inventory)[1].contains("budget=5"), "{:?}", published(&mut inventory));
    // What a target gives up, a new source may see.
    read(&mut inventory, "r.io/c:v1", 10.0, single("y:20"));
    let kept = inventory.reconfigure(&shared(&[source("s"), source("new")]), WEEK);
    assert_eq!((kept, published(&mut inventory).len()), (Vec::new(), 4));
    seen(&mut inventory, "new", "");
    assert_eq!(published(&mut inventory).len(), 2);
}

#[test]
fn a_policy_keeps_what_runs_and_says_nothing_before_that_is_known() {
    let mut inventory = inventory(&[listing("t", "r.io/a"), source("s")]);
    let keep =
        |keep_running| Arc::new(RetentionPolicy { keep_running, ..(*policy("p", None, &["^v3$"], None)).clone() });
    inventory.set_policies(&[keep(true)]);
    found(&mut inventory, "t", "r.io/a:v1 r.io/a:v2 r.io/a:v3 r.io/a:latest");
    for (name, layers) in [("v1", "a:10"), ("v2", "b:20"), ("v3", "c:30"), ("latest", "c:30")] {
        read(&mut inventory, &format!("r.io/a:{name}"), 10.0, single(layers));
    }
    scan_ended(&mut inventory, "t");
    scan_ended(&mut inventory, "s");
    assert_eq!(reclaimable(&mut inventory), ["a p=?/?", "p=?"], "what runs is unknown");
    seen(&mut inventory, "s", "r.io/a:v1");
    // Beside its layer an image has 10 bytes of config and manifest; v3 has what latest has.
    assert_eq!(reclaimable(&mut inventory), ["a p=30/2", "p=30"], "v2 and latest go");
    // By its digest alone.
    seen(&mut inventory, "s", "r.io/a:old=b:20");
    read(&mut inventory, "r.io/a:old", 20.0, single("d:40"));
    assert_eq!(reclaimable(&mut inventory), ["a p=20/2", "p=20"], "v1 and latest go");
    seen(&mut inventory, "s", "");
    assert_eq!(reclaimable(&mut inventory), ["a p=50/3", "p=50"]);
    inventory.set_policies(&[keep(false)]);
    seen(&mut inventory, "s", "r.io/a:v1");
    assert_eq!(reclaimable(&mut inventory), ["a p=50/3", "p=50"], "it does not ask");
}

#[test]
fn a_policy_says_nothing_while_more_may_run_and_keeps_an_index_whose_platform_runs() {
    let mut inventory = inventory(&[listing("t", "r.io/a"), source("s")]);
    inventory.set_policies(&[Arc::new(RetentionPolicy {
        keep_running: true,
        ..(*policy("p", None, &["^v3$"], None)).clone()
    })]);
    found(&mut inventory, "t", "r.io/a:v1 r.io/a:v3");
    let of_index = index("i", &[("linux/amd64", "x:10"), ("linux/arm64", "y:10")]);
    let child = of_index.images[1].digest.clone();
    read(&mut inventory, "r.io/a:v1", 10.0, of_index);
    read(&mut inventory, "r.io/a:v3", 10.0, single("c:30"));
    scan_ended(&mut inventory, "t");
    scan_ended(&mut inventory, "s");
    let mut answer = |running| {
        inventory.seen(&TargetName("s".into()), running);
        reclaimable(&mut inventory)
    };
    let nothing = answer(Running::default());
    assert!(nothing[0].ends_with("/1"), "v1 goes: {nothing:?}");
    let by_digest = BTreeMap::from([(repository("r.io/a"), [Tag::of_digest(&child)].into())]);
    let unwatched = answer(Running { unwatched: by_digest, ..Running::default() });
    assert_eq!(unwatched, ["a p=0/0", "p=0"], "a platform of v1 runs");
    for more in [Running { is_part: true, ..Running::default() }, Running { skipped: 1, ..Running::default() }] {
        assert_eq!(answer(more), ["a p=?/?", "p=?"]);
    }
}

#[test]
fn an_answer_judges_only_repositories_of_which_something_else_runs() {
    let mut inventory = inventory(&[target("t", "r.io/a", "v1"), target("u", "r.io/b", "v1"), source("s")]);
    inventory.set_policies(&[Arc::new(RetentionPolicy {
        keep_running: true,
        ..(*policy("p", None, &["^v3$"], None)).clone()
    })]);
    read(&mut inventory, "r.io/a:v1", 10.0, single("x:10"));
    read(&mut inventory, "r.io/b:v1", 10.0, single("y:20"));
    for name in ["t", "u", "s"] {
        scan_ended(&mut inventory, name);
    }
    seen(&mut inventory, "s", "r.io/a:v1 r.io/b:other");
    read(&mut inventory, "r.io/b:other", 20.0, single("z:40"));
    assert_eq!(reclaimable(&mut inventory), ["a p=0/0", "b p=30/1", "p=30"]);
    let views = |inventory: &mut Inventory| inventory.snapshot().registries[0].repositories.clone();
    let is_same = |before: &[Arc<RepositoryView>], after: &[Arc<RepositoryView>]| {
        before.iter().zip(after).map(|(before, after)| Arc::ptr_eq(before, after)).collect::<Vec<_>>()
    };
    let before = views(&mut inventory);
    // More containers of the same images.
    seen(&mut inventory, "s", "r.io/a:v1=x:10*3 r.io/b:other");
    seen(&mut inventory, "s", "r.io/a:v1=x:10*5 r.io/b:other");
    let after = views(&mut inventory);
    assert_eq!(is_same(&before, &after), [false, true], "a digest of a is known now");
    seen(&mut inventory, "s", "r.io/a:v1=x:10*7 r.io/b:other");
    assert_eq!(is_same(&after, &views(&mut inventory)), [true, true]);
    seen(&mut inventory, "s", "r.io/a:v1=x:10*7 r.io/b:other r.io/b:v1");
    assert_eq!(reclaimable(&mut inventory), ["a p=0/0", "b p=0/0", "p=0"]);
}
