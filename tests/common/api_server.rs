//! A scripted API server: pods by the rules of the Kubernetes API ("API concepts": lists in pages, watches from a resource
//! version, bookmarks, 410), which it breaks when it is told to. Every Kubernetes client can read it.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::future::ready;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use image_size_exporter::memory_registry::serve;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

/// Time between the bookmarks of a watch.
const BOOKMARKS: Duration = Duration::from_millis(50);

/// An API server on loopback. Ends when it is dropped.
pub struct ApiServer {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

/// What is done instead of the right answer.
#[derive(Clone, Debug)]
pub enum Fault {
    /// An answer with this status, and a body as Kubernetes gives it.
    Status(u16, &'static str),
    /// `200` with this body, whole.
    Body(&'static str),
    /// The connection is closed before an answer.
    Closed,
    /// A watch that says that its resource version is too old.
    Expired,
    /// A watch whose next event is cut in its middle.
    CutEvent,
    /// A watch that ends at once.
    Ended,
    /// An answer of which each byte comes alone.
    Slow,
    /// A watch of one line that never ends.
    Endless,
}

/// A part of a body, or how it breaks off.
type Part = Result<Frame<Bytes>, std::io::Error>;

type Body = BoxBody<Bytes, std::io::Error>;

struct Shared {
    state: Mutex<State>,
    /// The resource version: a watch waits for the next one.
    version: watch::Sender<u64>,
    /// Changes when the watches are to end.
    ends: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    pods: BTreeMap<(String, String), Value>,
    /// Secrets of `.dockerconfigjson`, by path.
    secrets: BTreeMap<String, String>,
    /// What happened: version, kind and object.
    events: Vec<(u64, &'static str, Value)>,
    /// Versions before this one are forgotten.
    oldest: u64,
    requests: Vec<String>,
    list_faults: VecDeque<Fault>,
    watch_faults: VecDeque<Fault>,
    /// Paths that are forbidden.
    forbidden: Vec<String>,
    /// The only bearer token that is accepted, if any is needed.
    token: Option<String>,
}

impl ApiServer {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let shared =
            Arc::new(Shared { state: Mutex::default(), version: watch::channel(1).0, ends: watch::channel(0).0 });
        let answering = Arc::clone(&shared);
        let serving = tokio::spawn(serve(listener, move |request| ready(answer(Arc::clone(&answering), &request))));
        Self { address, shared, serving }
    }

    /// A kubeconfig for it.
    pub fn kubeconfig(&self, token: &str) -> String {
        kubeconfig(&format!("http://{}", self.address), "", token)
    }

    /// Creates or changes a pod.
    pub fn put(&self, mut pod: Value) {
        let mut state = self.state();
        let version = *self.shared.version.borrow() + 1;
        pod["metadata"]["resourceVersion"] = json!(version.to_string());
        let old = state.pods.insert(key(&pod), pod.clone());
        state.events.push((version, if old.is_some() { "MODIFIED" } else { "ADDED" }, pod));
        self.shared.version.send_replace(version);
    }

    pub fn delete(&self, namespace: &str, name: &str) {
        let mut state = self.state();
        let version = *self.shared.version.borrow() + 1;
        let mut pod = state.pods.remove(&(namespace.to_owned(), name.to_owned())).expect("it is there");
        pod["metadata"]["resourceVersion"] = json!(version.to_string());
        state.events.push((version, "DELETED", pod));
        self.shared.version.send_replace(version);
    }

    /// Creates or changes a pull secret with this content, in base64.
    pub fn put_secret(&self, namespace: &str, name: &str, content: &str) {
        let path = format!("/api/v1/namespaces/{namespace}/secrets/{name}");
        self.state().secrets.insert(path, content.to_owned());
    }

    /// What the next lists do wrong.
    pub fn fail_lists(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state().list_faults.extend(faults);
    }

    /// What the next watches do wrong.
    pub fn fail_watches(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state().watch_faults.extend(faults);
    }

    /// Forgets all that happened so far: watches from an older version are refused.
    pub fn compact(&self) {
        let mut state = self.state();
        state.events.clear();
        state.oldest = *self.shared.version.borrow();
    }

    /// Ends the watches that are under way.
    pub fn end_watches(&self) {
        self.shared.ends.send_modify(|ends| *ends += 1);
    }

    /// Forbids a path, `/api/v1/pods` or `/api/v1/namespaces/NAME/pods`; `None` forbids nothing any more.
    pub fn forbid(&self, path: Option<&str>) {
        let forbidden = path.into_iter().map(str::to_owned).collect();
        self.state().forbidden = forbidden;
    }

    /// Accepts only this bearer token.
    pub fn require(&self, token: &str) {
        self.state().token = Some(token.to_owned());
    }

    /// Path and query of every request so far.
    pub fn requests(&self) -> Vec<String> {
        self.state().requests.clone()
    }

    pub fn version(&self) -> u64 {
        *self.shared.version.borrow()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().expect("no panic while it is held")
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

pub fn kubeconfig(server: &str, authority: &str, token: &str) -> String {
    let cluster = json!({ "name": "c", "cluster": { "server": server, "certificate-authority": authority } });
    let cluster = if authority.is_empty() { json!({ "name": "c", "cluster": { "server": server } }) } else { cluster };
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c", "clusters": [cluster],
        "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "u" } }],
        "users": [{ "name": "u", "user": { "token": token } }],
    })
    .to_string()
}

/// A pod of a Deployment that runs `image`.
pub fn pod(namespace: &str, name: &str, node: &str, image: &str, digest: &str) -> Value {
    let (deployment, _) = name.rsplit_once('-').expect("a name with a dash");
    let repository = image.rsplit_once(':').map_or(image, |(repository, _)| repository);
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "namespace": namespace, "name": name, "uid": format!("{namespace}-{name}"),
            "creationTimestamp": "2026-11-29T10:00:00Z",
            "labels": { "app": deployment, "pod-template-hash": "6d4cf56db6" },
            "annotations": { "kubectl.kubernetes.io/last-applied-configuration": "x".repeat(500) },
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("{deployment}-6d4cf56db6"), "uid": "u",
                "controller": true, "blockOwnerDeletion": true,
            }],
        },
        "spec": {
            "nodeName": node,
            "containers": [{ "name": "main", "image": image, "env": [{ "name": "PASSWORD", "value": "hunter2" }] }],
        },
        "status": {
            "phase": "Running",
            "containerStatuses": [{
                "name": "main", "image": image, "imageID": format!("{repository}@{digest}"), "ready": true,
                "restartCount": 0, "state": { "running": { "startedAt": "2026-11-29T10:00:01Z" } },
            }],
        },
    })
}

