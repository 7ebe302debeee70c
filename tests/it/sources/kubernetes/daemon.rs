//! A cluster over the whole daemon: from a pod to its sample.

use std::process::Stdio;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::super::{COMPRESSED, CONTAINERS, INFO, NODES, OUTDATED, UP, has_sizes, image_of, registry, toml};
use crate::api_server::{ApiServer, pod};
use crate::support::daemon::Daemon;
use crate::support::files::Files;
use crate::support::registry::{Access, TestRegistry, basic};

/// A configuration for a cluster; `more` are further keys of `kubernetes`.
fn configuration(server: &ApiServer, files: &Files, more: &str) -> String {
    let kubeconfig = files.write("kubeconfig", &server.kubeconfig("token"));
    toml(&format!("kubernetes = {{ kubeconfig = '{}'{more} }}", kubeconfig.display()))
}

fn runs(registry: &TestRegistry, name: &str, node: &str, image: &str, digest: &str) -> serde_json::Value {
    pod("shop", name, node, &format!("{}/{image}", registry.name()), digest)
}

#[tokio::test]
async fn a_pods_image_is_read_when_the_pod_starts_and_is_known_with_workload_nodes_and_digest() {
    let (registry, server, files) = (registry(), ApiServer::start().await, Files::new());
    let now = image_of(100).digest().to_string();
    let before = format!("sha256:{}", "1".repeat(64));
    server.put(runs(&registry, "app-1", "node-1", "acme/app:v1", &now));
    server.put(runs(&registry, "app-2", "node-2", "acme/app:v1", &before));
    let daemon = Daemon::start(&configuration(&server, &files, "")).await;
    let metrics =
        daemon.until("it is read", |m| has_sizes(m, &[("app", "v1", 100)]) && m.one(OUTDATED, &[]) == Some(1.0)).await;
    assert_eq!((metrics.one(CONTAINERS, &[]), metrics.one(NODES, &[])), (Some(2.0), Some(2.0)));
    let labels = [
        ("source", "s"),
        ("repository", "acme/app"),
        ("tag", "v1"),
        ("namespace", "shop"),
        ("workload_kind", "Deployment"),
        ("workload", "app"),
        ("container", "main"),
    ];
    assert_eq!(metrics.one(INFO, &labels), Some(1.0));
    assert_eq!(metrics.count(INFO), 1);

    server.put(runs(&registry, "web-1", "node-1", "acme/web:v1", &before));
    daemon.until("the new pod's is read", |m| has_sizes(m, &[("app", "v1", 100), ("web", "v1", 200)])).await;
    server.delete("shop", "app-1");
    server.delete("shop", "app-2");
    daemon.until("the others are gone", |m| has_sizes(m, &[("web", "v1", 200)]) && m.count(CONTAINERS) == 1).await;

    server.forbid(Some("/api/v1/pods"));
    server.end_watches();
    let metrics = daemon.until("it may not be read", |m| m.one(UP, &[]) == Some(0.0)).await;
    assert!(has_sizes(&metrics, &[("web", "v1", 200)]), "what was seen stays");
    assert_eq!(metrics.one(CONTAINERS, &[]), Some(1.0));
    server.forbid(None);
    daemon.until("it may again", |m| m.one(UP, &[]) == Some(1.0)).await;
    daemon.stop().await;
}

#[tokio::test]
async fn while_a_namespace_cannot_be_read_nothing_goes_and_a_restart_forgets_nothing() {
    let (registry, server, files) = (registry(), ApiServer::start().await, Files::new());
    server.put(runs(&registry, "app-1", "node-1", "acme/app:v1", "none"));
    let mut hidden = runs(&registry, "web-1", "node-1", "acme/web:v1", "none");
    hidden["metadata"]["namespace"] = json!("secret");
    server.put(hidden);
    let policy = format!(
        "[[targets]]\nname = 't'\nrepository = '{}/acme/web'\nmatch = ['^none$']\n\
         [[policies]]\nname = 'p'\nkeep_running = true\n",
        registry.name()
    );
    let configuration = configuration(&server, &files, ", namespaces = ['shop', 'secret']");
    let all = [("app", "v1", 100), ("web", "v1", 200)];
    let daemon = Daemon::start(&configuration).await;
    daemon.until("both are read", |m| has_sizes(m, &all)).await;
    let directory = daemon.stop().await;
    server.forbid(Some("/api/v1/namespaces/secret/pods"));
    let daemon = Daemon::start_in(directory, &configuration).await;
    let metrics = daemon.until("a part is read", |m| m.count(CONTAINERS) == 1 && m.one(UP, &[]) == Some(0.0)).await;
    assert!(has_sizes(&metrics, &all), "{}", metrics.text());
    daemon.stop().await;

    files.write("config.toml", &(configuration + &policy));
    let mut retain = crate::support::daemon::command(files.path());
    retain.args(["retain", "--format", "digests"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = tokio::task::spawn_blocking(move || retain.output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && output.stdout.is_empty(), "{said}");
    assert!(said.contains("source s does not say") && said.contains("403"), "{said}");
}

#[tokio::test]
async fn a_private_registry_is_read_with_the_pull_secret_of_its_pod_alone_if_it_may_be() {
    let (registry, server, files) = (registry(), ApiServer::start().await, Files::new());
    registry.require(Access::Basic(vec![("puller", "sesame")]));
    let auth = basic("puller", "sesame").replace("Basic ", "");
    let config = json!({ "auths": { registry.name().as_str(): { "auth": auth } } });
    server.put_secret("shop", "pull", &STANDARD.encode(config.to_string()));
    let mut pod = runs(&registry, "app-1", "node-1", "acme/app:v1", "none");
    pod["spec"]["imagePullSecrets"] = json!([{ "name": "pull" }]);
    server.put(pod);
    let daemon = Daemon::start(&configuration(&server, &files, "")).await;
    daemon.until("it is refused", |m| m.one("container_image_tag_up", &[]) == Some(0.0)).await;
    assert!(server.requests().iter().all(|uri| !uri.contains("secrets")));
    daemon.reload(&configuration(&server, &files, ", pull_secrets = true")).await;
    let metrics = daemon.until("it is read", |m| has_sizes(m, &[("app", "v1", 100)])).await;
    assert_eq!(metrics.count(COMPRESSED), 1);
    daemon.stop().await;
}

#[test]
fn a_configuration_that_names_no_namespace_is_refused() {
    use image_size_exporter::config::Config;

    let check = |keys: &str, message: &str| {
        let files = Files::new();
        let file = files.write("config.toml", &toml(&format!("kubernetes = {{ {keys} }}")));
        let Err(error) = Config::load(&file) else { panic!("{keys} passes") };
        assert!(error.to_string().contains(message), "{error}");
    };
    check("namespaces = ['web/../..']", "namespaces[0]: is no namespace: expected at most 63 lower-case letters");
    check("namespaces = ['Web']", "namespaces[0]: is no namespace");
    let many: Vec<String> = (0..101).map(|at| format!("'n{at}'")).collect();
    check(&format!("namespaces = [{}]", many.join(",")), "namespaces: names more than 100");
    check("context = 'c'", "needs `kubeconfig` too");
}
