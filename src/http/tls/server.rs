//! The server's side: its certificate, which may be exchanged while it serves, and the check of
//! clients' keys.
//!
//! A client's certificate is the envelope of its key. Who issued it, for what and until when does
//! not matter: the client proves that it holds the key, and then the key is asked for, in the
//! register or in a witness's list.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme,
};

use super::{Identity, TlsError, key_of, possession, provider, spki_digest};
use crate::access::KeyRefusal;
use crate::config::TlsFiles;
use crate::register::SpkiDigest;

/// A listener's certificate and key. Clones share them.
#[derive(Clone)]
pub struct ServerTls {
    files: TlsFiles,
    shown: Arc<ShownCertificate>,
}

impl ServerTls {
    /// Reads certificate and key.
    ///
    /// # Errors
    /// A file that is missing, unreadable, not private enough (the key), or of the wrong kind; a
    /// key that belongs to another certificate.
    pub fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        Ok(Self {
            files: files.clone(),
            shown: Arc::new(ShownCertificate(RwLock::new(read_pair(files)?))),
        })
    }

    /// Reads both files again and, if they are good, shows them from the next handshake on. Both
    /// are exchanged together; connections that stand are not touched. Returns the digest of its
    /// key if the certificate is another one.
    ///
    /// # Errors
    /// As [`ServerTls::read`]; the certificate that was shown is shown further.
    pub fn reload(&self) -> Result<Option<SpkiDigest>, TlsError> {
        let read = read_pair(&self.files)?;
        let key = key_of(&self.files.certificate, &read.cert[0])?;
        let mut shown = self.shown.0.write().unwrap_or_else(PoisonError::into_inner);
        let is_other = shown.cert != read.cert;
        *shown = read;
        Ok(is_other.then_some(key))
    }

    /// The files.
    pub fn files(&self) -> &TlsFiles {
        &self.files
    }

    /// For a listener that takes the clients whose keys `admit` admits. It is asked within the
    /// handshake, and only about a key whose holder has proved possession; a client that it refuses
    /// gets the alert `access_denied`, or if its entry has ended `certificate_expired`, or if its
    /// entry is suspended `certificate_revoked`.
    pub fn for_clients(
        &self,
        admit: impl Fn(SpkiDigest) -> Result<(), KeyRefusal> + Send + Sync + 'static,
    ) -> Arc<ServerConfig> {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .expect("the provider has suites of TLS 1.3");
        let mut config = builder
            .with_client_cert_verifier(Arc::new(AdmittedKeys(Box::new(admit))))
            .with_cert_resolver(Arc::clone(&self.shown) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Arc::new(config)
    }
}

fn read_pair(files: &TlsFiles) -> Result<Arc<CertifiedKey>, TlsError> {
    let identity = Identity::read(&files.certificate, &files.key)?;
    CertifiedKey::from_der(identity.chain, identity.key, &provider())
        .map(Arc::new)
        .map_err(|error| TlsError::Rustls {
            path: files.certificate.clone(),
            error,
        })
}

/// The certificate and key of the next handshake.
struct ShownCertificate(RwLock<Arc<CertifiedKey>>);

impl fmt::Debug for ShownCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShownCertificate").finish_non_exhaustive()
    }
}

impl ResolvesServerCert for ShownCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let shown = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&shown))
    }
}

/// Verifies that a client holds the key of its certificate, and then that the key is admitted. A
/// certificate is public, so only the holder of its key may learn whether the key is known.
struct AdmittedKeys(Box<dyn Fn(SpkiDigest) -> Result<(), KeyRefusal> + Send + Sync>);

impl fmt::Debug for AdmittedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdmittedKeys").finish_non_exhaustive()
    }
}

impl AdmittedKeys {
    fn ask(
        &self,
        certificate: &CertificateDer<'_>,
        proved: HandshakeSignatureValid,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        match (self.0)(spki_digest(certificate)?) {
            Ok(()) => Ok(proved),
            Err(KeyRefusal::Stranger) => Err(CertificateError::ApplicationVerificationFailure),
            Err(KeyRefusal::Suspended) => Err(CertificateError::Revoked),
            Err(KeyRefusal::Ended(_)) => Err(CertificateError::Expired),
        }
        .map_err(Into::into)
    }
}

impl ClientCertVerifier for AdmittedKeys {
    /// None: a client shows whatever certificate it has for this server.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    /// Nothing but the form: issuer, dates and uses say nothing about who may come in.
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        spki_digest(end_entity)?;
        Ok(ClientCertVerified::assertion())
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
        self.ask(
            certificate,
            possession::verify(message, certificate, signature)?,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        possession::schemes()
    }
}
