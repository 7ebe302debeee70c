//! What should be published, by the public tools' reading of the registry and plain arithmetic, without a line of the
//! program.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use crate::harness::push::digest;
use crate::harness::registry::Registry;
use crate::harness::{run, skopeo};

/// Family to the samples that it should have: labels to value.
pub type Expected = BTreeMap<String, BTreeMap<BTreeMap<String, String>, f64>>;

/// What a tag points at.
struct Tag {
    repository: String,
    name: String,
    digest: String,
    media_type: String,
    /// Of the index, if it is one.
    index_bytes: Option<usize>,
    attestations: usize,
    images: Vec<Image>,
}

struct Image {
    platform: String,
    digest: String,
    config_digest: String,
    media_type: String,
    artifact_type: String,
    manifest_bytes: usize,
    config_bytes: u64,
    created: Option<f64>,
    layers: Vec<Layer>,
    /// What its layers are compared by with those of others; empty where it has no base and is none.
    diff_ids: Vec<String>,
}

#[derive(Clone)]
struct Layer {
    digest: String,
    bytes: u64,
    foreign: bool,
}

/// The groups of a tag of a repository.
pub type Groups = fn(&str, &str) -> Vec<&'static str>;

/// Everything to be published for these tags of a registry, in these groups, except `newest`, budgets, labels and the
/// times of readings, which do not follow from the registry.
pub fn of(registry: &Registry, tags: &[(&str, &[&str])], groups: Groups) -> Expected {
    let read: Vec<Tag> = tags
        .iter()
        .flat_map(|(repository, tags)| tags.iter().map(|tag| read_tag(registry.address(), repository, tag)))
        .collect();
    Arithmetic { registry: registry.address(), tags: &read, groups }.expected()
}

fn read_tag(registry: &str, repository: &str, tag: &str) -> Tag {
    let raw = raw_manifest(&format!("{registry}/{repository}:{tag}")).expect("the tag is there");
    let document: Value = serde_json::from_str(&raw).expect("a manifest is JSON");
    let mut result = Tag {
        repository: repository.to_owned(),
        name: tag.to_owned(),
        digest: digest(raw.as_bytes()),
        media_type: media_type(&document),
        index_bytes: None,
        attestations: 0,
        images: Vec::new(),
    };
    let Some(entries) = document["manifests"].as_array() else {
        result.images.push(read_image(&format!("{registry}/{repository}:{tag}"), &raw, None));
        return result;
    };
    result.index_bytes = Some(raw.len());
    for entry in entries {
        if entry["platform"]["os"] == "unknown" {
            result.attestations += 1;
            continue;
        }
        let reference = format!("{registry}/{repository}@{}", entry["digest"].as_str().expect("a digest"));
        // A missing child is not an image: the index is sparse.
        if let Some(raw) = raw_manifest(&reference) {
            result.images.push(read_image(&reference, &raw, Some(&entry["platform"])));
        }
    }
    result
}

fn read_image(reference: &str, raw: &str, platform: Option<&Value>) -> Image {
    let manifest: Value = serde_json::from_str(raw).expect("a manifest is JSON");
    let layers: Vec<Layer> = manifest["layers"].as_array().expect("layers").iter().map(layer).collect();
    // Docker's own command must agree. Of OCI types, the one of Debian 12 says that there is no such manifest.
    let said = Command::new("docker").args(["manifest", "inspect", "--insecure", reference]).output().expect("docker");
    if said.status.success() {
        let said: Value = serde_json::from_slice(&said.stdout).expect("docker prints JSON");
        let sizes = |layers: &Value| -> Vec<u64> {
            layers.as_array().expect("layers").iter().map(|layer| layer["size"].as_u64().expect("a size")).collect()
        };
        assert_eq!(sizes(&said["layers"]), layers.iter().map(|layer| layer.bytes).collect::<Vec<_>>(), "{reference}");
    } else {
        assert!(media_type(&manifest).contains(".oci."), "docker manifest inspect {reference}: {said:?}");
    }
    let config_type = manifest["config"]["mediaType"].as_str().expect("a config");
    let is_image = config_type.contains(".image.");
    let config: Value = if is_image {
        let raw = run(skopeo()
            .args(["inspect", "--tls-verify=false", "--config", "--raw"])
            .arg(format!("docker://{reference}")));
        serde_json::from_str(&raw).expect("a config is JSON")
    } else {
        Value::Null
    };
    let diff_ids = || config["rootfs"]["diff_ids"].as_array().into_iter().flatten();
    let created = config["created"].as_str().or(manifest["annotations"]["org.opencontainers.image.created"].as_str());
    Image {
        platform: if is_image { platform_name(platform.unwrap_or(&config)) } else { String::new() },
        digest: digest(raw.as_bytes()),
        config_digest: manifest["config"]["digest"].as_str().expect("a digest").to_owned(),
        media_type: media_type(&manifest),
        artifact_type: if is_image { String::new() } else { config_type.to_owned() },
        manifest_bytes: raw.len(),
        config_bytes: manifest["config"]["size"].as_u64().expect("a size"),
        created: created
            .map(|text| text.parse::<jiff::Timestamp>().expect("RFC 3339").as_millisecond() as f64 / 1000.0)
            .filter(|&seconds| seconds > 0.0),
        diff_ids: if diff_ids().count() == layers.len() {
            diff_ids().map(|diff_id| diff_id.as_str().expect("a digest").to_owned()).collect()
        } else if is_image {
            layers.iter().map(|layer| layer.digest.clone()).collect()
        } else {
            Vec::new()
        },
        layers,
    }
}

