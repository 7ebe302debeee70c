//! The registry client against protected registries: passwords, tokens, TLS with an own authority and client
//! certificates, redirects. The distribution registry, and nginx in front of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use image_size_exporter::oci::Reason;
use image_size_exporter::oci::{Digest, Registry as Name, Repository};
use image_size_exporter::registry::{At, Client, Credential, Registries, RegistryError, Settings};

use crate::harness::push::Pusher;
use crate::harness::registry::{Auth, Registry};
use crate::harness::{Program, free_port, http, run, scratch, wait_for};

pub mod certificates;
mod tokens;

use certificates::Authority;
use tokens::TokenServer;

/// A client for `address` with these settings and no other credentials.
fn client(address: &str, change: impl FnOnce(&mut Settings)) -> Arc<Client> {
    let mut settings =
        Settings { credential: Credential::Anonymous, timeout: Duration::from_secs(20), ..Settings::default() };
    change(&mut settings);
    let name: Name = address.parse().expect("an address names a registry");
    let registries = Registries::new(BTreeMap::from([(name.clone(), settings)]), Settings::default());
    registries.expect("the settings are right").client(&name)
}

fn repository(address: &str, name: &str) -> Repository {
    Repository::new(address.parse().expect("a registry"), name).expect("a repository")
}

fn password(directory: &Path, password: &str) -> Credential {
    let path = directory.join(password);
    std::fs::write(&path, password).expect("the password can be written");
    Credential::PasswordFile { username: "alice".to_owned(), path }
}

/// Every request that the client can send, for `acme/app:v1`.
async fn ask(client: &Client, address: &str) -> Result<Digest, RegistryError> {
    let repository = repository(address, "acme/app");
    let tag = "v1".parse().expect("a tag");
    let head = client.head_manifest(&repository, At::Tag(&tag)).await?;
    let fetched = client.get_manifest(&repository, At::Tag(&tag)).await?;
    assert_eq!(head.digest_header.as_deref(), Some(fetched.digest.to_string().as_str()));
    assert_eq!(head.length, Some(fetched.body.len() as u64));
    let document = image_size_exporter::oci::Document::parse(&fetched.content_type, &fetched.body);
    let Ok(image_size_exporter::oci::Document::Manifest(manifest)) = document else { panic!("no manifest") };
    client.get_config(&repository, manifest.config.as_ref().expect("a config")).await?;
    let layer = &manifest.layers[0];
    assert_eq!(client.head_blob(&repository, &layer.digest).await?, layer.size);
    let end = client.get_blob_range(&repository, &layer.digest, layer.size - 8..layer.size, layer.size).await?;
    assert_eq!(end.len(), 8);
    let mut stream = client.stream_blob(&repository, &layer.digest, 0).await?;
    let mut whole = Vec::new();
    while let Some(chunk) = stream.chunk().await? {
        whole.extend_from_slice(&chunk);
    }
    assert_eq!(layer.digest.verifies(&whole), Some(true));
    let list = client.list_tags(&repository, 10_000, &mut |_| true).await?;
    assert!(list.stopped.is_none() && list.tags.contains(&tag));
    Ok(fetched.digest)
}

/// An open registry with `acme/app:v1`, whose storage the protected ones share.
fn filled() -> Registry {
    let registry = Registry::start();
    let pusher = Pusher { address: registry.address(), repository: "acme/app" };
    let layer = pusher.layer(100_000);
    pusher.image(Some("v1"), "amd64", &[layer]);
    registry
}

/// The storage of `registry`, for a protected one's configuration.
fn storage_of(registry: &Registry) -> PathBuf {
    registry.directory().join("storage")
}

#[tokio::test]
async fn a_registry_with_htpasswd_is_read_with_the_right_password_only() {
    let files = scratch();
    let open = filled();
    let htpasswd = files.path().join("htpasswd");
    std::fs::write(&htpasswd, run(Command::new("htpasswd").args(["-Bbn", "alice", "sesame"])))
        .expect("it can be written");
    let guarded = Registry::start_with(&Auth::Htpasswd(htpasswd), "");
    copy(&storage_of(&open), &storage_of(&guarded));
    let address = guarded.address();
    let right = client(address, |settings| settings.credential = password(files.path(), "sesame"));
    ask(&right, address).await.expect("the right password");
    assert_eq!(right.list_repositories(&[]).await.expect("a catalog").repositories.len(), 1);
    let wrong = client(address, |settings| settings.credential = password(files.path(), "other"));
    let error = ask(&wrong, address).await.expect_err("the wrong password");
    assert_eq!(error.reason(), Reason::Denied);
    assert!(error.to_string().contains("the credentials of alice from"), "{error}");
    let nobody = ask(&client(address, |_| {}), address).await.expect_err("no password");
    assert_eq!(nobody.reason(), Reason::Denied);
}

