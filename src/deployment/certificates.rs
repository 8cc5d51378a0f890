//! The certificates of a new deployment, each signed by its own key.
//!
//! cloison knows its peers by their keys: the register lists SHA-256 of each client's
//! SubjectPublicKeyInfo, and client files pin those of servers. So a certificate is only the
//! envelope of its key, and there is no authority whose key would have to be kept. Programs other
//! than cloison (curl, Python) take a server's certificate as their authority, and look at its
//! names and dates.

use jiff::civil::Date;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData as _,
};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::terminal::CommandError;

/// How long a server's certificate lasts: programs that judge its dates need not be told of a new
/// one often.
const SERVER_YEARS: i16 = 10;

/// A certificate with its key.
pub struct MadeCertificate {
    /// PEM.
    pub certificate: String,
    /// PKCS#8 PEM.
    pub key: Zeroizing<String>,
    /// SHA-256 of the SubjectPublicKeyInfo (DER).
    pub spki: [u8; 32],
}

/// What a certificate may be used for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum CertificateUse {
    /// To be dialled.
    Server,
    /// To dial.
    Client,
    /// Both: the authority node serves officers and is the vault's client; both dial witnesses.
    Both,
}

/// Makes certificates that are valid from one day on.
pub struct CertificateMaker {
    from: Date,
    until: Date,
    servers_until: Date,
}

impl CertificateMaker {
    /// Certificates of clients last `years` from `today`.
    pub fn new(today: Date, years: i16) -> Self {
        Self {
            // A day back, for clocks that are behind.
            from: today.yesterday().unwrap_or(today),
            until: years_later(today, years),
            servers_until: years_later(today, SERVER_YEARS.max(years)),
        }
    }

    /// The last day of clients' certificates.
    pub fn until(&self) -> Date {
        self.until
    }

    /// A key and a certificate for `name`, reachable under `hosts` (DNS names or addresses; none
    /// for a mere client).
    ///
    /// # Errors
    /// When a host is not a name that a certificate can carry.
    pub fn make(
        &self,
        name: &str,
        hosts: &[String],
        r#use: CertificateUse,
    ) -> Result<MadeCertificate, CommandError> {
        let mut params = CertificateParams::new(hosts).map_err(|_| {
            CommandError::usage(
                "a host is neither a DNS name nor an address",
                "write it as vault.example.org or 192.0.2.7",
            )
        })?;
        params.distinguished_name = named(name);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = match r#use {
            CertificateUse::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
            CertificateUse::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
            CertificateUse::Both => vec![
                ExtendedKeyUsagePurpose::ServerAuth,
                ExtendedKeyUsagePurpose::ClientAuth,
            ],
        };
        let until = match r#use {
            CertificateUse::Client => self.until,
            CertificateUse::Server | CertificateUse::Both => self.servers_until,
        };
        valid(&mut params, self.from, until);
        let key = new_key()?;
        let certificate = params.self_signed(&key).map_err(fault)?.pem();
        let spki = Sha256::digest(key.subject_public_key_info()).into();
        Ok(MadeCertificate {
            certificate,
            key: Zeroizing::new(key.serialize_pem()),
            spki,
        })
    }
}

/// P-256, which every TLS library and every hardware token supports.
fn new_key() -> Result<KeyPair, CommandError> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(fault)
}

fn named(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

fn years_later(day: Date, years: i16) -> Date {
    let later = day.year().saturating_add(years);
    // 29 February has no counterpart in most years.
    Date::new(later, day.month(), day.day())
        .or_else(|_| Date::new(later, day.month(), 28))
        .unwrap_or(Date::MAX)
}

fn valid(params: &mut CertificateParams, from: Date, until: Date) {
    let midnight = |day: Date| {
        rcgen::date_time_ymd(
            day.year().into(),
            day.month().unsigned_abs(),
            day.day().unsigned_abs(),
        )
    };
    params.not_before = midnight(from);
    params.not_after = midnight(until);
}

fn fault(error: rcgen::Error) -> CommandError {
    CommandError::bug(format_args!("a certificate could not be made: {error}"))
}