fn layer(layer: &Value) -> Layer {
    Layer {
        digest: layer["digest"].as_str().expect("a digest").to_owned(),
        bytes: layer["size"].as_u64().expect("a size"),
        foreign: layer["mediaType"].as_str().expect("a type").contains("foreign"),
    }
}

/// A manifest's very bytes, by `skopeo inspect --raw`.
fn raw_manifest(reference: &str) -> Option<String> {
    let mut command = skopeo();
    command.args(["inspect", "--tls-verify=false", "--raw"]).arg(format!("docker://{reference}"));
    let output = command.output().expect("skopeo runs");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() || error.contains("manifest unknown"), "{reference}: {error}");
    output.status.success().then(|| String::from_utf8(output.stdout).expect("a manifest is UTF-8"))
}

/// A manifest's media type; without one it is OCI's (the registry serves it so).
fn media_type(document: &Value) -> String {
    document["mediaType"].as_str().unwrap_or("application/vnd.oci.image.manifest.v1+json").to_owned()
}

fn platform_name(fields: &Value) -> String {
    let text = |key: &str| fields[key].as_str().unwrap_or("").to_owned();
    let os = match text("os.version") {
        version if version.is_empty() => text("os"),
        version => format!("{}({})", text("os"), version.rsplit_once('.').map_or(version.as_str(), |(build, _)| build)),
    };
    match text("variant") {
        variant if variant.is_empty() => format!("{os}/{}", text("architecture")),
        variant => format!("{os}/{}/{variant}", text("architecture")),
    }
}

/// The definitions, computed the slow and obvious way.
struct Arithmetic<'a> {
    registry: &'a str,
    tags: &'a [Tag],
    groups: Groups,
}

