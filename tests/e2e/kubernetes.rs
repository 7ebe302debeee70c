//! The scripted API server that the tests of the Kubernetes source use, read by the Kubernetes project's own Python client:
//! what this program reads there is what a cluster says.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::api_server::{ApiServer, pod};
use crate::harness::scratch;

#[test]
fn the_scripted_api_server_is_one_to_kubernetes_own_client() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let server = runtime.block_on(ApiServer::start());
    let digest = format!("sha256:{}", "0".repeat(64));
    let web = |number: usize, image: &str| pod("default", &format!("web-{number}"), "node-1", image, &digest);
    let seen = |name: &str, image: &str| json!([name, format!("{image}:1"), format!("{image}@{digest}")]);
    for number in 0..5 {
        server.put(web(number, "a:1"));
    }
    server.forbid(Some("/api/v1/namespaces/secret/pods"));
    let folder = scratch();
    let kubeconfig = folder.path().join("kubeconfig");
    std::fs::write(&kubeconfig, server.kubeconfig("token")).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut client = Command::new(root.join("target/kubernetes-venv/bin/python"))
        .arg(root.join("tests/e2e/kubernetes/pods.py"))
        .arg(&kubeconfig)
        .stdout(Stdio::piped())
        .spawn()
        .expect("`tests/run` installs what these tests need");
    let mut output = BufReader::new(client.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "listed\n");
    server.put(web(5, "b:1"));
    server.put(web(1, "c:1"));
    server.delete("default", "web-2");
    server.put(pod("other", "last-1", "node-1", "d:1", &digest));
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    assert!(client.wait().unwrap().success());
    let said: Value = serde_json::from_str(&rest).unwrap();
    let listed: Vec<Value> = (0..5).map(|number| seen(&format!("web-{number}"), "a")).collect();
    assert_eq!(said["listed"], json!(listed));
    let event =
        |kind: &str, name: &str, image: &str| json!([kind, name, format!("{image}:1"), format!("{image}@{digest}")]);
    let watched = json!([
        event("ADDED", "web-5", "b"),
        event("MODIFIED", "web-1", "c"),
        event("DELETED", "web-2", "a"),
        event("ADDED", "last-1", "d"),
    ]);
    assert_eq!(said["watched"], watched);
    assert_eq!(said["refused"], 403);
}
