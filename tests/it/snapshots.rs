//! Generated snapshots, as large or as odd as a test or a benchmark needs.

use std::collections::BTreeMap;
use std::sync::Arc;

use image_size_exporter::image::ImageSummary;
use image_size_exporter::image::accounting::GroupUsage;
use image_size_exporter::inventory::snapshot::{
    BaseView, DigestList, ElsewhereView, ForeignLayers, GroupView, ImageLayers, ImageView, LayerPlaces, NewestView,
    Past, ReclaimableView, RegistryView, ReleaseView, RepositoryView, RunningView, Snapshot, SourceView, TagView,
};
use image_size_exporter::inventory::snapshot::{LargestChange, TagsTogether};
use image_size_exporter::oci::{Digest, MediaType, Platform, Registry, Repository};
use image_size_exporter::tag::{Base, BaseName, RunningImage, RunningPart};
use image_size_exporter::target::TargetName;

/// Hostile texts, everywhere that a registry can put them.
#[derive(Clone, Debug, Default)]
pub struct Odd {
    pub media_type: String,
    pub artifact_type: String,
    pub platform: String,
    pub target: String,
    pub label: String,
    pub group: String,
}

/// Ten tags a repository, two platforms a tag, every family present: some 30 series a tag.
pub fn large(tags: usize) -> Snapshot {
    let registry: Registry = "registry.example.com:5000".parse().unwrap();
    let repositories = (0..tags.div_ceil(10)).map(|number| {
        let repository = Repository::new(registry.clone(), &format!("team-{}/service-{number}", number % 40)).unwrap();
        let count = 10.min(tags - number * 10);
        let views = (0..count).map(|tag| tag_view(number * 10 + tag)).collect();
        repository_view(repository, views, &Odd { target: "services".into(), ..Odd::default() })
    });
    let odd = Odd { target: "services".into(), ..Odd::default() };
    let first = Repository::new(registry.clone(), "team-0/service-0").unwrap();
    let registries = vec![Arc::new(registry_view(registry.clone(), repositories.collect(), "teams"))];
    Snapshot { registries, sources: vec![Arc::new(source_view(&first, &odd))] }
}

/// One image with these texts in it.
pub fn odd(odd: &Odd) -> Snapshot {
    let registry = Registry::docker_hub();
    let repository = Repository::new(registry.clone(), "library/odd").unwrap();
    let mut tag = tag_view(7);
    tag.info = Some((digest(1), MediaType::new(&odd.media_type)));
    tag.images.truncate(1);
    let image = &mut tag.images[0];
    image.platform = platform(&odd.platform);
    image.image = Arc::new(ImageSummary {
        media_type: MediaType::new(&odd.media_type),
        artifact_type: odd.artifact_type.as_str().into(),
        ..(*image.image).clone()
    });
    let sources = vec![Arc::new(source_view(&repository, odd))];
    let repository = repository_view(repository, vec![tag], odd);
    Snapshot { registries: vec![Arc::new(registry_view(registry, vec![repository], &odd.group))], sources }
}

/// A repository of which nothing was read yet: one tag that failed.
pub fn unread() -> Snapshot {
    let registry = Registry::docker_hub();
    let repository = Repository::new(registry.clone(), "library/new").unwrap();
    let tags = vec![TagView {
        tag: "latest".parse().unwrap(),
        info: None,
        stored_bytes: None,
        attestations: None,
        up: Some(false),
        last_success: None,
        changed: None,
        images: Vec::new(),
        past: Past::default(),
    }];
    let view = RepositoryView {
        repository,
        stored_bytes: None,
        unique_bytes: None,
        proportional_bytes: None,
        metadata_bytes: None,
        tags_selected: Some(1),
        tags_unknown: Some(1),
        reclaimable: Vec::new(),
        labels: BTreeMap::new(),
        newest: Vec::new(),
        together: TagsTogether::of(&tags),
        tags,
    };
    Snapshot {
        registries: vec![Arc::new(RegistryView {
            registry,
            stored_bytes: None,
            elsewhere: ElsewhereView::default(),
            groups: Vec::new(),
            reclaimable: Vec::new(),
            layers: DigestList::default(),
            repositories: vec![Arc::new(view)],
        })],
        sources: Vec::new(),
    }
}

fn source_view(repository: &Repository, odd: &Odd) -> SourceView {
    let part = RunningPart {
        namespace: odd.label.as_str().into(),
        workload_kind: "Deployment".into(),
        workload: odd.group.as_str().into(),
        container: odd.target.as_str().into(),
    };
    let image = RunningImage {
        repository: repository.clone(),
        tag: "v1.7.0".parse().unwrap(),
        containers: 12,
        nodes: Some(5),
        digests: [(digest(1), 11)].into(),
        parts: vec![part],
    };
    let images = vec![RunningView { image: Arc::new(image), outdated: Some(3) }];
    SourceView { source: TargetName(odd.target.as_str().into()), images, skipped: 2 }
}