#[tokio::test]
async fn a_registry_with_tokens_is_read_with_one_per_repository() {
    let files = scratch();
    let authority = Authority::new(files.path());
    let server = TokenServer::start(&authority, "alice", "sesame");
    let open = filled();
    let guarded = Registry::start_with(&server.auth(), "");
    copy(&storage_of(&open), &storage_of(&guarded));
    let address = guarded.address();
    let right = client(address, |settings| settings.credential = password(files.path(), "sesame"));
    ask(&right, address).await.expect("the right password");
    assert_eq!(server.issued(), 1, "one token for all requests to a repository");
    let catalog = right.list_repositories(&[]).await.expect("a catalog");
    assert_eq!((catalog.repositories.len(), server.issued()), (1, 2));
    let wrong = client(address, |settings| settings.credential = password(files.path(), "other"));
    let error = ask(&wrong, address).await.expect_err("the wrong password");
    assert_eq!(error.reason(), Reason::Denied);
    assert!(error.to_string().contains("the token server"), "{error}");
    // Anonymous clients get a token here, but one that allows nothing: the registry itself refuses.
    let nobody = ask(&client(address, |_| {}), address).await.expect_err("no password");
    assert_eq!(nobody.reason(), Reason::Denied);
    assert!(nobody.to_string().contains("refused anonymous access"), "{nobody}");
}

#[tokio::test]
async fn a_token_that_the_registry_says_has_expired_is_replaced() {
    let files = scratch();
    let authority = Authority::new(files.path());
    let server = TokenServer::start(&authority, "alice", "sesame");
    let open = filled();
    let guarded = Registry::start_with(&server.auth(), "");
    copy(&storage_of(&open), &storage_of(&guarded));
    let address = guarded.address();
    let right = client(address, |settings| settings.credential = password(files.path(), "sesame"));
    server.issue_expired(true);
    assert_eq!(ask(&right, address).await.expect_err("an expired token").reason(), Reason::Denied);
    server.issue_expired(false);
    ask(&right, address).await.expect("a new token");
}

#[tokio::test]
async fn an_own_authority_is_trusted_where_it_is_named() {
    let files = scratch();
    let authority = Authority::new(files.path());
    let open = filled();
    let front = Front::start(&authority, "", &format!("location / {{ proxy_pass http://{}; {PASS} }}", open.address()));
    let address = &front.address;
    let trusting = client(address, |settings| settings.ca_file = Some(authority.certificate.clone()));
    ask(&trusting, address).await.expect("the authority is named");
    front.wait_for_log("HTTP/2.0");
    let careless = client(address, |settings| settings.insecure_skip_verify = true);
    ask(&careless, address).await.expect("nothing is checked");
    let other = Authority::new(&files.path().join("other"));
    let wrong = client(address, |settings| settings.ca_file = Some(other.certificate.clone()));
    let error = ask(&wrong, address).await.expect_err("another authority");
    assert_eq!(error.reason(), Reason::Network);
    assert!(error.to_string().contains("name it in `ca_file`"), "{error}");
}

#[tokio::test]
async fn a_certificate_that_signed_itself_is_trusted_where_it_is_named_and_for_its_own_name() {
    let files = scratch();
    let open = filled();
    let pass = format!("location / {{ proxy_pass http://{}; {PASS} }}", open.address());
    for (extension, expected) in
        [("subjectAltName=IP:127.0.0.1", ""), ("subjectAltName=IP:127.0.0.2", "NotValidForName")]
    {
        let (certificate, key) = Authority::self_signed(files.path(), extension, "2");
        let front = Front::start_with(&certificate, &key, "", &pass);
        let trusting = client(&front.address, |settings| settings.ca_file = Some(certificate.clone()));
        let asked = ask(&trusting, &front.address).await.map_or_else(|error| error.to_string(), |_| String::new());
        assert_eq!(asked.is_empty(), expected.is_empty(), "{asked}");
        assert!(asked.contains(expected) || asked.contains("not valid for name"), "{asked}");
        let (other, _) = Authority::self_signed(files.path(), extension, "3");
        let wrong = client(&front.address, |settings| settings.ca_file = Some(other));
        ask(&wrong, &front.address).await.expect_err("another certificate");
    }
}

