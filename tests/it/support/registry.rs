//! The registry in memory, over real HTTP on a free loopback port, that does as it is told.
//!
//! ```ignore
//! let registry = TestRegistry::start();
//! registry.push("acme/app", "v1", &image("linux/amd64", &[&Blob::named("base", 100)]));
//! let client = registry.client();                      // or: registry.client_with(|settings| …)
//! …
//! assert_eq!(registry.counts(), "get_blob 1, get_manifest 1");
//! ```
//!
//! - **Content** comes from [`TestRegistry::push`] and `images.rs`; `tag`, `untag`, `remove_manifest` change it later.
//! - **Requests** are recorded ([`TestRegistry::requests`]) and counted by kind ([`TestRegistry::counts`], [`Kind`]).
//!   `take_counts` starts anew, so that each scan can be counted on its own.
//! - **Faults and quirks**: [`TestRegistry::next`] answers the next request that matches in another way, in the order of
//!   the calls; [`TestRegistry::always`] all of them. What matches is `"METHOD path"`, either of them `*`, the path by
//!   its beginning: `"HEAD /v2/acme/app/manifests/"`, `"* /v2/"`, `"GET *"`.
//! - **Authentication**: [`TestRegistry::require`] takes an [`Access`]; [`TokenServer`] issues tokens at `/token`.
//! - **A request nobody expected fails the test** when the registry is dropped: other paths and methods, layers that
//!   have no bytes, and tags, digests or repositories that the registry never had, unless declared by
//!   [`TestRegistry::missing`].
//!
//! It runs in a thread of its own, so it serves any runtime, and other processes, too.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use http::{HeaderMap, Method};
use image_size_exporter::memory_registry::Resource;
use image_size_exporter::oci::{Digest, Registry, Repository, Tag};
use image_size_exporter::registry::{Client, Counters, Credential, Registries, Settings};

use super::images::Pushed;

mod access;
mod replies;
mod serving;

pub(crate) use access::{Access, TokenServer, basic};
pub(crate) use replies::Reply;
use serving::{Rule, State, serve};

/// See the module.
pub(crate) struct TestRegistry {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// What a request asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    HeadManifest,
    GetManifest,
    HeadBlob,
    /// A whole blob.
    GetBlob,
    /// A part of a blob.
    GetRange,
    ListTags,
    Catalog,
    /// `/v2/`.
    Ping,
    /// `/token`, by any method.
    Token,
    Other,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) kind: Kind,
    pub(crate) method: Method,
    /// Path and query.
    pub(crate) uri: String,
    pub(crate) headers: HeaderMap,
    /// The body's text.
    pub(crate) body: String,
}