impl Arithmetic<'_> {
    fn expected(&self) -> Expected {
        let mut expected = Expected::new();
        let mut add = |family: &str, labels: &[(&str, &str)], value: f64| {
            let mut all = BTreeMap::from([("registry".to_owned(), self.registry.to_owned())]);
            all.extend(labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
            expected.entry(format!("container_image_{family}")).or_default().insert(all, value);
        };
        for tag in self.tags {
            let labels = [("repository", tag.repository.as_str()), ("tag", &tag.name)];
            add("tag_info", &[&labels[..], &[("digest", &tag.digest), ("media_type", &tag.media_type)]].concat(), 1.0);
            add("tag_up", &labels, 1.0);
            add("tag_attestations", &labels, tag.attestations as f64);
            add("tag_stored_size_bytes", &labels, stored(&tag.images));
            for image in &tag.images {
                let labels = [&labels[..], &[("platform", &image.platform)]].concat();
                let compressed: u64 = image.layers.iter().map(|layer| layer.bytes).sum();
                add("compressed_size_bytes", &labels, compressed as f64);
                add("unique_size_bytes", &labels, self.unique(image));
                add("proportional_size_bytes", &labels, self.proportional(image));
                add("config_size_bytes", &labels, image.config_bytes as f64);
                add("manifest_size_bytes", &labels, image.manifest_bytes as f64);
                add("layers", &labels, image.layers.len() as f64);
                if let Some(created) = image.created {
                    add("created_timestamp_seconds", &labels, created);
                }
                let more = [
                    ("digest", image.digest.as_str()),
                    ("image_id", &image.config_digest),
                    ("media_type", &image.media_type),
                    ("artifact_type", &image.artifact_type),
                ];
                add("info", &[&labels[..], &more].concat(), 1.0);
                if let Some((base_tag, base)) = self.base(&tag.repository, image) {
                    let repository = format!("{}/{}", self.registry, base_tag.repository);
                    let of = [
                        ("base_repository", repository.as_str()),
                        ("base_tag", &base_tag.name),
                        ("base_digest", &base_tag.digest),
                    ];
                    add("base_info", &[&labels[..], &of].concat(), 1.0);
                    add("base_current", &labels, 1.0);
                    add("base_size_bytes", &labels, base.layers.iter().map(|layer| layer.bytes).sum::<u64>() as f64);
                }
            }
        }
        let repositories: BTreeSet<&str> = self.tags.iter().map(|tag| tag.repository.as_str()).collect();
        for repository in repositories {
            let labels = [("repository", repository)];
            let own = || self.tags.iter().filter(|tag| tag.repository == repository);
            let others = || self.tags.iter().filter(|tag| tag.repository != repository);
            add("repository_stored_size_bytes", &labels, stored(own().flat_map(|tag| &tag.images)));
            let elsewhere = distinct(others().flat_map(|tag| &tag.images));
            let mut unique = distinct(own().flat_map(|tag| &tag.images));
            unique.retain(|digest, _| !elsewhere.contains_key(digest));
            add("repository_unique_size_bytes", &labels, unique.values().sum::<u64>() as f64);
            let shares = own().flat_map(|tag| &tag.images).map(|image| self.proportional(image));
            add("repository_proportional_size_bytes", &labels, shares.sum());
            add("repository_metadata_size_bytes", &labels, metadata(own()));
            add("repository_tags", &labels, own().count() as f64);
            add("repository_tags_unknown", &labels, 0.0);
        }
        let of = |tag: &Tag| (self.groups)(&tag.repository, &tag.name);
        let all: BTreeSet<&str> = self.tags.iter().flat_map(of).collect();
        for group in all {
            let labels = [("group", group)];
            let (inside, outside): (Vec<&Tag>, Vec<&Tag>) = self.tags.iter().partition(|tag| of(tag).contains(&group));
            add("group_stored_size_bytes", &labels, stored(inside.iter().flat_map(|tag| &tag.images)));
            let elsewhere = distinct(outside.iter().flat_map(|tag| &tag.images));
            let mut unique = distinct(inside.iter().flat_map(|tag| &tag.images));
            unique.retain(|digest, _| !elsewhere.contains_key(digest));
            add("group_unique_size_bytes", &labels, unique.values().sum::<u64>() as f64);
            let share = |tag: &&Tag| {
                tag.images.iter().map(|image| self.proportional(image)).sum::<f64>() / of(tag).len() as f64
            };
            add("group_proportional_size_bytes", &labels, inside.iter().map(share).sum());
        }
        add("registry_stored_size_bytes", &[], stored(self.tags.iter().flat_map(|tag| &tag.images)));
        expected
    }

    fn all_images(&self) -> impl Iterator<Item = &Image> {
        self.tags.iter().flat_map(|tag| &tag.images)
    }

    /// The image whose layers are the longest beginning of its own, and the tag that names it. Nothing here has annotations.
    fn base(&self, repository: &str, image: &Image) -> Option<(&Tag, &Image)> {
        let all = self.tags.iter().flat_map(|tag| tag.images.iter().map(move |other| (tag, other)));
        let beginnings = all.filter(|(_, other)| {
            !other.diff_ids.is_empty()
                && image.diff_ids.len() > other.diff_ids.len()
                && image.diff_ids.starts_with(&other.diff_ids)
        });
        beginnings.min_by_key(|(tag, other)| {
            let is_version = tag.name.trim_start_matches('v').starts_with(|c: char| c.is_ascii_digit());
            let numbers = if is_version { tag.name.split('.').count() } else { usize::MAX };
            let (is_elsewhere, is_own) = (other.platform != image.platform, tag.repository == repository);
            let length = std::cmp::Reverse(other.diff_ids.len());
            (length, is_elsewhere, is_own, numbers, &tag.repository, &tag.name)
        })
    }

    /// Bytes of its distinct layers that no image of another digest has.
    fn unique(&self, image: &Image) -> f64 {
        let others = distinct(self.all_images().filter(|other| other.digest != image.digest));
        let mut own = distinct([image]);
        own.retain(|digest, _| !others.contains_key(digest));
        own.values().sum::<u64>() as f64
    }

    /// Each of its distinct layers, divided by the number of series that have it.
    fn proportional(&self, image: &Image) -> f64 {
        let series = |digest: &str| self.all_images().filter(|image| distinct([*image]).contains_key(digest)).count();
        distinct([image]).iter().map(|(digest, &bytes)| bytes as f64 / series(digest) as f64).sum()
    }
}

/// The layers that the registry has to keep for these images, once each.
fn distinct<'a>(images: impl IntoIterator<Item = &'a Image>) -> BTreeMap<String, u64> {
    let layers = images.into_iter().flat_map(|image| &image.layers);
    layers.filter(|layer| !layer.foreign).map(|layer| (layer.digest.clone(), layer.bytes)).collect()
}

fn stored<'a>(images: impl IntoIterator<Item = &'a Image>) -> f64 {
    distinct(images).values().sum::<u64>() as f64
}

/// Distinct configs, manifests and indexes.
fn metadata<'a>(tags: impl Iterator<Item = &'a Tag>) -> f64 {
    let mut documents = BTreeMap::new();
    for tag in tags {
        if let Some(bytes) = tag.index_bytes {
            documents.insert(&tag.digest, bytes as u64);
        }
        for image in &tag.images {
            documents.insert(&image.digest, image.manifest_bytes as u64);
            documents.insert(&image.config_digest, image.config_bytes);
        }
    }
    documents.values().sum::<u64>() as f64
}
