//! The metric families of images and repositories: the one list for the exposition, the configuration, and the tests of
//! documentation, dashboards and rules.

/// A family of the exposition. All are gauges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is its metric's name; `help` is its documentation")]
pub enum Family {
    ImageCompressedSize,
    ImageUniqueSize,
    ImageProportionalSize,
    ImageUncompressedSize,
    ImageUncompressedSizeEstimated,
    ImageUnpackedSize,
    ImageWastedSize,
    ImageConfigSize,
    ImageManifestSize,
    ImageLayers,
    ImageCreated,
    ImageSizeBudget,
    ImageInfo,
    ImageBaseSize,
    ImageBaseCurrent,
    ImageBaseInfo,
    TagInfo,
    TagStoredSize,
    TagAttestations,
    TagUp,
    TagLastSuccess,
    TagChanged,
    NewestCompressedSize,
    NewestPreviousCompressedSize,
    NewestUpdateSize,
    NewestInfo,
    NewestPreviousInfo,
    NewestLargestChangeInfo,
    RepositoryStoredSize,
    RepositoryUniqueSize,
    RepositoryProportionalSize,
    RepositoryMetadataSize,
    RepositoryTags,
    RepositoryTagsUnknown,
    RepositoryLabels,
    GroupStoredSize,
    GroupUniqueSize,
    GroupProportionalSize,
    RepositoryReclaimableSize,
    RepositoryReclaimableTags,
    RegistryStoredSize,
    RegistryReclaimableSize,
    RunningContainers,
    RunningNodes,
    RunningOutdatedContainers,
    RunningInfo,
}

impl Family {
    /// All of them, in the order in which they are published.
    pub const ALL: [Self; 46] = [
        Self::ImageCompressedSize,
        Self::ImageUniqueSize,
        Self::ImageProportionalSize,
        Self::ImageUncompressedSize,
        Self::ImageUncompressedSizeEstimated,
        Self::ImageUnpackedSize,
        Self::ImageWastedSize,
        Self::ImageConfigSize,
        Self::ImageManifestSize,
        Self::ImageLayers,
        Self::ImageCreated,
        Self::ImageSizeBudget,
        Self::ImageInfo,
        Self::ImageBaseSize,
        Self::ImageBaseCurrent,
        Self::ImageBaseInfo,
        Self::TagInfo,
        Self::TagStoredSize,
        Self::TagAttestations,
        Self::TagUp,
        Self::TagLastSuccess,
        Self::TagChanged,
        Self::NewestCompressedSize,
        Self::NewestPreviousCompressedSize,
        Self::NewestUpdateSize,
        Self::NewestInfo,
        Self::NewestPreviousInfo,
        Self::NewestLargestChangeInfo,
        Self::RepositoryStoredSize,
        Self::RepositoryUniqueSize,
        Self::RepositoryProportionalSize,
        Self::RepositoryMetadataSize,
        Self::RepositoryTags,
        Self::RepositoryTagsUnknown,
        Self::RepositoryLabels,
        Self::GroupStoredSize,
        Self::GroupUniqueSize,
        Self::GroupProportionalSize,
        Self::RepositoryReclaimableSize,
        Self::RepositoryReclaimableTags,
        Self::RegistryStoredSize,
        Self::RegistryReclaimableSize,
        Self::RunningContainers,
        Self::RunningNodes,
        Self::RunningOutdatedContainers,
        Self::RunningInfo,
    ];

