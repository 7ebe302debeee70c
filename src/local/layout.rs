//! An OCI image layout, as a directory or in an archive (OCI image layout specification).

use std::collections::BTreeSet;

use super::blob::Depth;
use super::contents::{Contents, blob_name};
use super::docker::note;
use super::error::LocalError;
use super::{LocalImage, LocalImages};
use crate::image::{ConfigFacts, Image, Layer, is_container_image};
use crate::oci::annotations::{CONTAINERD_NAME, REF_NAME};
use crate::oci::{
    Descriptor, Digest, DistinctPlatforms, Document, ImageConfig, Index, Manifest, MediaType, PlatformFilter,
};

/// The file that lists the images.
pub(super) const INDEX: &str = "index.json";

/// Indexes are nested at most this deep, as in a registry.
const NESTING_MAX: usize = 4;

/// At most so many manifests in one layout, over all nested indexes.
const MANIFESTS_MAX: usize = 1000;

/// Reads the image that `name` names, or the only one.
pub(super) fn read(
    contents: &Contents,
    name: Option<&str>,
    platforms: &PlatformFilter,
    depth: Depth,
) -> Result<LocalImages, LocalError> {
    let bytes = contents
        .document(INDEX)?
        .ok_or_else(|| LocalError::NotFound(format!("`{INDEX}` is missing: this is not an OCI layout")))?;
    let Document::Index(index) = parse(MediaType::OCI_INDEX, &bytes, INDEX)? else {
        return Err(LocalError::Invalid(format!("`{INDEX}` is not an index")));
    };
    let entries = selected(&index, name)?;
    let mut reader = Reader {
        contents,
        platforms,
        depth,
        found: LocalImages::default(),
        distinct: DistinctPlatforms::default(),
        manifests: 0,
        missing: None,
    };
    // An index of one entry stands for that entry: its digest is what a push makes the tag point at.
    if let [entry] = &entries[..] {
        reader.found.digest = Some(entry.digest.clone());
        reader.found.media_type = entry.media_type.clone();
    } else {
        reader.found.digest = Some(Digest::sha256_of(&bytes));
        reader.found.media_type = index.media_type.clone();
        reader.found.index_bytes = bytes.len() as u64;
    }
    for entry in entries {
        reader.entry(entry, 1)?;
    }
    match reader.missing {
        Some(missing) if reader.found.images.is_empty() => Err(missing),
        _ => Ok(reader.found),
    }
}

/// The entries of one image: those that `name` names, or all where they have one name or none.
fn selected<'a>(index: &'a Index, name: Option<&str>) -> Result<Vec<&'a Descriptor>, LocalError> {
    let names = |entry: &'a Descriptor| {
        [CONTAINERD_NAME, REF_NAME].into_iter().filter_map(|key| entry.annotations.get(key)).collect::<Vec<&str>>()
    };
    let all: BTreeSet<&str> = index.manifests.iter().filter_map(|entry| names(entry).first().copied()).collect();
    let listed = || all.iter().copied().collect::<Vec<&str>>().join(", ");
    match name {
        Some(name) => {
            let entries: Vec<_> = index.manifests.iter().filter(|entry| names(entry).contains(&name)).collect();
            if entries.is_empty() {
                return Err(LocalError::NotFound(format!("no image is named `{name}`: it holds {}", listed())));
            }
            Ok(entries)
        }
        None if all.len() > 1 => Err(LocalError::Several(listed())),
        None if index.manifests.is_empty() => Err(LocalError::Invalid(format!("`{INDEX}` lists no image"))),
        None => Ok(index.manifests.iter().collect()),
    }
}

struct Reader<'a> {
    contents: &'a Contents,
    platforms: &'a PlatformFilter,
    depth: Depth,
    found: LocalImages,
    distinct: DistinctPlatforms,
    manifests: usize,
    /// A manifest that is listed and not there. Other images are read all the same: an engine saves only the platform
    /// that it has pulled.
    missing: Option<LocalError>,
}

