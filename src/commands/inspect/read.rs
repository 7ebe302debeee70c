//! Reads one reference as the daemon reads it.

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::sync::Arc;

use super::error::InspectError;
use super::known::KnownLayers;
use super::nearest;
use super::progress::Progress;
use super::report::{BaseReport, FailedReport, ImageReport, Report};
use super::sharing::Sharing;
use crate::image::{Image, Layer, LayerContent, Unpacked};
use crate::layer::{SociIndexes, Wanted};
use crate::oci::{Descriptor, Digest, ImageConfig, MediaType, Platform, PlatformFilter, Reason, Reference, Repository};
use crate::registry::{At, Client, Registries};
use crate::scan::Children;
use crate::store::{Store, Stored};
use crate::tag::{BaseNames, LayerRequest};
use crate::target::Uncompressed;
use crate::{layer, scan};

/// What to read.
pub(in crate::commands) struct ReadOptions<'a> {
    pub(in crate::commands) platform: Option<&'a Platform>,
    pub(in crate::commands) uncompressed: Uncompressed,
    pub(in crate::commands) sharing: Option<&'a Sharing>,
    /// Whether the layers' files are listed, which `exact` can.
    pub(in crate::commands) files: bool,
}

/// Reads a reference, its platforms and their configs and, if wanted, its layers. Layers that are `known` are not fetched;
/// others become known.
pub(in crate::commands) async fn read(
    registries: &Registries,
    reference: &Reference,
    options: &ReadOptions<'_>,
    known: &mut KnownLayers,
    progress: &mut Progress<'_, impl Write>,
) -> Result<Report, InspectError> {
    let repository = &reference.repository;
    let client = registries.client(repository.registry());
    let at = match (&reference.digest, &reference.tag) {
        (Some(digest), _) => At::Digest(digest),
        (None, Some(tag)) => At::Tag(tag),
        (None, None) => return Err(InspectError::Nameless),
    };
    let store = Store::memory();
    let fetched = match scan::fetch_document(&client, &store, repository, at).await {
        Ok(fetched) => fetched,
        Err(source) => {
            let remedy = match at {
                At::Tag(tag) if source.reason() == Reason::NotFound => nearest::remedy(&client, repository, tag).await,
                At::Tag(_) | At::Digest(_) => None,
            };
            return Err(InspectError::Read { source, remedy });
        }
    };
    let existing = existing_platforms(&fetched.document);
    let platforms = PlatformFilter::from(Vec::from_iter(options.platform.cloned()));
    let (media_type, index_bytes, children) = match fetched.document {
        Stored::Index(index) => {
            let children = scan::read_children(&client, &store, repository, &platforms, &fetched.digest, &index).await;
            (index.media_type.clone(), index.bytes, children)
        }
        Stored::Image(image) => {
            let fits = platforms.includes(&image.platform);
            let images = if fits { vec![Arc::clone(&image)] } else { Vec::new() };
            (image.media_type.clone(), 0, Children { images, ..Children::default() })
        }
    };
    if let Some(platform) = options.platform
        && children.images.is_empty()
        && children.failed.is_empty()
    {
        return Err(InspectError::Platform { reference: reference.to_string(), platform: platform.clone(), existing });
    }
    if children.images.is_empty()
        && let Some(error) = children.errors.into_iter().next()
    {
        return Err(error.into());
    }
    let contents = uncompressed(&client, repository, &children.images, options, known, progress).await;
    let mut images = Vec::new();
    for image in &children.images {
        let config = config(&client, repository, image).await;
        let content = |layer: &Layer| contents.get(&layer.digest).copied();
        let base = base(&store, image, &fetched.digest);
        images.push(ImageReport { base, ..ImageReport::new(image, config.as_ref(), content, options.sharing) });
    }
    let failed = children.failed.into_iter().map(|child| FailedReport {
        platform: child.platform.to_string(),
        digest: child.digest,
        reason: child.reason,
    });
    Ok(Report {
        reference: reference.to_string(),
        digest: fetched.digest,
        media_type,
        index_bytes,
        attestations: children.attestations,
        stored_bytes: stored_bytes(children.images.iter().map(|image| &**image)),
        images,
        failed: failed.collect(),
    })
}

