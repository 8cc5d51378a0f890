//! Says why a TLS handshake failed: by the alert that the server sent (RFC 8446 §6.2), or by our
//! own verdict on its certificate.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::{AlertDescription, CertificateError, OtherError};

use super::pins::OtherServerKey;
use crate::config::ClientConfig;
use crate::http::tls::{Identity, Validity, spki_digest};
use crate::register::SpkiDigest;

/// The certificate that a client shows, as far as a person needs it to see to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnCertificate {
    /// Its file.
    pub path: PathBuf,
    /// What the register would know its key by.
    pub digest: Option<SpkiDigest>,
    /// From when until when it is valid.
    pub validity: Option<Validity>,
}

impl OwnCertificate {
    pub(super) fn of(config: &ClientConfig, identity: &Identity) -> Self {
        Self {
            path: config.certificate.clone(),
            digest: identity.chain.first().and_then(|own| spki_digest(own).ok()),
            validity: identity.chain.first().and_then(Validity::of),
        }
    }

    /// The digest of its key as the register writes it.
    pub fn digest_text(&self) -> String {
        self.digest
            .map_or_else(|| "unreadable".to_owned(), |digest| format!("{digest:?}"))
    }
}

impl fmt::Display for OwnCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())
    }
}

/// Why a TLS handshake failed.
#[derive(Debug, Clone, PartialEq)]
pub enum HandshakeFault {
    /// The server's register has no entry with our key.
    UnknownKey(Arc<OwnCertificate>),
    /// The entry of our key in the server's register has ended.
    EndedEntry(Arc<OwnCertificate>),
    /// The entry of our key in the server's register is suspended.
    SuspendedEntry(Arc<OwnCertificate>),
    /// The server refused our certificate for another reason.
    Certificate(Arc<OwnCertificate>, AlertDescription),
    /// The server refused for a reason that has nothing to do with our certificate.
    Alert(AlertDescription),
    /// The server holds a key that the client file does not pin.
    OtherServer(OtherServerKey),
    /// The server's certificate is not one of the authority in `ca`, or cannot be read.
    Server(CertificateError),
}

/// A fault, with the server's URL.
struct FaultAt<'f>(&'f HandshakeFault, &'f str);

impl fmt::Display for FaultAt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(fault, base) = self;
        match fault {
            HandshakeFault::UnknownKey(own) => write!(
                f,
                "your key is not in the register of {base} (of a witness: not in a [[caller]] of its configuration): the digest of {own} is {}",
                own.digest_text()
            ),
            HandshakeFault::EndedEntry(own) => write!(
                f,
                "the entry of your key in the register of {base} has ended: the digest of {own} is {}",
                own.digest_text()
            ),
            HandshakeFault::SuspendedEntry(own) => write!(
                f,
                "the entry of your key in the register of {base} is suspended: the digest of {own} is {}",
                own.digest_text()
            ),
            HandshakeFault::Certificate(own, alert) => {
                write!(f, "{base} refused your certificate, {own} ({alert:?})")
            }
            HandshakeFault::Alert(alert) => {
                write!(f, "{base} refused the TLS handshake ({alert:?})")
            }
            HandshakeFault::OtherServer(OtherServerKey(shown)) => write!(
                f,
                "the server at {base} shows a key that is not among those in `server`: its digest is {shown:?}"
            ),
            HandshakeFault::Server(error) => match error {
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                    write!(f, "the certificate of {base} has expired")
                }
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    write!(f, "the certificate of {base} is not valid yet")
                }
                // An issuer that has the name of one in `ca`, and another key, signs badly.
                CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                    write!(
                        f,
                        "the certificate of {base} is not of an authority that `ca` names"
                    )
                }
                CertificateError::NotValidForName
                | CertificateError::NotValidForNameContext { .. } => {
                    write!(f, "the certificate of {base} is not for this host")
                }
                other => write!(f, "the certificate of {base} is not valid: {other}"),
            },
        }
    }
}

impl HandshakeFault {
    /// The fault in words, as that of the server at `base`.
    pub(super) fn at<'f>(&'f self, base: &'f str) -> impl fmt::Display + 'f {
        FaultAt(self, base)
    }

    /// The fault that an error of the connection tells of, if it is one of TLS.
    pub(super) fn of(error: &ureq::Error, own: &Arc<OwnCertificate>) -> Option<Self> {
        let ureq::Error::Io(error) = error else {
            return None;
        };
        match error.get_ref()?.downcast_ref::<rustls::Error>()? {
            rustls::Error::AlertReceived(alert) => Some(Self::of_alert(*alert, own)),
            rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(other))) => {
                other.downcast_ref().copied().map(Self::OtherServer)
            }
            rustls::Error::InvalidCertificate(error) => Some(Self::Server(error.clone())),
            _ => None,
        }
    }

    fn of_alert(alert: AlertDescription, own: &Arc<OwnCertificate>) -> Self {
        use AlertDescription as A;
        let own = own.clone();
        match alert {
            A::AccessDenied => Self::UnknownKey(own),
            A::CertificateExpired => Self::EndedEntry(own),
            A::CertificateRevoked => Self::SuspendedEntry(own),
            A::BadCertificate
            | A::UnsupportedCertificate
            | A::CertificateUnknown
            | A::CertificateRequired
            | A::DecryptError
            | A::UnknownCA => Self::Certificate(own, alert),
            _ => Self::Alert(alert),
        }
    }

    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::UnknownKey(_) => {
                "hand this digest to those who keep the register, to be entered as `certificate` and signed; or use the right \
                 client file"
            }
            Self::EndedEntry(_) => {
                "have those who keep the register set a later `until`, or make a new key and hand in its digest"
            }
            Self::SuspendedEntry(_) => {
                "ask those who keep the register why; they lift it together (`cloison client suspend --lift`), or enter another key"
            }
            Self::Certificate(..) => {
                "check `certificate` in the client file: an X.509 certificate (version 3) with a key that TLS 1.3 can use"
            }
            Self::Alert(_) => "check that `url` in the client file leads to a cloison listener",
            Self::OtherServer(_) => {
                "if its key was renewed, get the new certificate from those who run the server, compare this digest with them, and \
                 add the file to `server`; if it was not, do not go on: another machine answers"
            }
            Self::Server(_) => {
                "check `url` and `ca` in the client file, and the server's certificate; without `ca`, the key in `server` \
                 suffices"
            }
        }
    }
}
