//! What is published, made up from a few numbers, and its changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::image::ImageSummary;
use crate::image::accounting::GroupUsage;
use crate::inventory::Snapshot;
use crate::inventory::snapshot::{
    BaseView, DigestList, ElsewhereView, ForeignLayers, GroupView, ImageLayers, ImageView, LayerPlaces, NewestView,
    Past, ReclaimableView, RegistryView, ReleaseView, RepositoryView, RunningView, SourceView, TagView, TagsTogether,
};
use crate::metrics::Shown;
use crate::metrics::family::Family;
use crate::metrics::own::{ScanEnd, ScanTrouble, TargetState};
use crate::oci::{Digest, MediaType, Platform, Repository};
use crate::tag::{Base, BaseName, RunningImage, RunningPart};
use crate::target::TargetName;

/// What is published, by name; numbers stand for all values.
#[derive(Clone, Debug, Default)]
pub(super) struct World {
    pub(super) repositories: BTreeMap<String, OneRepository>,
    /// By registry.
    pub(super) groups: BTreeMap<&'static str, Vec<u8>>,
    pub(super) running: BTreeMap<String, (u8, u8)>,
    pub(super) targets: Vec<(u8, Option<u8>)>,
    pub(super) omit: BTreeSet<Family>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct OneRepository {
    pub(super) value: u8,
    pub(super) newest: u8,
    /// Each tag's value, and how many images it has.
    pub(super) tags: BTreeMap<String, (u8, u8)>,
    pub(super) view: Option<Arc<RepositoryView>>,
}

#[derive(Clone, Debug)]
pub(super) enum Change {
    Tag {
        repository: u8,
        tag: u8,
        value: u8,
        images: u8,
    },
    TagGone {
        tag: Index,
    },
    Tags {
        repository: u8,
        count: u8,
    },
    Repository {
        repository: u8,
        value: u8,
        newest: u8,
    },
    RepositoryGone(Index),
    /// All tags are read again.
    Scanned(u8),
    Group {
        registry: bool,
        groups: Vec<u8>,
    },
    Running {
        image: u8,
        value: u8,
        parts: u8,
    },
    RunningGone(Index),
    Targets(Vec<(u8, Option<u8>)>),
    Omit(BTreeSet<usize>),
    Nothing,
}

pub(super) fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        6 => (any::<u8>(), any::<u8>(), any::<u8>(), 0_u8..4)
            .prop_map(|(repository, tag, value, images)| Change::Tag { repository, tag, value, images }),
        2 => any::<Index>().prop_map(|tag| Change::TagGone { tag }),
        2 => (any::<u8>(), 0_u8..30).prop_map(|(repository, count)| Change::Tags { repository, count }),
        3 => (any::<u8>(), any::<u8>(), 0_u8..3)
            .prop_map(|(repository, value, newest)| Change::Repository { repository, value, newest }),
        1 => any::<Index>().prop_map(Change::RepositoryGone),
        1 => any::<u8>().prop_map(Change::Scanned),
        1 => (any::<bool>(), vec(any::<u8>(), 0..4)).prop_map(|(registry, groups)| Change::Group { registry, groups }),
        2 => (any::<u8>(), any::<u8>(), 0_u8..3)
            .prop_map(|(image, value, parts)| Change::Running { image, value, parts }),
        1 => any::<Index>().prop_map(Change::RunningGone),
        1 => vec((any::<u8>(), any::<Option<u8>>()), 0..5).prop_map(Change::Targets),
        1 => btree_set(0..Family::ALL.len(), 0..4).prop_map(Change::Omit),
        1 => Just(Change::Nothing),
    ]
}

const REGISTRIES: [&str; 2] = ["docker.io", "registry.example.com"];

fn repository_name(number: u8) -> String {
    format!("{}/team-{}/app-{number}", REGISTRIES[usize::from(number % 2)], number % 5)
}

