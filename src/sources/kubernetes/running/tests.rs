use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::oci::{Digest, Reference};

const HEX: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

fn digest() -> Digest {
    format!("sha256:{HEX}").parse().unwrap()
}

fn parse(pod: Value) -> Pod {
    serde_json::from_value(pod).unwrap()
}

fn containers(pod: Value) -> Vec<(String, String, bool)> {
    let running = running(&parse(pod), &mut Names::default());
    running
        .iter()
        .map(|container| {
            (container.name.as_deref().unwrap().to_owned(), container.image.to_string(), container.digest.is_some())
        })
        .collect()
}

#[test]
fn what_was_pulled_is_read_from_every_runtimes_image_id() {
    let check = |wanted: &str, image_id: &str, image: &str, known: bool| {
        assert_eq!(pulled(wanted, image_id), (image.to_owned(), known.then(digest)), "{wanted} {image_id}");
    };
    let at = |name: &str| format!("{name}@sha256:{HEX}");
    check("nginx:1.27", &at("docker.io/library/nginx"), "nginx:1.27", true);
    check("nginx", &at("docker-pullable://nginx"), "nginx", true);
    check("registry.internal:5000/a/b:1", &at("registry.internal:5000/a/b"), "registry.internal:5000/a/b:1", true);
    // A name without a registry that the node found elsewhere than on Docker Hub.
    check("ubi9/ubi:9.4", &at("registry.access.redhat.com/ubi9/ubi"), "registry.access.redhat.com/ubi9/ubi:9.4", true);
    check("ubi9", &at("quay.io/ubi9"), "quay.io/ubi9:latest", true);
    // Another name of the same image.
    check("registry.internal/nginx:1.27", &at("docker.io/library/nginx"), "registry.internal/nginx:1.27", false);
    check("nginx:1.27", &at("mirror.internal/hub/nginx"), "nginx:1.27", false);
    check("quay.io/a:1", &at("mirror.internal/quay.io/a"), "quay.io/a:1", false);
    check("docker.io/a:1", &at("mirror.internal/docker.io/a"), "docker.io/a:1", false);
    // The config's digest is no manifest's.
    for config in
        ["", HEX, &format!("sha256:{HEX}"), &format!("docker://sha256:{HEX}"), "nginx@sha256:12", "@", "a@b@c"]
    {
        check("nginx:1.27", config, "nginx:1.27", false);
    }
    // Pinned: what the runtime says is another of the image's digests.
    let pinned = at("nginx:1.27");
    check(&pinned, &format!("docker.io/library/nginx@sha256:{}", "0".repeat(64)), &pinned, true);
    check(&pinned, "", &pinned, true);
    check("no reference!", &at("nginx"), "no reference!", false);
}

#[test]
fn containers_of_all_three_kinds_count_until_they_have_ended() {
    let image_id = format!("docker.io/library/a@sha256:{HEX}");
    let pod = json!({
        "metadata": { "name": "p", "namespace": "n" },
        "spec": {
            "nodeName": "node-1",
            "initContainers": [
                { "name": "done", "image": "a" }, { "name": "sidecar", "image": "a" }, { "name": "next", "image": "a" },
            ],
            "containers": [
                { "name": "runs", "image": "a" }, { "name": "waits", "image": "b" }, { "name": "ended", "image": "a" },
            ],
            "ephemeralContainers": [{ "name": "debugger", "image": "a" }],
        },
        "status": {
            "phase": "Running",
            "initContainerStatuses": [
                { "name": "done", "imageID": image_id, "state": { "terminated": { "exitCode": 0 } } },
                { "name": "sidecar", "imageID": image_id, "state": { "running": {} } },
                { "name": "next", "imageID": "", "state": { "waiting": { "reason": "PodInitializing" } } },
            ],
            "containerStatuses": [
                { "name": "ended", "imageID": image_id, "state": { "terminated": {} }, "lastState": {} },
                { "name": "waits", "imageID": "", "state": { "waiting": { "reason": "ImagePullBackOff" } } },
                { "name": "runs", "imageID": image_id, "state": { "running": { "startedAt": "2026-11-29T10:00:00Z" } } },
            ],
            "ephemeralContainerStatuses": null,
        },
    });
    let seen = |name: &str, image: &str, known: bool| (name.to_owned(), image.to_owned(), known);
    let expected = [
        seen("sidecar", "a", true),
        seen("next", "a", false),
        seen("runs", "a", true),
        seen("waits", "b", false),
        seen("debugger", "a", false),
    ];
    assert_eq!(containers(pod.clone()), expected);
    for phase in ["Succeeded", "Failed"] {
        let mut pod = pod.clone();
        pod["status"]["phase"] = json!(phase);
        assert_eq!(containers(pod), []);
    }
    let running = running(&parse(pod), &mut Names::default());
    assert!(running.iter().all(|container| container.node.as_deref() == Some("node-1")));
    assert_eq!(*running[0].workload.as_deref().unwrap().namespace, *"n");
}

