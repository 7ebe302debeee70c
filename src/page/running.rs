//! What runs, as the sources see it.

use serde::Serialize;

use super::address::{Address, ImageName, Place};
use super::find;
use super::top::Top;
use crate::image::Timestamp;
use crate::inventory::Snapshot;
use crate::inventory::snapshot::{RunningView, TagView};
use crate::metrics::own::SourceState;

/// Images of which the nodes pull most.
const ROWS_MAX: usize = 10;

/// An image that runs, and where.
#[derive(Serialize)]
pub(super) struct RunningRow {
    pub(super) source: String,
    pub(super) image: String,
    pub(super) containers: u64,
    /// On how many nodes, where the source knows.
    pub(super) nodes: Option<u64>,
    /// Containers whose digest the tag no longer has, where that is known.
    pub(super) outdated: Option<u64>,
    pub(super) compressed_bytes: Option<u64>,
    #[serde(skip)]
    pub(super) link: String,
}

/// A source, and how it answers.
#[derive(Serialize)]
pub(super) struct SourceRow<'a> {
    pub(super) source: &'a str,
    /// `None` before it was asked to the end.
    pub(super) up: Option<bool>,
    pub(super) last_success: Option<Timestamp>,
    pub(super) images: Option<u64>,
    pub(super) skipped_containers: Option<u64>,
}

impl<'a> SourceRow<'a> {
    pub(super) fn new(state: &'a SourceState) -> Self {
        Self {
            source: &state.name.0,
            up: state.up,
            last_success: state.last_success,
            images: state.images,
            skipped_containers: state.skipped,
        }
    }
}

/// The images of which all nodes together pull most; where no nodes are known, one for each container counts.
pub(super) fn running(snapshot: &Snapshot) -> Vec<RunningRow> {
    let mut top = Top::new(ROWS_MAX);
    for source in &snapshot.sources {
        for view in &source.images {
            let bytes = compressed_bytes(snapshot, view);
            let copies = view.image.nodes.unwrap_or(view.image.containers);
            top.add(bytes.unwrap_or_default().saturating_mul(copies), (source, view, bytes));
        }
    }
    let row = |(source, view, bytes): &(&std::sync::Arc<_>, &RunningView, Option<u64>)| {
        let source: &crate::inventory::snapshot::SourceView = source;
        let name = ImageName::new(&view.image.repository, &view.image.tag);
        RunningRow {
            source: source.source.to_string(),
            image: name.to_string(),
            containers: view.image.containers,
            nodes: view.image.nodes,
            outdated: view.outdated,
            compressed_bytes: *bytes,
            link: Address::of(Place::Image(name)).link(),
        }
    };
    top.iter().map(row).collect()
}

fn compressed_bytes(snapshot: &Snapshot, view: &RunningView) -> Option<u64> {
    find::image(tag(snapshot, view)?, None)?.image.compressed_bytes
}

/// The tag that runs, by halving: a source may see thousands.
fn tag<'a>(snapshot: &'a Snapshot, view: &RunningView) -> Option<&'a TagView> {
    let repository = &view.image.repository;
    let registry = snapshot.registries.iter().find(|one| one.registry == *repository.registry())?;
    let place = registry.repositories.binary_search_by(|one| one.repository.cmp(repository)).ok()?;
    let tags = &registry.repositories[place].tags;
    tags.binary_search_by(|one| one.tag.cmp(&view.image.tag)).ok().map(|place| &tags[place])
}
