//! A container as its source describes it.

use std::sync::Arc;

use crate::oci::Digest;

/// A container that runs, or will run once its image is there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Container {
    /// Its image as the source names it, unparsed: `nginx`, `registry.internal/team/app:1.4`, with or without a digest.
    pub image: Arc<str>,
    /// Digest of the manifest or index that was pulled for it, where the source knows it: it may differ from what the tag
    /// points at now.
    pub digest: Option<Digest>,
    /// The node that it runs on, where the source knows nodes.
    pub node: Option<Arc<str>>,
    /// What it is part of, where the source knows workloads.
    pub workload: Option<Arc<Workload>>,
    /// Its name within that.
    pub name: Option<Arc<str>>,
}

/// What started a container: with these words in the labels of `container_image_running_info`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Workload {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// As Kubernetes spells it: `Deployment`, `StatefulSet`, `DaemonSet`, `CronJob`, `Job`, `Pod`.
    pub kind: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
}