impl TestRegistry {
    /// An empty registry, open to everybody.
    pub(crate) fn start() -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let (address_to, address_from) = std::sync::mpsc::channel();
        let shared = Arc::clone(&state);
        let thread = std::thread::spawn(move || serve(&shared, &address_to, stopped));
        let address = address_from.recv().expect("the registry listens");
        Self { address, state, stop: Some(stop), thread: Some(thread) }
    }

    /// `127.0.0.1:PORT`.
    pub(crate) fn name(&self) -> Registry {
        self.address.to_string().parse().unwrap()
    }

    /// Where it answers, in plain HTTP.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT`.
    pub(crate) fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn repository(&self, name: &str) -> Repository {
        Repository::new(self.name(), name).unwrap()
    }

    /// A client with nobody's credentials, and short patience.
    pub(crate) fn client(&self) -> Arc<Client> {
        self.client_with(|_| {})
    }

    /// A client whose settings are changed first.
    pub(crate) fn client_with(&self, change: impl FnOnce(&mut Settings)) -> Arc<Client> {
        self.client_counted(change).0
    }

    /// The same, with what it counts.
    pub(crate) fn client_counted(&self, change: impl FnOnce(&mut Settings)) -> (Arc<Client>, Arc<Counters>) {
        let mut settings =
            Settings { credential: Credential::Anonymous, timeout: Duration::from_secs(20), ..Settings::default() };
        change(&mut settings);
        let settings = BTreeMap::from([(self.name(), settings)]);
        let registries = Registries::new(settings, Settings::default()).unwrap();
        (registries.client(&self.name()), registries.counters())
    }

    /// Stores all of it and points the tag at it.
    pub(crate) fn push(&self, repository: &str, tag: &str, pushed: &Pushed) {
        self.store(repository, pushed);
        self.tag(repository, tag, pushed.digest());
    }

    /// Stores all of it, without a tag.
    pub(crate) fn store(&self, repository: &str, pushed: &Pushed) {
        self.state().store(repository, pushed);
    }

    /// Points the tag at what was stored before.
    pub(crate) fn tag(&self, repository: &str, tag: &str, digest: &Digest) {
        let mut state = self.state();
        state.contents.tag(repository, tag, digest.clone());
        state.once.insert((repository.to_owned(), tag.to_owned()));
    }

    /// Deletes the tag. What it pointed at stays.
    pub(crate) fn untag(&self, repository: &str, tag: &str) {
        self.state().contents.untag(repository, tag).expect("a tag");
    }

    /// Deletes a manifest, as in a sparse index.
    pub(crate) fn remove_manifest(&self, repository: &str, digest: &Digest) {
        let mut state = self.state();
        state.contents.remove_manifest(repository, digest).expect("a manifest");
        state.once.insert((repository.to_owned(), digest.to_string()));
    }

    /// Expects requests whose path begins so, although the registry never had what they ask for: they are 404.
    pub(crate) fn missing(&self, path: &str) {
        self.state().missing.push(path.to_owned());
    }

    /// Tags in a page that asks for more; all by default.
    pub(crate) fn page_size(&self, tags: usize) {
        self.state().contents.set_page_entries_max(tags);
    }

    /// Who may ask from now on.
    pub(crate) fn require(&self, access: Access) {
        self.state().guard.access = access;
    }

    /// All tokens issued so far are refused from now on.
    pub(crate) fn revoke_tokens(&self) {
        self.state().guard.revoke_tokens();
    }

    /// The next request that matches is answered so; the one after it by the next call's reply, and so on.
    pub(crate) fn next(&self, matching: &str, reply: Reply) {
        let mut state = self.state();
        let (method, path) = split(matching);
        match state.rules.iter_mut().find(|rule| !rule.always && rule.method == method && rule.path == path) {
            Some(rule) => rule.replies.push_back(reply),
            None => state.rules.push(Rule { method, path, replies: VecDeque::from([reply]), always: false }),
        }
    }

    /// As [`Self::next`], with a body that is no text.
    pub(crate) fn next_bytes(&self, matching: &str, status: u16, headers: &[(&'static str, &str)], body: Vec<u8>) {
        let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        self.next(matching, Reply::Bytes(status, headers, body));
    }

    /// All requests that match are answered so, once replies by [`Self::next`] are used up. The latest call wins;
    /// `Reply::Usual` ends it.
    pub(crate) fn always(&self, matching: &str, reply: Reply) {
        let (method, path) = split(matching);
        self.state().rules.insert(0, Rule { method, path, replies: VecDeque::from([reply]), always: true });
    }

    /// What was asked since the start or the last `take_counts`.
    pub(crate) fn requests(&self) -> Vec<Seen> {
        let state = self.state();
        state.seen[state.counted_from..].to_vec()
    }

    /// How often what was asked: `"get_manifest 1, head_manifest 2"`, in alphabetical order; `""` for nothing.
    pub(crate) fn counts(&self) -> String {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for seen in self.requests() {
            *counts.entry(seen.kind.as_str()).or_default() += 1;
        }
        counts.iter().map(|(kind, count)| format!("{kind} {count}")).collect::<Vec<_>>().join(", ")
    }

    /// As `counts`, and starts anew.
    pub(crate) fn take_counts(&self) -> String {
        let counts = self.counts();
        let mut state = self.state();
        state.counted_from = state.seen.len();
        counts
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl Drop for TestRegistry {
    fn drop(&mut self) {
        drop(self.stop.take());
        let served = self.thread.take().map(std::thread::JoinHandle::join);
        if std::thread::panicking() {
            return;
        }
        assert!(served.is_none_or(|served| served.is_ok()), "the registry panicked");
        let unexpected = std::mem::take(&mut self.state().unexpected);
        assert!(unexpected.is_empty(), "requests that nobody expected: {unexpected:#?}");
    }
}

impl Kind {
    fn of(method: &Method, path: &str, headers: &HeaderMap) -> Self {
        let head = method == Method::HEAD;
        match Resource::of(path) {
            _ if path == "/token" => Self::Token,
            _ if !head && method != Method::GET => Self::Other,
            Some(Resource::Base) => Self::Ping,
            Some(Resource::Catalog) => Self::Catalog,
            Some(Resource::Tags { .. }) => Self::ListTags,
            Some(Resource::Manifest { .. }) if head => Self::HeadManifest,
            Some(Resource::Manifest { .. }) => Self::GetManifest,
            Some(Resource::Blob { .. }) if head => Self::HeadBlob,
            Some(Resource::Blob { .. }) if headers.contains_key("range") => Self::GetRange,
            Some(Resource::Blob { .. }) => Self::GetBlob,
            Some(Resource::Referrers { .. }) | None => Self::Other,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::HeadManifest => "head_manifest",
            Self::GetManifest => "get_manifest",
            Self::HeadBlob => "head_blob",
            Self::GetBlob => "get_blob",
            Self::GetRange => "get_range",
            Self::ListTags => "list_tags",
            Self::Catalog => "catalog",
            Self::Ping => "ping",
            Self::Token => "token",
            Self::Other => "other",
        }
    }
}

impl Seen {
    /// The path; also of a request that came to a proxy, whose URI names a host.
    pub(crate) fn path(&self) -> &str {
        let path = self.uri.split('?').next().unwrap();
        let of_proxy = path.split_once("://").and_then(|(_, rest)| Some(&rest[rest.find('/')?..]));
        of_proxy.unwrap_or(path)
    }

    pub(crate) fn resource(&self) -> Option<Resource<'_>> {
        Resource::of(self.path())
    }

    /// A header's text, empty without one.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The values of a parameter of the query, or of the form in the body, decoded.
    pub(crate) fn parameters(&self, name: &str) -> Vec<String> {
        let text =
            if self.method == Method::POST { &self.body } else { self.uri.split_once('?').map_or("", |(_, q)| q) };
        let pairs = url::form_urlencoded::parse(text.as_bytes());
        pairs.filter(|(key, _)| key == name).map(|(_, value)| value.into_owned()).collect()
    }
}

fn split(matching: &str) -> (String, String) {
    let (method, path) = matching.split_once(' ').expect("`METHOD path`");
    (method.to_owned(), path.to_owned())
}

/// Tags and repositories are easier to write as text.
pub(crate) fn tag(text: &str) -> Tag {
    text.parse().unwrap()
}