/// The base that an image's annotations name, or else those of the index that the reference points at.
fn base(store: &Store, image: &Image, root: &Digest) -> Option<BaseReport> {
    let by_manifest = store.base_names(&image.digest);
    let by_index = if *root == image.digest { None } else { store.base_names(root) };
    BaseNames::of_image(by_manifest.as_deref(), by_index.as_deref(), &image.digest).map(BaseReport::new)
}

/// The platforms that a document has, as far as it says.
fn existing_platforms(document: &Stored) -> Vec<Platform> {
    let platforms: Vec<&Platform> = match document {
        Stored::Image(image) => vec![&image.platform],
        Stored::Index(index) => index
            .entries
            .iter()
            .filter(|entry| !entry.attestation)
            .filter_map(|entry| entry.platform.as_ref())
            .collect(),
    };
    let mut seen = HashSet::new();
    platforms.into_iter().filter(|platform| seen.insert(*platform)).cloned().collect()
}

/// Reads the config again for its history, which scans do not store. Without it the layers have no commands.
async fn config(client: &Client, repository: &Repository, image: &Image) -> Option<ImageConfig> {
    let descriptor = Descriptor {
        media_type: MediaType::default(),
        digest: image.image_id.clone()?,
        size: image.config_bytes,
        annotations: crate::oci::Annotations::default(),
        data: None,
        artifact_type: String::new(),
        platform: crate::oci::PlatformFields::default(),
    };
    let body = client.get_config(repository, &descriptor).await.ok()?;
    ImageConfig::parse(&body).ok()
}

async fn uncompressed(
    client: &Client,
    repository: &Repository,
    images: &[Arc<Image>],
    options: &ReadOptions<'_>,
    known: &mut KnownLayers,
    progress: &mut Progress<'_, impl Write>,
) -> HashMap<Digest, LayerContent> {
    let mut contents: HashMap<Digest, LayerContent> = HashMap::new();
    let mode = options.uncompressed;
    if mode == Uncompressed::Off {
        return contents;
    }
    let indexes = SociIndexes::default();
    for (image, layer) in images.iter().flat_map(|image| image.layers.iter().map(move |layer| (image, layer))) {
        if contents.contains_key(&layer.digest) {
            continue;
        }
        let Some(request) = LayerRequest::new(repository, image, layer, mode) else { continue };
        if known.get(layer, options.files).is_none() {
            progress.begin(&layer.digest, request.bytes);
            let listed = options.files.then(|| Wanted { paths_max: known.paths_left(), packages: true });
            let advance = |received| progress.advance(received);
            match layer::probe_now(client, &request, listed, &indexes, advance).await {
                Ok(measured) => {
                    if measured.content.unpacked == Unpacked::Refused {
                        progress.note(
                            &layer.digest,
                            "overlay2 cannot unpack this layer without the ones below: its unpacked size is left out",
                        );
                    }
                    known.insert(layer, &measured);
                }
                Err(why) => progress.note(&layer.digest, &format!("uncompressed size unknown: {why}")),
            }
        }
        if let Some(measured) = known.get(layer, false) {
            contents.insert(layer.digest.clone(), measured.content);
        }
    }
    progress.end();
    contents
}

/// Bytes of the distinct layers that the registry itself holds; none where one is unknown.
pub(in crate::commands) fn stored_bytes<'a>(images: impl Iterator<Item = &'a Image>) -> Option<u64> {
    let layers = images.flat_map(|image| image.layers.iter()).filter(|layer| !layer.foreign);
    let distinct: HashMap<&Digest, Option<u64>> = layers.map(|layer| (&layer.digest, layer.bytes)).collect();
    distinct.into_values().try_fold(0_u64, |sum, bytes| Some(sum.saturating_add(bytes?)))
}
