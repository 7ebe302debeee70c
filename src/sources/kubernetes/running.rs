//! Which containers of a pod run, and what was pulled for them.
//!
//! A container's name and image are what the specification says. What was pulled is what its node reports as `imageID`, whose
//! form depends on the runtime: containerd and CRI-O write `docker.io/library/nginx@sha256:…`, the Docker engine
//! `docker-pullable://nginx@sha256:…`. All of them write the digest of the config instead, which no registry can be asked for,
//! where they know no other: `sha256:…`, `docker://sha256:…` or 64 digits.

use std::sync::Arc;

use super::names::Names;
use super::pod::{Actual, Pod, Wanted};
use super::workload::workload;
use crate::oci::text;
use crate::sources::pulled::pulled;
use crate::sources::{Container, Workload};

/// The most containers of a pod that count.
pub(super) const POD_CONTAINERS_MAX: usize = 1000;

/// The longest image that is kept, longer than any reference: what is cut here is none, before and after.
const IMAGE_BYTES_MAX: usize = 1024;

/// The longest name of an object in Kubernetes (a DNS subdomain).
const NAME_BYTES_MAX: usize = 253;

/// The containers of a pod that run, or will run once their image is there: none that has ended.
pub(super) fn running(pod: &Pod, names: &mut Names) -> Box<[Container]> {
    if matches!(pod.status.phase.as_deref(), Some("Succeeded" | "Failed")) {
        return Box::default();
    }
    let (kind, name) = workload(&pod.metadata);
    let workload = Arc::new(Workload {
        namespace: names.share(short(&pod.metadata.namespace)),
        kind: names.share(kind),
        name: names.share(short(name)),
    });
    let node = pod.spec.node_name.as_deref().filter(|node| !node.is_empty()).map(|node| names.share(short(node)));
    let lists = [
        (&pod.spec.init_containers, &pod.status.init_container_statuses),
        (&pod.spec.containers, &pod.status.container_statuses),
        (&pod.spec.ephemeral_containers, &pod.status.ephemeral_container_statuses),
    ];
    let mut running = Vec::new();
    for (wanted, actual) in lists {
        let actual = actual.as_deref().unwrap_or_default();
        for wanted in wanted.as_deref().unwrap_or_default() {
            let actual = actual.iter().find(|actual| actual.name == wanted.name);
            let Some(image) = wanted.image.as_deref().filter(|image| !image.is_empty()) else { continue };
            if running.len() == POD_CONTAINERS_MAX || actual.is_some_and(has_ended) {
                continue;
            }
            let (image, digest) =
                pulled(image, actual.and_then(|actual| actual.image_id.as_deref()).unwrap_or_default());
            running.push(Container {
                image: names.share(text::beginning(&image, IMAGE_BYTES_MAX)),
                digest,
                node: node.clone(),
                workload: Some(Arc::clone(&workload)),
                name: Some(names.share(short(&wanted.name))),
            });
        }
    }
    running.into()
}

/// The most pull secrets of a pod that count.
const POD_SECRETS_MAX: usize = 10;

/// The namespaces and names of the secrets with which the pod's images are pulled.
pub(super) fn pull_secrets(pod: &Pod, names: &mut Names) -> Box<[(Arc<str>, Arc<str>)]> {
    let secrets = pod.spec.image_pull_secrets.as_deref().unwrap_or_default();
    let secrets = secrets.iter().filter_map(|secret| secret.name.as_deref()).take(POD_SECRETS_MAX);
    secrets.map(|name| (names.share(short(&pod.metadata.namespace)), names.share(short(name)))).collect()
}

/// How many containers of a pod are left out, since it has too many.
pub(super) fn left_out(pod: &Pod) -> usize {
    let count = |list: &Option<Vec<Wanted>>| list.as_ref().map_or(0, Vec::len);
    let spec = &pod.spec;
    (count(&spec.containers) + count(&spec.init_containers) + count(&spec.ephemeral_containers))
        .saturating_sub(POD_CONTAINERS_MAX)
}

fn has_ended(container: &Actual) -> bool {
    container.state.as_ref().is_some_and(|state| state.terminated.is_some())
}

fn short(name: &str) -> &str {
    text::beginning(name, NAME_BYTES_MAX)
}

#[cfg(test)]
mod tests;
