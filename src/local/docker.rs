//! The archive of `docker save`, by its `manifest.json`: newer engines write an OCI layout beside it.

use serde::Deserialize;

use super::blob::{Blob, Depth};
use super::contents::Contents;
use super::error::LocalError;
use super::{LocalImage, LocalImages};
use crate::image::{ConfigFacts, Image, Layer};
use crate::oci::{Digest, ImageConfig, MediaType, PlatformFilter, Reference};

/// The file that lists the images.
pub(super) const MANIFEST: &str = "manifest.json";

/// An image in the list.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SavedImage {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

/// Reads the image that `name` names, or the only one.
pub(super) fn read(
    contents: &Contents,
    name: Option<&str>,
    platforms: &PlatformFilter,
    mut depth: Depth,
) -> Result<LocalImages, LocalError> {
    let manifest =
        contents.document(MANIFEST)?.ok_or_else(|| LocalError::Invalid(format!("`{MANIFEST}` is missing")))?;
    let list: Vec<SavedImage> =
        serde_json::from_slice(&manifest).map_err(|error| LocalError::Invalid(format!("`{MANIFEST}`: {error}")))?;
    let saved = selected(list, name)?;
    let config_bytes = contents
        .document(&saved.config)?
        .ok_or_else(|| LocalError::Invalid(format!("`{}`, the image's config, is missing", saved.config)))?;
    let config = ImageConfig::parse(&config_bytes).map_err(|error| LocalError::Invalid(error.to_string()))?;
    let image_id = Digest::sha256_of(&config_bytes);
    let facts = ConfigFacts::from(config.clone());
    let layers = saved.layers.unwrap_or_default();
    if facts.diff_ids.len() != layers.len() {
        return Err(LocalError::Invalid(format!(
            "`{MANIFEST}` lists {} layers and the config {}",
            layers.len(),
            facts.diff_ids.len()
        )));
    }
    let mut found = LocalImages { digest: Some(image_id.clone()), ..LocalImages::default() };
    if !platforms.includes(&facts.platform) {
        return Ok(found);
    }
    let mut image_layers = Vec::new();
    for (name, diff_id) in layers.iter().zip(&facts.diff_ids) {
        let blob =
            contents.blob(name, depth)?.ok_or_else(|| LocalError::Invalid(format!("the layer `{name}` is missing")))?;
        depth = depth.after(&blob);
        let layer = layer(name, diff_id.as_ref(), &blob)?;
        note(&mut found, &layer, blob);
        image_layers.push(layer);
    }
    let image = Image {
        digest: image_id.clone(),
        image_id: Some(image_id),
        media_type: MediaType::default(),
        artifact_type: "".into(),
        platform: facts.platform,
        created: facts.created,
        config_bytes: config_bytes.len() as u64,
        manifest_bytes: 0,
        layers: image_layers.into(),
    };
    found.images.push(LocalImage { image, config: Some(config) });
    Ok(found)
}

/// Notes what is known of a layer's content.
pub(super) fn note(found: &mut LocalImages, layer: &Layer, blob: Blob) {
    match blob.measured {
        Some(Ok(measured)) => drop(found.contents.insert(layer.digest.clone(), measured)),
        Some(Err(error)) => found.notes.push(format!("{}: uncompressed size unknown: {error}", layer.digest)),
        None => {}
    }
}

fn layer(name: &str, diff_id: Option<&Digest>, blob: &Blob) -> Result<Layer, LocalError> {
    // An uncompressed layer has one digest; a compressed one has that of its name, which newer engines give it.
    let named = name.strip_prefix("blobs/").and_then(|rest| rest.replacen('/', ":", 1).parse().ok());
    let digest = match (&named, diff_id) {
        (Some(named), _) if blob.is_compressed => named,
        (_, Some(diff_id)) => diff_id,
        (Some(named), None) => named,
        (None, None) => return Err(LocalError::Invalid(format!("the config has no digest for the layer `{name}`"))),
    };
    Ok(Layer {
        digest: digest.clone(),
        bytes: blob.is_compressed.then_some(blob.bytes),
        foreign: false,
        diff_id: diff_id.cloned(),
        media_type: MediaType::default(),
        hint: None,
    })
}

fn selected(mut list: Vec<SavedImage>, name: Option<&str>) -> Result<SavedImage, LocalError> {
    let names: Vec<&str> = list.iter().flat_map(|image| image.repo_tags.iter().flatten()).map(String::as_str).collect();
    let names = names.join(", ");
    let same = |tag: &str, name: &str| {
        tag == name || tag.parse::<Reference>().is_ok_and(|tag| name.parse::<Reference>().is_ok_and(|name| tag == name))
    };
    let position = match name {
        Some(name) => list
            .iter()
            .position(|image| image.repo_tags.iter().flatten().any(|tag| same(tag, name)))
            .ok_or_else(|| LocalError::NotFound(format!("no image is named `{name}`: it holds {names}")))?,
        None if list.len() > 1 => return Err(LocalError::Several(names)),
        None if list.is_empty() => return Err(LocalError::Invalid(format!("`{MANIFEST}` lists no image"))),
        None => 0,
    };
    Ok(list.swap_remove(position))
}
