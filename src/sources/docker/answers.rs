//! What an engine answers, as containers.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::Deserialize;

use crate::oci::{Digest, Reference, Repository};
use crate::sources::{Container, Workload};

/// A container in the list.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct EngineContainer {
    pub(super) id: String,
    #[serde(default)]
    names: Option<Vec<String>>,
    /// The name that it was started with; once that names something else, its image's ID.
    #[serde(default)]
    image: String,
    #[serde(default, rename = "ImageID")]
    image_id: String,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
    /// `running`, `paused`, …; the engine lists no other without being asked.
    #[serde(default)]
    state: serde_json::Value,
}

/// An image in the list.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct EngineImage {
    id: String,
    /// `nginx@sha256:…`, for each registry that it was pulled from or pushed to.
    #[serde(default)]
    repo_digests: Option<Vec<String>>,
}

/// An engine's description.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Info {
    #[serde(default)]
    pub(super) name: String,
}

/// A container's description.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Described {
    pub(super) config: DescribedConfig,
}

/// What a container was started with.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DescribedConfig {
    #[serde(default)]
    pub(super) image: String,
}

/// Both lists, and the engine's name.
pub(super) struct Listed {
    pub(super) containers: Vec<EngineContainer>,
    pub(super) images: Vec<EngineImage>,
    pub(super) node: String,
}

impl EngineContainer {
    /// Whether the engine gives its image's ID in place of a name.
    pub(super) fn is_named_by_id(&self) -> bool {
        let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let id = self.image_id.strip_prefix("sha256:").unwrap_or(&self.image_id);
        self.image.starts_with("sha256:")
            || self.image.len() >= 12 && is_hex(&self.image) && id.starts_with(&self.image)
    }

    /// What it is part of: a service of Compose or Swarm, or itself.
    fn workload(&self) -> Option<Workload> {
        let label = |key: &str| self.labels.as_ref()?.get(key).filter(|text| !text.is_empty()).map(String::as_str);
        let of = |namespace: &str, kind: &str, name: &str| Workload {
            namespace: namespace.into(),
            kind: kind.into(),
            name: name.into(),
        };
        if let (Some(project), Some(service)) =
            (label("com.docker.compose.project"), label("com.docker.compose.service"))
        {
            return Some(of(project, "Service", service));
        }
        if let Some(service) = label("com.docker.swarm.service.name") {
            return Some(of(label("com.docker.stack.namespace").unwrap_or_default(), "Service", service));
        }
        self.name().map(|name| of("", "Container", name))
    }

    fn name(&self) -> Option<&str> {
        // Links are further names, with a slash in them.
        let names = self.names.iter().flatten().map(|name| name.trim_start_matches('/'));
        let mut names = names.filter(|name| !name.is_empty());
        let first = names.next()?;
        Some(std::iter::once(first).chain(names).find(|name| !name.contains('/')).unwrap_or(first))
    }

    fn runs(&self) -> bool {
        self.state.as_str().is_none_or(|state| !["exited", "dead", "created", "removing"].contains(&state))
    }
}

impl Listed {
    /// The containers whose image is in a registry. One that was built or loaded here, and neither pulled nor pushed, has no
    /// digest in any: Podman gives it the registry `localhost`. `names`: those that containers were started with, by ID.
    pub(super) fn containers(&self, names: &BTreeMap<String, Arc<str>>) -> Vec<Container> {
        let images: HashMap<&str, &EngineImage> =
            self.images.iter().map(|image| (image.id.trim_start_matches("sha256:"), image)).collect();
        let node: Option<Arc<str>> = (!self.node.is_empty()).then(|| self.node.as_str().into());
        let running = self.containers.iter().filter(|container| container.runs());
        running
            .filter_map(|container| {
                let image = names.get(&container.id).cloned().unwrap_or_else(|| container.image.as_str().into());
                let known = images.get(container.image_id.trim_start_matches("sha256:"));
                // An image that was removed by force is unknown, and its name is all that there is.
                if known.is_some_and(|known| known.is_in_no_registry()) {
                    return None;
                }
                (!image.starts_with("localhost/")).then(|| Container {
                    digest: known.and_then(|known| known.digest(&image)),
                    image,
                    node: node.clone(),
                    workload: container.workload().map(Arc::new),
                    name: container.name().map(Arc::from),
                })
            })
            .collect()
    }
}

impl EngineImage {
    /// What it is called where it came from or went to: repository and digest.
    fn known(&self) -> impl Iterator<Item = (&str, &str)> {
        self.repo_digests.iter().flatten().filter_map(|text| text.rsplit_once('@'))
    }

    fn is_in_no_registry(&self) -> bool {
        self.known().all(|(name, _)| name == "<none>" || name.starts_with("localhost/"))
    }

