//! Rows: what samples of several families are about, each with its labels written once and used for all of these.

use std::ops::Range;

use super::family::Family;
use super::labels::label;
use super::metric::Metric;
use super::own::TargetState;
use super::sink::{Sink, Value};
use super::targets::TargetFamily;
use crate::inventory::snapshot::{
    GroupView, ImageView, NewestView, ReclaimableView, RegistryView, ReleaseView, RepositoryView, RunningView,
    SourceView, TagView,
};

/// A row's labels: `{a="…",b="…"` in [`Rows::labels`], still open for more.
type Labels = Range<usize>;

/// The rows of some units, in their order.
#[derive(Default)]
pub(crate) struct Rows<'a> {
    labels: String,
    images: Vec<(Labels, &'a ImageView)>,
    tags: Vec<(Labels, &'a TagView)>,
    newest: Vec<(Labels, &'a NewestView)>,
    repositories: Vec<(Labels, &'a RepositoryView)>,
    groups: Vec<(Labels, &'a GroupView)>,
    registries: Vec<(Labels, &'a RegistryView)>,
    /// By repository and policy, and by registry and policy.
    reclaimable: [Vec<(Labels, &'a ReclaimableView)>; 2],
    running: Vec<(Labels, &'a RunningView)>,
    targets: Vec<(Labels, &'a TargetState)>,
}

impl<'a> Rows<'a> {
    /// None of them, with the memory that they had.
    pub(crate) fn clear(&mut self) {
        self.labels.clear();
        self.images.clear();
        self.tags.clear();
        self.newest.clear();
        self.repositories.clear();
        self.groups.clear();
        self.registries.clear();
        self.reclaimable.iter_mut().for_each(Vec::clear);
        self.running.clear();
        self.targets.clear();
    }

    /// Adds the images of a tag.
    pub(crate) fn images(&mut self, repository: &RepositoryView, tag: &'a TagView) {
        let first = self.of_repository(repository, &[("tag", tag.tag.as_str())]);
        for image in &tag.images {
            let start = self.labels.len();
            self.labels.extend_from_within(first.clone());
            label(&mut self.labels, "platform", image.platform.as_str());
            self.images.push((start..self.labels.len(), image));
        }
    }

    /// Adds a tag.
    pub(crate) fn tag(&mut self, repository: &RepositoryView, tag: &'a TagView) {
        let labels = self.of_repository(repository, &[("tag", tag.tag.as_str())]);
        self.tags.push((labels, tag));
    }

    /// Adds a repository, its newest releases, and what policies would free of it.
    pub(crate) fn repository(&mut self, view: &'a RepositoryView) {
        let labels = self.of_repository(view, &[]);
        self.repositories.push((labels, view));
        for of in &view.reclaimable {
            let labels = self.of_repository(view, &[("policy", &of.policy)]);
            self.reclaimable[0].push((labels, of));
        }
        for newest in &view.newest {
            let more = [("target", &*newest.target.0), ("platform", newest.platform.as_str())];
            let labels = self.of_repository(view, &more);
            self.newest.push((labels, newest));
        }
    }

    /// Adds a registry, its groups, and what policies would free on it.
    pub(crate) fn registry(&mut self, view: &'a RegistryView) {
        let labels = self.row(&[("registry", view.registry.as_str())]);
        self.registries.push((labels, view));
        for group in &view.groups {
            let labels = self.row(&[("registry", view.registry.as_str()), ("group", &group.group)]);
            self.groups.push((labels, group));
        }
        for of in view.reclaimable.iter().filter(|_| !view.elsewhere.is_reclaimable_told) {
            let labels = self.row(&[("registry", view.registry.as_str()), ("policy", &of.policy)]);
            self.reclaimable[1].push((labels, of));
        }
    }

    /// Adds an image that runs.
    pub(crate) fn running(&mut self, source: &SourceView, view: &'a RunningView) {
        let repository = &view.image.repository;
        let labels = self.row(&[
            ("source", &source.source.0),
            ("registry", repository.registry().as_str()),
            ("repository", repository.name()),
            ("tag", view.image.tag.as_str()),
        ]);
        self.running.push((labels, view));
    }

    /// Adds a target.
    pub(crate) fn target(&mut self, target: &'a TargetState) {
        let labels = self.row(&[("target", &target.name.0)]);
        self.targets.push((labels, target));
    }

    fn of_repository(&mut self, view: &RepositoryView, more: &[(&str, &str)]) -> Labels {
        let labels =
            self.row(&[("registry", view.repository.registry().as_str()), ("repository", view.repository.name())]);
        for (key, value) in more {
            label(&mut self.labels, key, value);
        }
        labels.start..self.labels.len()
    }

    fn row(&mut self, pairs: &[(&str, &str)]) -> Labels {
        let start = self.labels.len();
        self.labels.push('{');
        for (key, value) in pairs {
            label(&mut self.labels, key, value);
        }
        start..self.labels.len()
    }

    /// All samples of a metric.
    pub(crate) fn write(&self, metric: Metric, sink: &mut Sink) {
        match metric {
            Metric::Family(family) => self.family(family, sink),
            Metric::Target(family) => self.of_targets(family, sink),
        }
    }

    fn family(&self, family: Family, sink: &mut Sink) {
        match family {
            Family::ImageInfo => self.image_info(sink),
            Family::ImageBaseInfo => self.base_info(sink),
            Family::TagInfo => self.tag_info(sink),
            Family::NewestInfo => self.newest_info(family, sink, |view| Some(&view.release)),
            Family::NewestPreviousInfo => self.newest_info(family, sink, |view| view.previous.as_ref()),
            Family::NewestLargestChangeInfo => self.largest_change(sink),
            Family::RepositoryLabels => self.repository_labels(sink),
            Family::RunningInfo => self.running_info(sink),
            _ => {
                self.each(&self.images, family, sink, of_image);
                self.each(&self.tags, family, sink, of_tag);
                self.each(&self.newest, family, sink, of_newest);
                self.each(&self.repositories, family, sink, of_repository);
                self.each(&self.groups, family, sink, of_group);
                self.each(&self.registries, family, sink, of_registry);
                self.each(&self.reclaimable[0], family, sink, of_repository_policy);
                self.each(&self.reclaimable[1], family, sink, of_registry_policy);
                self.each(&self.running, family, sink, of_running);
            }
        }
    }

    fn of_targets(&self, family: TargetFamily, sink: &mut Sink) {
        for (labels, target) in &self.targets {
            if let Some(value) = family.value(target) {
                sink.sample(family.name(), &self.labels[labels.clone()], "", value);
            }
        }
    }

    fn each<View>(
        &self,
        rows: &[(Labels, &View)],
        family: Family,
        sink: &mut Sink,
        value: fn(Family, &View) -> Option<Value>,
    ) {
        let name = family.name();
        for (labels, view) in rows {
            if let Some(value) = value(family, view) {
                sink.sample(name, &self.labels[labels.clone()], "", value);
            }
        }
    }

    fn image_info(&self, sink: &mut Sink) {
        let mut more = String::new();
        for (labels, view) in &self.images {
            more.clear();
            label(&mut more, "digest", &view.image.digest);
            match &view.image.image_id {
                Some(image_id) => label(&mut more, "image_id", image_id),
                None => label(&mut more, "image_id", ""),
            }
            label(&mut more, "media_type", view.image.media_type.as_str());
            label(&mut more, "artifact_type", &view.image.artifact_type);
            sink.sample(Family::ImageInfo.name(), &self.labels[labels.clone()], &more, Value::Integer(1));
        }
    }

    fn base_info(&self, sink: &mut Sink) {
        let mut more = String::new();
        for (labels, view) in &self.images {
            let Some(base) = &view.base else { continue };
            let name = &base.base.name;
            more.clear();
            label(&mut more, "base_repository", &name.repository);
            label(&mut more, "base_tag", name.tag.as_ref().map_or("", |tag| tag.as_str()));
            match &name.digest {
                Some(digest) => label(&mut more, "base_digest", digest),
                None => label(&mut more, "base_digest", ""),
            }
            sink.sample(Family::ImageBaseInfo.name(), &self.labels[labels.clone()], &more, Value::Integer(1));
        }
    }

    fn tag_info(&self, sink: &mut Sink) {
        let mut more = String::new();
        for (labels, view) in &self.tags {
            let Some((digest, media_type)) = &view.info else { continue };
            more.clear();
            label(&mut more, "digest", digest);
            label(&mut more, "media_type", media_type.as_str());
            sink.sample(Family::TagInfo.name(), &self.labels[labels.clone()], &more, Value::Integer(1));
        }
    }

    fn newest_info(&self, family: Family, sink: &mut Sink, release: fn(&NewestView) -> Option<&ReleaseView>) {
        let mut more = String::new();
        for (labels, view) in &self.newest {
            let Some(release) = release(view) else { continue };
            more.clear();
            label(&mut more, "tag", release.tag.as_str());
            label(&mut more, "digest", &release.digest);
            sink.sample(family.name(), &self.labels[labels.clone()], &more, Value::Integer(1));
        }
    }

    fn largest_change(&self, sink: &mut Sink) {
        let mut more = String::new();
        for (labels, view) in &self.newest {
            let Some(change) = &view.largest_change else { continue };
            more.clear();
            label(&mut more, "digest", &change.digest);
            label(&mut more, "command", change.command.as_deref().unwrap_or_default());
            let name = Family::NewestLargestChangeInfo.name();
            sink.sample(name, &self.labels[labels.clone()], &more, Value::Integer(change.bytes));
        }
    }

    fn running_info(&self, sink: &mut Sink) {
        let mut more = String::new();
        for (labels, view) in &self.running {
            for part in &view.image.parts {
                more.clear();
                label(&mut more, "namespace", &*part.namespace);
                label(&mut more, "workload_kind", &*part.workload_kind);
                label(&mut more, "workload", &*part.workload);
                label(&mut more, "container", &*part.container);
                sink.sample(Family::RunningInfo.name(), &self.labels[labels.clone()], &more, Value::Integer(1));
            }
        }
    }

    fn repository_labels(&self, sink: &mut Sink) {
        let mut more = String::new();
        for (labels, view) in self.repositories.iter().filter(|(_, view)| !view.labels.is_empty()) {
            more.clear();
            view.labels.iter().for_each(|(key, value)| label(&mut more, key, value));
            sink.sample(Family::RepositoryLabels.name(), &self.labels[labels.clone()], &more, Value::Integer(1));
        }
    }
}

fn of_image(family: Family, view: &ImageView) -> Option<Value> {
    let image = &view.image;
    match family {
        Family::ImageCompressedSize => image.compressed_bytes.map(Value::Integer),
        Family::ImageUniqueSize => view.unique_bytes.map(Value::Integer),
        Family::ImageProportionalSize => view.proportional_bytes.map(Value::Float),
        Family::ImageUncompressedSize => view.uncompressed.map(|(bytes, _)| Value::Integer(bytes)),
        Family::ImageUncompressedSizeEstimated => {
            view.uncompressed.map(|(_, estimated)| Value::Integer(estimated.into()))
        }
        Family::ImageUnpackedSize => view.unpacked_bytes.map(Value::Integer),
        Family::ImageWastedSize => view.wasted_bytes.map(Value::Integer),
        Family::ImageConfigSize => Some(Value::Integer(image.config_bytes)),
        Family::ImageManifestSize => Some(Value::Integer(image.manifest_bytes)),
        Family::ImageLayers => Some(Value::Integer(image.layers)),
        Family::ImageCreated => image.created.map(Value::Float),
        Family::ImageSizeBudget => view.budget_bytes.map(Value::Integer),
        Family::ImageBaseSize => view.base.as_ref().and_then(|base| base.base.bytes).map(Value::Integer),
        Family::ImageBaseCurrent => {
            view.base.as_ref().and_then(|base| base.is_current).map(|is_current| Value::Integer(is_current.into()))
        }
        _ => None,
    }
}

fn of_tag(family: Family, view: &TagView) -> Option<Value> {
    match family {
        Family::TagStoredSize => view.stored_bytes.map(Value::Integer),
        Family::TagAttestations => view.attestations.map(|count| Value::Integer(count.into())),
        Family::TagUp => view.up.map(|up| Value::Integer(up.into())),
        Family::TagLastSuccess => view.last_success.map(Value::Float),
        Family::TagChanged => view.changed.map(Value::Float),
        _ => None,
    }
}

fn of_newest(family: Family, view: &NewestView) -> Option<Value> {
    match family {
        Family::NewestCompressedSize => Some(Value::Integer(view.release.compressed_bytes)),
        Family::NewestPreviousCompressedSize => {
            view.previous.as_ref().map(|release| Value::Integer(release.compressed_bytes))
        }
        Family::NewestUpdateSize => view.update_bytes.map(Value::Integer),
        _ => None,
    }
}

fn of_repository(family: Family, view: &RepositoryView) -> Option<Value> {
    match family {
        Family::RepositoryStoredSize => view.stored_bytes.map(Value::Integer),
        Family::RepositoryUniqueSize => view.unique_bytes.map(Value::Integer),
        Family::RepositoryProportionalSize => view.proportional_bytes.map(Value::Float),
        Family::RepositoryMetadataSize => view.metadata_bytes.map(Value::Integer),
        Family::RepositoryTags => view.tags_selected.map(Value::Integer),
        Family::RepositoryTagsUnknown => view.tags_unknown.map(Value::Integer),
        _ => None,
    }
}

fn of_group(family: Family, view: &GroupView) -> Option<Value> {
    match family {
        Family::GroupStoredSize => Some(Value::Integer(view.usage.stored_bytes)),
        Family::GroupUniqueSize => Some(Value::Integer(view.usage.unique_bytes)),
        Family::GroupProportionalSize => Some(Value::Float(view.usage.proportional_bytes)),
        _ => None,
    }
}

fn of_registry(family: Family, view: &RegistryView) -> Option<Value> {
    match family {
        Family::RegistryStoredSize => view.stored_bytes.filter(|_| !view.elsewhere.is_told).map(Value::Integer),
        _ => None,
    }
}

fn of_repository_policy(family: Family, view: &ReclaimableView) -> Option<Value> {
    match family {
        Family::RepositoryReclaimableSize => view.bytes.map(Value::Integer),
        Family::RepositoryReclaimableTags => view.tags.map(Value::Integer),
        _ => None,
    }
}

fn of_running(family: Family, view: &RunningView) -> Option<Value> {
    match family {
        Family::RunningContainers => Some(Value::Integer(view.image.containers)),
        Family::RunningNodes => view.image.nodes.map(Value::Integer),
        Family::RunningOutdatedContainers => view.outdated.map(Value::Integer),
        _ => None,
    }
}

fn of_registry_policy(family: Family, view: &ReclaimableView) -> Option<Value> {
    match family {
        Family::RegistryReclaimableSize => view.bytes.map(Value::Integer),
        _ => None,
    }
}
