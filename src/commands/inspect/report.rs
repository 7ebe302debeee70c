//! The result of `inspect` as data: the schema of `--json`.
//!
//! Sizes are in bytes, times are RFC 3339, digests are `algorithm:value`. What is unknown is `null`, never 0.

use serde::Serialize;

use crate::files::Listing;
use crate::image::{Image, Layer, LayerContent, Unpacked};
use crate::oci::{Digest, ImageConfig, Location, MediaType, Reason};
use crate::tag::BaseName;

use super::files_report::FilesReport;
use super::sharing::Sharing;

/// One reference.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// With registry and tag or digest, in full.
    pub reference: String,
    /// The digest that the reference points at, computed from the bytes.
    pub digest: Digest,
    /// The media type of the document that the reference points at.
    pub media_type: MediaType,
    /// The index's own bytes; 0 where the reference points at a manifest.
    pub index_bytes: u64,
    /// How many attestation manifests the index has.
    pub attestations: u32,
    /// One for each requested platform, in the index's order.
    pub images: Vec<ImageReport>,
    /// The platforms that could not be read.
    pub failed: Vec<FailedReport>,
    /// Bytes of the distinct layers of all these images: what the registry must keep.
    pub stored_bytes: Option<u64>,
}

/// One platform's image.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ImageReport {
    /// `linux/amd64`; empty for an artifact.
    pub platform: String,
    /// The manifest's.
    pub digest: Digest,
    /// The config's digest, which Docker calls the image ID.
    pub image_id: Option<Digest>,
    /// The manifest's.
    pub media_type: MediaType,
    /// What kind of artifact this is; empty for a container image.
    pub artifact_type: String,
    /// When it was created.
    pub created: Option<String>,
    /// What it is built on, by its annotations or those of its index.
    pub base: Option<BaseReport>,
    /// The config's own bytes.
    pub config_bytes: u64,
    /// The manifest's own bytes.
    pub manifest_bytes: u64,
    /// Sum of the layers as the manifest lists them.
    pub compressed_bytes: Option<u64>,
    /// Sum of the layers' tars; only with `--uncompressed`.
    pub uncompressed_bytes: Option<u64>,
    /// Whether that includes an estimate.
    pub uncompressed_estimated: Option<bool>,
    /// What `docker image inspect` calls `Size` on overlay2; only with `--uncompressed exact`.
    pub unpacked_bytes: Option<u64>,
    /// How it was built, bottom first. Without a usable history one step for each layer.
    pub steps: Vec<Step>,
    /// Its files; only with `--files`, and where they can be known.
    pub files: Option<FilesReport>,
}

/// The image that another one is built on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BaseReport {
    /// With registry and tag, in full.
    pub name: String,
    /// The digest of its manifest or index.
    pub digest: Option<Digest>,
}

impl BaseReport {
    pub(in crate::commands) fn new(base: &BaseName) -> Self {
        let name = match &base.tag {
            Some(tag) => Location::tag(&base.repository, tag).to_string(),
            None => base.repository.to_string(),
        };
        Self { name, digest: base.digest.clone() }
    }
}

/// One step of an image's build.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step {
    /// When.
    pub created: Option<String>,
    /// By which command, as the config has it.
    pub command: Option<String>,
    /// The layer that it created; none for a step that only changed the config.
    pub layer: Option<LayerReport>,
}

/// One layer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayerReport {
    /// Of the compressed blob.
    pub digest: Digest,
    /// Of the tar.
    pub diff_id: Option<Digest>,
    /// As the manifest says.
    pub media_type: MediaType,
    /// Whether it is a foreign layer, which another server distributes.
    pub foreign: bool,
    /// Whether there is nothing in it: no file, no directory, nothing that it removes.
    pub empty: bool,
    /// Of the blob.
    pub compressed_bytes: Option<u64>,
    /// Of the tar; only with `--uncompressed`.
    pub uncompressed_bytes: Option<u64>,
    /// Whether that is an estimate.
    pub uncompressed_estimated: Option<bool>,
    /// Of the files as Docker unpacks them; only with `--uncompressed exact`.
    pub unpacked_bytes: Option<u64>,
    /// How many files it has, hard links counted once; only with `--files`.
    pub files: Option<u64>,
    /// How many watched images have it; only with a readable state file.
    pub shared_by: Option<u64>,
}

/// Which of its sizes a layer is compared by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SizeKind {
    /// Bytes of the blob: what a pull transfers.
    Compressed,
    /// Bytes of the tar.
    Uncompressed,
    /// Bytes of the files, as Docker unpacks them.
    Unpacked,
}

impl SizeKind {
    /// The layer's bytes, where they are known.
    pub fn of(self, layer: &LayerReport) -> Option<u64> {
        match self {
            Self::Compressed => layer.compressed_bytes,
            Self::Uncompressed => layer.uncompressed_bytes,
            Self::Unpacked => layer.unpacked_bytes,
        }
    }

    /// The image's bytes, where all of its layers' are known.
    pub fn of_image(self, image: &ImageReport) -> Option<u64> {
        match self {
            Self::Compressed => image.compressed_bytes,
            Self::Uncompressed => image.uncompressed_bytes,
            Self::Unpacked => image.unpacked_bytes,
        }
    }
}

