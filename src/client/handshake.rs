//! Says why a TLS handshake failed: by the alert that the server sent (RFC 8446 §6.2), or by our own
//! verdict on its certificate.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::{AlertDescription, CertificateError};

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
    /// By the server's clock our certificate has expired, or is not valid yet.
    OutOfDate(Arc<OwnCertificate>),
    /// The server's register has no entry with our key.
    UnknownKey(Arc<OwnCertificate>),
    /// The server does not know who issued our certificate.
    UnknownIssuer(Arc<OwnCertificate>),
    /// The server refused our certificate for another reason.
    Certificate(Arc<OwnCertificate>, AlertDescription),
    /// The server refused for a reason that has nothing to do with our certificate.
    Alert(AlertDescription),
    /// We refuse the server's certificate.
    Server(CertificateError),
}

impl fmt::Display for HandshakeFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfDate(own) => {
                let Some(Validity { from, until }) = own.validity else {
                    return write!(
                        f,
                        "by the server's clock your certificate {own} is not valid"
                    );
                };
                write!(
                    f,
                    "by the server's clock your certificate {own} is not valid: it is valid from {from} until {until}"
                )
            }
            Self::UnknownKey(own) => {
                write!(
                    f,
                    "your key is not in the server's register: the digest of {own} is {}",
                    own.digest_text()
                )
            }
            Self::UnknownIssuer(own) => write!(
                f,
                "the server does not know who issued your certificate, {own}"
            ),
            Self::Certificate(own, alert) => {
                write!(f, "the server refused your certificate, {own} ({alert:?})")
            }
            Self::Alert(alert) => write!(f, "the server refused the TLS handshake ({alert:?})"),
            Self::Server(error) => match error {
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                    f.write_str("the server's certificate has expired")
                }
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    f.write_str("the server's certificate is not valid yet")
                }
                // An issuer that has the name of one in `ca`, and another key, signs badly.
                CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                    f.write_str("the server's certificate is not of an authority that `ca` names")
                }
                CertificateError::NotValidForName
                | CertificateError::NotValidForNameContext { .. } => {
                    f.write_str("the server's certificate is not for the host in `url`")
                }
                other => write!(f, "the server's certificate is not valid: {other}"),
            },
        }
    }
}

impl HandshakeFault {
    /// The fault that an error of the connection tells of, if it is one of TLS.
    pub(super) fn of(error: &ureq::Error, own: &Arc<OwnCertificate>) -> Option<Self> {
        let error = match error {
            ureq::Error::Rustls(error) => error,
            ureq::Error::Io(error) => error.get_ref()?.downcast_ref::<rustls::Error>()?,
            _ => return None,
        };
        match error {
            rustls::Error::AlertReceived(alert) => Some(Self::of_alert(*alert, own)),
            rustls::Error::InvalidCertificate(error) => Some(Self::Server(error.clone())),
            _ => None,
        }
    }

    fn of_alert(alert: AlertDescription, own: &Arc<OwnCertificate>) -> Self {
        use AlertDescription as A;
        let own = own.clone();
        match alert {
            A::CertificateExpired => Self::OutOfDate(own),
            A::AccessDenied => Self::UnknownKey(own),
            // An issuer that has the name of one of the server's, and another key, signs badly.
            A::UnknownCA | A::DecryptError => Self::UnknownIssuer(own),
            A::BadCertificate
            | A::UnsupportedCertificate
            | A::CertificateRevoked
            | A::CertificateUnknown
            | A::CertificateRequired => Self::Certificate(own, alert),
            _ => Self::Alert(alert),
        }
    }

    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::OutOfDate(_) => {
                "have a new certificate issued for the same key, or set this machine's or the server's clock"
            }
            Self::UnknownKey(_) => {
                "have the register list this digest as the client's `certificate` and have it signed, or use the right client file"
            }
            Self::UnknownIssuer(_) => {
                "have the certificate issued by an authority that the server's `client-ca` names"
            }
            Self::Certificate(..) => {
                "check `certificate` in the client file: a client's certificate for TLS, of this deployment"
            }
            Self::Alert(_) => "check that `url` in the client file leads to a cloison listener",
            Self::Server(_) => {
                "check `url` and `ca` in the client file, and the server's certificate"
            }
        }
    }
}
