//! Reads the new image and the old one, and decides by which bytes they are compared.

use std::io::Write;

use super::arguments::{Against, Arguments, Source};
use super::error::CheckError;
use super::{Context, newest};
use crate::commands::inspect::known::KnownLayers;
use crate::commands::inspect::progress::Progress;
use crate::commands::inspect::read::{self, ReadOptions};
use crate::commands::inspect::{ImageReport, InspectError, Report, SizeKind};
use crate::image::{Layer, LayerContent, Unpacked};
use crate::layer::Measured;
use crate::local::{self, LocalError, LocalImages, LocalOptions, Location, Transport};
use crate::oci::{Digest, PlatformFilter, Reference};
use crate::target::Uncompressed;

/// So many releases that turn out not to exist, or to be the new image itself, are passed over.
const PASSED_OVER_MAX: usize = 10;

/// Both images.
pub(super) struct Sides {
    pub(super) kind: SizeKind,
    pub(super) new: Report,
    pub(super) old: Old,
    pub(super) notes: Vec<String>,
    /// What was read of layers.
    pub(super) known: KnownLayers,
}

/// The image to compare with.
pub(super) enum Old {
    /// None was asked for.
    None,
    /// It does not exist.
    Missing { reference: String, message: String },
    /// It was read.
    Read(Box<Report>),
}

/// Reads images.
pub(super) struct Reader<'a, 'p, W> {
    pub(super) context: Context<'a>,
    pub(super) arguments: &'a Arguments,
    pub(super) progress: &'a mut Progress<'p, W>,
}

/// An image that is not on a registry.
struct Local<'a> {
    location: &'a Location,
    images: LocalImages,
}

impl<W: Write> Reader<'_, '_, W> {
    /// Local images are read first: they decide which bytes of a registry's image are needed.
    pub(super) async fn read(&mut self) -> Result<Sides, CheckError> {
        let old_source = match &self.arguments.against {
            Some(Against::Source(source)) => Some(source),
            Some(Against::Newest(_)) | None => None,
        };
        // An engine's unpacked size is compared with the other image's, which takes all of its layers.
        let whole = [Some(&self.arguments.new), old_source].into_iter().flatten().any(is_engine);
        let (new_files, old_files) = (self.arguments.lists_new_files(), self.arguments.files);
        let mut new_local = self.local(&self.arguments.new, whole, new_files).await?;
        let mut missing = None;
        let mut old_local = match old_source {
            None => None,
            Some(source) => match self.local(source, whole, old_files).await {
                Err(CheckError::Local(LocalError::NotFound(message))) => {
                    missing = Some(Old::Missing { reference: source.to_string(), message });
                    None
                }
                other => other?,
            },
        };
        let locals = || [&new_local, &old_local].into_iter().flatten();
        let (kind, note) = size_kind(locals());
        if kind == SizeKind::Uncompressed {
            for local in [&mut new_local, &mut old_local].into_iter().flatten().filter(|local| local.lacks_content()) {
                local.images = self.images(local.location, true, false).await?;
            }
        }
        let locals = || [&new_local, &old_local].into_iter().flatten();
        let mut known = KnownLayers::of_references(2);
        for (layer, measured) in locals().flat_map(Local::measured) {
            if is_enough(measured.content, kind) {
                known.insert(layer, measured);
            }
        }
        let mut notes: Vec<String> = note.into_iter().collect();
        if kind != SizeKind::Compressed {
            notes.extend(locals().flat_map(|local| local.images.notes.iter().cloned()));
        }
        let new = match (&self.arguments.new, &new_local) {
            (Source::Registry(reference), _) => self.registry(reference, kind, new_files, &mut known).await?,
            (Source::Local(_), Some(local)) => self.report(local)?,
            (Source::Local(_), None) => unreachable!("a local image is read or an error"),
        };
        let old = match (&self.arguments.against, missing, &old_local) {
            (None, ..) => Old::None,
            (Some(_), Some(missing), _) => missing,
            (Some(_), None, Some(local)) => Old::from_read(local.location.to_string(), self.report(local))?,
            (Some(Against::Source(Source::Registry(reference))), None, None) => {
                let read = self.registry(reference, kind, old_files, &mut known).await;
                Old::from_read(reference.to_string(), read)?
            }
            (Some(Against::Newest(target)), None, None) => self.newest(target, &new.digest, kind, &mut known).await?,
            (Some(Against::Source(Source::Local(_))), None, None) => {
                unreachable!("a local image is read, missing or an error")
            }
        };
        Ok(Sides { kind, new, old, notes, known })
    }

    /// Reads an image on a registry.
    pub(super) async fn registry(
        &mut self,
        reference: &Reference,
        kind: SizeKind,
        files: bool,
        known: &mut KnownLayers,
    ) -> Result<Report, CheckError> {
        let uncompressed = match kind {
            _ if files => Uncompressed::Exact,
            SizeKind::Compressed => Uncompressed::Off,
            SizeKind::Uncompressed => self.arguments.uncompressed,
            SizeKind::Unpacked => Uncompressed::Exact,
        };
        let options = ReadOptions { platform: self.arguments.platform.as_ref(), uncompressed, sharing: None, files };
        Ok(read::read(self.context.registries, reference, &options, known, self.progress).await?)
    }

