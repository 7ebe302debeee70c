//! What is seen, and for how long.

use image_size_exporter::sources::Sight;
use image_size_exporter::sources::kubernetes::Settings;
use serde_json::json;

use super::{Watched, images, web};
use crate::api_server::{ApiServer, Fault, kubeconfig, pod};
use crate::support::tls::{Authority, Client};

#[tokio::test]
async fn pods_are_listed_by_pages_and_then_watched() {
    let server = ApiServer::start().await;
    for number in 0..1200 {
        server.put(web(number, "a:1"));
    }
    let mut watched = Watched::start(&server, Settings::default());
    watched.until("all pods", |sight| images(sight).len() == 1200).await;
    server.put(web(1200, "a:2"));
    let sight = watched.until("a new pod", |sight| images(sight).len() == 1201).await;
    let new = sight.containers.unwrap().iter().find(|container| &*container.image == "a:2").unwrap().clone();
    assert_eq!(new.node.as_deref(), Some("node-1"));
    assert_eq!(new.name.as_deref(), Some("main"));
    assert_eq!(new.digest.unwrap().to_string(), format!("sha256:{}", super::HEX));
    let workload = new.workload.unwrap();
    assert_eq!([&*workload.namespace, &*workload.kind, &*workload.name], ["default", "Deployment", "web"]);
    server.delete("default", "web-1200");
    let mut ended = web(0, "a:1");
    ended["status"]["phase"] = json!("Succeeded");
    server.put(ended);
    watched.until("both gone", |sight| images(sight).len() == 1199).await;
    let lists: Vec<String> = server.requests().into_iter().filter(|uri| !uri.contains("watch=true")).collect();
    assert_eq!(lists.len(), 3, "{lists:?}");
    assert!(lists.iter().all(|uri| uri.starts_with("/api/v1/pods?") && uri.contains("limit=500")), "{lists:?}");
}

#[tokio::test]
async fn a_cluster_without_pods_is_believed() {
    let server = ApiServer::start().await;
    let mut watched = Watched::start(&server, Settings::default());
    watched.until_images(&[]).await;
    server.put(web(1, "a:1"));
    watched.until_images(&["a:1"]).await;
    server.delete("default", "web-1");
    watched.until_images(&[]).await;
}

#[tokio::test]
async fn changes_that_come_together_are_reported_together() {
    let server = ApiServer::start().await;
    let mut watched = Watched::start(&server, Settings::default());
    watched.until_images(&[]).await;
    for number in 0..500 {
        server.put(web(number, "a:1"));
    }
    let mut reports = 0;
    while images(&watched.sight.borrow_and_update()).len() < 500 {
        watched.sight.changed().await.unwrap();
        reports += 1;
    }
    assert!(reports < 50, "{reports}");
}

#[tokio::test]
async fn a_watch_resumes_where_it_was_cut_in_the_middle_of_an_event() {
    let server = ApiServer::start().await;
    server.put(web(1, "a:1"));
    server.fail_watches([Fault::CutEvent, Fault::Slow]);
    let mut watched = Watched::start(&server, Settings::default());
    watched.until_images(&["a:1"]).await;
    let version = server.version();
    server.put(web(2, "a:2"));
    let sight = watched.until_images(&["a:1", "a:2"]).await;
    assert_eq!(sight.error, None);
    let requests = server.requests();
    assert_eq!(requests.len(), 3, "{requests:?}");
    assert!(requests[1..].iter().all(|uri| uri.contains(&format!("resourceVersion={version}"))), "{requests:?}");
}

#[tokio::test]
async fn bookmarks_are_where_the_next_watch_begins_and_say_that_nothing_has_changed() {
    let server = ApiServer::start().await;
    server.put(web(1, "a:1"));
    let settings = Settings { namespaces: vec!["default".to_owned()], ..Settings::default() };
    let mut watched = Watched::start(&server, settings);
    let first = watched.until_images(&["a:1"]).await.last_success.unwrap();
    // Nothing that this watch sees.
    server.put(pod("elsewhere", "web-1", "node-1", "b:1", "sha256:0"));
    let version = server.version();
    while watched.sight.borrow().last_success.unwrap() <= first + 0.9 {
        tokio::task::yield_now().await;
    }
    server.compact();
    server.end_watches();
    // Else the watch that ends might still report this pod.
    while server.requests().len() < 3 {
        tokio::task::yield_now().await;
    }
    server.put(web(2, "a:2"));
    watched.until_images(&["a:1", "a:2"]).await;
    let requests = server.requests();
    assert!(requests[2].contains(&format!("resourceVersion={version}")), "{requests:?}");
    assert_eq!(requests.len(), 3, "{requests:?}");
}

