//! Images that no registry has: archives, OCI layouts, and what a Docker engine holds.
//!
//! A tar is read once, from its first byte to its last, and never unpacked to a disk: documents are kept, of everything
//! else its size, and where that is wanted the size of its files. Memory is bounded by `archive`'s limits, whatever
//! the tar says. What a registry would verify against a digest is verified here where a document names one.
//!
//! In reading order: where an image is; its layers and documents; the two formats; the engine's API.

mod location;

mod blob;

mod archive;

mod contents;

mod docker;
mod layout;

mod connection;
mod engine;

mod error;

use std::collections::HashMap;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use crate::image::{Image, LayerContent};
use crate::oci::{Digest, ImageConfig, MediaType, PlatformFilter};

use archive::Archive;
use blob::Depth;
use contents::Contents;

pub use connection::{EngineAddress, EngineError, get as get_from_engine};
pub use error::LocalError;
pub use location::{InvalidLocation, Location, Transport};

/// How a local image is read.
#[derive(Clone, Copy, Debug)]
pub struct LocalOptions<'a> {
    /// Which platforms.
    pub platforms: &'a PlatformFilter,
    /// Whether layers are decompressed and their files counted; otherwise only what stands in the open is read. An
    /// engine's image is always read wholly.
    pub whole: bool,
    /// Where the engine listens.
    pub engine: &'a EngineAddress,
}

/// What a location holds.
#[derive(Clone, Debug, Default)]
pub struct LocalImages {
    /// Of the manifest or index; of the config, which is Docker's image ID, where there is neither.
    pub digest: Option<Digest>,
    /// Of the manifest or index; empty where there is neither.
    pub media_type: MediaType,
    /// The index's own bytes, and those of indexes in it; 0 without one.
    pub index_bytes: u64,
    /// How many attestations the index has.
    pub attestations: u32,
    /// One for each selected platform.
    pub images: Vec<LocalImage>,
    /// By layer digest, what is known of its content.
    pub contents: HashMap<Digest, LayerContent>,
    /// Why the content of a layer is unknown.
    pub notes: Vec<String>,
}

/// One platform's image. A layer that is not compressed has no compressed size: a push compresses it.
#[derive(Clone, Debug)]
pub struct LocalImage {
    /// Without a manifest the digest is that of the config.
    pub image: Image,
    /// None for an artifact.
    pub config: Option<ImageConfig>,
}

/// Reads the images at a location.
///
/// # Errors
/// Where it does not exist, cannot be reached, or is not what its transport says.
///
/// # Panics
/// Never: reading returns its errors.
pub async fn read(location: &Location, options: LocalOptions<'_>) -> Result<LocalImages, LocalError> {
    let platforms = options.platforms.clone();
    if location.transport == Transport::DockerDaemon {
        let archive = engine::save(options.engine, &location.rest).await?;
        // The engine was asked for one image.
        return docker::read(&Contents::Archive(archive), None, &platforms, Depth::Whole);
    }
    let location = location.clone();
    let depth = if options.whole { Depth::Whole } else { Depth::Open };
    let reading = tokio::task::spawn_blocking(move || read_files(&location, &platforms, depth));
    reading.await.expect("reading a local image does not panic")
}

fn read_files(location: &Location, platforms: &PlatformFilter, depth: Depth) -> Result<LocalImages, LocalError> {
    let (path, name) = existing(&location.rest);
    let in_file = |error: LocalError| error.of(location);
    if location.transport == Transport::OciDirectory {
        return layout::read(&Contents::Directory(path), name.as_deref(), platforms, depth).map_err(in_file);
    }
    let file = File::open(&path).map_err(|error| in_file(LocalError::open(&path, &error)))?;
    if file.metadata().is_ok_and(|metadata| metadata.is_dir()) {
        return Err(in_file(LocalError::Invalid(
            "this is a directory: write oci:DIRECTORY for an OCI layout".to_owned(),
        )));
    }
    let archive = Archive::read(BufReader::with_capacity(256 << 10, file), depth).map_err(in_file)?;
    let contents = Contents::Archive(archive);
    // `docker save` writes both formats into one archive.
    let docker_first = location.transport == Transport::DockerArchive;
    let is_docker = contents.has(docker::MANIFEST);
    let is_layout = contents.has(layout::INDEX);
    match (is_docker, is_layout) {
        (true, _) if docker_first || !is_layout => docker::read(&contents, name.as_deref(), platforms, depth),
        (_, true) => layout::read(&contents, name.as_deref(), platforms, depth),
        _ => Err(LocalError::Invalid(format!(
            "neither `{}` nor `{}` is in it: expected what `docker save` or `skopeo copy` writes",
            docker::MANIFEST,
            layout::INDEX
        ))),
    }
    .map_err(in_file)
}

/// The path, and the name behind it: `app.tar:acme/app:v1` names an image in `app.tar`, unless there is a file of that
/// name.
fn existing(rest: &str) -> (PathBuf, Option<String>) {
    let whole = PathBuf::from(rest);
    match rest.split_once(':') {
        Some((path, name)) if !name.is_empty() && !whole.exists() && Path::new(path).exists() => {
            (path.into(), Some(name.to_owned()))
        }
        _ => (whole, None),
    }
}
