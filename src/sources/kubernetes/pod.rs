//! The fields of a pod that matter here (Kubernetes API reference, "Pod" v1). The others are skipped while parsing: among them
//! is what takes most of a pod's text, and what may be secret.

use std::borrow::Cow;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

/// A pod as `kube` hands it over.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "Pod")]
pub(super) struct WatchedPod {
    /// Of it `kube` needs the resource version.
    meta: ObjectMeta,
    pub(super) pod: Pod,
}

/// A pod. A list that the API server leaves out or writes as `null` is empty.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Pod {
    #[serde(deserialize_with = "or_empty")]
    pub(super) metadata: Metadata,
    #[serde(deserialize_with = "or_empty")]
    pub(super) spec: Spec,
    #[serde(deserialize_with = "or_empty")]
    pub(super) status: Status,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Metadata {
    #[serde(deserialize_with = "or_empty")]
    pub(super) name: String,
    #[serde(deserialize_with = "or_empty")]
    pub(super) namespace: String,
    resource_version: Option<String>,
    pub(super) creation_timestamp: Option<String>,
    pub(super) labels: Option<Labels>,
    pub(super) owner_references: Option<Vec<Owner>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Labels {
    /// What the Deployment controller adds to the pods of its replica sets.
    #[serde(rename = "pod-template-hash")]
    pub(super) pod_template_hash: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Owner {
    #[serde(deserialize_with = "or_empty")]
    pub(super) api_version: String,
    #[serde(deserialize_with = "or_empty")]
    pub(super) kind: String,
    #[serde(deserialize_with = "or_empty")]
    pub(super) name: String,
    /// Whether it manages the pod: at most one owner does.
    pub(super) controller: Option<bool>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Spec {
    pub(super) node_name: Option<String>,
    pub(super) image_pull_secrets: Option<Vec<SecretName>>,
    pub(super) containers: Option<Vec<Wanted>>,
    pub(super) init_containers: Option<Vec<Wanted>>,
    pub(super) ephemeral_containers: Option<Vec<Wanted>>,
}

/// A secret in the pod's namespace.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct SecretName {
    pub(super) name: Option<String>,
}

/// A container as the specification wants it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Wanted {
    #[serde(deserialize_with = "or_empty")]
    pub(super) name: String,
    pub(super) image: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Status {
    pub(super) phase: Option<String>,
    pub(super) container_statuses: Option<Vec<Actual>>,
    pub(super) init_container_statuses: Option<Vec<Actual>>,
    pub(super) ephemeral_container_statuses: Option<Vec<Actual>>,
}

/// A container as its node reports it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Actual {
    #[serde(deserialize_with = "or_empty")]
    pub(super) name: String,
    #[serde(rename = "imageID")]
    pub(super) image_id: Option<String>,
    pub(super) state: Option<State>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct State {
    /// There once the container has ended, and until it starts again.
    pub(super) terminated: Option<IgnoredAny>,
}

/// What is `null` is empty, as Go reads it: one such pod must not make its whole list unreadable.
fn or_empty<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(value: D) -> Result<T, D::Error> {
    Option::deserialize(value).map(Option::unwrap_or_default)
}

impl From<Pod> for WatchedPod {
    fn from(mut pod: Pod) -> Self {
        let resource_version = pod.metadata.resource_version.take();
        Self { meta: ObjectMeta { resource_version, ..ObjectMeta::default() }, pod }
    }
}

impl kube::Resource for WatchedPod {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        "Pod".into()
    }

    fn group((): &()) -> Cow<'_, str> {
        "".into()
    }

    fn version((): &()) -> Cow<'_, str> {
        "v1".into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        "pods".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
}
