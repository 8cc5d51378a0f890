//! Which servers a client believes: those that hold the key of a certificate in `server`.
//!
//! The key is the pin. Name, issuer and dates of the server's certificate do not matter, so that no
//! certificate authority can play the server, and no date stops a client. Where the client file
//! names a `ca` beside `server`, the certificate must be of that authority, too, with all that goes
//! with it.

use std::fmt;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore,
    SignatureScheme,
};

use crate::config;
use crate::http::tls::{
    Identity, TlsError, pin_of_file, possession, provider, read_certificates, spki_digest,
};
use crate::register::SpkiDigest;

/// The set-up of TLS for a client file: it shows `identity`, and believes the servers that the file
/// pins. With it come those pins.
///
/// # Errors
/// A file that cannot be read, or is not what it should be.
pub fn tls_config(
    config: &config::ClientConfig,
    identity: Identity,
) -> Result<(ClientConfig, Vec<SpkiDigest>), TlsError> {
    let of = |path: &std::path::Path| {
        let path = path.to_owned();
        move |error: rustls::Error| TlsError::Rustls { path, error }
    };
    let verifier = PinnedServers::read(config)?;
    let pins = verifier.pins.clone();
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(of(&config.certificate))?;
    let mut tls = builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_auth_cert(identity.chain, identity.key)
        .map_err(of(&config.certificate))?;
    tls.resumption = rustls::client::Resumption::disabled();
    Ok((tls, pins))
}

/// The server holds a key, and it is not one that the client file pins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OtherServerKey(pub SpkiDigest);

impl fmt::Display for OtherServerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the key {:?} is not pinned", self.0)
    }
}

impl std::error::Error for OtherServerKey {}

/// Verifies that a server holds a pinned key.
#[derive(Debug)]
struct PinnedServers {
    pins: Vec<SpkiDigest>,
    /// Of the authority in `ca`, where the file names one.
    authority: Option<Arc<WebPkiServerVerifier>>,
}

impl PinnedServers {
    fn read(config: &config::ClientConfig) -> Result<Self, TlsError> {
        let pins = config.server.iter().map(|path| pin_of_file(path));
        let pins = pins.collect::<Result<_, _>>()?;
        let Some(path) = &config.ca else {
            return Ok(Self {
                pins,
                authority: None,
            });
        };
        let of = |error| TlsError::Rustls {
            path: path.clone(),
            error,
        };
        let mut roots = RootCertStore::empty();
        for certificate in read_certificates(path)? {
            roots.add(certificate).map_err(of)?;
        }
        let authority = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .map_err(|error| of(rustls::Error::General(error.to_string())))?;
        Ok(Self {
            pins,
            authority: Some(authority),
        })
    }
}

impl ServerCertVerifier for PinnedServers {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let shown = spki_digest(end_entity)?;
        if !self.pins.contains(&shown) {
            let other = OtherError(Arc::new(OtherServerKey(shown)));
            return Err(CertificateError::Other(other).into());
        }
        match &self.authority {
            None => Ok(ServerCertVerified::assertion()),
            Some(authority) => {
                authority.verify_server_cert(end_entity, intermediates, name, ocsp_response, now)
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(possession::not_1_3())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        possession::verify(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        possession::schemes()
    }
}
