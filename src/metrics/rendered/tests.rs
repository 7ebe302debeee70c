//! After any changes, the body is what rendering everything anew gives.

mod world;

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::metrics::gzip::tests::gunzip;
use crate::metrics::runs::RunLimits;

use world::{Change, World, change};

/// The whole body, decoded.
fn body(rendered: &Rendered, encoding: Encoding) -> String {
    let tail = rendered.tail(encoding, b"# EOF\n".to_vec());
    let pieces = rendered.pieces(encoding);
    assert!(pieces.iter().all(|piece| !piece.is_empty()));
    assert_eq!(pieces.iter().map(|piece| piece.len() as u64).sum::<u64>(), rendered.pieces_bytes(encoding));
    let bytes = [pieces.concat(), tail.to_vec()].concat();
    match encoding {
        Encoding::Identity => String::from_utf8(bytes).unwrap(),
        Encoding::Gzip => String::from_utf8(gunzip(&bytes)).unwrap(),
    }
}

/// The body by a few plain loops: each family's samples, one unit after the other.
fn plain(shown: &Shown, omit: &BTreeSet<Family>) -> (String, u64) {
    let mut text = String::new();
    let mut series = 0;
    for metric in Metric::all() {
        let mut sink = crate::metrics::sink::Sink::default();
        let mut rows = crate::metrics::rows::Rows::default();
        let Metric::Family(family) = metric else {
            shown.targets.iter().for_each(|target| rows.target(target));
            rows.write(metric, &mut sink);
            add(&mut text, metric, &sink.text);
            continue;
        };
        if omit.contains(&family) {
            continue;
        }
        for registry in &shown.snapshot.registries {
            rows.registry(registry);
            for repository in &registry.repositories {
                rows.repository(repository);
                for tag in &repository.tags {
                    rows.tag(repository, tag);
                    rows.images(repository, tag);
                }
            }
        }
        for source in &shown.snapshot.sources {
            source.images.iter().for_each(|image| rows.running(source, image));
        }
        rows.write(metric, &mut sink);
        series += u64::from(sink.samples);
        add(&mut text, metric, &sink.text);
    }
    (text + "# EOF\n", series)
}

fn add(text: &mut String, metric: Metric, samples: &str) {
    if !samples.is_empty() {
        let name = metric.name();
        text.extend(["# HELP ", name, " ", metric.help(), "\n# TYPE ", name, " gauge\n", samples]);
    }
}

fn limits() -> impl Strategy<Value = BlockLimits> {
    (1_u32..40, 1_u32..40, 1_u32..40, 1_u32..200).prop_map(|(least, spread, more, joined)| BlockLimits {
        runs: RunLimits { least, spread, most: least + more },
        joined,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn after_any_changes_the_body_is_what_rendering_everything_gives(
        changes in vec(vec(change(), 1..6), 1..10), limits in limits(),
    ) {
        let mut world = World::default();
        let mut rendered = Rendered::empty();
        for changes in changes {
            for change in changes {
                world.apply(change);
            }
            let shown = world.shown();
            rendered = rendered.next_within(shown.clone(), &world.omit, limits);
            let (text, series) = plain(&shown, &world.omit);
            prop_assert_eq!(&body(&rendered, Encoding::Identity), &text);
            prop_assert_eq!(&body(&rendered, Encoding::Gzip), &text);
            prop_assert_eq!(rendered.series(), series);
            // Not only the text: where it is cut does not depend on what was before either.
            let anew = Rendered::empty().next_within(shown, &world.omit, limits);
            prop_assert_eq!(rendered.pieces(Encoding::Gzip), anew.pieces(Encoding::Gzip));
        }
    }
}

/// So many repositories of five tags.
fn wide(repositories: u32) -> World {
    let mut world = World::default();
    for number in 0..repositories {
        let one = world.repositories.entry(format!("docker.io/team-{}/app-{number}", number % 50)).or_default();
        one.tags = (0..5_u8).map(|tag| (format!("v{tag}"), (tag, 1))).collect();
    }
    world
}

/// Bytes that have to be rendered from one moment to the next.
fn rendered_anew(world: &mut World, change: impl FnOnce(&mut World)) -> (u64, u64) {
    let before = Rendered::empty().next(world.shown(), &BTreeSet::new());
    change(world);
    let after = before.next(world.shown(), &BTreeSet::new());
    let all = after.pieces_bytes(Encoding::Identity) + after.pieces_bytes(Encoding::Gzip);
    (all - after.bytes_shared_with(&before), all)
}

#[test]
fn what_does_not_change_is_shared() {
    let mut world = wide(1_000);
    let (anew, all) = rendered_anew(&mut world, |_| {});
    // The header of gzip is in no block.
    assert!(anew <= gzip::HEADER.len() as u64 && all > 5_000_000, "{anew} of {all}");
    let name = "docker.io/team-7/app-507";
    let (anew, all) = rendered_anew(&mut world, |world| {
        let one = world.repositories.get_mut(name).unwrap();
        one.tags.insert("v3".to_owned(), (200, 1));
        one.view = None;
    });
    assert!(anew > 10_000 && anew < 1_500_000, "a changed tag: {anew} of {all}");
    let (anew, _) = rendered_anew(&mut world, |world| {
        let mut one = world.repositories[name].clone();
        one.view = None;
        world.repositories.insert("docker.io/team-7/app-507-new".to_owned(), one);
    });
    assert!(anew * 3 < all, "a new repository: {anew} of {all}");
    let (anew, _) = rendered_anew(&mut world, |world| drop(world.repositories.remove(name)));
    assert!(anew * 3 < all, "a repository is gone: {anew} of {all}");
    let (anew, _) = rendered_anew(&mut world, |world| world.apply(Change::Targets(vec![(1, Some(1))])));
    assert!(anew < 100_000, "a target: {anew} of {all}");
}

#[test]
fn what_all_tags_have_anew_is_one_family_of_all() {
    let mut world = wide(1_000);
    // The digit that a scan changes is that of the time.
    world.apply(Change::Scanned(5));
    let (anew, all) = rendered_anew(&mut world, |world| world.apply(Change::Scanned(6)));
    assert!(anew * 6 < all, "{anew} of {all}");
}
