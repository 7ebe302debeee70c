//! A Prometheus's answer to an instant query, as containers.
//!
//! What runs is in labels as kube-state-metrics names them: `image_spec` or `image`, `image_id`, `node`, `namespace`, `pod`,
//! `container`; of the workload `workload_kind` and `workload`, `owner_kind` and `owner_name`, or `created_by_kind` and
//! `created_by_name`, whichever a query has joined to them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use serde::Deserialize;

use crate::sources::pulled::pulled;
use crate::sources::{Container, Workload};

/// Why an answer says nothing about what runs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidAnswer {
    /// It is something else.
    #[error("does not answer as a Prometheus does: {0}")]
    Json(String),
    /// The query failed.
    #[error("cannot answer the query: {0}")]
    Failed(String),
    /// Another type of result.
    #[error("answers with a {0}: write a `query` that gives an instant vector, such as kube_pod_container_info")]
    NoVector(String),
    /// A part of a result, as Thanos and Mimir may give.
    #[error("answers with a warning, so that series may be missing: {0}")]
    Partial(String),
    /// Nothing at all: more likely the other exporter is away, or the query is misspelt, than that nothing runs.
    #[error("answers with no series: does the exporter that the `query` asks for run, and is it scraped?")]
    Empty,
    /// Series that name no image.
    #[error("answers with series without the label `image`: write a `query` such as kube_pod_container_info")]
    NoImage,
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(default)]
    status: String,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    warnings: Vec<String>,
    #[serde(borrow, default)]
    data: Option<Data<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data<'a> {
    result_type: String,
    #[serde(borrow)]
    result: &'a serde_json::value::RawValue,
}

#[derive(Deserialize)]
struct Series {
    metric: BTreeMap<String, String>,
}

/// The containers of an answer.
pub(super) fn containers(body: &[u8]) -> Result<Vec<Container>, InvalidAnswer> {
    let answer: Answer<'_> = serde_json::from_slice(body).map_err(|error| InvalidAnswer::Json(error.to_string()))?;
    if answer.status != "success" {
        return Err(InvalidAnswer::Failed(answer.error.unwrap_or_else(|| "it says nothing more".to_owned())));
    }
    if let Some(warning) = answer.warnings.first() {
        return Err(InvalidAnswer::Partial(warning.clone()));
    }
    let data = answer.data.ok_or_else(|| InvalidAnswer::Json("there is no `data`".to_owned()))?;
    if data.result_type != "vector" {
        return Err(InvalidAnswer::NoVector(data.result_type));
    }
    let series: Vec<Series> =
        serde_json::from_str(data.result.get()).map_err(|error| InvalidAnswer::Json(error.to_string()))?;
    if series.is_empty() {
        return Err(InvalidAnswer::Empty);
    }
    let mut words = Words::default();
    let containers: Vec<Container> = series.iter().map(|one| container(&one.metric, &mut words)).collect();
    if containers.iter().all(|one| one.image.is_empty()) { Err(InvalidAnswer::NoImage) } else { Ok(containers) }
}

/// The error of an answer with another status than 200.
pub(super) fn error(body: &[u8]) -> Option<String> {
    serde_json::from_slice::<Answer<'_>>(body).ok()?.error
}

/// Texts and workloads, each kept once: replicas have the same.
#[derive(Default)]
struct Words {
    texts: HashSet<Arc<str>>,
    workloads: HashMap<[Arc<str>; 3], Arc<Workload>>,
}

impl Words {
    fn text(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return Arc::clone(known);
        }
        let text: Arc<str> = text.into();
        self.texts.insert(Arc::clone(&text));
        text
    }

    fn workload(&mut self, namespace: &str, kind: &str, name: &str) -> Arc<Workload> {
        let [namespace, kind, name] = [namespace, kind, name].map(|text| self.text(text));
        let key = [Arc::clone(&namespace), Arc::clone(&kind), Arc::clone(&name)];
        Arc::clone(self.workloads.entry(key).or_insert_with(|| Arc::new(Workload { namespace, kind, name })))
    }
}

