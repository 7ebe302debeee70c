//! TLS with one registry: trusted authorities and the client certificate.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, RootCertStore};

use crate::registry::error::SetupError;
use crate::registry::settings::Settings;

/// The certificates and key of a registry's settings, read and checked.
#[derive(PartialEq)]
pub(crate) struct Tls {
    authorities: Vec<CertificateDer<'static>>,
    identity: Option<ClientIdentity>,
    insecure_skip_verify: bool,
}

/// Which connections a configuration is for.
pub(crate) struct Reach<'a> {
    /// The registry's own host, the only one to which `insecure_skip_verify` applies.
    pub(crate) host: Option<&'a str>,
    /// Whether the client certificate is shown to a server that requests one.
    pub(crate) identity: bool,
}

#[derive(PartialEq)]
struct ClientIdentity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

/// The machine's certificate authorities. Without any, plain HTTP and `ca_file` still work.
pub(crate) fn system_roots() -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::debug!(%error, "cannot read some of the machine's certificate authorities");
    }
    roots.add_parsable_certificates(found.certs);
    Arc::new(roots)
}

/// Checks that the files that `settings` name can be used.
pub fn check_files(settings: &Settings) -> Result<(), SetupError> {
    Tls::read("", settings).map(|_| ())
}

impl Tls {
    /// Reads the files that `settings` name. `owner` names the registry in errors.
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
            (Some(cert_file), Some(key_file)) => Some(ClientIdentity {
                chain: certificates(cert_file).map_err(|problem| error("cert_file", cert_file, problem))?,
                key: PrivateKeyDer::from_pem_file(key_file)
                    .map_err(|problem| error("key_file", key_file, format!("no private key in PEM form: {problem}")))?,
            }),
            (Some(path), None) => return Err(error("cert_file", path, "needs `key_file` too".to_owned())),
            (None, Some(path)) => return Err(error("key_file", path, "needs `cert_file` too".to_owned())),
            (None, None) => None,
        };
        let tls = Self { authorities, identity, insecure_skip_verify: settings.insecure_skip_verify };
        // Finds a mismatch of key and certificate now rather than at the first request.
        let key_file = settings.key_file.clone().unwrap_or_default();
        tls.config(&RootCertStore::empty(), &Reach { host: None, identity: true })
            .map_err(|problem| error("key_file", &key_file, format!("does not fit cert_file: {problem}")))?;
        Ok(tls)
    }

    /// The configuration of connections. The files' authorities are trusted beside the machine's, for every host.
    pub(crate) fn config(&self, system: &RootCertStore, reach: &Reach<'_>) -> Result<ClientConfig, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
        let mut roots = system.clone();
        roots.add_parsable_certificates(self.authorities.iter().cloned());
        let builder = if self.insecure_skip_verify || !self.authorities.is_empty() {
            let inner = if roots.is_empty() {
                None
            } else {
                let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build();
                Some(inner.map_err(|error| rustls::Error::General(error.to_string()))?)
            };
            let unverified = reach.host.filter(|_| self.insecure_skip_verify).and_then(server_name);
            let verifier = OwnTrust { provider, inner, own: self.authorities.clone(), unverified };
            builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
        } else {
            builder.with_root_certificates(roots)
        };
        let mut config = match &self.identity {
            Some(identity) if reach.identity => {
                builder.with_client_auth_cert(identity.chain.clone(), identity.key.clone_key())?
            }
            _ => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }

    /// Whether there is a client certificate.
    pub(crate) fn has_identity(&self) -> bool {
        self.identity.is_some()
    }

    /// What the operator can do about a certificate of an unknown authority.
    pub(crate) fn trust_hint(&self, system: &RootCertStore) -> &'static str {
        if self.insecure_skip_verify {
            "; `insecure_skip_verify` holds for the registry's own host alone: name the authority of other hosts in `ca_file`"
        } else if system.is_empty() && self.authorities.is_empty() {
            "; this machine has no certificate authorities: install ca-certificates, or name some in `ca_file`"
        } else {
            "; if that host has its own certificate authority, name it in `ca_file`"
        }
    }
}

/// A host as certificates name it.
fn server_name(host: &str) -> Option<ServerName<'static>> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    ServerName::try_from(host.to_owned()).ok()
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).map_err(|error| error.to_string())?.collect();
    match found {
        Ok(certificates) if certificates.is_empty() => Err("no certificate in PEM form in it".to_owned()),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(error.to_string()),
    }
}

/// The methods of rustls' verifiers that check signatures, with the algorithms of `self.provider`. A certificate that is
/// trusted beyond its authority must still belong to the key that signs.
macro_rules! signature_checks {
    () => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            cert: &::rustls::pki_types::CertificateDer<'_>,
            dss: &::rustls::DigitallySignedStruct,
        ) -> Result<::rustls::client::danger::HandshakeSignatureValid, ::rustls::Error> {
            ::rustls::crypto::verify_tls12_signature(
                message,
                cert,
                dss,
                &self.provider.signature_verification_algorithms,
            )
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &::rustls::pki_types::CertificateDer<'_>,
            dss: &::rustls::DigitallySignedStruct,
        ) -> Result<::rustls::client::danger::HandshakeSignatureValid, ::rustls::Error> {
            ::rustls::crypto::verify_tls13_signature(
                message,
                cert,
                dss,
                &self.provider.signature_verification_algorithms,
            )
        }

        fn supported_verify_schemes(&self) -> Vec<::rustls::SignatureScheme> {
            self.provider.signature_verification_algorithms.supported_schemes()
        }
    };
}

pub(crate) use signature_checks;

/// Trusts more than webpki does: any certificate of the host that `insecure_skip_verify` is for; and a server that shows
/// one of the configured certificates itself, if it is valid for that server. The usual self-signed certificate of a
/// private registry is also an authority, which webpki refuses as a server's. Signatures are always checked.
#[derive(Debug)]
struct OwnTrust {
    provider: Arc<CryptoProvider>,
    /// Absent where there is no authority at all.
    inner: Option<Arc<WebPkiServerVerifier>>,
    own: Vec<CertificateDer<'static>>,
    /// The host that `insecure_skip_verify` is for, on any port, as certificates are.
    unverified: Option<ServerName<'static>>,
}

impl ServerCertVerifier for OwnTrust {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.unverified.as_ref().is_some_and(|unverified| unverified == server_name) {
            return Ok(ServerCertVerified::assertion());
        }
        let Some(inner) = &self.inner else { return Err(CertificateError::UnknownIssuer.into()) };
        match inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // Its dates are valid: otherwise webpki returns another error.
            Err(error) if is_authority_as_server(&error) && self.own.iter().any(|own| own == end_entity) => {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    signature_checks!();
}

/// rustls passes this error of webpki on as text.
fn is_authority_as_server(error: &rustls::Error) -> bool {
    matches!(error, rustls::Error::InvalidCertificate(CertificateError::Other(other)) if format!("{other:?}").contains("CaUsedAsEndEntity"))
}
