//! Certificates made for a test, and the files that they lie in.

use std::path::{Path, PathBuf};

use cloison::config::{ClientConfig, TlsFiles};
use cloison::keys::file::{write_private, write_public};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose as Use, IsCa, Issuer, KeyPair,
    PublicKeyData as _,
};
use sha2::{Digest as _, Sha256};

/// A folder of keys and certificates from one authority.
pub struct Pki {
    pub folder: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Pki {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        write_public(&folder.path().join("ca.pem"), certificate.pem().as_bytes()).unwrap();
        let pki = Self {
            folder,
            issuer: Issuer::new(params, key),
        };
        pki.issue(
            "server",
            Use::ServerAuth,
            &["localhost", "127.0.0.1"],
            2000,
            4000,
        );
        pki.client("client");
        pki
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes `name.pem` and `name.key`; gives back SHA-256 of the public key.
    pub fn issue(&self, name: &str, r#use: Use, hosts: &[&str], from: i32, until: i32) -> [u8; 32] {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).into()).collect();
        let mut params = CertificateParams::new(hosts).unwrap();
        params.extended_key_usages = vec![r#use];
        params.not_before = rcgen::date_time_ymd(from, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        write_public(
            &self.path(&format!("{name}.pem")),
            certificate.pem().as_bytes(),
        )
        .unwrap();
        write_private(
            &self.path(&format!("{name}.key")),
            key.serialize_pem().as_bytes(),
        )
        .unwrap();
        Sha256::digest(key.subject_public_key_info()).into()
    }

    /// Writes the same pair, with a certificate that its own key signs.
    pub fn self_signed(&self, name: &str, from: i32, until: i32) {
        let mut params = CertificateParams::default();
        params.not_before = rcgen::date_time_ymd(from, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        write_public(&self.path(&format!("{name}.pem")), certificate.as_bytes()).unwrap();
        let file = self.path(&format!("{name}.key"));
        write_private(&file, key.serialize_pem().as_bytes()).unwrap();
    }

    /// A client's certificate as it should be.
    pub fn client(&self, name: &str) -> [u8; 32] {
        self.issue(name, Use::ClientAuth, &[], 2000, 4000)
    }

    pub fn server_files(&self) -> TlsFiles {
        TlsFiles {
            certificate: self.path("server.pem"),
            key: self.path("server.key"),
            has_client_ca: false,
        }
    }

    pub fn client_config(&self, name: &str, url: String) -> ClientConfig {
        let (certificate, key) = (
            self.path(&format!("{name}.pem")),
            self.path(&format!("{name}.key")),
        );
        ClientConfig {
            url,
            server: vec![self.path("server.pem")],
            ca: None,
            certificate,
            key,
        }
    }
}

/// Puts a file of one folder into another one's place.
pub fn replace(what: &Path, with: &Path) {
    std::fs::remove_file(what).unwrap();
    write_private(what, &std::fs::read(with).unwrap()).unwrap();
}