#[test]
fn a_pod_that_is_not_scheduled_yet_will_run() {
    let pod = json!({
        "metadata": { "name": "p", "namespace": "n" },
        "spec": { "containers": [{ "name": "c", "image": "a" }] },
        "status": { "phase": "Pending" },
    });
    assert_eq!(containers(pod.clone()), [("c".to_owned(), "a".to_owned(), false)]);
    assert_eq!(running(&parse(pod), &mut Names::default())[0].node, None);
}

#[test]
fn a_pod_of_ten_thousand_containers_is_cut() {
    let many: Vec<Value> = (0..10_000).map(|at| json!({ "name": at.to_string(), "image": "a" })).collect();
    let pod = parse(json!({ "metadata": { "name": "p", "namespace": "n" }, "spec": { "containers": many } }));
    assert_eq!(running(&pod, &mut Names::default()).len(), POD_CONTAINERS_MAX);
    assert_eq!(left_out(&pod), 10_000 - POD_CONTAINERS_MAX);
}

#[test]
fn an_image_that_is_no_reference_is_passed_on_cut_and_stays_none() {
    let long = format!("a/{}", "b".repeat(5000));
    let pod = json!({ "spec": { "containers": [{ "name": "c", "image": long }, { "name": "d" }] } });
    let running = running(&parse(pod), &mut Names::default());
    assert_eq!(running.len(), 1, "a container without an image runs none");
    assert_eq!(running[0].image.len(), IMAGE_BYTES_MAX);
    assert!(running[0].image.parse::<Reference>().is_err());
}

fn list(states: &[u8]) -> (Vec<Value>, Vec<Value>) {
    let wanted = (0..states.len()).map(|at| json!({ "name": at.to_string(), "image": format!("a:{at}") }));
    let actual = states.iter().enumerate().filter_map(|(at, state)| {
        let state = match state % 4 {
            0 => return None,
            1 => json!({ "waiting": {} }),
            2 => json!({ "running": {} }),
            _ => json!({ "terminated": {} }),
        };
        Some(json!({ "name": at.to_string(), "imageID": format!("docker.io/library/a@sha256:{HEX}"), "state": state }))
    });
    (wanted.collect(), actual.collect())
}

proptest! {
    #[test]
    fn each_container_counts_once_unless_it_has_ended(
        init in proptest::collection::vec(0_u8..4, 0..5),
        main in proptest::collection::vec(0_u8..4, 0..5),
        ephemeral in proptest::collection::vec(0_u8..4, 0..5),
    ) {
        let lists = [&init, &main, &ephemeral].map(|states| list(states));
        let pod = json!({
            "metadata": { "name": "p", "namespace": "n" },
            "spec": { "initContainers": lists[0].0, "containers": lists[1].0, "ephemeralContainers": lists[2].0 },
            "status": {
                "phase": "Running",
                "initContainerStatuses": lists[0].1,
                "containerStatuses": lists[1].1,
                "ephemeralContainerStatuses": lists[2].1,
            },
        });
        let expected: Vec<(String, bool)> = [&init, &main, &ephemeral]
            .into_iter()
            .flat_map(|states| states.iter().enumerate())
            .filter(|(_, state)| **state != 3)
            .map(|(at, state)| (format!("a:{at}"), *state != 0))
            .collect();
        let found: Vec<(String, bool)> =
            containers(pod).into_iter().map(|(_, image, known)| (image, known)).collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn no_text_in_a_pod_panics_and_no_digest_is_made_up(wanted in "\\PC{0,40}", image_id in "\\PC{0,40}", name in "\\PC{0,300}") {
        let pod = json!({
            "metadata": { "name": name, "namespace": name, "ownerReferences": [
                { "apiVersion": wanted, "kind": image_id, "name": name, "controller": true },
            ] },
            "spec": { "containers": [{ "name": name, "image": wanted }] },
            "status": { "containerStatuses": [{ "name": name, "imageID": image_id }] },
        });
        for container in running(&parse(pod), &mut Names::default()) {
            prop_assert!(container.name.unwrap().len() <= NAME_BYTES_MAX);
            if let Some(digest) = container.digest {
                prop_assert!([&wanted, &image_id].iter().any(|text| text.contains(&digest.to_string())));
            }
        }
    }
}

#[test]
fn what_is_null_is_empty_and_loses_nothing_else() {
    let mut pod = parse(json!({
        "metadata": { "name": null, "namespace": null, "ownerReferences": [{ "apiVersion": null, "kind": null, "name": null }] },
        "spec": { "containers": [{ "name": null, "image": "a:1" }, { "name": "b", "image": null }] },
        "status": null,
    }));
    let mut names = Names::default();
    let found = running(&pod, &mut names);
    assert_eq!(found.iter().map(|one| &*one.image).collect::<Vec<_>>(), ["a:1"]);
    pod = parse(json!({ "metadata": null, "spec": null }));
    assert!(running(&pod, &mut names).is_empty());
}