impl World {
    pub(super) fn apply(&mut self, change: Change) {
        match change {
            Change::Tag { repository, tag, value, images } => {
                let one = self.repository(repository % 24);
                one.tags.insert(format!("v{}", tag % 40), (value, images));
            }
            Change::Tags { repository, count } => {
                let one = self.repository(repository % 24);
                one.tags.extend((0..count).map(|tag| (format!("v{tag}"), (tag, 1 + tag % 2))));
            }
            Change::TagGone { tag } => {
                let all = self.repositories.iter().flat_map(|(name, one)| one.tags.keys().map(move |tag| (name, tag)));
                let all: Vec<_> = all.map(|(name, tag)| (name.clone(), tag.clone())).collect();
                if !all.is_empty() {
                    let (name, tag) = tag.get(&all);
                    let one = self.repositories.get_mut(name).unwrap();
                    one.tags.remove(tag);
                    one.view = None;
                }
            }
            Change::Repository { repository, value, newest } => {
                let one = self.repository(repository % 24);
                (one.value, one.newest) = (value, newest);
            }
            Change::RepositoryGone(which) => {
                let names: Vec<String> = self.repositories.keys().cloned().collect();
                if !names.is_empty() {
                    self.repositories.remove(which.get(&names));
                }
            }
            Change::Scanned(value) => {
                for one in self.repositories.values_mut() {
                    one.view = None;
                    one.tags.values_mut().for_each(|tag| tag.0 = value);
                }
            }
            Change::Group { registry, groups } => {
                self.groups.insert(REGISTRIES[usize::from(registry)], groups);
            }
            Change::Running { image, value, parts } => {
                self.running.insert(format!("{}:v1", repository_name(image % 30)), (value, parts));
            }
            Change::RunningGone(which) => {
                let names: Vec<String> = self.running.keys().cloned().collect();
                if !names.is_empty() {
                    self.running.remove(which.get(&names));
                }
            }
            Change::Targets(targets) => self.targets = targets,
            Change::Omit(omit) => self.omit = omit.into_iter().map(|number| Family::ALL[number]).collect(),
            Change::Nothing => {}
        }
    }

    fn repository(&mut self, number: u8) -> &mut OneRepository {
        let one = self.repositories.entry(repository_name(number)).or_default();
        one.view = None;
        one
    }

    /// Of which views are shared with the one before, as the inventory shares them.
    pub(super) fn shown(&mut self) -> Shown {
        let mut registries: BTreeMap<String, Vec<Arc<RepositoryView>>> = BTreeMap::new();
        for (name, one) in &mut self.repositories {
            let repository: Repository = name.parse().unwrap();
            let registry = repository.registry().as_str().to_owned();
            let view =
                one.view.get_or_insert_with(|| Arc::new(repository_view(repository, one.value, one.newest, &one.tags)));
            registries.entry(registry).or_default().push(Arc::clone(view));
        }
        let registry_view = |(name, repositories): (String, Vec<_>)| {
            let groups = self.groups.get(&*name).cloned().unwrap_or_default();
            let policy = |of: &u8| ReclaimableView { policy: "old".into(), bytes: sometimes(*of), tags: Some(1) };
            Arc::new(RegistryView {
                registry: name.parse().unwrap(),
                stored_bytes: sometimes(groups.first().copied().unwrap_or_default()),
                elsewhere: ElsewhereView::default(),
                reclaimable: groups.first().map(policy).into_iter().collect(),
                groups: groups.iter().enumerate().map(|(number, value)| group_view(number, *value)).collect(),
                layers: DigestList::default(),
                repositories,
            })
        };
        let registries = registries.into_iter().map(registry_view).collect();
        let running = self.running.iter().map(|(name, (value, parts))| running_view(name, *value, *parts)).collect();
        let source = SourceView { source: TargetName("cluster".into()), images: running, skipped: 0 };
        let sources = if self.running.is_empty() { Vec::new() } else { vec![Arc::new(source)] };
        let targets = self.targets.iter().map(|(name, value)| target_state(*name, *value)).collect();
        Shown { snapshot: Arc::new(Snapshot { registries, sources }), targets }
    }
}

/// Some values are unknown.
fn sometimes(value: u8) -> Option<u64> {
    (!value.is_multiple_of(3)).then(|| 1_000 + u64::from(value))
}

