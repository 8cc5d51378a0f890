//! Fresh secrets and key pairs, and the files that hold them.

use data_encoding::HEXLOWER;
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{EncodePrivateKey as _, KeypairBytes};
use zeroize::Zeroizing;

use super::certificates::{Ca, Leaf};
use super::layout::Folder;
use crate::cli::Error;
use crate::keys::Key;
use crate::keys::example::{fingerprint, fingerprint_of_spki};

/// Everything secret that one deployment has, written as it is made. What is kept here is public.
pub struct Chest<'a> {
    folder: &'a Folder,
    /// Fingerprint and path of every secret file, for `keys-example/FINGERPRINTS`.
    pub fingerprints: Vec<([u8; 32], String)>,
}

impl<'a> Chest<'a> {
    /// An empty one.
    pub fn new(folder: &'a Folder) -> Self {
        Self { folder, fingerprints: Vec::new() }
    }

    /// Writes a fresh 32-byte secret of that kind (`identity`, `sector`, `store`, `audit`, `authority`) and returns it.
    pub fn secret(&mut self, path: &str, kind: &str) -> Result<Key, Error> {
        let secret = Key::random();
        let digits = Zeroizing::new(HEXLOWER.encode(secret.expose()));
        let line = Zeroizing::new(format!("cloison-secret-1:{kind}:{}\n", digits.as_str()));
        self.folder.secret(path, &line)?;
        self.fingerprints.push((fingerprint(secret.expose()), path.to_owned()));
        Ok(secret)
    }

    /// Writes a fresh Ed25519 key as PKCS#8 PEM and returns it.
    pub fn signing_key(&mut self, path: &str) -> Result<SigningKey, Error> {
        let seed = Key::random();
        let key = SigningKey::from_bytes(seed.expose());
        // Without the public half (RFC 5208, not RFC 5958), which OpenSSL before 3.5 does not read.
        let pem = KeypairBytes { secret_key: *seed.expose(), public_key: None }
            .to_pkcs8_pem(LineEnding::LF)
            .map_err(|_| Error::new("a key could not be written as PEM", "report this as a fault of cloison"))?;
        self.folder.secret(path, &pem)?;
        self.fingerprints.push((fingerprint(seed.expose()), path.to_owned()));
        Ok(key)
    }

    /// Writes a certificate to `tls/` and its key to `secrets/tls/`.
    pub fn leaf(&mut self, name: &str, leaf: &Leaf) -> Result<[u8; 32], Error> {
        self.folder.public(&format!("tls/{name}.pem"), &leaf.certificate)?;
        let path = format!("secrets/tls/{name}.key");
        self.folder.secret(&path, &leaf.key)?;
        self.fingerprints.push((fingerprint_of_spki(&leaf.spki), path));
        Ok(leaf.spki)
    }

    /// Writes the certificate authority's certificate and key.
    pub fn ca(&mut self, ca: &Ca) -> Result<(), Error> {
        let (key, spki) = ca.key();
        self.folder.public("tls/ca.pem", ca.certificate())?;
        self.folder.secret("secrets/tls/ca.key", &key)?;
        self.fingerprints.push((fingerprint_of_spki(&spki), "secrets/tls/ca.key".to_owned()));
        Ok(())
    }
}

/// An Ed25519 public key as the register and the configuration write it.
pub fn public_hex(key: &SigningKey) -> String {
    HEXLOWER.encode(key.verifying_key().as_bytes())
}
