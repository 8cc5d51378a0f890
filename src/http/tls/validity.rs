//! A certificate's validity, read from its DER: rustls checks it, but does not tell the times.

use std::fmt;

use ed25519_dalek::pkcs8::spki::der;
use ed25519_dalek::pkcs8::spki::der::asn1::{AnyRef, GeneralizedTime, UtcTime};
use ed25519_dalek::pkcs8::spki::der::{Decode as _, SliceReader, Tag, Tagged as _};
use jiff::Timestamp;
use rustls::pki_types::CertificateDer;

/// The first and the last instant at which a certificate is valid (RFC 5280 §4.1.2.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// `notBefore`
    pub from: Timestamp,
    /// `notAfter`
    pub until: Timestamp,
}

/// Why a certificate is not valid at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutOfDate {
    /// It ended then.
    Ended(Timestamp),
    /// It begins then.
    Begins(Timestamp),
}

impl fmt::Display for OutOfDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended(time) => write!(f, "ended on {time}"),
            Self::Begins(time) => write!(f, "is not valid before {time}"),
        }
    }
}

impl Validity {
    /// The validity that a certificate states; none if it cannot be read.
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        read(certificate).ok()
    }

    /// Checks that the certificate is valid at `now`.
    ///
    /// # Errors
    /// The certificate has ended, or is not valid yet.
    pub fn check(&self, now: Timestamp) -> Result<(), OutOfDate> {
        if now > self.until {
            return Err(OutOfDate::Ended(self.until));
        }
        if now < self.from {
            return Err(OutOfDate::Begins(self.from));
        }
        Ok(())
    }
}

/// `SEQUENCE { tbsCertificate SEQUENCE { [0] version, serialNumber, signature, issuer, validity, …
/// }, … }`; the version is left out if it is 1.
fn read(certificate: &[u8]) -> der::Result<Validity> {
    let mut parts = SliceReader::new(AnyRef::from_der(certificate)?.value())?;
    let mut fields = SliceReader::new(AnyRef::decode(&mut parts)?.value())?;
    if AnyRef::decode(&mut fields)?.tag() != Tag::Integer {
        AnyRef::decode(&mut fields)?;
    }
    let (_signature, _issuer) = (AnyRef::decode(&mut fields)?, AnyRef::decode(&mut fields)?);
    let mut times = SliceReader::new(AnyRef::decode(&mut fields)?.value())?;
    Ok(Validity {
        from: time(&mut times)?,
        until: time(&mut times)?,
    })
}

fn time(times: &mut SliceReader<'_>) -> der::Result<Timestamp> {
    let time = AnyRef::decode(times)?;
    let since_1970 = match time.tag() {
        Tag::UtcTime => time.decode_as::<UtcTime>()?.to_unix_duration(),
        _ => time.decode_as::<GeneralizedTime>()?.to_unix_duration(),
    };
    let seconds = i64::try_from(since_1970.as_secs()).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).map_err(|_| der::ErrorKind::DateTime.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_certificate_is_valid_from_its_first_to_its_last_second() {
        let validity = Validity {
            from: time("2026-01-01T00:00:00Z"),
            until: time("2027-01-01T00:00:00Z"),
        };
        assert_eq!(validity.check(validity.from), Ok(()));
        assert_eq!(validity.check(validity.until), Ok(()));
        let late = validity.check(time("2027-01-01T00:00:01Z")).unwrap_err();
        assert_eq!(late.to_string(), "ended on 2027-01-01T00:00:00Z");
        let early = validity.check(time("2025-12-31T23:59:59Z")).unwrap_err();
        assert_eq!(
            early.to_string(),
            "is not valid before 2026-01-01T00:00:00Z"
        );
    }
}