fn registry_view(registry: Registry, repositories: Vec<RepositoryView>, group: &str) -> RegistryView {
    let usage = GroupUsage { stored_bytes: 345_678, unique_bytes: 45_678, proportional_bytes: 234_567.5 };
    RegistryView {
        registry,
        stored_bytes: Some(987_654_321),
        elsewhere: ElsewhereView::default(),
        groups: vec![GroupView { group: group.into(), usage }],
        reclaimable: vec![ReclaimableView { policy: "old".into(), bytes: Some(765_432), tags: Some(3) }],
        layers: DigestList::default(),
        repositories: repositories.into_iter().map(Arc::new).collect(),
    }
}

fn repository_view(repository: Repository, tags: Vec<TagView>, odd: &Odd) -> RepositoryView {
    let newest = NewestView {
        target: TargetName(odd.target.as_str().into()),
        platform: platform(&odd.platform),
        release: ReleaseView { tag: "v1.2.3".parse().unwrap(), digest: digest(2), compressed_bytes: 3_000_000 },
        previous: Some(ReleaseView { tag: "v1.2.2".parse().unwrap(), digest: digest(1), compressed_bytes: 2_900_000 }),
        update_bytes: Some(200_000),
        largest_change: Some(LargestChange {
            digest: digest(3),
            bytes: 150_000,
            command: Some(odd.label.as_str().into()),
        }),
    };
    RepositoryView {
        repository,
        stored_bytes: Some(123_456_789),
        unique_bytes: Some(23_456_789),
        proportional_bytes: Some(65_432_109.5),
        metadata_bytes: Some(54_321),
        tags_selected: Some(tags.len() as u64),
        tags_unknown: Some(0),
        reclaimable: vec![ReclaimableView { policy: "old".into(), bytes: Some(76_543), tags: Some(3) }],
        labels: [("label_team".to_owned(), odd.label.clone())].into(),
        newest: vec![newest],
        together: TagsTogether::of(&tags),
        tags,
    }
}

fn tag_view(number: usize) -> TagView {
    let at = 1_700_000_000.125 + number as f64;
    TagView {
        tag: format!("v1.{number}.0").parse().unwrap(),
        info: Some((digest(number), MediaType::new(MediaType::OCI_INDEX))),
        stored_bytes: Some(40_000_000 + number as u64),
        attestations: Some(2),
        up: Some(true),
        last_success: Some(at),
        changed: Some(at),
        images: ["linux/amd64", "linux/arm64"].map(|platform| image_view(platform, number)).into(),
        past: Past::default(),
    }
}

fn image_view(platform_name: &str, number: usize) -> ImageView {
    let bytes = 30_000_000 + number as u64 * 977;
    let summary = ImageSummary {
        digest: digest(number + 1),
        image_id: Some(digest(number + 2)),
        media_type: MediaType::new(MediaType::OCI_MANIFEST),
        artifact_type: "".into(),
        created: Some(1_690_000_000.0 + number as f64),
        config_bytes: 1_470,
        manifest_bytes: 1_022,
        layers: 7,
        compressed_bytes: Some(bytes),
    };
    ImageView {
        platform: platform(platform_name),
        image: Arc::new(summary),
        layers: ImageLayers::default(),
        places: LayerPlaces::default(),
        foreign: ForeignLayers::default(),
        unique_bytes: Some(bytes / 10),
        proportional_bytes: Some(bytes as f64 / 3.0),
        uncompressed: Some((bytes * 3, number.is_multiple_of(2))),
        unpacked_bytes: Some(bytes * 4),
        wasted_bytes: Some(bytes / 3),
        budget_bytes: Some(250 << 20),
        base: Some(BaseView { base: Arc::new(base(bytes / 2)), is_current: Some(!number.is_multiple_of(3)) }),
    }
}

fn base(bytes: u64) -> Base {
    let repository = "debian".parse().unwrap();
    let name = BaseName { repository, tag: Some("12".parse().unwrap()), digest: Some(digest(3)) };
    Base { name, bytes: Some(bytes), layers: 1 }
}

/// Any text, as an index entry can have it; the parts of a platform are not checked there.
fn platform(text: &str) -> Platform {
    let (os, architecture) = text.split_once('/').unwrap_or((text, ""));
    Platform::from_parts(os, architecture, "", "")
}

fn digest(number: usize) -> Digest {
    Digest::sha256_of(&number.to_le_bytes())
}
