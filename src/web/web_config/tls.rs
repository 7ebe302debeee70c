//! The file's TLS settings as a rustls configuration.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, SupportedKxGroup, ring};
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedCipherSuite, SupportedProtocolVersion, version};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::client_certificates;
use super::client_certificates::ClientCertPolicy;
use super::file::{TlsServerConfig, TlsVersion};

/// Why the TLS settings cannot be used.
pub(super) enum TlsConfigError {
    Read(PathBuf, std::io::Error),
    Invalid(String),
}

/// None where the file does not configure TLS.
pub(super) fn server_config(tls: &TlsServerConfig, http2: bool) -> Result<Option<ServerConfig>, TlsConfigError> {
    let Some((chain, key)) = identity(tls)? else { return Ok(None) };
    let provider = Arc::new(provider(tls)?);
    let versions = versions(tls.min_version, tls.max_version)?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions)
        .map_err(|error| invalid(format!("these versions and cipher suites are incompatible: {error}")))?;
    let builder = match client_verifier(tls, &provider)? {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|error| invalid(format!("this certificate and this key cannot be used: {error}")))?;
    config.alpn_protocols = if http2 { vec![b"h2".to_vec()] } else { Vec::new() };
    config.alpn_protocols.push(b"http/1.1".to_vec());
    config.ignore_client_order = tls.prefer_server_cipher_suites.unwrap_or(true);
    Ok(Some(config))
}

fn invalid(why: impl Into<String>) -> TlsConfigError {
    TlsConfigError::Invalid(why.into())
}

fn identity(
    tls: &TlsServerConfig,
) -> Result<Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>, TlsConfigError> {
    let is_used = tls.files().next().is_some()
        || !(tls.cert.is_empty() && tls.key.is_empty() && tls.client_ca.is_empty() && tls.client_auth_type.is_empty());
    if !is_used {
        return Ok(None);
    }
    let cert = content(&tls.cert_file, &tls.cert)?.ok_or_else(|| invalid("one of cert or cert_file is missing"))?;
    let key = content(&tls.key_file, &tls.key)?.ok_or_else(|| invalid("one of key or key_file is missing"))?;
    let key = PrivateKeyDer::from_pem_slice(&key).map_err(|_| invalid("the key is not a private key in PEM format"))?;
    Ok(Some((certificates(&cert, "the certificate")?, key)))
}

/// A file's content, or the inline value.
fn content(path: &Path, inline: &str) -> Result<Option<Vec<u8>>, TlsConfigError> {
    if !path.as_os_str().is_empty() {
        return fs::read(path).map(Some).map_err(|error| TlsConfigError::Read(path.to_owned(), error));
    }
    Ok((!inline.is_empty()).then(|| inline.as_bytes().to_vec()))
}

fn certificates(pem: &[u8], what: &str) -> Result<Vec<CertificateDer<'static>>, TlsConfigError> {
    let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match parsed {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(invalid(format!("{what} is not a certificate in PEM format"))),
    }
}

/// rustls supports nothing older than TLS 1.2, whatever the file allows.
fn versions(
    min: Option<TlsVersion>,
    max: Option<TlsVersion>,
) -> Result<Vec<&'static SupportedProtocolVersion>, TlsConfigError> {
    let (min, max) = (min.unwrap_or(TlsVersion::V1_2), max.unwrap_or(TlsVersion::V1_3));
    let known = [(TlsVersion::V1_2, &version::TLS12), (TlsVersion::V1_3, &version::TLS13)];
    let wanted: Vec<_> =
        known.into_iter().filter(|(v, _)| (min..=max).contains(v)).map(|(_, version)| version).collect();
    if wanted.is_empty() {
        return Err(invalid("min_version and max_version allow neither TLS12 nor TLS13, the supported versions"));
    }
    Ok(wanted)
}

fn provider(tls: &TlsServerConfig) -> Result<CryptoProvider, TlsConfigError> {
    let mut provider = ring::default_provider();
    if !tls.cipher_suites.is_empty() {
        provider.cipher_suites = cipher_suites(&tls.cipher_suites)?;
    }
    if !tls.curve_preferences.is_empty() {
        provider.kx_groups = curves(&tls.curve_preferences)?;
    }
    Ok(provider)
}