fn key(pod: &Value) -> (String, String) {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    (text(&pod["metadata"]["namespace"]), text(&pod["metadata"]["name"]))
}

fn answer(shared: Arc<Shared>, request: &Request<Incoming>) -> Result<Response<Body>, std::io::Error> {
    let path = request.uri().path().to_owned();
    let query = request.uri().query().unwrap_or_default();
    let query: BTreeMap<String, String> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let is_watch = query.get("watch").is_some_and(|value| ["true", "True", "1"].contains(&value.as_str()));
    let namespace = match path.strip_prefix("/api/v1/").map(|path| path.split('/').collect::<Vec<_>>()).as_deref() {
        Some(["pods"]) => None,
        Some(["namespaces", namespace, "pods"]) => Some((*namespace).to_owned()),
        Some(["namespaces", _, "secrets", name]) => return Ok(secret(&shared, request.uri().path(), name)),
        _ => return Ok(status(404, "the server could not find the requested resource")),
    };
    let fault = {
        let mut state = shared.state.lock().expect("no panic while it is held");
        state.requests.push(request.uri().to_string());
        let token =
            request.headers().get("authorization").and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        if state.token.is_some() && state.token.as_deref() != token {
            return Ok(status(401, "Unauthorized"));
        }
        if state.forbidden.contains(&path) {
            let verb = if is_watch { "watch" } else { "list" };
            return Ok(status(403, &forbidden(verb, namespace.as_deref())));
        }
        if is_watch { state.watch_faults.pop_front() } else { state.list_faults.pop_front() }
    };
    match fault {
        Some(Fault::Status(code, message)) => return Ok(status(code, message)),
        Some(Fault::Body(body)) => return Ok(whole(StatusCode::OK, body.to_owned())),
        Some(Fault::Closed) => return Err(std::io::Error::other("closed")),
        _ => {}
    }
    let chosen = Chosen { namespace, query };
    if is_watch {
        return Ok(watch_pods(shared, chosen, fault));
    }
    let list = list_pods(&shared, &chosen);
    if matches!(fault, Some(Fault::Slow)) {
        Ok(slow(list.to_string()))
    } else {
        Ok(whole(StatusCode::OK, list.to_string()))
    }
}

