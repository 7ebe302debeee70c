//! exporter-toolkit's web configuration, over real connections.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use image_size_exporter::web::{Options, WebConfig};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, version};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::client::{Answer, ask, ask_on, get};
use super::server::Server;

/// An authority with what it signed for a server and for clients, as files.
pub(super) struct Certificates {
    directory: TempDir,
    root: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Certificates {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap();
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("ca.pem"), root.pem()).unwrap();
        let this = Self { directory, root: root.der().clone(), issuer: Issuer::new(params, key) };
        this.renew_server();
        this
    }

    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Signs a new certificate for the server; gives its bytes.
    fn renew_server(&self) -> Vec<u8> {
        let (certificate, key) = self.sign("localhost");
        let pem = pem("CERTIFICATE", &certificate);
        fs::write(self.path().join("key.pem"), key.serialize_pem()).unwrap();
        fs::write(self.path().join("cert.pem"), pem).unwrap();
        certificate.to_vec()
    }

    fn sign(&self, name: &str) -> (CertificateDer<'static>, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::DnsName(name.try_into().unwrap())];
        (params.signed_by(&key, &self.issuer).unwrap().der().clone(), key)
    }

    pub(super) fn web_config(&self, text: &str) -> WebConfig {
        let path = self.path().join("web-config.yml");
        fs::write(&path, text).unwrap();
        WebConfig::open(&path).unwrap()
    }

    async fn server(&self, text: &str) -> Server {
        Server::with(Options::default(), self.web_config(text), "127.0.0.1:0").await
    }

    /// A connection over TLS, perhaps with a client certificate for this name, for these protocols.
    pub(super) async fn connect(
        &self,
        address: SocketAddr,
        client: Option<&str>,
        versions: &[&'static SupportedProtocolVersion],
        protocols: &[&[u8]],
    ) -> Option<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
        let builder = builder.with_root_certificates(roots);
        let mut config = match client {
            None => builder.with_no_client_auth(),
            Some(name) => {
                let (certificate, key) = self.sign(name);
                let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
                builder.with_client_auth_cert(vec![certificate], key).unwrap()
            }
        };
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        let stream = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.ok()
    }

    /// Sends a request over TLS, perhaps with a client certificate for this name. `None` if the server refuses.
    async fn ask(
        &self,
        address: SocketAddr,
        client: Option<&str>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Option<Answer> {
        let mut tls = self.connect(address, client, versions, &[]).await?;
        // In TLS 1.3 a client is done before the server has looked at its certificate.
        tls.write_all(b"GET /-/healthy HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.ok()?;
        let mut bytes = Vec::new();
        let _ = tls.read_to_end(&mut bytes).await;
        (!bytes.is_empty()).then(|| super::client::answer(&bytes))
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let encoded = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = encoded.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

pub(super) const BOTH: [&SupportedProtocolVersion; 2] = [&version::TLS12, &version::TLS13];
pub(super) const TLS: &str = "tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\n";

fn basic(text: &str) -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(text))
}

#[tokio::test]
async fn tls_is_spoken_in_the_configured_versions() {
    let certificates = Certificates::new();
    let cases = [
        ("", true, true),
        ("  min_version: TLS13\n", false, true),
        ("  max_version: TLS12\n", true, false),
        ("  min_version: TLS10\n", true, true),
    ];
    for (more, tls12, tls13) in cases {
        let server = certificates.server(&format!("{TLS}{more}")).await;
        for (version, expected) in [(&version::TLS12, tls12), (&version::TLS13, tls13)] {
            let answer = certificates.ask(server.address, None, &[version]).await;
            assert_eq!(answer.map(|answer| answer.status), expected.then_some(200), "{more} {version:?}");
        }
    }
}

#[tokio::test]
async fn client_certificates_are_asked_for_as_configured() {
    let (ours, strange) = (Certificates::new(), Certificates::new());
    let with = |more: &str| format!("{TLS}  client_ca_file: ca.pem\n{more}");
    // Configuration, and whether a client is accepted without a certificate, with an unknown one, with ours, with ours
    // for another name.
    let cases = [
        (with("  client_auth_type: RequireAndVerifyClientCert\n"), false, false, true, true),
        (with("  client_auth_type: VerifyClientCertIfGiven\n"), true, false, true, true),
        (with("  client_auth_type: RequireAnyClientCert\n"), false, true, true, true),
        (with("  client_auth_type: RequestClientCert\n"), true, true, true, true),
        (
            with("  client_auth_type: RequireAndVerifyClientCert\n  client_allowed_sans: [prometheus.example.com]\n"),
            false,
            false,
            true,
            false,
        ),
    ];
    for (text, without, unknown, known, other_name) in cases {
        let server = ours.server(&text).await;
        // An unknown client that trusts this server.
        let stranger = Certificates {
            root: ours.root.clone(),
            directory: tempfile::tempdir().unwrap(),
            issuer: {
                let mut params = CertificateParams::default();
                params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
                params.distinguished_name.push(rcgen::DnType::CommonName, "somebody else");
                Issuer::new(params, KeyPair::generate().unwrap())
            },
        };
        for version in BOTH {
            let name = Some("prometheus.example.com");
            assert_eq!(ours.ask(server.address, None, &[version]).await.is_some(), without, "{text} {version:?}");
            assert_eq!(stranger.ask(server.address, name, &[version]).await.is_some(), unknown, "{text} {version:?}");
            assert_eq!(ours.ask(server.address, name, &[version]).await.is_some(), known, "{text} {version:?}");
            let other = ours.ask(server.address, Some("other.example.com"), &[version]).await;
            assert_eq!(other.is_some(), other_name, "{text} {version:?}");
        }
        assert!(strange.ask(server.address, None, &BOTH).await.is_none(), "the client believes another authority");
    }
}

#[tokio::test]
async fn a_renewed_certificate_and_a_changed_file_count_at_once() {
    let certificates = Certificates::new();
    let server = certificates.server(TLS).await;
    assert!(certificates.ask(server.address, None, &BOTH).await.is_some());
    certificates.renew_server();
    assert!(certificates.ask(server.address, None, &BOTH).await.is_some(), "a new pair");

    // Half a renewal: the key does not match. The previous pair stays.
    let key = fs::read(certificates.path().join("key.pem")).unwrap();
    fs::write(certificates.path().join("key.pem"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
    assert!(certificates.ask(server.address, None, &BOTH).await.is_some(), "the pair before");
    fs::write(certificates.path().join("key.pem"), key).unwrap();

    let hash = bcrypt::hash("secret", 4).unwrap();
    let path = certificates.path().join("web-config.yml");
    fs::write(&path, format!("{TLS}basic_auth_users: {{ann: '{hash}'}}\n")).unwrap();
    assert_eq!(certificates.ask(server.address, None, &BOTH).await.unwrap().status, 401);
    fs::write(&path, "tls_server_config: {cert_fil: typing error}\n").unwrap();
    assert_eq!(certificates.ask(server.address, None, &BOTH).await.unwrap().status, 401, "the configuration before");
    fs::write(&path, "# plain again\n").unwrap();
    assert_eq!(get(server.address, "/-/healthy").await.status, 200);
}

#[tokio::test]
async fn passwords_are_asked_for_everywhere() {
    let certificates = Certificates::new();
    let hash = bcrypt::hash("secret", 4).unwrap();
    let server = certificates.server(&format!("basic_auth_users:\n  ann: '{hash}'\n")).await;
    let pages =
        ["/search", "/compare", "/repository/a/b", "/image/a/b:c", "/api/v1/overview", "/-/style.css", "/-/script.js"];
    for path in ["/", "/metrics", "/config", "/-/healthy", "/-/ready", "/-/reload", "/nothing"].into_iter().chain(pages)
    {
        let denied = get(server.address, path).await;
        assert_eq!((denied.status, denied.text()), (401, "unauthorized\n"), "{path}");
        assert!(denied.header("www-authenticate").starts_with("Basic"));
    }
    for (credentials, status) in [("ann:secret", 200), ("ann:secret", 200), ("ann:wrong", 401), ("eve:secret", 401)] {
        let headers = [("authorization", basic(credentials))];
        let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
        assert_eq!(ask(server.address, "GET", "/metrics", &headers).await.status, status, "{credentials}");
    }
}

#[tokio::test]
async fn configured_headers_and_the_limit_on_requests_hold_for_every_answer() {
    let certificates = Certificates::new();
    let text = "http_server_config:\n  headers:\n    X-Frame-Options: deny\n    Strict-Transport-Security: max-age=1\n\
                rate_limit: {interval: 1h, burst: 2}\n";
    let server = certificates.server(text).await;
    for (path, status) in [("/metrics", 200), ("/nothing", 404), ("/metrics", 429)] {
        let stream = TcpStream::connect(server.address).await.unwrap();
        let answer = ask_on(stream, "GET", path, &[]).await;
        assert_eq!(answer.status, status);
        assert_eq!(
            (answer.header("x-frame-options"), answer.header("strict-transport-security")),
            ("deny", "max-age=1")
        );
    }
}

#[test]
fn an_unusable_web_configuration_is_refused_with_a_remedy() {
    let certificates = Certificates::new();
    let path = certificates.path().join("web-config.yml");
    let file = path.display();
    let cases = [
        (
            "tls_server_config: {cert_file: cert.pem}",
            format!("web configuration `{file}`: tls_server_config: one of key or key_file is missing"),
        ),
        (
            "tls_server_config: {client_auth_type: NoClientCert}",
            format!("web configuration `{file}`: tls_server_config: one of cert or cert_file is missing"),
        ),
        (
            "tls_server_config: {cert_file: none.pem, key_file: key.pem}",
            format!(
                "cannot read `{}`: No such file or directory (os error 2)",
                certificates.path().join("none.pem").display()
            ),
        ),
        (
            "tls_server_config: {cert_file: key.pem, key_file: key.pem}",
            format!(
                "web configuration `{file}`: tls_server_config: the certificate is not a certificate in PEM format"
            ),
        ),
        (
            "tls_server_config: {cert_file: cert.pem, key_file: cert.pem}",
            format!("web configuration `{file}`: tls_server_config: the key is not a private key in PEM format"),
        ),
        (
            "tls_server_config: {cert_file: cert.pem, key_file: key.pem, client_ca_file: ca.pem}",
            format!(
                "web configuration `{file}`: tls_server_config: client_ca_file has no effect without a client_auth_type"
            ),
        ),
        (
            "tls_server_config: {cert_file: cert.pem, key_file: key.pem, client_auth_type: Maybe}",
            format!("web configuration `{file}`: tls_server_config: client_auth_type: `Maybe` is unknown"),
        ),
        (
            "tls_server_config: {cert_file: cert.pem, key_file: key.pem, client_auth_type: RequireAndVerifyClientCert}",
            format!(
                "web configuration `{file}`: tls_server_config: client_auth_type verifies against client_ca_file: name one"
            ),
        ),
        (
            "tls_server_config: {cert_file: cert.pem, key_file: key.pem, client_allowed_sans: [a]}",
            format!(
                "web configuration `{file}`: tls_server_config: client_allowed_sans needs a client_auth_type that requires a certificate"
            ),
        ),
        (
            "tls_server_config: {cert_file: cert.pem, key_file: key.pem, max_version: TLS11}",
            format!(
                "web configuration `{file}`: tls_server_config: min_version and max_version allow neither TLS12 nor TLS13, the supported versions"
            ),
        ),
        (
            "tls_server_config: {cert_file: cert.pem, key_file: key.pem, cipher_suites: [ROT13]}",
            format!("web configuration `{file}`: tls_server_config: cipher_suites: `ROT13` is unknown"),
        ),
        (
            "tls_server_config: {cert_file: cert.pem, key_file: key.pem, curve_preferences: [CurveP521]}",
            format!(
                "web configuration `{file}`: tls_server_config: curve_preferences: none of these is supported, only X25519, CurveP256, CurveP384"
            ),
        ),
        (
            "basic_auth_users: {ann: secret}",
            format!(
                "web configuration `{file}`: basic_auth_users.ann: not a bcrypt hash: `htpasswd -nBC 10 \"\"` makes one, without its leading colon"
            ),
        ),
    ];
    for (text, expected) in cases {
        fs::write(&path, text).unwrap();
        assert_eq!(WebConfig::open(&path).err().map(|error| error.to_string()), Some(expected), "{text}");
    }
    let none = certificates.path().join("none.yml");
    let error = WebConfig::open(&none).err().unwrap().to_string();
    assert_eq!(error, format!("cannot read `{}`: No such file or directory (os error 2)", none.display()));
}
