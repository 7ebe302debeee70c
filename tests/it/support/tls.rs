//! TLS in front of a scripted registry, by an authority of the test's own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::files::Files;

/// An authority, with its certificate and a client's as files.
pub(crate) struct Authority {
    files: Files,
    root: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

/// What a server wants of its clients' certificates.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Client {
    MayShow,
    MustShow,
}

/// TLS at an address of its own. Ends with the test's runtime.
pub(crate) struct Front {
    address: SocketAddr,
    shown: Arc<Mutex<Vec<bool>>>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap();
        let files = Files::new();
        files.write("ca.pem", &root.pem());
        let this = Self { files, root: root.der().clone(), issuer: Issuer::new(params, key) };
        let key = KeyPair::generate().unwrap();
        let client = CertificateParams::new(vec!["client".to_owned()]).unwrap().signed_by(&key, &this.issuer).unwrap();
        this.files.write("client.pem", &client.pem());
        this.files.write("client.key", &key.serialize_pem());
        this
    }

    /// `ca.pem`, `client.pem` or `client.key`.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// Speaks TLS on an address of this machine, such as `127.0.0.2`, for whoever answers `to` in plain HTTP.
    pub(crate) async fn front(&self, ip: &str, to: SocketAddr, client: Client) -> Front {
        self.front_named(ip, vec![SanType::IpAddress(ip.parse().unwrap())], to, client).await
    }

    /// The same on `127.0.0.1` under the name of a host, for a proxy that leads there.
    pub(crate) async fn front_of_host(&self, host: &str, to: SocketAddr) -> Front {
        let name = SanType::DnsName(host.try_into().unwrap());
        self.front_named("127.0.0.1", vec![name], to, Client::MayShow).await
    }

    async fn front_named(&self, ip: &str, names: Vec<SanType>, to: SocketAddr, client: Client) -> Front {
        let listener = TcpListener::bind((ip, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.subject_alt_names = names;
        let certificate = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(&provider));
        let verifier = if client == Client::MayShow { verifier.allow_unauthenticated() } else { verifier };
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(vec![certificate], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let shown = Arc::<Mutex<Vec<bool>>>::default();
        let noted = Arc::clone(&shown);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (acceptor, noted) = (acceptor.clone(), Arc::clone(&noted));
                tokio::spawn(async move {
                    // Who does not trust the server goes away, as does whom the server does not trust.
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    noted.lock().unwrap().push(stream.get_ref().1.peer_certificates().is_some());
                    let mut upstream = TcpStream::connect(to).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut stream, &mut upstream).await;
                });
            }
        });
        Front { address, shown }
    }
}

impl Front {
    /// `127.0.0.2:PORT`.
    pub(crate) fn name(&self) -> String {
        self.address.to_string()
    }

    /// For each connection whether the client showed a certificate.
    pub(crate) fn shown(&self) -> Vec<bool> {
        self.shown.lock().unwrap().clone()
    }
}