impl Reader<'_> {
    fn entry(&mut self, entry: &Descriptor, depth: usize) -> Result<(), LocalError> {
        self.manifests += 1;
        if self.manifests > MANIFESTS_MAX || depth > NESTING_MAX {
            return Err(LocalError::Invalid(format!(
                "more than {MANIFESTS_MAX} manifests, or indexes nested more than {NESTING_MAX} deep"
            )));
        }
        if entry.is_attestation() {
            self.found.attestations += 1;
            return Ok(());
        }
        let listed = entry.platform.normal();
        if !listed.as_str().is_empty() && !self.platforms.includes(&listed) {
            return Ok(());
        }
        let name = blob_name(&entry.digest);
        let Some(bytes) = self.contents.by_digest(&entry.digest)? else {
            self.missing = Some(LocalError::Invalid(format!("`{name}`, which is listed, is missing")));
            return Ok(());
        };
        match parse(entry.media_type.as_str(), &bytes, &name)? {
            Document::Index(index) => {
                self.found.index_bytes += bytes.len() as u64;
                index.manifests.iter().try_for_each(|entry| self.entry(entry, depth + 1))
            }
            Document::Manifest(manifest) => self.manifest(entry, &manifest, bytes.len() as u64),
            Document::Schema1(_) => Err(LocalError::Invalid(format!("`{name}` is of schema 1, which no layout holds"))),
        }
    }

    fn manifest(&mut self, entry: &Descriptor, manifest: &Manifest, bytes: u64) -> Result<(), LocalError> {
        let config = match &manifest.config {
            Some(config) if is_container_image(manifest) => {
                let name = blob_name(&config.digest);
                let body = self
                    .contents
                    .by_digest(&config.digest)?
                    .ok_or_else(|| LocalError::Invalid(format!("`{name}`, the image's config, is missing")))?;
                Some(ImageConfig::parse(&body).map_err(|error| LocalError::Invalid(format!("`{name}`: {error}")))?)
            }
            _ => None,
        };
        let facts = config.clone().map(ConfigFacts::from);
        let mut image = Image::from_manifest(entry.digest.clone(), bytes, manifest, facts.as_ref());
        let listed = entry.platform.normal();
        if !listed.as_str().is_empty() {
            image.platform = listed;
        }
        if !self.platforms.includes(&image.platform) {
            return Ok(());
        }
        image.platform = self.distinct.next(&image.platform, image.compression());
        let layers: Result<Vec<Layer>, LocalError> = image.layers.iter().map(|layer| self.layer(layer)).collect();
        image.layers = layers?.into();
        self.found.images.push(LocalImage { image, config });
        Ok(())
    }

    /// The layer as it is stored. One that is not compressed has no compressed size.
    fn layer(&mut self, listed: &Layer) -> Result<Layer, LocalError> {
        let name = blob_name(&listed.digest);
        let Some(blob) = self.contents.blob(&name, self.depth)? else {
            if listed.foreign {
                return Ok(listed.clone());
            }
            return Err(LocalError::Invalid(format!("the layer `{name}` is missing")));
        };
        self.depth = self.depth.after(&blob);
        if listed.bytes != Some(blob.bytes) {
            return Err(LocalError::Invalid(format!(
                "`{name}` has {} bytes, and its manifest says {}",
                blob.bytes,
                listed.bytes.unwrap_or(0)
            )));
        }
        let mut layer = listed.clone();
        if !blob.is_compressed {
            layer.bytes = None;
            layer.diff_id.get_or_insert_with(|| listed.digest.clone());
        }
        note(&mut self.found, &layer, blob);
        Ok(layer)
    }
}

fn parse(media_type: &str, bytes: &[u8], name: &str) -> Result<Document, LocalError> {
    Document::parse(media_type, bytes).map_err(|error| LocalError::Invalid(format!("`{name}`: {error}")))
}
