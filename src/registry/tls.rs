//! TLS as each registry wants it: whom to trust, and which certificate to show.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::error::SetupError;
use super::settings::Settings;

/// What the files of a registry's settings say, read and checked.
pub(crate) struct Tls {
    authorities: Vec<CertificateDer<'static>>,
    identity: Option<Identity>,
    insecure_skip_verify: bool,
}

struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

/// The machine's certificate authorities. A machine may have none: plain HTTP and own authorities work all the same.
pub(crate) fn system_roots() -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::debug!(%error, "cannot read some of the machine's certificate authorities");
    }
    roots.add_parsable_certificates(found.certs);
    Arc::new(roots)
}

/// Reads the files that `settings` name, only to find out whether they can be used.
pub fn check_files(settings: &Settings) -> Result<(), SetupError> {
    Tls::read("", settings).map(|_| ())
}

impl Tls {
    /// Reads what `settings` name. `owner` is how errors call the registry.
    pub(crate) fn read(owner: &str, settings: &Settings) -> Result<Self, SetupError> {
        let error = |key: &'static str, path: &Path, problem: String| SetupError {
            registry: owner.to_owned(),
            key,
            value: path.display().to_string(),
            problem,
        };
        let authorities = match &settings.ca_file {
            Some(path) => certificates(path).map_err(|problem| error("ca_file", path, problem))?,
            None => Vec::new(),
        };
        let mut probe = RootCertStore::empty();
        for authority in &authorities {
            let path = settings.ca_file.as_deref().unwrap_or(Path::new(""));
            probe.add(authority.clone()).map_err(|problem| error("ca_file", path, problem.to_string()))?;
        }
        let identity = match (&settings.cert_file, &settings.key_file) {
            (Some(cert_file), Some(key_file)) => Some(Identity {
                chain: certificates(cert_file).map_err(|problem| error("cert_file", cert_file, problem))?,
                key: PrivateKeyDer::from_pem_file(key_file)
                    .map_err(|problem| error("key_file", key_file, format!("no private key in PEM form: {problem}")))?,
            }),
            (Some(path), None) => return Err(error("cert_file", path, "a key_file belongs to it".to_owned())),
            (None, Some(path)) => return Err(error("key_file", path, "a cert_file belongs to it".to_owned())),
            (None, None) => None,
        };
        let tls = Self { authorities, identity, insecure_skip_verify: settings.insecure_skip_verify };
        // A key that does not belong to its certificate is found out here rather than at the first request.
        let key_file = settings.key_file.clone().unwrap_or_default();
        tls.config(&RootCertStore::empty())
            .map_err(|problem| error("key_file", &key_file, format!("does not fit cert_file: {problem}")))?;
        Ok(tls)
    }

    /// The configuration of connections: these files' authorities are trusted beside the machine's.
    pub(crate) fn config(&self, system: &RootCertStore) -> Result<ClientConfig, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
        let builder = if self.insecure_skip_verify {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        } else {
            let mut roots = system.clone();
            roots.add_parsable_certificates(self.authorities.iter().cloned());
            if self.authorities.is_empty() {
                builder.with_root_certificates(roots)
            } else {
                let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
                let inner = inner.map_err(|error| rustls::Error::General(error.to_string()))?;
                let verifier = OwnCertificates { inner, own: self.authorities.clone() };
                builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
            }
        };
        let mut config = match &self.identity {
            Some(identity) => builder.with_client_auth_cert(identity.chain.clone(), identity.key.clone_key())?,
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }

    /// Whether these files, or the lack of checks, make the machine's authorities unnecessary.
    pub(crate) fn is_self_sufficient(&self) -> bool {
        self.insecure_skip_verify || !self.authorities.is_empty()
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).map_err(|error| error.to_string())?.collect();
    match found {
        Ok(certificates) if certificates.is_empty() => Err("no certificate in PEM form in it".to_owned()),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(error.to_string()),
    }
}

/// Also believes a server that shows one of the named certificates itself, if the certificate is for that server: the
/// usual self-signed certificate of a private registry is at once an authority, which as a server's webpki refuses.
#[derive(Debug)]
struct OwnCertificates {
    inner: Arc<WebPkiServerVerifier>,
    own: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for OwnCertificates {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // Its dates were in order, or that would be the error.
            Err(error) if is_authority_as_server(&error) && self.own.iter().any(|own| own == end_entity) => {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// rustls hands this one of webpki's errors on as a text.
fn is_authority_as_server(error: &rustls::Error) -> bool {
    matches!(error, rustls::Error::InvalidCertificate(CertificateError::Other(other)) if format!("{other:?}").contains("CaUsedAsEndEntity"))
}

/// Believes any certificate, as `insecure_skip_verify` asks. Signatures are checked all the same.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
