//! Lists of tags and repositories that come in pages.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use crate::harness::exporter::Exporter;
use crate::harness::http;
use crate::harness::push::{OCI_MANIFEST, Pusher};
use crate::harness::registry::{Auth, Registry};

/// Debian's registry gives all tags at once, whatever `n` says: in front of it, a registry that gives pages of so
/// many, as its successors and every hosted one do, and is the real one in all else.
const PAGE: usize = 100;

#[test]
fn every_tag_of_a_list_over_several_pages_is_published() {
    let registry = Registry::start();
    let app = Pusher { address: registry.address(), repository: "acme/app" };
    let first = app.image(Some("t000"), "amd64", &[app.layer(300)]);
    let path = format!("/v2/acme/app/manifests/{}", first["digest"].as_str().expect("a digest"));
    let manifest = http::request(registry.address(), "GET", &path, &[("Accept", OCI_MANIFEST)], &[])
        .expect("the registry answers")
        .expect(&[200]);
    let tags: BTreeSet<String> = (0..345).map(|nth| format!("t{nth:03}")).collect();
    for tag in &tags {
        app.put(tag, OCI_MANIFEST, &manifest.body);
    }
    let front = PagingFront::start(registry.address());

    let exporter = Exporter::start(&format!(
        "[scan]\ninterval = \"1h\"\n[[targets]]\nrepository = \"{}/acme/app\"\nmatch = ['.']\n",
        front.address
    ));
    exporter.wait_for("every tag", |scrape| (scrape.all("container_image_tag_up", &[]).len() == 345).then_some(()));
    let scrape = exporter.wait_for("the sums", |scrape| {
        scrape.value("container_image_registry_stored_size_bytes", &[])?;
        Some(exporter.scrape())
    });

    assert_eq!(front.pages.load(Ordering::Relaxed), 4, "345 tags in pages of {PAGE}");
    let published: BTreeSet<String> = scrape
        .all("container_image_compressed_size_bytes", &[])
        .iter()
        .map(|sample| sample.label("tag").to_owned())
        .collect();
    assert_eq!(published, tags);
    assert_eq!(scrape.value("container_image_repository_tags", &[]), Some(345.0));
    assert_eq!(scrape.value("container_image_registry_stored_size_bytes", &[]), Some(300.0));
    let shares = scrape.all("container_image_proportional_size_bytes", &[]);
    assert!(shares.iter().all(|share| (share.value - 300.0 / 345.0).abs() < 1e-9), "{shares:?}");
}

#[test]
fn every_repository_of_a_catalog_over_several_pages_is_found() {
    // The real one again: it gives at most two repositories at once.
    let registry = Registry::start_with(&Auth::None, "catalog: {maxentries: 2}\n");
    let mut names = BTreeSet::new();
    for nth in 0..7 {
        let name = format!("team{}/app{nth}", nth % 2);
        let app = Pusher { address: registry.address(), repository: &name };
        app.image(Some("latest"), "amd64", &[app.layer(100)]);
        names.insert(name);
    }
    let exporter = Exporter::start(&format!(
        "[scan]\ninterval = \"1h\"\n[[targets]]\nrepository = \"{}/**\"\n",
        registry.address()
    ));
    exporter.wait_for("every repository", |scrape| {
        let found: BTreeSet<String> = scrape
            .all("container_image_compressed_size_bytes", &[("tag", "latest")])
            .iter()
            .map(|sample| sample.label("repository").to_owned())
            .collect();
        (found == names).then_some(())
    });
}

/// Forwards requests to a registry; splits its tag lists into pages.
struct PagingFront {
    address: String,
    /// How many pages it has sent.
    pages: Arc<AtomicUsize>,
}

impl PagingFront {
    fn start(registry: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let pages = Arc::new(AtomicUsize::new(0));
        let (registry, counted) = (registry.to_owned(), Arc::clone(&pages));
        // Ends with the tests: it waits for connections and holds nothing.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (registry, pages) = (registry.clone(), Arc::clone(&counted));
                std::thread::spawn(move || answer(&stream, &registry, &pages));
            }
        });
        Self { address, pages }
    }
}

fn answer(mut stream: &TcpStream, registry: &str, pages: &AtomicUsize) -> Option<()> {
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next()?.ok()?;
    let mut accept = String::new();
    for line in lines {
        let line = line.ok()?;
        if line.is_empty() {
            break;
        }
        if let Some((_, value)) = line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("accept")) {
            value.trim().clone_into(&mut accept);
        }
    }
    let mut words = request.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let answer = http::request(registry, method, path, &[("Accept", &accept)], &[]).ok()?;
    let mut head = format!("HTTP/1.1 {} x\r\nConnection: close\r\n", answer.status);
    let mut body = answer.body;
    if path.ends_with("/tags/list") {
        pages.fetch_add(1, Ordering::Relaxed);
        let listed: serde_json::Value = serde_json::from_slice(&body).ok()?;
        let mut tags: Vec<String> = serde_json::from_value(listed["tags"].clone()).ok()?;
        tags.sort();
        let last = query.split('&').find_map(|pair| pair.strip_prefix("last=")).unwrap_or("").to_owned();
        tags.retain(|tag| *tag > last);
        if tags.len() > PAGE {
            tags.truncate(PAGE);
            write!(head, "Link: <{path}?last={}&n={PAGE}>; rel=\"next\"\r\n", tags[PAGE - 1]).ok()?;
        }
        body = json!({"name": listed["name"], "tags": tags}).to_string().into_bytes();
        write!(head, "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len()).ok()?;
    } else {
        for name in ["content-type", "content-length", "docker-content-digest", "docker-distribution-api-version"] {
            if let Some(value) = answer.headers.get(name) {
                write!(head, "{name}: {value}\r\n").ok()?;
            }
        }
        head.push_str("\r\n");
    }
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(&body).ok()
}