#[tokio::test]
async fn a_version_that_is_forgotten_has_all_pods_listed_again() {
    for refusal in [Fault::Expired, Fault::Status(410, "too old resource version: 2")] {
        let server = ApiServer::start().await;
        server.put(web(1, "a:1"));
        server.put(web(2, "a:2"));
        server.fail_watches([Fault::Ended, refusal.clone()]);
        let mut watched = Watched::start(&server, Settings::default());
        watched.until_images(&["a:1", "a:2"]).await;
        server.delete("default", "web-1");
        server.compact();
        let sight = watched.until_images(&["a:2"]).await;
        assert_eq!(sight.error, None, "{refusal:?}");
        server.put(web(3, "a:3"));
        watched.until_images(&["a:2", "a:3"]).await;
    }
}

#[tokio::test]
async fn a_server_that_ends_every_watch_at_once_is_not_asked_all_the_time() {
    let server = ApiServer::start().await;
    server.fail_watches(vec![Fault::Ended; 3]);
    let mut watched = Watched::start(&server, Settings::default());
    let begun = std::time::Instant::now();
    watched.until_images(&[]).await;
    server.put(web(1, "a:1"));
    watched.until_images(&["a:1"]).await;
    let watches = server.requests().len() - 1;
    assert!(begun.elapsed().as_secs() + 1 >= watches as u64 - 1, "{watches} watches in {:?}", begun.elapsed());
}

#[tokio::test]
async fn only_the_pods_that_are_chosen_are_asked_for() {
    let server = ApiServer::start().await;
    server.put(web(1, "a:1"));
    server.put(pod("default", "other-1", "node-1", "b:1", "sha256:0"));
    server.put(pod("two", "web-1", "node-1", "c:1", "sha256:0"));
    server.put(pod("three", "web-1", "node-1", "d:1", "sha256:0"));
    let namespaces = ["two", "default", "two"].map(str::to_owned).to_vec();
    let settings = Settings { namespaces, selector: Some("app=web".to_owned()), ..Settings::default() };
    let mut watched = Watched::start(&server, settings);
    watched.until_images(&["a:1", "c:1"]).await;
    server.put(pod("two", "web-2", "node-1", "c:2", "sha256:0"));
    server.put(pod("three", "web-2", "node-1", "d:2", "sha256:0"));
    watched.until_images(&["a:1", "c:1", "c:2"]).await;
    let paths: Vec<String> = server.requests().iter().map(|uri| uri.split('?').next().unwrap().to_owned()).collect();
    assert!(
        paths.iter().all(|path| ["/api/v1/namespaces/two/pods", "/api/v1/namespaces/default/pods"].contains(&&**path))
    );
}

#[tokio::test]
async fn a_cluster_is_reached_over_tls_that_its_kubeconfigs_authority_signs() {
    let server = ApiServer::start().await;
    server.put(web(1, "a:1"));
    let authority = Authority::new();
    let front = authority.front("127.0.0.1", server.address, Client::MayShow).await;
    let address = format!("https://{}", front.name());
    let ca = authority.file("ca.pem").display().to_string();
    let mut watched = Watched::start_with(&kubeconfig(&address, &ca, "token"), Settings::default());
    watched.until_images(&["a:1"]).await;
    let other = Authority::new();
    let other = other.file("ca.pem").display().to_string();
    let mut watched = Watched::start_with(&kubeconfig(&address, &other, "token"), Settings::default());
    watched
        .until_error("cannot list the pods in the whole cluster: client error (Connect): invalid peer certificate")
        .await;
}

#[tokio::test]
async fn a_pod_that_lies_loses_nothing_else() {
    let server = ApiServer::start().await;
    server.put(web(1, "a:1"));
    server.put(web(2, "no reference at all"));
    let mut many = web(3, "many:1");
    many["spec"]["containers"] =
        (0..10_000).map(|at| json!({ "name": at.to_string(), "image": "many:1" })).collect::<Vec<_>>().into();
    server.put(many);
    let mut cyclic = web(4, "cyclic:1");
    cyclic["metadata"]["ownerReferences"] = json!([
        { "apiVersion": "v1", "kind": "Pod", "name": "web-4", "uid": "default-web-4", "controller": true },
        { "apiVersion": "v1", "kind": "Pod", "name": "web-4", "uid": "default-web-4", "controller": true },
    ]);
    server.put(cyclic);
    let mut bare = json!({ "metadata": { "namespace": "default", "name": "web-5" }, "spec": { "containers": null } });
    bare["status"] = json!({});
    server.put(bare);
    let mut watched = Watched::start(&server, Settings::default());
    let once = ["a:1", "cyclic:1", "no reference at all"];
    let sight = watched
        .until("all of them", |sight: &Sight| {
            let images = images(sight);
            images.len() == 1003 && once.iter().all(|image| images.contains(image))
        })
        .await;
    assert_eq!(sight.error, None);
    let cyclic = sight.containers.unwrap().iter().find(|container| &*container.image == "cyclic:1").unwrap().clone();
    let workload = cyclic.workload.unwrap();
    assert_eq!([&*workload.kind, &*workload.name], ["Pod", "web-4"]);
}
