//! The tables of a state file.

use redb::TableDefinition;

/// A table whose keys and values are encoded by `encoding`.
pub(super) type Bytes = TableDefinition<'static, &'static [u8], &'static [u8]>;

pub(super) const DOCUMENTS: Bytes = TableDefinition::new("documents");
pub(super) const CONFIGS: Bytes = TableDefinition::new("configs");
/// The commands of layers, by their config's digest. A file of an earlier version has no such table before it is written.
pub(super) const COMMANDS: Bytes = TableDefinition::new("commands");
pub(super) const BLOBS: Bytes = TableDefinition::new("blobs");
pub(super) const LAYERS: Bytes = TableDefinition::new("layers");
/// Listings of layers, by the digests of their blobs and of their tars.
pub(super) const LISTINGS: Bytes = TableDefinition::new("listings");
/// Wasted bytes of images, by their manifests.
pub(super) const WASTED: Bytes = TableDefinition::new("wasted");
/// The bases that annotations name, by the manifests and indexes that have them.
pub(super) const BASE_NAMES: Bytes = TableDefinition::new("base_names");
/// The bases that were found, by the manifests of the images that are built on them.
pub(super) const BASES: Bytes = TableDefinition::new("bases");
/// Completed scans, by the caller's keys.
pub(super) const SCANS: Bytes = TableDefinition::new("passes");
pub(super) const TAGS: Bytes = TableDefinition::new("tags");
/// Since when a digest has been unused. Used digests have no entry, so that use costs no write.
pub(super) const UNUSED: Bytes = TableDefinition::new("unused");

/// The tables by digest.
pub(super) const BY_DIGEST: [Bytes; 9] =
    [DOCUMENTS, CONFIGS, COMMANDS, BLOBS, LAYERS, LISTINGS, WASTED, BASE_NAMES, BASES];

/// All tables but that of the version.
pub(super) const TABLES: [Bytes; 12] =
    [DOCUMENTS, CONFIGS, COMMANDS, BLOBS, LAYERS, LISTINGS, WASTED, BASE_NAMES, BASES, TAGS, UNUSED, SCANS];
