//! The deployment's private certificate authority and what it issues.
//!
//! cloison knows its peers by their keys (the register lists SHA-256 of each SubjectPublicKeyInfo),
//! so a certificate here carries a key and its permitted uses. Only the host that a client dials is
//! checked against its names.

use jiff::civil::Date;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData as _,
};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::terminal::CommandError;

/// How long the authority's own certificate lasts.
const CA_YEARS: i16 = 20;

/// A certificate authority that exists while `init` runs and then only as a file.
pub struct CertificateAuthority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
    from: Date,
    /// The last day of the certificates it issues.
    pub until: Date,
}

/// A certificate with its key.
pub struct IssuedCertificate {
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
    /// Both: the authority node serves officers and is the vault's client.
    Both,
}

impl CertificateAuthority {
    /// A new one for `deployment`, issuing certificates that last `years` from `today`.
    pub fn new(deployment: &str, today: Date, years: i16) -> Result<Self, CommandError> {
        // A day back, for clocks that are behind.
        let from = today.yesterday().unwrap_or(today);
        let until = years_later(today, years);
        let mut params = CertificateParams::default();
        params.distinguished_name = named(&format!("cloison {deployment} CA"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        valid(&mut params, from, years_later(today, CA_YEARS));
        let key = new_key()?;
        let certificate = params.self_signed(&key).map_err(fault)?.pem();
        Ok(Self {
            issuer: Issuer::new(params, key),
            certificate,
            from,
            until,
        })
    }

    /// The certificate, PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// The key, PKCS#8 PEM, and SHA-256 of its SubjectPublicKeyInfo.
    pub fn key(&self) -> (Zeroizing<String>, [u8; 32]) {
        let key = self.issuer.key();
        (
            Zeroizing::new(key.serialize_pem()),
            Sha256::digest(key.subject_public_key_info()).into(),
        )
    }

    /// A certificate for `name`, reachable under `hosts` (DNS names or addresses; none for a mere
    /// client).
    ///
    /// # Errors
    /// When a host is not a name that a certificate can carry.
    pub fn issue(
        &self,
        name: &str,
        hosts: &[String],
        r#use: CertificateUse,
    ) -> Result<IssuedCertificate, CommandError> {
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
        params.use_authority_key_identifier_extension = true;
        valid(&mut params, self.from, self.until);
        let key = new_key()?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(fault)?.pem();
        let spki = Sha256::digest(key.subject_public_key_info()).into();
        Ok(IssuedCertificate {
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
