//! What is known of the cluster: the containers of each pod, by namespace that is watched.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use kube::runtime::watcher::Event;

use super::names::Names;
use super::pod::WatchedPod;
use super::running::{POD_CONTAINERS_MAX, left_out, pull_secrets, running};
use crate::oci::Reason;
use crate::sources::{Container, SourceError};

/// The most containers of a source. Kubernetes is built for clusters of no more than 300,000.
const CONTAINERS_MAX: usize = 500_000;

/// All parts of a source, each a namespace or the whole cluster.
pub(super) struct Cluster {
    parts: Vec<Part>,
    names: Names,
    /// Whether it was said that a pod has too many containers.
    warned: bool,
}

#[derive(Default)]
struct Part {
    /// As of its last whole list and what changed since.
    pods: Option<Pods>,
    /// The list that is being read.
    list: Option<Pods>,
    failure: Option<SourceError>,
    /// Whether it has more pods than are kept.
    is_cut: bool,
}

/// A pod's namespace and name.
type Key = (Box<str>, Box<str>);

/// The namespace and name of a pull secret.
pub(super) type SecretKey = (Arc<str>, Arc<str>);

/// What is kept of a pod.
#[derive(Default, PartialEq)]
struct Kept {
    containers: Box<[Container]>,
    pull_secrets: Box<[SecretKey]>,
}

/// The containers of pods.
#[derive(Default, PartialEq)]
struct Pods {
    running: HashMap<Key, Kept>,
    containers: usize,
}

impl Pods {
    /// Whether that is a change. A pod that runs nothing is not kept.
    fn put(&mut self, pod: &WatchedPod, kept: Kept) -> bool {
        let known = self.running.get(&key(pod));
        if known.map_or(kept.containers.is_empty(), |known| *known == kept) {
            return false;
        }
        self.containers = self.containers - known.map_or(0, |known| known.containers.len()) + kept.containers.len();
        if kept.containers.is_empty() {
            self.running.remove(&key(pod));
        } else {
            self.running.insert(key(pod), kept);
        }
        true
    }
}

fn key(pod: &WatchedPod) -> Key {
    let metadata = &pod.pod.metadata;
    (metadata.namespace.as_str().into(), metadata.name.as_str().into())
}

impl Cluster {
    pub(super) fn new(parts: usize) -> Self {
        Self { parts: (0..parts).map(|_| Part::default()).collect(), names: Names::default(), warned: false }
    }

    /// Takes in what a part's watch says; whether what runs has changed.
    pub(super) fn apply(&mut self, at: usize, event: Event<WatchedPod>) -> bool {
        match event {
            Event::Init => {
                self.parts[at].list = Some(Pods::default());
                self.parts[at].is_cut = false;
                false
            }
            Event::InitApply(pod) => {
                self.put(at, &pod);
                false
            }
            Event::InitDone => {
                let part = &mut self.parts[at];
                let list = part.list.take().filter(|_| !part.is_cut);
                if list.is_none() {
                    return false;
                }
                part.failure = None;
                let is_new = part.pods != list;
                part.pods = list;
                is_new
            }
            Event::Apply(pod) => self.put(at, &pod),
            Event::Delete(pod) => self.parts[at].pods.as_mut().is_some_and(|pods| pods.put(&pod, Kept::default())),
        }
    }

    fn put(&mut self, at: usize, pod: &WatchedPod) -> bool {
        let containers = running(&pod.pod, &mut self.names);
        let pull_secrets = pull_secrets(&pod.pod, &mut self.names);
        let left_out = left_out(&pod.pod);
        if left_out > 0 && !std::mem::replace(&mut self.warned, true) {
            let (namespace, pod) = (&pod.pod.metadata.namespace, &pod.pod.metadata.name);
            tracing::warn!(namespace, pod, left_out, "only the first {POD_CONTAINERS_MAX} containers of a pod count");
        }
        let newest = |part: &Part| part.list.as_ref().or(part.pods.as_ref()).map_or(0, |pods| pods.containers);
        let part = &self.parts[at];
        if part.is_cut || self.parts.iter().map(newest).sum::<usize>() + containers.len() > CONTAINERS_MAX {
            let part = &mut self.parts[at];
            part.is_cut = true;
            let message =
                format!("more than {CONTAINERS_MAX} containers; `namespaces` and `selector` choose fewer pods");
            part.failure = Some(SourceError { reason: Reason::Limit, message });
            return false;
        }
        let part = &mut self.parts[at];
        part.list.as_mut().or(part.pods.as_mut()).is_some_and(|pods| pods.put(pod, Kept { containers, pull_secrets }))
    }

    /// The watch of a part goes on: nothing is wrong with it.
    pub(super) fn heard(&mut self, at: usize) {
        let part = &mut self.parts[at];
        if part.pods.is_some() && part.list.is_none() && !part.is_cut {
            part.failure = None;
        }
    }

    pub(super) fn failed(&mut self, at: usize, failure: SourceError) {
        self.parts[at].failure = Some(failure);
    }

    /// Why some part cannot be read now.
    pub(super) fn failure(&self) -> Option<&SourceError> {
        self.parts.iter().find_map(|part| part.failure.as_ref())
    }

    /// Whether every part knows all of its pods and keeps watching them.
    pub(super) fn is_current(&self) -> bool {
        self.parts.iter().all(|part| part.pods.is_some() && part.list.is_none() && part.failure.is_none())
    }

    /// All containers; `None` before every part has answered, or where there are too many. A part that may not be read is no
    /// reason to wait for it: it may never be, and the others' pods run.
    pub(super) fn containers(&self) -> Option<Vec<Container>> {
        let is_refused = |part: &Part| part.failure.as_ref().is_some_and(|failure| failure.reason == Reason::Denied);
        let is_whole = self.parts.iter().all(|part| !part.is_cut && (part.pods.is_some() || is_refused(part)));
        if !is_whole || self.parts.iter().all(|part| part.pods.is_none()) {
            return None;
        }
        let pods = self.parts.iter().filter_map(|part| part.pods.as_ref());
        Some(pods.flat_map(|pods| pods.running.values()).flat_map(|pod| pod.containers.iter().cloned()).collect())
    }

    /// Whether some part was never read.
    pub(super) fn is_part(&self) -> bool {
        self.parts.iter().any(|part| part.pods.is_none())
    }

    /// The pull secrets that pods name, each once.
    pub(super) fn pull_secrets(&self) -> BTreeSet<SecretKey> {
        let pods = self.parts.iter().filter_map(|part| part.pods.as_ref());
        pods.flat_map(|pods| pods.running.values()).flat_map(|pod| pod.pull_secrets.iter().cloned()).collect()
    }
}
