//! A Kubernetes cluster.

use std::path::PathBuf;

use super::Outbox;

/// Which cluster, and what of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// How to reach it; the pod's own service account without one.
    pub kubeconfig: Option<PathBuf>,
    /// Which of the kubeconfig's contexts.
    pub context: Option<String>,
    /// Only these namespaces; all when empty.
    pub namespaces: Vec<String>,
    /// A label selector of pods.
    pub selector: Option<String>,
    /// Whether the pods' own credentials are used for registries for which there is none.
    pub pull_secrets: bool,
}

/// Watches it; never returns.
pub async fn watch(_settings: &Settings, _outbox: &Outbox) {
    std::future::pending::<()>().await;
}