/// One platform that could not be read.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FailedReport {
    /// As the index says.
    pub platform: String,
    /// Its manifest.
    pub digest: Digest,
    /// The reason, as in metrics.
    pub reason: Reason,
}

impl ImageReport {
    /// Pairs layers with the history's steps if the history has as many layers as the manifest.
    pub(in crate::commands) fn new(
        image: &Image,
        config: Option<&ImageConfig>,
        content: impl Fn(&Layer) -> Option<LayerContent>,
        sharing: Option<&Sharing>,
    ) -> Self {
        let contents: Vec<Option<LayerContent>> = image.layers.iter().map(&content).collect();
        let layers: Vec<LayerReport> = image
            .layers
            .iter()
            .zip(&contents)
            .map(|(layer, content)| LayerReport::new(layer, *content, sharing))
            .collect();
        let sum = |part: fn(&LayerContent) -> Option<u64>| {
            contents.iter().try_fold(0_u64, |sum, content| Some(sum.saturating_add(part(content.as_ref()?)?)))
        };
        let uncompressed_bytes = sum(|content| Some(content.uncompressed_bytes));
        Self {
            platform: image.platform.to_string(),
            digest: image.digest.clone(),
            image_id: image.image_id.clone(),
            media_type: image.media_type.clone(),
            artifact_type: image.artifact_type.to_string(),
            created: image.created.and_then(rfc3339),
            base: None,
            config_bytes: image.config_bytes,
            manifest_bytes: image.manifest_bytes,
            compressed_bytes: image.compressed_bytes(),
            uncompressed_bytes,
            uncompressed_estimated: uncompressed_bytes
                .map(|_| contents.iter().flatten().any(|content| content.estimated)),
            unpacked_bytes: sum(|content| content.unpacked.bytes()),
            steps: steps(layers, config),
            files: None,
        }
    }

    /// The layers, bottom first.
    pub(in crate::commands) fn layers(&self) -> impl Iterator<Item = (&Step, &LayerReport)> {
        self.steps.iter().filter_map(|step| Some((step, step.layer.as_ref()?)))
    }
}

impl LayerReport {
    fn new(layer: &Layer, content: Option<LayerContent>, sharing: Option<&Sharing>) -> Self {
        // Two blocks of zeros: the tar that builders write for a step without changes.
        let nothing = layer.diff_id.as_ref().is_some_and(|diff_id| *diff_id == Digest::sha256_of(&EMPTY_TAR));
        // A shorter tar has no room for an entry and these blocks.
        let is_short =
            |content: LayerContent| !content.estimated && content.uncompressed_bytes <= EMPTY_TAR.len() as u64;
        Self {
            digest: layer.digest.clone(),
            diff_id: layer.diff_id.clone(),
            media_type: layer.media_type.clone(),
            foreign: layer.foreign,
            empty: nothing
                || content.is_some_and(|content| content.unpacked == Unpacked::Bytes(0) && is_short(content)),
            compressed_bytes: layer.bytes,
            uncompressed_bytes: content.map(|content| content.uncompressed_bytes),
            uncompressed_estimated: content.map(|content| content.estimated),
            unpacked_bytes: content.and_then(|content| content.unpacked.bytes()),
            files: None,
            shared_by: sharing.map(|sharing| sharing.count(&layer.digest)),
        }
    }

    /// Adds what is listed in it.
    pub(super) fn list(&mut self, listing: &Listing) {
        self.empty = listing.paths() == 0;
        self.files = Some(listing.inodes().len() as u64);
    }
}

/// A tar without entries.
const EMPTY_TAR: [u8; 1024] = [0; 1024];

fn steps(layers: Vec<LayerReport>, config: Option<&ImageConfig>) -> Vec<Step> {
    let history = config.map_or(&[][..], |config| &config.history);
    if history.iter().filter(|step| !step.empty_layer).count() != layers.len() {
        return layers.into_iter().map(|layer| Step { created: None, command: None, layer: Some(layer) }).collect();
    }
    let mut layers = layers.into_iter();
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let step = |step: &crate::oci::History| Step {
        created: text(&step.created),
        command: text(&step.created_by).or_else(|| text(&step.comment)),
        layer: if step.empty_layer { None } else { layers.next() },
    };
    history.iter().map(step).collect()
}

fn rfc3339(seconds: f64) -> Option<String> {
    jiff::Timestamp::from_duration(jiff::SignedDuration::try_from_secs_f64(seconds).ok()?).ok().map(|at| at.to_string())
}

/// The platforms in which two images can be compared: the same, or the only ones.
pub(in crate::commands) fn pairs<'a>(
    old: &'a [ImageReport],
    new: &'a [ImageReport],
) -> Vec<(&'a ImageReport, &'a ImageReport)> {
    if let ([old], [new]) = (old, new) {
        return vec![(old, new)];
    }
    old.iter().filter_map(|old| Some((old, new.iter().find(|new| new.platform == old.platform)?))).collect()
}