    /// Its digest in the repository that `image` names, if it is known there: what `image` pins, or the only one. An image may
    /// have several, pushed or pulled at different times, and nothing says which of them a tag gave.
    fn digest(&self, image: &str) -> Option<Digest> {
        let Reference { repository, digest, .. } = image.parse::<Reference>().ok()?;
        if digest.is_some() {
            return digest;
        }
        let same = |name: &str| name.parse::<Repository>().is_ok_and(|name| name == repository);
        let mut digests = self.known().filter(|(name, _)| same(name)).map(|(_, digest)| digest);
        let first = digests.next()?;
        digests.all(|other| other == first).then(|| first.parse().ok())?
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn digest(text: &str) -> Digest {
        Digest::sha256_of(text.as_bytes())
    }

    fn listed(containers: serde_json::Value, images: serde_json::Value) -> Listed {
        Listed {
            containers: serde_json::from_value(containers).unwrap(),
            images: serde_json::from_value(images).unwrap(),
            node: "host".to_owned(),
        }
    }

    #[test]
    fn a_container_has_the_digest_that_its_repository_gave() {
        let found = listed(
            json!([
                { "Id": "1", "Names": ["/web/db", "/db"], "Image": "quay.io/a/b:v1", "ImageID": "sha256:aa", "State": "running" },
                { "Id": "2", "Names": null, "Image": "other/b", "ImageID": "sha256:aa", "Labels": null },
                { "Id": "3", "Names": ["/x"], "Image": "gone:1", "ImageID": "sha256:ff", "State": "exited" },
            ]),
            json!([{ "Id": "sha256:aa", "RepoDigests": [format!("nginx@{}", digest("n")), format!("quay.io/a/b@{}", digest("q"))] }]),
        );
        let found = found.containers(&BTreeMap::new());
        assert_eq!(found.len(), 2);
        assert_eq!(
            (&*found[0].image, found[0].digest.clone(), found[0].node.as_deref()),
            ("quay.io/a/b:v1", Some(digest("q")), Some("host"))
        );
        assert_eq!(found[0].name.as_deref(), Some("db"));
        assert_eq!((&*found[1].image, found[1].digest.clone(), found[1].workload.clone()), ("other/b", None, None));
    }

    #[test]
    fn of_several_digests_in_one_repository_none_is_certain() {
        let (old, now) = (digest("old"), digest("now"));
        let found = listed(
            json!([
                { "Id": "1", "Image": "nginx:1", "ImageID": "sha256:aa" },
                { "Id": "2", "Image": format!("nginx:1@{now}"), "ImageID": "sha256:aa" },
                { "Id": "3", "Image": "nginx:1", "ImageID": "sha256:bb" },
            ]),
            json!([
                { "Id": "sha256:aa", "RepoDigests": [format!("nginx@{old}"), format!("nginx@{now}")] },
                { "Id": "sha256:bb", "RepoDigests": [format!("nginx@{now}"), format!("docker.io/library/nginx@{now}")] },
            ]),
        );
        let digests: Vec<_> = found.containers(&BTreeMap::new()).into_iter().map(|found| found.digest).collect();
        assert_eq!(digests, [None, Some(now.clone()), Some(now)]);
    }

    #[test]
    fn what_was_built_here_is_in_no_registry() {
        let containers = json!([
            { "Id": "1", "Image": "built:1", "ImageID": "sha256:aa" },
            { "Id": "2", "Image": "localhost/built:1", "ImageID": "sha256:bb" },
            { "Id": "3", "Image": "removed:1", "ImageID": "sha256:cc" },
        ]);
        let images = json!([
            { "Id": "sha256:aa", "RepoDigests": [] },
            { "Id": "bb", "RepoDigests": [format!("localhost/built@{}", digest("b"))] },
        ]);
        let found = listed(containers, images).containers(&BTreeMap::new());
        assert_eq!(found.iter().map(|container| &*container.image).collect::<Vec<_>>(), ["removed:1"]);
    }

    #[test]
    fn the_name_that_a_container_was_started_with_counts() {
        let id = "0123456789ab0123456789ab0123456789ab0123456789ab0123456789abcdef";
        for (image, expected) in
            [(&id[..12], true), (&format!("sha256:{id}"), true), ("deadbeef", false), ("nginx", false)]
        {
            let listed = listed(json!([{ "Id": "1", "Image": image, "ImageID": format!("sha256:{id}") }]), json!([]));
            assert_eq!(listed.containers[0].is_named_by_id(), expected, "{image}");
        }
        let listed = listed(json!([{ "Id": "1", "Image": id, "ImageID": id }]), json!([]));
        let found = listed.containers(&BTreeMap::from([("1".to_owned(), "nginx:1".into())]));
        assert_eq!(&*found[0].image, "nginx:1");
    }

    #[test]
    fn services_are_workloads() {
        let listed = listed(
            json!([
                { "Id": "1", "Image": "a", "Labels": { "com.docker.compose.project": "shop", "com.docker.compose.service": "web" } },
                { "Id": "2", "Image": "a", "Labels": { "com.docker.swarm.service.name": "shop_db" } },
                { "Id": "3", "Image": "a", "Names": ["/alone"] },
            ]),
            json!([]),
        );
        let found = listed.containers(&BTreeMap::new());
        let of = |at: usize| found[at].workload.as_ref().map(|of| [&*of.namespace, &*of.kind, &*of.name]);
        assert_eq!(of(0), Some(["shop", "Service", "web"]));
        assert_eq!(of(1), Some(["", "Service", "shop_db"]));
        assert_eq!(of(2), Some(["", "Container", "alone"]));
    }
}
