//! Fresh secrets and key pairs, and the files that hold them.

use ed25519_dalek::SigningKey;

use super::certificates::MadeCertificate;
use super::layout::{NewFolder, unwritten};
use crate::keys::Key;
use crate::keys::example::{fingerprint, fingerprint_of_spki};
use crate::keys::file::{SecretKind, write_secret, write_signing_key};
use crate::terminal::CommandError;

/// Writes every secret of one deployment as it is made; keeps only what is public.
pub struct DeploymentKeys<'a> {
    folder: &'a NewFolder,
    /// Fingerprint and path of every secret file, for `keys-example/FINGERPRINTS`.
    pub fingerprints: Vec<([u8; 32], String)>,
}

impl<'a> DeploymentKeys<'a> {
    /// An empty one.
    pub fn new(folder: &'a NewFolder) -> Self {
        Self {
            folder,
            fingerprints: Vec::new(),
        }
    }

    /// Writes a fresh 32-byte secret and returns it.
    pub fn secret(&mut self, path: &str, kind: SecretKind) -> Result<Key, CommandError> {
        let secret = Key::random();
        write_secret(&self.folder.place(path)?, kind, &secret)
            .map_err(|error| unwritten(&error))?;
        self.fingerprints
            .push((fingerprint(secret.expose()), path.to_owned()));
        Ok(secret)
    }

    /// Writes a fresh Ed25519 key and returns it.
    pub fn signing_key(&mut self, path: &str) -> Result<SigningKey, CommandError> {
        let seed = Key::random();
        let key = SigningKey::from_bytes(seed.expose());
        write_signing_key(&self.folder.place(path)?, &key).map_err(|error| unwritten(&error))?;
        self.fingerprints
            .push((fingerprint(seed.expose()), path.to_owned()));
        Ok(key)
    }

    /// Writes a certificate to `tls/` and its key to `secrets/tls/`.
    pub fn leaf(&mut self, name: &str, leaf: &MadeCertificate) -> Result<[u8; 32], CommandError> {
        self.folder
            .public(&format!("tls/{name}.pem"), &leaf.certificate)?;
        let path = format!("secrets/tls/{name}.key");
        self.folder.secret(&path, &leaf.key)?;
        self.fingerprints
            .push((fingerprint_of_spki(&leaf.spki), path));
        Ok(leaf.spki)
    }
}
