//! Reads everything that may hold a blob: each tag of each repository that a target selects from, selected or not, with
//! all that its manifest reaches.

use std::collections::{BTreeMap, HashSet};
use std::io::Write;
use std::sync::Arc;

use futures_util::{StreamExt as _, stream};

use crate::commands::history::Failure;
use crate::commands::inspect::progress::Progress;
use crate::image::{Image, Timestamp};
use crate::oci::{Digest, Location, Reason, Registry, Repository, Tag};
use crate::registry::{At, Client, Registries};
use crate::retention::{Blob, Document};
use crate::scan::{self, FetchedDocument, ReadError, discovery};
use crate::store::{IndexEntry, Store, Stored};
use crate::tag::ListExtent;
use crate::target::{Target, TargetName};

/// Tags that are read at the same time. The client bounds requests; this bounds memory.
const TAGS_UNDER_WAY: usize = 16;

/// A list with more tags is cut, and the repository is not judged.
const TAGS_MAX: usize = 1_000_000;

/// A tag that reaches more manifests is not judged.
const DOCUMENTS_MAX: usize = 10_000;

/// A registry, as far as targets select from it.
pub(super) struct ReadRegistry {
    pub(super) registry: Registry,
    /// By name.
    pub(super) repositories: Vec<ReadRepository>,
    /// Whether the catalog could not be read wholly: repositories that share blobs may be missing.
    pub(super) is_partial: bool,
}

/// A repository.
pub(super) struct ReadRepository {
    pub(super) repository: Repository,
    /// All of its tags, those of referrers included.
    pub(super) tags: BTreeMap<Tag, ReadTag>,
    /// Whether its list or a tag could not be read wholly.
    pub(super) is_partial: bool,
}

/// A tag.
pub(super) struct ReadTag {
    /// The targets that select it.
    pub(super) targets: Vec<TargetName>,
    /// `None` where it could not be read wholly.
    pub(super) content: Option<Content>,
}

/// What a tag points at.
pub(super) struct Content {
    /// What it points at, and all manifests that are reached from there.
    pub(super) documents: Vec<Document>,
    /// When the latest of its images was created; `None` where one does not say.
    pub(super) created: Option<Timestamp>,
}

impl Content {
    /// The digest that the tag points at.
    pub(super) fn digest(&self) -> &Digest {
        &self.documents[0].digest
    }
}

/// Reads a registry, and notes what could not be read.
pub(super) async fn read(
    registries: &Registries,
    registry: &Registry,
    targets: &[Arc<Target>],
    errors: &mut Vec<Failure>,
    progress: &mut Progress<'_, impl Write>,
) -> ReadRegistry {
    let client = registries.client(registry);
    let mut read = ReadRegistry { registry: registry.clone(), repositories: Vec::new(), is_partial: false };
    let mut selected: BTreeMap<Repository, BTreeMap<Tag, Vec<TargetName>>> = BTreeMap::new();
    let mut cut = HashSet::new();
    for target in targets {
        progress.say(&format!("{registry}: listing"));
        let discovery = discovery::discover(&client, target).await;
        errors.extend(discovery.errors.iter().map(|error| failed(error.reason(), error.to_string())));
        read.is_partial |= discovery.discovered.catalog != ListExtent::Whole;
        for one in discovery.discovered.repositories {
            if one.list != ListExtent::Whole {
                cut.insert(one.repository.clone());
            }
            let tags = selected.entry(one.repository).or_default();
            for tag in one.tags {
                tags.entry(tag).or_default().push(target.name.clone());
            }
        }
    }
    let store = Store::memory();
    for (repository, mut tags) in selected {
        let mut is_partial = cut.contains(&repository);
        match client.list_every_tag(&repository, TAGS_MAX).await {
            Ok(list) => {
                is_partial |= list.cut || list.stopped.is_some();
                errors.extend(list.stopped.map(|error| failed(error.reason(), error.to_string())));
                for tag in list.tags {
                    tags.entry(tag).or_default();
                }
            }
            // A repository without tags.
            Err(error) if error.reason() == Reason::NotFound => {}
            Err(error) => {
                is_partial = true;
                let failure = failed(error.reason(), error.to_string());
                // Discovery has said it where it reads the same list.
                if !errors.contains(&failure) {
                    errors.push(failure);
                }
            }
        }
        let tags = read_tags(&client, &store, &repository, tags, errors, progress).await;
        is_partial |= tags.values().any(|tag| tag.content.is_none());
        read.repositories.push(ReadRepository { repository, tags, is_partial });
    }
    read
}