    /// Reads the newest release of a target. The tag that is judged is passed over, and so is any release that is the
    /// same image where that tag is no release itself.
    async fn newest(
        &mut self,
        name: &str,
        new: &Digest,
        kind: SizeKind,
        known: &mut KnownLayers,
    ) -> Result<Old, CheckError> {
        let missing = |message: String| Old::Missing { reference: format!("newest:{name}"), message };
        let releases = match newest::releases(self.context, name, self.arguments.pushed_as()).await {
            Ok(releases) => releases,
            Err(error) if error.is_missing() => return Ok(missing(error.to_string())),
            Err(error) => return Err(error),
        };
        let repository = releases.repository;
        for tag in releases.tags.into_iter().take(PASSED_OVER_MAX) {
            let reference = Reference { repository: repository.clone(), tag: Some(tag), digest: None };
            let read = self.registry(&reference, kind, self.arguments.files, known).await;
            match Old::from_read(reference.to_string(), read)? {
                Old::Read(old) if releases.is_release || old.digest != *new => return Ok(Old::Read(old)),
                Old::Read(_) | Old::Missing { .. } | Old::None => {}
            }
        }
        Ok(missing(format!("{repository} has no release before this one that target `{name}` selects")))
    }

    async fn local<'s>(
        &mut self,
        source: &'s Source,
        whole: bool,
        files: bool,
    ) -> Result<Option<Local<'s>>, CheckError> {
        match source {
            Source::Registry(_) => Ok(None),
            Source::Local(location) => Ok(Some(Local { location, images: self.images(location, whole, files).await? })),
        }
    }

    async fn images(&mut self, location: &Location, whole: bool, files: bool) -> Result<LocalImages, CheckError> {
        let platforms: PlatformFilter = self.arguments.platform.iter().cloned().collect();
        let options = LocalOptions { platforms: &platforms, whole, files, engine: self.context.engine };
        self.progress.say(&format!("reading {location}"));
        let read = local::read(location, options).await;
        self.progress.end();
        Ok(read?)
    }

    /// A local image as `inspect` reports one on a registry.
    fn report(&self, local: &Local<'_>) -> Result<Report, CheckError> {
        let reference = local.location.to_string();
        let LocalImages { digest, media_type, index_bytes, attestations, images, contents, .. } = &local.images;
        let digest = match (digest, &self.arguments.platform) {
            (Some(digest), None) => digest.clone(),
            (Some(digest), Some(_)) if !images.is_empty() => digest.clone(),
            (_, Some(platform)) => {
                let existing = Vec::new();
                return Err(InspectError::Platform { reference, platform: platform.clone(), existing }.into());
            }
            (None, None) => return Err(InspectError::Nameless.into()),
        };
        let content = |layer: &Layer| contents.get(&layer.digest).map(|measured| measured.content);
        let report = |image: &local::LocalImage| ImageReport::new(&image.image, image.config.as_ref(), content, None);
        Ok(Report {
            reference,
            digest,
            media_type: media_type.clone(),
            index_bytes: *index_bytes,
            attestations: *attestations,
            images: images.iter().map(report).collect(),
            failed: Vec::new(),
            stored_bytes: read::stored_bytes(images.iter().map(|image| &image.image)),
        })
    }
}

impl Old {
    /// The image that was read, if it exists and has the platform.
    pub(super) fn from_read(reference: String, read: Result<Report, CheckError>) -> Result<Self, CheckError> {
        match read {
            Ok(report) => Ok(Self::Read(Box::new(report))),
            Err(error) if error.is_missing() => {
                Ok(Self::Missing { reference, message: error.to_string().replace('\n', "; ") })
            }
            Err(error) => Err(error),
        }
    }
}

impl Local<'_> {
    fn layers(&self) -> impl Iterator<Item = &Layer> {
        self.images.images.iter().flat_map(|image| image.image.layers.iter())
    }

    fn lacks_content(&self) -> bool {
        self.layers().any(|layer| !self.images.contents.contains_key(&layer.digest))
    }

    fn measured(&self) -> impl Iterator<Item = (&Layer, &Measured)> {
        self.layers().filter_map(|layer| Some((layer, self.images.contents.get(&layer.digest)?)))
    }
}

/// Compressed bytes where every image has them, and why not.
fn size_kind<'a>(locals: impl Iterator<Item = &'a Local<'a>>) -> (SizeKind, Option<String>) {
    let mut open = None;
    for local in locals {
        if local.location.transport == Transport::DockerDaemon {
            let note = format!("unpacked sizes are compared: {} has no others to compare", local.location);
            return (SizeKind::Unpacked, Some(note));
        }
        if local.layers().any(|layer| layer.bytes.is_none()) {
            open.get_or_insert_with(|| format!("{} has layers that are not compressed", local.location));
        }
    }
    match open {
        Some(why) => (SizeKind::Uncompressed, Some(format!("uncompressed sizes are compared: {why}"))),
        None => (SizeKind::Compressed, None),
    }
}

/// Whether a layer's content has what is compared.
fn is_enough(content: LayerContent, kind: SizeKind) -> bool {
    kind != SizeKind::Unpacked || content.unpacked != Unpacked::Unknown
}

fn is_engine(source: &Source) -> bool {
    matches!(source, Source::Local(location) if location.transport == Transport::DockerDaemon)
}
