//! What runs in a Kubernetes cluster: its pods are listed once and then watched.
//!
//! With `pull_secrets`, the secrets that pods name for their images are read too, and their logins used for registries for which
//! there is no other.
//!
//! Without, one permission is needed, `list` and `watch` of pods, in the cluster or in the namespaces that are named. Nothing else is
//! read: `workload` says how a Deployment and a CronJob are known without it. Of a pod only the few fields in `pod` are
//! kept: no environment, no annotation.
//!
//! `kube` does the list, the watch and what follows a cut or a 410. `guard` bounds what it reads and how long it waits, and
//! hears the bookmarks that `kube` keeps for itself.

mod client;
mod cluster;
mod failure;
mod follow;
mod guard;
mod names;
mod pod;
mod running;
mod secrets;
mod watch;
mod workload;

use std::path::PathBuf;

pub use watch::watch;

/// The most namespaces that a source may name: each is a watch of its own. Without any, one watch sees the whole cluster.
pub const NAMESPACES_MAX: usize = 100;

/// Which pods of which cluster a source watches. The default: all of the cluster that the program runs in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// A kubeconfig. Without one, the service account of the pod that the program runs in; outside a cluster the kubeconfig
    /// where kubectl looks for it.
    pub kubeconfig: Option<PathBuf>,
    /// A context of the kubeconfig, instead of its current one.
    pub context: Option<String>,
    /// The namespaces to watch, at most [`NAMESPACES_MAX`]; all of the cluster if there are none.
    pub namespaces: Vec<String>,
    /// A label selector, as kubectl's `--selector` has it: `app=web,tier in (front, back)`.
    pub selector: Option<String>,
    /// Whether the pods' own credentials are used for registries for which there is none.
    pub pull_secrets: bool,
}