/// Suites of Go that rustls omits, because they lack forward secrecy or authenticated encryption.
const OLD_SUITES: [&str; 8] = [
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
];

/// The list applies to TLS 1.2: the suites of 1.3 are always enabled, as in Go.
fn cipher_suites(names: &[String]) -> Result<Vec<SupportedCipherSuite>, TlsConfigError> {
    let name_of = |suite: &SupportedCipherSuite| suite.suite().as_str().unwrap_or_default().replace("TLS13_", "TLS_");
    let (mut suites, old): (Vec<_>, Vec<_>) =
        ring::ALL_CIPHER_SUITES.iter().copied().partition(|suite| suite.tls13().is_some());
    for name in names {
        match old.iter().find(|suite| name_of(suite) == *name) {
            Some(suite) => suites.push(*suite),
            None if suites.iter().any(|suite| name_of(suite) == *name) => {}
            None if OLD_SUITES.contains(&name.as_str()) => {
                tracing::warn!(suite = %name, "this cipher suite is insecure and not offered");
            }
            None => return Err(invalid(format!("cipher_suites: `{name}` is unknown"))),
        }
    }
    Ok(suites)
}

fn curves(names: &[String]) -> Result<Vec<&'static dyn SupportedKxGroup>, TlsConfigError> {
    let mut curves = Vec::new();
    for name in names {
        match name.as_str() {
            "X25519" => curves.push(ring::kx_group::X25519),
            "CurveP256" => curves.push(ring::kx_group::SECP256R1),
            "CurveP384" => curves.push(ring::kx_group::SECP384R1),
            "CurveP521" | "X25519MLKEM768" => tracing::warn!(curve = %name, "this curve is not supported"),
            _ => return Err(invalid(format!("curve_preferences: `{name}` is unknown"))),
        }
    }
    if curves.is_empty() {
        return Err(invalid("curve_preferences: none of these is supported, only X25519, CurveP256, CurveP384"));
    }
    Ok(curves)
}

fn client_verifier(
    tls: &TlsServerConfig,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsConfigError> {
    let policy = match tls.client_auth_type.as_str() {
        "" | "NoClientCert" => None,
        "RequestClientCert" => Some(ClientCertPolicy { required: false, verified: false }),
        "RequireAnyClientCert" | "RequireClientCert" => Some(ClientCertPolicy { required: true, verified: false }),
        "VerifyClientCertIfGiven" => Some(ClientCertPolicy { required: false, verified: true }),
        "RequireAndVerifyClientCert" => Some(ClientCertPolicy { required: true, verified: true }),
        other => return Err(invalid(format!("client_auth_type: `{other}` is unknown"))),
    };
    let ca = content(&tls.client_ca_file, &tls.client_ca)?;
    let Some(policy) = policy else {
        return match (ca, &tls.client_allowed_sans) {
            (Some(_), _) => Err(invalid("client_ca_file has no effect without a client_auth_type")),
            (None, Some(_)) => Err(invalid("client_allowed_sans needs a client_auth_type that requires a certificate")),
            (None, None) => Ok(None),
        };
    };
    if tls.client_allowed_sans.is_some() && !policy.required {
        return Err(invalid("client_allowed_sans needs a client_auth_type that requires a certificate"));
    }
    let mut roots = RootCertStore::empty();
    match ca {
        Some(pem) => {
            for certificate in certificates(&pem, "client_ca_file")? {
                roots.add(certificate).map_err(|error| invalid(format!("client_ca_file: {error}")))?;
            }
        }
        // Without one, Go would trust every authority that the system trusts for servers, which is never intended.
        None if policy.verified => return Err(invalid("client_auth_type verifies against client_ca_file: name one")),
        None => {}
    }
    client_certificates::verifier(policy, roots, tls.client_allowed_sans.clone(), provider)
        .map(Some)
        .map_err(|error| invalid(format!("client_ca_file: {error}")))
}
