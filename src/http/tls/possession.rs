//! The proof that a peer holds the key of the certificate that it shows (RFC 8446 §4.4.3).

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::verify_tls13_signature;
use rustls::pki_types::CertificateDer;
use rustls::{DigitallySignedStruct, Error, PeerIncompatible, SignatureScheme};

use super::provider;

/// Verifies the peer's signature of the handshake.
///
/// # Errors
/// It is not one by the key of `certificate`.
pub fn verify(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signature: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    let algorithms = &provider().signature_verification_algorithms;
    verify_tls13_signature(message, certificate, signature, algorithms)
}

/// What a verifier says of a handshake of an earlier version, which nothing here speaks.
pub fn not_1_3() -> Error {
    PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig.into()
}

/// The schemes of signatures that can be verified.
pub fn schemes() -> Vec<SignatureScheme> {
    provider()
        .signature_verification_algorithms
        .supported_schemes()
}
