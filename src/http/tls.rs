//! TLS 1.3 with certificates on both sides.
//!
//! One crypto provider (aws-lc-rs), handed to rustls explicitly and cut down to the suites of TLS
//! 1.3, so that no process default and no feature of another crate can widen it; the hybrid
//! X25519MLKEM768 is preferred. No session resumption and no early data: a certificate is checked
//! for each connection, and nothing can be replayed.
//!
//! A peer is known by the SHA-256 of its public key (SubjectPublicKeyInfo), which is what the
//! register lists. The handshake checks that the right authority issued its certificate, that it is
//! in date, and that the register knows its key. What the peer may do is checked later.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::TLS13;
use rustls::{
    CertificateError, ConfigBuilder, DigitallySignedStruct, DistinguishedName, InconsistentKeys,
    ProtocolVersion, RootCertStore, ServerConfig, SignatureScheme, WantsVerifier,
};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::config::TlsFiles;
use crate::keys::file::{self, FileError};
use crate::register::SpkiDigest;

mod validity;

pub use validity::{OutOfDate, Validity};

/// The most bytes that a file of certificates may have.
const MAX_CERTIFICATES: usize = 256 * 1024;

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or must not be.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is not PEM of the kind wanted.
    #[error("{}: has no {wanted} in PEM that can be used", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// "certificate" or "private key".
        wanted: &'static str,
    },
    /// The key belongs to another certificate.
    #[error("{}: is not the key of the certificate {}", key.display(), certificate.display())]
    OtherKey {
        /// The key's file.
        key: PathBuf,
        /// The certificate's file.
        certificate: PathBuf,
    },
    /// rustls refuses the certificate.
    #[error("{}: {error}", path.display())]
    Rustls {
        /// The certificate's file.
        path: PathBuf,
        /// The error of rustls.
        error: rustls::Error,
    },
}

/// The one provider: aws-lc-rs, TLS 1.3 only.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    let make = || {
        let mut provider = aws_lc_rs::default_provider();
        provider
            .cipher_suites
            .retain(|suite| suite.version().version == ProtocolVersion::TLSv1_3);
        Arc::new(provider)
    };
    PROVIDER.get_or_init(make).clone()
}

/// A listener's certificate, and the authority whose certificates clients must show.
#[derive(Clone)]
pub struct ServerTls {
    builder: ConfigBuilder<ServerConfig, WantsVerifier>,
    key: Arc<SingleCertAndKey>,
    verifier: Arc<dyn ClientCertVerifier>,
}

impl ServerTls {
    /// Reads certificate, key and the authority of clients.
    ///
    /// # Errors
    /// A file that is missing, unreadable, not private enough (the key), or of the wrong kind.
    pub fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        let wrong = |path: &Path| {
            let path = path.to_owned();
            move |error| TlsError::Rustls { path, error }
        };
        let identity = Identity::read(&files.certificate, &files.key)?;
        let key = CertifiedKey::from_der(identity.chain, identity.key, &provider())
            .map_err(wrong(&files.certificate))?;
        let roots = Arc::new(read_roots(&files.client_ca)?);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider())
            .build()
            .map_err(|error| wrong(&files.client_ca)(rustls::Error::General(error.to_string())))?;
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .map_err(wrong(&files.certificate))?;
        Ok(Self {
            builder,
            key: Arc::new(key.into()),
            verifier,
        })
    }

    /// For a listener that takes any certificate of the authority.
    pub(super) fn for_certificates(self) -> Arc<ServerConfig> {
        let verifier = Arc::clone(&self.verifier);
        self.config(verifier)
    }

    /// For a listener that takes only certificates whose key is known: others are refused within
    /// the handshake, with the alert `access_denied`, once they have proved that they hold the key.
    pub fn for_known(
        self,
        is_known: impl Fn(SpkiDigest) -> bool + Send + Sync + 'static,
    ) -> Arc<ServerConfig> {
        let verifier = Arc::new(KnownKeys {
            chain: Arc::clone(&self.verifier),
            is_known: Box::new(is_known),
        });
        self.config(verifier)
    }

    fn config(self, verifier: Arc<dyn ClientCertVerifier>) -> Arc<ServerConfig> {
        let mut config = self
            .builder
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(self.key);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Arc::new(config)
    }
}