#[tokio::test]
async fn a_client_certificate_is_shown_where_it_is_wanted() {
    let files = scratch();
    let authority = Authority::new(files.path());
    let (cert_file, key_file) = authority.issue("client", "");
    let open = filled();
    let wants = format!("ssl_client_certificate {}; ssl_verify_client on;", authority.certificate.display());
    let pass = format!("location / {{ proxy_pass http://{}; {PASS} }}", open.address());
    let front = Front::start(&authority, &wants, &pass);
    let address = &front.address;
    let known = client(address, |settings| {
        settings.ca_file = Some(authority.certificate.clone());
        settings.cert_file = Some(cert_file.clone());
        settings.key_file = Some(key_file.clone());
    });
    ask(&known, address).await.expect("a client certificate");
    let unknown = client(address, |settings| settings.ca_file = Some(authority.certificate.clone()));
    ask(&unknown, address).await.expect_err("no client certificate");
}

#[tokio::test]
async fn blobs_are_fetched_from_where_the_registry_redirects() {
    let files = scratch();
    let authority = Authority::new(files.path());
    let open = filled();
    let storage =
        Front::start(&authority, "", &format!("location / {{ proxy_pass http://{}; {PASS} }}", open.address()));
    let redirecting = format!(
        "location ~ ^/v2/.*/blobs/ {{ return 307 https://{}$request_uri; }}\nlocation / {{ proxy_pass http://{}; {PASS} }}",
        storage.address,
        open.address()
    );
    let front = Front::start(&authority, "", &redirecting);
    let trusting = client(&front.address, |settings| settings.ca_file = Some(authority.certificate.clone()));
    ask(&trusting, &front.address).await.expect("redirects are followed");
    storage.wait_for_log(" 206 ");
    front.wait_for_log(" 307 ");
}

#[tokio::test]
async fn a_redirect_from_https_to_http_is_refused() {
    let files = scratch();
    let authority = Authority::new(files.path());
    let open = filled();
    let front =
        Front::start(&authority, "", &format!("location / {{ return 307 http://{}$request_uri; }}", open.address()));
    let trusting = client(&front.address, |settings| settings.ca_file = Some(authority.certificate.clone()));
    let error = ask(&trusting, &front.address).await.expect_err("a downgrade");
    assert_eq!(error.reason(), Reason::Server);
    assert!(error.to_string().contains("from https to plain http"), "{error}");
    assert_eq!(open.requests("manifest", "GET") + open.requests("manifest", "HEAD"), 0);
}

#[tokio::test]
async fn plain_http_where_tls_is_spoken_says_so() {
    let open = filled();
    let address = open.address();
    let speaks_tls = client(address, |settings| settings.insecure_skip_verify = true);
    let error = ask(&speaks_tls, address).await.expect_err("plain HTTP answers TLS");
    assert!(error.to_string().contains("set `plain_http = true`"), "{error}");
}

/// What nginx passes on.
const PASS: &str =
    "proxy_set_header Host $http_host; proxy_set_header X-Forwarded-Proto https; proxy_http_version 1.1;";

/// nginx, speaking TLS.
struct Front {
    _program: Program,
    address: String,
    directory: tempfile::TempDir,
}

impl Front {
    fn start(authority: &Authority, more: &str, locations: &str) -> Self {
        let (certificate, key) = authority.issue("server", "subjectAltName=IP:127.0.0.1");
        Self::start_with(&certificate, &key, more, locations)
    }

    fn start_with(certificate: &Path, key: &Path, more: &str, locations: &str) -> Self {
        let directory = scratch();
        let port = free_port();
        let mut config =
            String::from("daemon off; master_process off; pid nginx.pid; error_log error.log;\nevents {}\nhttp {\n");
        for place in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
            writeln!(config, "{place}_temp_path {place};").expect("a string");
        }
        writeln!(
            config,
            "access_log access.log;\nserver {{\nlisten 127.0.0.1:{port} ssl http2;\nssl_certificate {};\nssl_certificate_key {};\n{more}\n{locations}\n}}\n}}",
            certificate.display(),
            key.display()
        )
        .expect("a string");
        let path = directory.path().join("nginx.conf");
        std::fs::write(&path, config).expect("the configuration can be written");
        let mut command = Command::new("nginx");
        command.arg("-p").arg(directory.path()).arg("-c").arg(&path).arg("-e").arg("error.log");
        let mut program = Program::start(command, directory.path());
        let address = format!("127.0.0.1:{port}");
        // It answers 400 to plain HTTP, so it is up.
        program.wait_until_ready(|| http::get(&address, "/").ok());
        Self { _program: program, address, directory }
    }

    /// Waits for a line of its log, which it writes after its answer.
    fn wait_for_log(&self, text: &str) {
        let log = || std::fs::read_to_string(self.directory.path().join("access.log")).unwrap_or_default();
        wait_for(text, || log().contains(text).then_some(()), log);
    }
}

/// Copies a registry's storage, which it looks up at each request.
fn copy(from: &Path, to: &Path) {
    run(Command::new("cp").arg("-a").arg(from).arg(to));
}
