//! The first page finds the biggest of many repositories without looking at each of their tags.

use image_size_exporter::inventory::Snapshot;
use image_size_exporter::inventory::snapshot::{RegistryView, RepositoryView, TagView, TagsTogether};
use image_size_exporter::page::{Answer, World, answer};
use image_size_exporter::target::Shard;
use proptest::prelude::*;
use serde_json::Value;
use std::sync::Arc;

use crate::snapshots;

/// A tag's size, budget, and whether its last reading failed.
type TagValues = (u64, Option<u64>, bool);

fn changed(values: &[TagValues]) -> Snapshot {
    let mut snapshot = snapshots::large(values.len());
    let mut values = values.iter();
    let mut tag = |view: &TagView| {
        let &(bytes, budget_bytes, is_down) = values.next().unwrap();
        let mut view = TagView { up: Some(!is_down), ..view.clone() };
        for (image, bytes) in view.images.iter_mut().zip([bytes / 2, bytes]) {
            let mut summary = (*image.image).clone();
            summary.compressed_bytes = Some(bytes);
            (image.image, image.budget_bytes) = (Arc::new(summary), budget_bytes);
        }
        view
    };
    let mut repository = |view: &Arc<RepositoryView>| {
        let tags: Vec<TagView> = view.tags.iter().map(&mut tag).collect();
        Arc::new(RepositoryView { together: TagsTogether::of(&tags), tags, ..(**view).clone() })
    };
    let registry = &snapshot.registries[0];
    let repositories = registry.repositories.iter().map(&mut repository).collect();
    snapshot.registries = vec![Arc::new(RegistryView { repositories, ..(**registry).clone() })];
    snapshot
}

fn overview(snapshot: &Snapshot) -> Value {
    let world = World {
        snapshot,
        targets: &[],
        sources: &[],
        reload: None,
        series: 0,
        now: 1.7e9,
        telemetry_path: "/metrics",
        commands: &|_| None,
        shard: Shard::default(),
    };
    match answer("/api/v1/overview", "", &world) {
        Some(Answer::Json(text)) => serde_json::from_slice(&text).unwrap(),
        _ => panic!("no overview"),
    }
}

fn images(rows: &Value) -> Vec<String> {
    let name = |row: &Value| format!("{}:{}", row["repository"].as_str().unwrap(), row["tag"].as_str().unwrap());
    rows.as_array().unwrap().iter().map(name).collect()
}

proptest! {
    #[test]
    fn the_biggest_and_the_nearest_to_their_budgets_are_those_of_a_sort_of_all_tags(
        values in proptest::collection::vec((0..400_u64, proptest::option::of(1..400_u64), prop::bool::weighted(0.1)), 1..120),
    ) {
        let snapshot = changed(&values);
        let views = snapshot.registries[0].repositories.iter().flat_map(|view| view.tags.iter().map(move |tag| (view, tag)));
        let names: Vec<String> = views.map(|(view, tag)| format!("{}:{}", view.repository, tag.tag)).collect();
        let sorted = |key: &dyn Fn(&TagValues) -> f64, of: &dyn Fn(&TagValues) -> bool| -> Vec<String> {
            let mut tags: Vec<(&TagValues, &String)> = values.iter().zip(&names).filter(|(values, _)| of(values)).collect();
            tags.sort_by(|a, b| key(b.0).total_cmp(&key(a.0)));
            tags.into_iter().map(|(_, name)| name.clone()).take(10).collect()
        };
        let share = |(bytes, budget, _): &TagValues| *bytes as f64 / budget.unwrap_or(1) as f64;
        let overview = overview(&snapshot);
        prop_assert_eq!(images(&overview["biggest"]), sorted(&|(bytes, ..)| *bytes as f64, &|_| true));
        prop_assert_eq!(images(&overview["budgets"]), sorted(&share, &|(_, budget, _)| budget.is_some()));
        let down: Vec<&String> = names.iter().zip(&values).filter(|(_, (.., down))| *down).map(|(name, _)| name).collect();
        let unreadable: Vec<&str> = overview["unreadable"].as_array().unwrap().iter().map(|row| row["image"].as_str().unwrap()).collect();
        prop_assert_eq!(unreadable, down.iter().take(50).map(|name| name.as_str()).collect::<Vec<_>>());
        let totals = &overview["totals"];
        prop_assert_eq!(totals["images"].as_u64(), Some(2 * values.len() as u64));
        prop_assert_eq!(totals["unreadable_tags"].as_u64(), Some(down.len() as u64));
        let over = |(bytes, budget, _): &TagValues| budget.map_or(0, |budget| u64::from(*bytes > budget) + u64::from(bytes / 2 > budget));
        prop_assert_eq!(totals["over_budget"].as_u64(), Some(values.iter().map(over).sum()));
    }
}