fn secret(shared: &Shared, path: &str, name: &str) -> Response<Body> {
    let mut state = shared.state.lock().expect("no panic while it is held");
    state.requests.push(path.to_owned());
    if state.forbidden.iter().any(|forbidden| forbidden == path) {
        return status(403, &format!("secrets \"{name}\" is forbidden: User \"u\" cannot get resource \"secrets\""));
    }
    let Some(content) = state.secrets.get(path) else {
        return status(404, &format!("secrets \"{name}\" not found"));
    };
    let secret = json!({
        "kind": "Secret", "apiVersion": "v1", "metadata": { "name": name },
        "type": "kubernetes.io/dockerconfigjson", "data": { ".dockerconfigjson": content },
    });
    whole(StatusCode::OK, secret.to_string())
}

struct Chosen {
    namespace: Option<String>,
    query: BTreeMap<String, String>,
}

impl Chosen {
    fn has(&self, pod: &Value) -> bool {
        let equals = |selector: &str, value: &dyn Fn(&str) -> Option<String>| {
            selector.split(',').filter(|part| !part.is_empty()).all(|part| match part.split_once("!=") {
                Some((key, wanted)) => value(key).as_deref() != Some(wanted),
                None => part.split_once('=').is_some_and(|(key, wanted)| value(key).as_deref() == Some(wanted)),
            })
        };
        let labels = |key: &str| pod["metadata"]["labels"][key].as_str().map(str::to_owned);
        let fields = |key: &str| pod.pointer(&format!("/{}", key.replace('.', "/")))?.as_str().map(str::to_owned);
        let text = |key: &str| self.query.get(key).map_or("", String::as_str);
        self.namespace.as_deref().is_none_or(|namespace| pod["metadata"]["namespace"] == namespace)
            && equals(text("labelSelector"), &labels)
            && equals(text("fieldSelector"), &fields)
    }
}

fn list_pods(shared: &Shared, chosen: &Chosen) -> Value {
    let state = shared.state.lock().expect("no panic while it is held");
    let after = chosen.query.get("continue").and_then(|token| token.split_once('/'));
    let after = after.map(|(namespace, name)| (namespace.to_owned(), name.to_owned()));
    let limit = chosen.query.get("limit").and_then(|limit| limit.parse().ok()).filter(|limit| *limit > 0);
    let mut found = state
        .pods
        .iter()
        .filter(|(key, pod)| after.as_ref().is_none_or(|after| *key > after) && chosen.has(pod))
        .peekable();
    let mut items = Vec::new();
    while let Some((_, pod)) = found.next_if(|_| limit.is_none_or(|limit: usize| items.len() < limit)) {
        items.push(pod.clone());
    }
    let next = found.peek().and_then(|_| items.last()).map(|pod| {
        let (namespace, name) = key(pod);
        format!("{namespace}/{name}")
    });
    let version = shared.version.borrow().to_string();
    json!({
        "kind": "PodList", "apiVersion": "v1",
        "metadata": { "resourceVersion": version, "continue": next.unwrap_or_default() }, "items": items,
    })
}

/// Events since the version that the client names; it ends after `timeoutSeconds`.
fn watch_pods(shared: Arc<Shared>, chosen: Chosen, fault: Option<Fault>) -> Response<Body> {
    let (sender, parts) = mpsc::channel::<Part>(64);
    let version: u64 = chosen.query.get("resourceVersion").and_then(|version| version.parse().ok()).unwrap_or_default();
    tokio::spawn(async move {
        // When the client has gone, there is nothing more to send.
        let _ = send_events(&shared, &chosen, version, fault, &sender).await;
    });
    let body = stream::unfold(parts, |mut parts| async { parts.recv().await.map(|part| (part, parts)) });
    Response::new(BodyExt::boxed(StreamBody::new(body)))
}