async fn read_tags(
    client: &Client,
    store: &Store,
    repository: &Repository,
    tags: BTreeMap<Tag, Vec<TargetName>>,
    errors: &mut Vec<Failure>,
    progress: &mut Progress<'_, impl Write>,
) -> BTreeMap<Tag, ReadTag> {
    let total = tags.len();
    let read = async |(tag, targets): (Tag, Vec<TargetName>)| {
        let content = read_tag(client, store, repository, &tag).await;
        (tag, targets, content)
    };
    let mut reads = stream::iter(tags).map(read).buffered(TAGS_UNDER_WAY);
    let mut read = BTreeMap::new();
    let mut count = 0;
    while let Some((tag, targets, content)) = reads.next().await {
        count += 1;
        progress.say(&format!("{repository}: {count} of {total} tags"));
        match content {
            Ok(content) => drop(read.insert(tag, ReadTag { targets, content: Some(content) })),
            // It is configured, or was listed, and is not there.
            Err(failure) if failure.reason == Reason::NotFound => {}
            Err(failure) => {
                errors.push(failure);
                read.insert(tag, ReadTag { targets, content: None });
            }
        }
    }
    read
}

/// Reads a tag with every manifest that it reaches. A failure is that of any of them: what cannot be read may hold
/// anything.
async fn read_tag(client: &Client, store: &Store, repository: &Repository, tag: &Tag) -> Result<Content, Failure> {
    let root = whole(scan::fetch_document(client, store, repository, At::Tag(tag)).await)?;
    let mut walk = Walk { documents: Vec::new(), images: Vec::new(), left: Vec::new(), seen: HashSet::new() };
    walk.seen.insert(root.0.clone());
    walk.add(root, true);
    while let Some(entry) = walk.left.pop() {
        if walk.documents.len() == DOCUMENTS_MAX {
            let message = format!("{}: more than {DOCUMENTS_MAX} manifests", Location::tag(repository, tag));
            return Err(failed(Reason::Limit, message));
        }
        match whole(scan::read_child(client, store, repository, &entry).await) {
            Ok(document) => walk.add(document, !entry.attestation && entry.artifact_type.is_empty()),
            // A sparse index: the registry marks what it names, and there is no more to it.
            Err(failure) if failure.reason == Reason::NotFound => walk.mention(&entry),
            Err(failure) => return Err(failure),
        }
    }
    Ok(Content { created: created(&walk.images), documents: walk.documents })
}

/// The document and its digest. Where a layer's size is unknown, that is a failure.
fn whole(read: Result<FetchedDocument, ReadError>) -> Result<(Digest, Stored), Failure> {
    match read {
        Ok(read) => match read.unknown_size {
            None => Ok((read.digest, read.document)),
            Some(error) => Err(failed(not_absent(error.reason()), error.to_string())),
        },
        Err(error) => Err(failed(error.reason(), error.to_string())),
    }
}

/// The reason of a failure that leaves a tag unread: that a blob is not found does not mean that the tag is not there.
fn not_absent(reason: Reason) -> Reason {
    if reason == Reason::NotFound { Reason::Invalid } else { reason }
}

/// The manifests that a tag reaches, found one after the other.
struct Walk {
    documents: Vec<Document>,
    /// Those of images and artifacts, not of what describes an image in its index.
    images: Vec<Arc<Image>>,
    left: Vec<IndexEntry>,
    seen: HashSet<Digest>,
}

impl Walk {
    fn add(&mut self, (digest, document): (Digest, Stored), is_image: bool) {
        match document {
            Stored::Image(image) => {
                self.documents.push(of_image(&image));
                if is_image {
                    self.images.push(image);
                }
            }
            Stored::Index(index) => {
                self.documents.push(Document { digest, bytes: index.bytes, blobs: Vec::new() });
                for entry in &index.entries {
                    if !scan::names_document(&entry.media_type) {
                        self.mention(entry);
                    } else if self.seen.insert(entry.digest.clone()) {
                        self.left.push(entry.clone());
                    }
                }
            }
        }
    }

    /// What an index names and is no manifest that could be read.
    fn mention(&mut self, entry: &IndexEntry) {
        self.documents[0].blobs.push(Blob { digest: entry.digest.clone(), bytes: None });
    }
}

fn of_image(image: &Image) -> Document {
    let config = image.image_id.iter().map(|config| Blob { digest: config.clone(), bytes: Some(image.config_bytes) });
    let layers = image
        .layers
        .iter()
        .map(|layer| Blob { digest: layer.digest.clone(), bytes: layer.bytes.filter(|_| !layer.foreign) });
    Document { digest: image.digest.clone(), bytes: image.manifest_bytes, blobs: config.chain(layers).collect() }
}

/// When the latest of a tag's images was created; `None` where one does not say, and where there is none.
fn created(images: &[Arc<Image>]) -> Option<Timestamp> {
    let dates: Option<Vec<Timestamp>> = images.iter().map(|image| image.created).collect();
    dates?.into_iter().max_by(f64::total_cmp)
}

fn failed(reason: Reason, message: String) -> Failure {
    Failure { reason, message }
}