/// A series that names no image has an empty one, so that it is counted as skipped: what it stands for runs.
fn container(labels: &BTreeMap<String, String>, words: &mut Words) -> Container {
    // kube-state-metrics gives an empty label where it does not know.
    let label = |name: &str| labels.get(name).map(String::as_str).filter(|text| !text.is_empty());
    // `image` is what the runtime calls it, which may be an ID.
    let image = label("image_spec").or_else(|| label("image")).unwrap_or_default();
    let namespace = label("namespace").unwrap_or_default();
    let owners = [("workload_kind", "workload"), ("owner_kind", "owner_name"), ("created_by_kind", "created_by_name")];
    // `<none>` stands where there is no owner.
    let known = |text: &&str| *text != "<none>";
    let owner = owners
        .into_iter()
        .find_map(|(kind, name)| Some((label(kind).filter(known)?, label(name).filter(known)?)))
        .or_else(|| Some(("Pod", label("pod")?)));
    let (image, digest) = pulled(image, label("image_id").unwrap_or_default());
    Container {
        image: words.text(&image),
        digest,
        node: label("node").map(|node| words.text(node)),
        workload: owner.map(|(kind, name)| words.workload(namespace, kind, name)),
        name: label("container").map(|name| words.text(name)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::oci::Digest;

    fn answer(metrics: &serde_json::Value) -> Vec<u8> {
        let result: Vec<_> = metrics
            .as_array()
            .unwrap()
            .iter()
            .map(|metric| json!({ "metric": metric, "value": [1_700_000_000.5, "1"] }))
            .collect();
        json!({ "status": "success", "data": { "resultType": "vector", "result": result } }).to_string().into_bytes()
    }

    #[test]
    fn containers_are_what_kube_state_metrics_says() {
        let of = Digest::sha256_of(b"x");
        let body = answer(&json!([
            {
                "__name__": "kube_pod_container_info", "namespace": "shop", "pod": "web-1", "container": "nginx",
                "image": "docker.io/library/nginx:1.27", "image_spec": "nginx:1.27", "node": "a",
                "image_id": format!("docker.io/library/nginx@{of}"), "owner_kind": "ReplicaSet", "owner_name": "web-7f",
            },
            { "namespace": "shop", "pod": "job-1", "image": "busybox", "image_spec": "", "image_id": of.to_string() },
            { "namespace": "shop", "pod": "no-image" },
            { "image": "x", "created_by_kind": "<none>", "created_by_name": "<none>" },
        ]));
        let found = containers(&body).unwrap();
        assert_eq!(found.len(), 4);
        assert_eq!(&*found[2].image, "", "it is counted");
        assert_eq!(
            (&*found[0].image, found[0].digest.as_ref(), found[0].node.as_deref()),
            ("nginx:1.27", Some(&of), Some("a"))
        );
        let workload = |at: usize| found[at].workload.as_ref().map(|of| [&*of.namespace, &*of.kind, &*of.name]);
        assert_eq!(workload(0), Some(["shop", "ReplicaSet", "web-7f"]));
        assert_eq!(
            (workload(1), found[1].digest.as_ref()),
            (Some(["shop", "Pod", "job-1"]), None),
            "an ID is no digest"
        );
        assert_eq!((workload(3), found[3].name.as_ref()), (None, None));
    }

    #[test]
    fn a_digest_of_another_repository_or_beside_a_pinned_one_does_not_count() {
        let (of, pinned) = (Digest::sha256_of(b"x"), Digest::sha256_of(b"pinned"));
        let body = answer(&json!([
            { "image_spec": "nginx:1", "image_id": format!("mirror.internal/hub/nginx@{of}") },
            { "image_spec": format!("nginx:1@{pinned}"), "image_id": format!("docker.io/library/nginx@{of}") },
            { "image_spec": "nginx:1", "image_id": format!("docker-pullable://nginx@{of}") },
        ]));
        let digests: Vec<_> = containers(&body).unwrap().into_iter().map(|found| found.digest).collect();
        assert_eq!(digests, [None, Some(pinned), Some(of)]);
    }

    #[test]
    fn an_answer_that_says_nothing_is_no_empty_cluster() {
        let said = |body: &[u8]| containers(body).unwrap_err().to_string();
        assert!(said(b"<html>").starts_with("does not answer as a Prometheus does: "));
        assert!(said(b"{}").starts_with("cannot answer the query: "));
        assert!(said(br#"{"status":"success"}"#).contains("no `data`"));
        assert!(said(br#"{"status":"error","errorType":"bad_data","error":"parse error"}"#).ends_with("parse error"));
        let scalar = br#"{"status":"success","data":{"resultType":"scalar","result":[1,"1"]}}"#;
        assert!(said(scalar).starts_with("answers with a scalar: "));
        assert!(said(&answer(&json!([]))).starts_with("answers with no series"));
        assert!(said(&answer(&json!([{ "job": "node" }]))).contains("without the label `image`"));
        let partial =
            br#"{"status":"success","warnings":["store x is away"],"data":{"resultType":"vector","result":[]}}"#;
        assert!(said(partial).ends_with("store x is away"));
        assert_eq!(error(br#"{"status":"error","error":"why"}"#).as_deref(), Some("why"));
    }

    proptest! {
        #[test]
        fn no_body_panics(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = containers(&body);
            let _ = error(&body);
        }
    }
}