/// Verifies a chain, then the signature by its key, and then that the key is known. A certificate
/// is public, so only the holder of its key may learn whether the register knows it.
struct KnownKeys {
    chain: Arc<dyn ClientCertVerifier>,
    is_known: Box<dyn Fn(SpkiDigest) -> bool + Send + Sync>,
}

impl fmt::Debug for KnownKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KnownKeys").finish_non_exhaustive()
    }
}

impl KnownKeys {
    fn check_known(
        &self,
        certificate: &CertificateDer<'_>,
        valid: HandshakeSignatureValid,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        if (self.is_known)(spki_digest(certificate)?) {
            Ok(valid)
        } else {
            Err(STRANGER)
        }
    }
}

/// The error with which [`KnownKeys`] refuses a stranger.
const STRANGER: rustls::Error =
    rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure);

/// Whether a handshake failed because the key is not known.
pub(super) fn is_stranger(error: &std::io::Error) -> bool {
    let error = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    error.is_some_and(|error| *error == STRANGER)
}

impl ClientCertVerifier for KnownKeys {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.chain
            .verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.check_known(
            certificate,
            self.chain
                .verify_tls12_signature(message, certificate, signature)?,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.check_known(
            certificate,
            self.chain
                .verify_tls13_signature(message, certificate, signature)?,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

/// A certificate chain and its private key.
pub struct Identity {
    /// The peer's own certificate first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key, which belongs to the first certificate.
    pub key: PrivateKeyDer<'static>,
    /// The key as it stood in its file.
    pub pem: Zeroizing<Vec<u8>>,
}

impl Identity {
    /// Reads both files and checks that they belong together.
    ///
    /// # Errors
    /// A file that is missing, unreadable, not private enough (the key), or of the wrong kind.
    pub fn read(certificate: &Path, key_file: &Path) -> Result<Self, TlsError> {
        let chain = read_certificates(certificate)?;
        let pem = file::read_private(key_file)?;
        let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| TlsError::Pem {
            path: key_file.to_owned(),
            wanted: "private key",
        })?;
        let fits = CertifiedKey::from_der(chain.clone(), key.clone_key(), &provider());
        fits.map_err(|error| match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => TlsError::OtherKey {
                key: key_file.to_owned(),
                certificate: certificate.to_owned(),
            },
            error => TlsError::Rustls {
                path: certificate.to_owned(),
                error,
            },
        })?;
        Ok(Self { chain, key, pem })
    }
}

/// The certificates of a PEM file; at least one.
///
/// # Errors
/// A file that is missing, unreadable, or without a certificate.
pub fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = file::read_public(path, MAX_CERTIFICATES)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        _ => Err(TlsError::Pem {
            path: path.to_owned(),
            wanted: "certificate",
        }),
    }
}

fn read_roots(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in read_certificates(path)? {
        roots.add(certificate).map_err(|error| TlsError::Rustls {
            path: path.to_owned(),
            error,
        })?;
    }
    Ok(roots)
}

/// SHA-256 of a certificate's SubjectPublicKeyInfo (RFC 5280 §4.1, DER): what the register calls
/// `certificate`.
///
/// # Errors
/// Bytes that are not an X.509 certificate.
pub fn spki_digest(certificate: &CertificateDer<'_>) -> Result<SpkiDigest, rustls::Error> {
    let info = ParsedCertificate::try_from(certificate)?.subject_public_key_info();
    Ok(SpkiDigest(Sha256::digest(info.as_ref()).into()))
}

/// The same, of the first certificate in a PEM file.
///
/// # Errors
/// A file that is missing, unreadable, or without a certificate.
pub fn spki_digest_of_file(path: &Path) -> Result<SpkiDigest, TlsError> {
    let chain = read_certificates(path)?;
    spki_digest(&chain[0]).map_err(|error| TlsError::Rustls {
        path: path.to_owned(),
        error,
    })
}
