//! Verifies client certificates.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{CertificateError, DistinguishedName, Error, OtherError, RootCertStore};
use rustls_pki_types::{CertificateDer, UnixTime};

use super::san;
use crate::registry::signature_checks;

/// Whether a client certificate is required, and whether a configured authority must have signed it.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClientCertPolicy {
    pub(super) required: bool,
    pub(super) verified: bool,
}

#[derive(Debug)]
struct Verifier {
    required: bool,
    /// Verifies the chain, if it must be verified.
    chain: Option<Arc<dyn ClientCertVerifier>>,
    /// The certificate must have one of these names.
    allowed_sans: Option<Vec<String>>,
    provider: Arc<CryptoProvider>,
}

#[derive(Debug, thiserror::Error)]
#[error("none of the certificate's alternative names is allowed")]
struct NoAllowedName;

/// A verifier for rustls.
pub(super) fn verifier(
    policy: ClientCertPolicy,
    roots: RootCertStore,
    allowed_sans: Option<Vec<String>>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, VerifierBuilderError> {
    let chain = if policy.verified {
        Some(WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build()?)
    } else {
        None
    };
    Ok(Arc::new(Verifier { required: policy.required, chain, allowed_sans, provider: Arc::clone(provider) }))
}

impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        self.required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.as_ref().map_or(&[], |chain| chain.root_hint_subjects())
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if let Some(chain) = &self.chain {
            chain.verify_client_cert(end_entity, intermediates, now)?;
        }
        if let Some(allowed) = &self.allowed_sans
            && !san::names(end_entity).iter().any(|name| allowed.contains(name))
        {
            return Err(CertificateError::Other(OtherError(Arc::new(NoAllowedName))).into());
        }
        Ok(ClientCertVerified::assertion())
    }

    signature_checks!();
}