fn repository_view(repository: Repository, value: u8, newest: u8, tags: &BTreeMap<String, (u8, u8)>) -> RepositoryView {
    let release = |number: u8| ReleaseView {
        tag: format!("v{number}").parse().unwrap(),
        digest: digest(number),
        compressed_bytes: u64::from(value),
    };
    let newest_view = |number: u8| NewestView {
        target: TargetName("all".into()),
        platform: platform(number),
        release: release(number),
        previous: sometimes(value).map(|_| release(number + 1)),
        update_bytes: sometimes(value),
        largest_change: None,
    };
    let tags: Vec<TagView> = tags.iter().map(|(tag, (value, images))| tag_view(tag, *value, *images)).collect();
    RepositoryView {
        repository,
        stored_bytes: sometimes(value),
        unique_bytes: sometimes(value / 2),
        proportional_bytes: sometimes(value).map(|value| value as f64 / 3.0),
        metadata_bytes: Some(u64::from(value)),
        tags_selected: Some(tags.len() as u64),
        tags_unknown: None,
        reclaimable: Vec::new(),
        labels: if value > 200 { [("label_team".to_owned(), format!("\"{value}"))].into() } else { BTreeMap::new() },
        newest: (0..newest).map(newest_view).collect(),
        together: TagsTogether::of(&tags),
        tags,
    }
}

fn tag_view(tag: &str, value: u8, images: u8) -> TagView {
    TagView {
        tag: tag.parse().unwrap(),
        info: (images > 0).then(|| (digest(value / 16), MediaType::new(MediaType::OCI_INDEX))),
        stored_bytes: sometimes(value / 8),
        attestations: Some(0),
        up: Some(value > 4),
        last_success: Some(1.7e9 + f64::from(value)),
        changed: None,
        images: (0..images).map(|number| image_view(platform(number), value / 16)).collect(),
        past: Past::default(),
    }
}

fn image_view(platform: Platform, value: u8) -> ImageView {
    let summary = ImageSummary {
        digest: digest(value),
        image_id: None,
        media_type: MediaType::new(MediaType::OCI_MANIFEST),
        artifact_type: "".into(),
        created: Some(1.6e9),
        config_bytes: 1_470,
        manifest_bytes: 1_022,
        layers: 7,
        compressed_bytes: sometimes(value),
    };
    ImageView {
        platform,
        image: Arc::new(summary),
        layers: ImageLayers::default(),
        foreign: ForeignLayers::default(),
        unique_bytes: sometimes(value / 2),
        proportional_bytes: Some(if value == 1 { f64::NAN } else { f64::from(value) / 3.0 }),
        uncompressed: None,
        unpacked_bytes: None,
        wasted_bytes: None,
        // The family has a sample only now and then.
        budget_bytes: (value == 7).then_some(1),
        places: LayerPlaces::default(),
        base: (!value.is_multiple_of(4)).then(|| base_view(value)),
    }
}

fn base_view(value: u8) -> BaseView {
    let name = BaseName {
        repository: "docker.io/library/debian".parse().unwrap(),
        tag: Some("12".parse().unwrap()),
        digest: Some(digest(value / 2)),
    };
    let base = Base { name, bytes: sometimes(value / 2), layers: 3 };
    BaseView { base: Arc::new(base), is_current: Some(value > 8) }
}

fn group_view(number: usize, value: u8) -> GroupView {
    let bytes = u64::from(value);
    let usage = GroupUsage { stored_bytes: bytes, unique_bytes: bytes / 2, proportional_bytes: bytes as f64 / 7.0 };
    GroupView { group: format!("group-{number}").into(), usage }
}

fn running_view(name: &str, value: u8, parts: u8) -> RunningView {
    let (repository, tag) = name.rsplit_once(':').unwrap();
    let part = |number: u8| RunningPart {
        namespace: "default".into(),
        workload_kind: "Deployment".into(),
        workload: format!("{number}").into(),
        container: "app".into(),
    };
    let image = RunningImage {
        repository: repository.parse().unwrap(),
        tag: tag.parse().unwrap(),
        containers: u64::from(value),
        nodes: None,
        digests: BTreeMap::new(),
        parts: (0..parts).map(part).collect(),
    };
    RunningView { image: Arc::new(image), outdated: sometimes(value) }
}

fn target_state(name: u8, value: Option<u8>) -> TargetState {
    let last = value.map(|value| ScanEnd { at: f64::from(value), duration: Duration::from_secs(1), up: value > 9 });
    let (name, interval) = (TargetName(format!("target-{}", name % 7).into()), Duration::from_secs(30));
    TargetState { name, interval, last, selected: None, trouble: ScanTrouble::default() }
}

fn platform(number: u8) -> Platform {
    Platform::from_parts("linux", &format!("arch-{number}"), "", "")
}

fn digest(number: u8) -> Digest {
    Digest::sha256_of(&[number])
}