    /// The metric's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ImageCompressedSize => "container_image_compressed_size_bytes",
            Self::ImageUniqueSize => "container_image_unique_size_bytes",
            Self::ImageProportionalSize => "container_image_proportional_size_bytes",
            Self::ImageUncompressedSize => "container_image_uncompressed_size_bytes",
            Self::ImageUncompressedSizeEstimated => "container_image_uncompressed_size_estimated",
            Self::ImageUnpackedSize => "container_image_unpacked_size_bytes",
            Self::ImageWastedSize => "container_image_wasted_size_bytes",
            Self::ImageConfigSize => "container_image_config_size_bytes",
            Self::ImageManifestSize => "container_image_manifest_size_bytes",
            Self::ImageLayers => "container_image_layers",
            Self::ImageCreated => "container_image_created_timestamp_seconds",
            Self::ImageSizeBudget => "container_image_size_budget_bytes",
            Self::ImageInfo => "container_image_info",
            Self::ImageBaseSize => "container_image_base_size_bytes",
            Self::ImageBaseCurrent => "container_image_base_current",
            Self::ImageBaseInfo => "container_image_base_info",
            Self::TagInfo => "container_image_tag_info",
            Self::TagStoredSize => "container_image_tag_stored_size_bytes",
            Self::TagAttestations => "container_image_tag_attestations",
            Self::TagUp => "container_image_tag_up",
            Self::TagLastSuccess => "container_image_tag_last_success_timestamp_seconds",
            Self::TagChanged => "container_image_tag_changed_timestamp_seconds",
            Self::NewestCompressedSize => "container_image_newest_compressed_size_bytes",
            Self::NewestPreviousCompressedSize => "container_image_newest_previous_compressed_size_bytes",
            Self::NewestUpdateSize => "container_image_newest_update_size_bytes",
            Self::NewestInfo => "container_image_newest_info",
            Self::NewestPreviousInfo => "container_image_newest_previous_info",
            Self::NewestLargestChangeInfo => "container_image_newest_largest_change_info",
            Self::RepositoryStoredSize => "container_image_repository_stored_size_bytes",
            Self::RepositoryUniqueSize => "container_image_repository_unique_size_bytes",
            Self::RepositoryProportionalSize => "container_image_repository_proportional_size_bytes",
            Self::RepositoryMetadataSize => "container_image_repository_metadata_size_bytes",
            Self::RepositoryTags => "container_image_repository_tags",
            Self::RepositoryTagsUnknown => "container_image_repository_tags_unknown",
            Self::RepositoryLabels => "container_image_repository_labels",
            Self::GroupStoredSize => "container_image_group_stored_size_bytes",
            Self::GroupUniqueSize => "container_image_group_unique_size_bytes",
            Self::GroupProportionalSize => "container_image_group_proportional_size_bytes",
            Self::RepositoryReclaimableSize => "container_image_repository_reclaimable_size_bytes",
            Self::RepositoryReclaimableTags => "container_image_repository_reclaimable_tags",
            Self::RegistryReclaimableSize => "container_image_registry_reclaimable_size_bytes",
            Self::RunningContainers => "container_image_running_containers",
            Self::RunningNodes => "container_image_running_nodes",
            Self::RunningOutdatedContainers => "container_image_running_outdated_containers",
            Self::RunningInfo => "container_image_running_info",
            Self::RegistryStoredSize => "container_image_registry_stored_size_bytes",
        }
    }

    /// The metric's HELP text: what it counts, in which scope, and whether it may be summed.
    #[expect(clippy::too_many_lines, reason = "a sentence for each family")]
    pub const fn help(self) -> &'static str {
        match self {
            Self::ImageCompressedSize => {
                "Sum of the sizes of the image's layers as its manifest lists them: what a first pull transfers. Cached, read every scan interval. Shared layers count in every image: do not sum."
            }
            Self::ImageUniqueSize => {
                "Bytes of the image's layers that no other image digest watched in the same registry has: what deleting this manifest under all of its names would free. Do not sum."
            }
            Self::ImageProportionalSize => {
                "Bytes of the image's layers, each divided evenly among all series of the same registry that have it. May be summed: over a registry it gives the stored bytes."
            }
            Self::ImageUncompressedSize => {
                "Bytes of the image's layer tars after decompression. Absent where unknown. Do not sum."
            }
            Self::ImageUncompressedSizeEstimated => {
                "1 where the uncompressed size is an estimate, 0 where it is exact."
            }
            Self::ImageUnpackedSize => {
                "Bytes of the files in the image's layers, as docker image inspect shows them as Size on overlay2. Only where the layers were streamed. Do not sum."
            }
            Self::ImageWastedSize => {
                "Bytes of files in the image's layers that a later layer overwrites or removes, each counted once: a part of the unpacked size. Only where the layers' files were listed. Do not sum."
            }
            Self::ImageConfigSize => "Bytes of the image's config, part of no other size.",
            Self::ImageManifestSize => "Bytes of the image's manifest, part of no other size.",
            Self::ImageLayers => "Number of layers that the image's manifest lists.",
            Self::ImageCreated => {
                "When the image was created, according to its config, or to its annotation where the config does not say."
            }
            Self::ImageSizeBudget => "Configured upper limit of the image's compressed size. Not enforced.",
            Self::ImageInfo => "1, with the image's manifest digest, image ID (config digest) and types as labels.",
            Self::ImageBaseSize => {
                "Compressed size of the image that this one is built on, as that one's own manifest lists its layers. Absent where it was never read. Images share their bases: do not sum."
            }
            Self::ImageBaseCurrent => {
                "1 while the tag of the image's base still has the base that the image is built on, 0 once it points at something else. Absent while nothing is known of that tag."
            }
            Self::ImageBaseInfo => {
                "1, with the repository, tag and digest of the image that this one is built on as labels: by its annotations, or else the watched image whose layers are the longest beginning of its own."
            }
            Self::TagInfo => "1, with the digest and media type of the manifest or index that the tag points at.",
            Self::TagStoredSize => {
                "Bytes of the distinct layers of the tag's selected platforms: what the registry must store for it. Shared layers count in every tag: do not sum."
            }
            Self::TagAttestations => "Number of attestation manifests in the index that the tag points at.",
            Self::TagUp => "1 when the tag's last read got everything selected, 0 when something failed.",
            Self::TagLastSuccess => "When the tag was last read without a failure.",
            Self::TagChanged => "When this exporter last saw the tag's digest change. Absent until it does.",
            Self::NewestCompressedSize => {
                "Compressed size of the newest release among the tags that the target selects: one series across releases."
            }
            Self::NewestPreviousCompressedSize => {
                "Compressed size of the release before the newest one, on the same platform."
            }
            Self::NewestUpdateSize => {
                "Bytes of the newest release's distinct layers that the release before it lacks: what a node that has that one fetches. Absent without a release before. Do not sum."
            }
            Self::NewestInfo => "1, with the newest release's tag and the tag's digest as labels.",
            Self::NewestPreviousInfo => {
                "1, with the tag of the release before the newest and the tag's digest as labels."
            }
            Self::NewestLargestChangeInfo => {
                "Compressed bytes by which the newest release's layer that grew most is bigger than the one that the same command made in the release before, with its digest and command as labels. All of its bytes where no layer of the release before has that command. Absent where no layer grew."
            }
            Self::RepositoryStoredSize => {
                "Bytes of the distinct layers of the repository's watched tags: what the registry must store for them. Layers shared between repositories count in each: do not sum."
            }
            Self::RepositoryUniqueSize => {
                "Bytes of the repository's distinct layers that no other watched repository of the same registry has. Do not sum."
            }
            Self::RepositoryProportionalSize => {
                "Sum of the proportional sizes of the repository's images. May be summed: over a registry it gives the stored bytes."
            }
            Self::RepositoryMetadataSize => "Bytes of the repository's distinct configs, manifests and indexes.",
            Self::RepositoryTags => "Number of the repository's tags that the configuration selects.",
            Self::RepositoryTagsUnknown => {
                "Number of the repository's selected tags that were never read: while above 0, its sums are incomplete."
            }
            Self::RepositoryLabels => "1, with the labels that the configuration gives the repository, for joins.",
            Self::GroupStoredSize => {
                "Bytes of the distinct layers of the group's images: what the registry must store for them. Layers shared between groups count in each: do not sum."
            }
            Self::GroupUniqueSize => {
                "Bytes of the group's distinct layers that no image outside the group, watched in the same registry, has. Do not sum."
            }
            Self::GroupProportionalSize => {
                "Sum of the proportional sizes of the group's images; that of an image in several groups is divided evenly among these. May be summed: with the images that are in no group it gives the registry's stored bytes."
            }
            Self::RepositoryReclaimableSize => {
                "Bytes that deleting the repository's tags that the policy does not keep would free by itself: layers, configs, manifests and indexes that nothing else watched on the registry has. Absent while anything on the registry is unread. Do not sum: the registry's figure also has what only all repositories together free."
            }
            Self::RepositoryReclaimableTags => "Number of the repository's tags that no rule of the policy keeps.",
            Self::RegistryReclaimableSize => {
                "Bytes that the registry would free if all tags that the policy does not keep were deleted, among what is watched: layers, configs, manifests and indexes. Absent while anything on it is unread. Policies overlap: do not sum."
            }
            Self::RunningContainers => "Number of containers that run the image, according to the source.",
            Self::RunningNodes => {
                "Number of nodes that run the image: with its compressed size, what the cluster pulls. Absent where the source knows no nodes."
            }
            Self::RunningOutdatedContainers => {
                "Number of containers that run a digest that the tag no longer has. Containers whose digest the source does not know are not counted; absent where it knows none."
            }
            Self::RunningInfo => "1, with each container of the workloads that run the image as labels.",
            Self::RegistryStoredSize => {
                "Bytes of the distinct layers of all watched images on the registry: what it must store for them."
            }
        }
    }

    /// What `[metrics] omit` calls it: the name without `container_image_` and without the unit.
    pub fn short_name(self) -> &'static str {
        let name = self.name();
        let name = name.strip_prefix("container_image_").unwrap_or(name);
        let name = name.strip_suffix("_bytes").unwrap_or(name);
        name.strip_suffix("_timestamp_seconds").unwrap_or(name)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_and_short_names_are_distinct() {
        assert_eq!(Family::ALL.iter().map(|family| family.name()).collect::<BTreeSet<_>>().len(), Family::ALL.len());
        assert_eq!(Family::ALL.iter().map(|f| f.short_name()).collect::<BTreeSet<_>>().len(), Family::ALL.len());
        assert_eq!(Family::ImageConfigSize.short_name(), "config_size");
        assert_eq!(Family::TagLastSuccess.short_name(), "tag_last_success");
    }
}
