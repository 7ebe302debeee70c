//! What a pod is part of, from the pod alone.
//!
//! A pod names the object that manages it: for a Deployment that is a ReplicaSet, for a CronJob a Job. Reading those would need
//! two more permissions and two more watches, and is not necessary, since their names are made by rules:
//!
//! - The Deployment controller labels pods with `pod-template-hash`, and names its ReplicaSet `DEPLOYMENT-HASH` (Kubernetes
//!   documentation, "Deployments", "Pod-template-hash label"). A ReplicaSet that a person made has no such label, or another name.
//! - The CronJob controller names a Job `CRONJOB-MINUTES`: the scheduled time in minutes since the epoch. So many minutes must be
//!   near the pod's creation, which the name of a Job that a person made is not.
//!
//! Nothing is followed any further, so that owners that own each other do no harm.

use super::pod::{Metadata, Owner};

/// How long after its scheduled time a CronJob's pod may start: a Job retries, or is suspended.
const CRONJOB_MINUTES_MAX: i64 = 7 * 24 * 60;

/// The longest kind, as Kubernetes has it (a DNS label).
const KIND_BYTES_MAX: usize = 63;

/// The kind and name of what manages a pod; `Pod` and the pod's own name if nothing does.
pub(super) fn workload(pod: &Metadata) -> (&str, &str) {
    let owners = pod.owner_references.as_deref().unwrap_or_default();
    let itself = ("Pod", pod.name.as_str());
    let Some(owner) = owners.iter().find(|owner| owner.controller == Some(true)) else { return itself };
    match owner.kind.as_str() {
        // The node's own pods are started by its kubelet.
        "Node" | "Pod" => itself,
        "ReplicaSet" if is_of(owner, "apps") => {
            deployment(owner, pod).map_or(("ReplicaSet", &owner.name), |name| ("Deployment", name))
        }
        "Job" if is_of(owner, "batch") => cronjob(owner, pod).map_or(("Job", &owner.name), |name| ("CronJob", name)),
        kind if is_kind(kind) && !owner.name.is_empty() => (kind, &owner.name),
        _ => itself,
    }
}

fn is_of(owner: &Owner, group: &str) -> bool {
    owner.api_version.split_once('/').is_some_and(|(of, _)| of == group)
}

fn is_kind(kind: &str) -> bool {
    (1..=KIND_BYTES_MAX).contains(&kind.len()) && kind.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn deployment<'p>(replica_set: &'p Owner, pod: &Metadata) -> Option<&'p str> {
    let hash = pod.labels.as_ref()?.pod_template_hash.as_deref()?;
    replica_set.name.strip_suffix(hash)?.strip_suffix('-').filter(|name| !name.is_empty())
}

fn cronjob<'p>(job: &'p Owner, pod: &Metadata) -> Option<&'p str> {
    let (name, minutes) = job.name.rsplit_once('-')?;
    let minutes: i64 = minutes.bytes().all(|byte| byte.is_ascii_digit()).then(|| minutes.parse().ok())??;
    let created: jiff::Timestamp = pod.creation_timestamp.as_deref()?.parse().ok()?;
    // A clock may be a minute ahead of another one.
    let late = (created.as_second() / 60).checked_sub(minutes)?;
    (!name.is_empty() && (-1..=CRONJOB_MINUTES_MAX).contains(&late)).then_some(name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(owners: &serde_json::Value, hash: Option<&str>, expected: (&str, &str)) {
        let pod = json!({
            "name": "pod-1", "namespace": "default", "creationTimestamp": "2026-11-29T10:00:30Z",
            "labels": { "pod-template-hash": hash }, "ownerReferences": owners,
        });
        let pod: Metadata = serde_json::from_value(pod).unwrap();
        assert_eq!(workload(&pod), expected, "{owners} {hash:?}");
    }

    fn owner(kind: &str, name: &str) -> serde_json::Value {
        let version = match kind {
            "Job" => "batch/v1",
            "Node" | "ReplicationController" => "v1",
            _ => "apps/v1",
        };
        json!([{ "apiVersion": version, "kind": kind, "name": name, "controller": true }])
    }

    #[test]
    fn the_workload_is_what_manages_the_pod() {
        check(&owner("ReplicaSet", "web-6d4cf56db6"), Some("6d4cf56db6"), ("Deployment", "web"));
        check(&owner("ReplicaSet", "web-a-6d4cf56db6"), Some("6d4cf56db6"), ("Deployment", "web-a"));
        check(&owner("StatefulSet", "db"), None, ("StatefulSet", "db"));
        check(&owner("DaemonSet", "log"), None, ("DaemonSet", "log"));
        check(&owner("ReplicationController", "old"), None, ("ReplicationController", "old"));
        check(&owner("Rollout", "web"), None, ("Rollout", "web"));
        // 2026-11-29T10:00:00Z is minute 29932440.
        check(&owner("Job", "backup-29932440"), None, ("CronJob", "backup"));
        check(&owner("Job", "backup-29932441"), None, ("CronJob", "backup"));
        check(&owner("Job", "backup-29922440"), None, ("CronJob", "backup"));
        check(&json!(null), None, ("Pod", "pod-1"));
        check(&json!([]), Some("6d4cf56db6"), ("Pod", "pod-1"));
        check(&owner("Node", "node-1"), None, ("Pod", "pod-1"));
    }

    #[test]
    fn a_name_that_only_looks_like_a_controllers_is_left_as_it_is() {
        check(&owner("ReplicaSet", "web-6d4cf56db6"), None, ("ReplicaSet", "web-6d4cf56db6"));
        check(&owner("ReplicaSet", "web-6d4cf56db6"), Some("other"), ("ReplicaSet", "web-6d4cf56db6"));
        check(&owner("ReplicaSet", "6d4cf56db6"), Some("6d4cf56db6"), ("ReplicaSet", "6d4cf56db6"));
        check(&owner("ReplicaSet", "-6d4cf56db6"), Some("6d4cf56db6"), ("ReplicaSet", "-6d4cf56db6"));
        for job in
            ["import-20261129", "backup-29932443", "backup-29912440", "29932440", "-29932440", "a-+29932440", "a-"]
        {
            check(&owner("Job", job), None, ("Job", job));
        }
        let huge = format!("a-{}", "9".repeat(40));
        check(&owner("Job", &huge), None, ("Job", &huge));
    }

    #[test]
    fn owners_that_lie_end_at_the_pod() {
        check(&owner("Pod", "pod-1"), None, ("Pod", "pod-1"));
        check(&owner(&"K".repeat(64), "x"), None, ("Pod", "pod-1"));
        check(&owner("a b", "x"), None, ("Pod", "pod-1"));
        check(&owner("", ""), None, ("Pod", "pod-1"));
        // It owns the pod, and does not manage it.
        check(&json!([{ "apiVersion": "v1", "kind": "ConfigMap", "name": "x" }]), None, ("Pod", "pod-1"));
    }
}
