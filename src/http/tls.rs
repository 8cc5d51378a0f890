//! TLS 1.3 with certificates on both sides.
//!
//! One crypto provider (aws-lc-rs), handed to rustls explicitly and cut down to the suites of TLS
//! 1.3, so that no process default and no feature of another crate can widen it; the hybrid
//! X25519MLKEM768 is preferred. No session resumption and no early data: a certificate is checked
//! for each connection, and nothing can be replayed.
//!
//! A peer is known by the SHA-256 of its public key (SubjectPublicKeyInfo), and by nothing else:
//! the register lists the keys of clients (`server`), and client files pin those of servers
//! (`crate::client`). A certificate carries the key; who issued it and until when does not matter.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, ProtocolVersion};
use sha2::{Digest as _, Sha256};

use crate::keys::file::{self, FileError};
use crate::register::SpkiDigest;

pub mod possession;
mod server;
mod validity;

pub use server::ServerTls;
pub use validity::{OutOfDate, Validity};

/// The most bytes that a file of certificates may have: more would not fit into a handshake.
const MAX_CERTIFICATES: usize = 64 * 1024;

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
    /// A file whose key is to be a pin has more than one certificate.
    #[error("{}: has {count} certificates; a file that `server` names holds one, the server's own: leave those of its \
             authorities out, and put another server's into a file of its own", path.display())]
    ManyCertificates {
        /// The file.
        path: PathBuf,
        /// How many it has.
        count: usize,
    },
    /// The certificate cannot be read.
    #[error("{}: is not an X.509 certificate of version 3 that TLS can use", path.display())]
    Form {
        /// The certificate's file.
        path: PathBuf,
    },
    /// TLS 1.3 cannot sign with the key.
    #[error("{}: is a key that TLS 1.3 cannot use here; take ECDSA (P-256), Ed25519, or RSA of 2048 to 8192 bits", path.display())]
    UnusableKey {
        /// The key's file.
        path: PathBuf,
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

/// A certificate chain and its private key.
pub struct Identity {
    /// The peer's own certificate first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key, which belongs to the first certificate.
    pub key: PrivateKeyDer<'static>,
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
        key_of(certificate, &chain[0])?;
        let signs = provider().key_provider.load_private_key(key.clone_key());
        let signs = signs.map_err(|_| TlsError::UnusableKey {
            path: key_file.to_owned(),
        })?;
        match CertifiedKey::new(chain.clone(), signs).keys_match() {
            Ok(()) => {}
            Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
                return Err(TlsError::OtherKey {
                    key: key_file.to_owned(),
                    certificate: certificate.to_owned(),
                });
            }
            Err(error) => {
                return Err(TlsError::Rustls {
                    path: certificate.to_owned(),
                    error,
                });
            }
        }
        Ok(Self { chain, key })
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

/// SHA-256 of a certificate's SubjectPublicKeyInfo (RFC 5280 §4.1, DER): what the register calls
/// `certificate`.
///
/// # Errors
/// Bytes that are not an X.509 certificate.
pub fn spki_digest(certificate: &CertificateDer<'_>) -> Result<SpkiDigest, rustls::Error> {
    let info = ParsedCertificate::try_from(certificate)?.subject_public_key_info();
    Ok(SpkiDigest(Sha256::digest(info.as_ref()).into()))
}

/// The same, of a certificate that came from a file.
///
/// # Errors
/// [`TlsError::Form`]
pub fn key_of(path: &Path, certificate: &CertificateDer<'_>) -> Result<SpkiDigest, TlsError> {
    spki_digest(certificate).map_err(|_| TlsError::Form {
        path: path.to_owned(),
    })
}

/// The same, of the only certificate in a PEM file, whose key is to be a pin. A second one would
/// make a pin of whatever stands there: the key of an authority, where somebody names a whole
/// chain.
///
/// # Errors
/// A file that is missing, unreadable, or has no certificate or several.
pub fn pin_of_file(path: &Path) -> Result<SpkiDigest, TlsError> {
    match read_certificates(path)?.as_slice() {
        [own] => key_of(path, own),
        several => Err(TlsError::ManyCertificates {
            path: path.to_owned(),
            count: several.len(),
        }),
    }
}

/// The same, of the first certificate in a PEM file.
///
/// # Errors
/// A file that is missing, unreadable, or without a certificate.
pub fn spki_digest_of_file(path: &Path) -> Result<SpkiDigest, TlsError> {
    key_of(path, &read_certificates(path)?[0])
}