async fn send_events(
    shared: &Shared,
    chosen: &Chosen,
    mut version: u64,
    fault: Option<Fault>,
    parts: &mpsc::Sender<Part>,
) -> Result<(), mpsc::error::SendError<Part>> {
    let expired = || {
        let status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "Expired", "code": 410,
            "message": format!("too old resource version: {version}"),
        });
        line("ERROR", &status)
    };
    let is_old = version != 0 && version < shared.state.lock().expect("no panic while it is held").oldest;
    match fault {
        Some(Fault::Ended) => return Ok(()),
        Some(Fault::Endless) => loop {
            parts.send(Ok(Frame::data(Bytes::from(vec![b' '; 1 << 20])))).await?;
        },
        Some(Fault::Expired) => return parts.send(expired()).await,
        _ if is_old => return parts.send(expired()).await,
        _ => {}
    }
    let seconds = chosen.query.get("timeoutSeconds").and_then(|text| text.parse().ok()).unwrap_or(3600);
    let end = Instant::now() + Duration::from_secs(seconds);
    let wants_bookmarks =
        chosen.query.get("allowWatchBookmarks").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let mut changes = shared.version.subscribe();
    let mut ends = shared.ends.subscribe();
    if version == 0 {
        // "Get state and any".
        let (pods, now) = {
            let state = shared.state.lock().expect("no panic while it is held");
            let pods: Vec<Value> = state.pods.values().filter(|pod| chosen.has(pod)).cloned().collect();
            (pods, *shared.version.borrow())
        };
        for pod in pods {
            parts.send(line("ADDED", &pod)).await?;
        }
        version = version.max(now);
    }
    loop {
        changes.mark_unchanged();
        let (now, events) = events(shared, chosen, version);
        for (kind, pod) in events {
            let text = line(kind, &pod).ok().and_then(|line| line.into_data().ok()).expect("data");
            match fault {
                Some(Fault::CutEvent) => {
                    parts.send(Ok(Frame::data(text.slice(..text.len() / 2)))).await?;
                    return parts.send(Err(std::io::Error::other("cut"))).await;
                }
                Some(Fault::Slow) => {
                    for byte in text {
                        parts.send(Ok(Frame::data(Bytes::copy_from_slice(&[byte])))).await?;
                    }
                }
                _ => parts.send(Ok(Frame::data(text))).await?,
            }
        }
        version = version.max(now);
        tokio::select! {
            _ = ends.changed() => return Ok(()),
            changed = changes.changed() => if changed.is_err() { return Ok(()) },
            () = sleep_until((Instant::now() + BOOKMARKS).min(end)) => {
                if Instant::now() >= end { return Ok(()) }
                if wants_bookmarks {
                    let bookmark = json!({
                        "kind": "Pod", "apiVersion": "v1", "metadata": { "resourceVersion": version.to_string() },
                    });
                    parts.send(line("BOOKMARK", &bookmark)).await?;
                }
            }
        }
    }
}

/// The version by now and what happened since another one, as a watch of these pods sees it: a pod that they no longer include
/// is gone.
fn events(shared: &Shared, chosen: &Chosen, since: u64) -> (u64, Vec<(&'static str, Value)>) {
    let state = shared.state.lock().expect("no panic while it is held");
    let new = state.events.iter().filter(|(version, ..)| *version > since);
    let in_namespace =
        |pod: &Value| chosen.namespace.as_deref().is_none_or(|namespace| pod["metadata"]["namespace"] == namespace);
    let events = new
        .filter(|(_, _, pod)| in_namespace(pod))
        .map(|(_, kind, pod)| (if chosen.has(pod) { *kind } else { "DELETED" }, pod.clone()));
    // Set while the state is locked.
    (*shared.version.borrow(), events.collect())
}

#[expect(clippy::unnecessary_wraps, reason = "a part of a body")]
fn line(kind: &str, object: &Value) -> Part {
    Ok(Frame::data(format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n").into()))
}

fn forbidden(verb: &str, namespace: Option<&str>) -> String {
    let place = namespace.map_or("at the cluster scope".to_owned(), |name| format!("in the namespace \"{name}\""));
    format!(
        "pods is forbidden: User \"system:serviceaccount:monitoring:image-size-exporter\" cannot {verb} resource \"pods\" in API group \"\" {place}"
    )
}

fn status(code: u16, message: &str) -> Response<Body> {
    let reason = match code {
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "NotFound",
        410 => "Expired",
        429 => "TooManyRequests",
        _ => "InternalError",
    };
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    });
    // 0 stands for an answer of something else.
    if code == 0 {
        return whole(StatusCode::BAD_GATEWAY, json!({ "error": message }).to_string());
    }
    whole(StatusCode::from_u16(code).expect("a status code"), status.to_string())
}

fn whole(code: StatusCode, body: String) -> Response<Body> {
    let body = Full::new(Bytes::from(body)).map_err(|never: Infallible| match never {});
    let response = Response::builder().status(code).header("content-type", "application/json");
    response.body(BodyExt::boxed(body)).expect("a response")
}

fn slow(body: String) -> Response<Body> {
    let bytes =
        stream::iter(body.into_bytes().into_iter().map(|byte| Ok(Frame::data(Bytes::copy_from_slice(&[byte])))));
    Response::builder()
        .header("content-type", "application/json")
        .body(BodyExt::boxed(StreamBody::new(bytes)))
        .expect("a response")
}
