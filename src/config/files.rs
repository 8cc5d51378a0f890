//! Every file that a configuration names, so that a check can open each.

use std::path::Path;

use super::{
    ClientConfig, IdentityConfig, IdentityPlace, KeyPlace, LogConfig, NodeConfig, Openers,
    RegisterFiles, TlsFiles, VaultConfig, WitnessConfig,
};
use crate::keys::custody::{Deposit, PassphraseSource};
use crate::keys::file::SecretKind;

/// What a certificate and its key are shown for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PairUse {
    /// To callers, by a listener.
    Server,
    /// To a server.
    Client,
    /// To the other side of the deployment, which holds the same register: its key must be there.
    Peer,
}

/// A file or folder that a configuration names, and what it has to be.
#[derive(Debug, Clone)]
pub enum NamedFile<'c> {
    /// A server's certificate, whose key is a pin.
    Pin(&'c Path),
    /// Certificates of the authorities that must have issued a server's.
    Authorities(&'c Path),
    /// A certificate, and the private key that belongs to it.
    Identity {
        /// The certificate's chain.
        certificate: &'c Path,
        /// The key.
        key: &'c Path,
        /// What it is shown for.
        shown: PairUse,
    },
    /// A secret of that kind.
    Secret(&'c Deposit, SecretKind),
    /// An Ed25519 key: a secret of that kind, or PEM.
    SigningKey(Deposit, SecretKind),
    /// The versions of a secret, at least one.
    Versions(&'c Deposit, SecretKind),
    /// The public half of an authority's key in shares.
    ShareSet(&'c Path),
    /// A file that only its user may read.
    Private(&'c Path),
    /// A token's library.
    Module(&'c Path),
    /// A file or folder that the process itself makes and writes.
    Written {
        /// Where it is, or will be.
        at: &'c Path,
        /// The store, whose parent folders the process makes.
        store: &'c Path,
    },
    /// The register and its signatures.
    Register(&'c RegisterFiles),
}

impl VaultConfig {
    /// Every file that the vault's configuration names.
    pub fn named_files(&self) -> Vec<NamedFile<'_>> {
        let secrets = &self.secrets;
        let mut files = of_server(&self.tls);
        match &secrets.identity {
            IdentityPlace::Embedded(deposit) => {
                files.push(NamedFile::Secret(deposit, SecretKind::Identity));
            }
            IdentityPlace::Sources(link) => {
                files.extend(link.server.iter().map(|pin| NamedFile::Pin(pin)));
                files.push(NamedFile::Identity {
                    certificate: &link.certificate,
                    key: &link.key,
                    shown: PairUse::Peer,
                });
            }
        }
        files.extend([
            NamedFile::Secret(&secrets.audit, SecretKind::Audit),
            NamedFile::SigningKey(secrets.segment.clone(), SecretKind::Segment),
            NamedFile::SigningKey(secrets.checkpoint.clone(), SecretKind::Checkpoint),
            NamedFile::Versions(&secrets.sector, SecretKind::Sector),
            NamedFile::Versions(&secrets.store, SecretKind::Store),
            NamedFile::Versions(&secrets.journal, SecretKind::Journal),
        ]);
        files.extend(of_openers(&self.openers));
        files.extend(of_log(&self.log, &self.store));
        files.push(NamedFile::Register(&self.register));
        files
    }
}

impl NodeConfig {
    /// Every file that the node's configuration names.
    pub fn named_files(&self) -> Vec<NamedFile<'_>> {
        let mut files = of_server(&self.tls);
        files.extend([
            NamedFile::Secret(&self.audit, SecretKind::Audit),
            NamedFile::SigningKey(self.checkpoint.clone(), SecretKind::Checkpoint),
            NamedFile::Versions(&self.journal, SecretKind::Journal),
        ]);
        files.extend(self.keys.iter().map(|key| match &key.place {
            KeyPlace::Own(deposit) => NamedFile::Secret(deposit, SecretKind::Authority),
            KeyPlace::Shares(set) => NamedFile::ShareSet(set),
        }));
        files.extend(of_openers(&self.openers));
        files.extend(of_log(&self.log, &self.store));
        files.extend(self.vault.files_shown(PairUse::Peer));
        files.push(NamedFile::Register(&self.register));
        files
    }
}

impl IdentityConfig {
    /// Every file that the identity source's configuration names.
    pub fn named_files(&self) -> Vec<NamedFile<'_>> {
        let mut files = of_server(&self.tls);
        files.extend([
            match &self.secret {
                KeyPlace::Own(deposit) => NamedFile::Secret(deposit, SecretKind::Identity),
                KeyPlace::Shares(set) => NamedFile::ShareSet(set),
            },
            NamedFile::Secret(&self.audit, SecretKind::Audit),
            NamedFile::SigningKey(self.checkpoint.clone(), SecretKind::Checkpoint),
            NamedFile::Versions(&self.journal, SecretKind::Journal),
        ]);
        files.extend(of_openers(&self.openers));
        files.extend(of_log(&self.log, &self.store));
        files.extend(self.vault.files_shown(PairUse::Peer));
        files.push(NamedFile::Register(&self.register));
        files
    }
}

impl WitnessConfig {
    /// Every file that the witness's configuration names.
    pub fn named_files(&self) -> Vec<NamedFile<'_>> {
        let mut files = of_server(&self.tls);
        files.push(NamedFile::SigningKey(
            Deposit::file(&self.key),
            SecretKind::Checkpoint,
        ));
        let kept = self.follow.as_ref().map(|follow| &follow.path);
        let written = [Some(&self.state), kept].into_iter().flatten();
        files.extend(written.map(|at| NamedFile::Written {
            at,
            store: &self.state,
        }));
        files
    }
}

impl ClientConfig {
    /// Every file that a client's file names.
    pub fn named_files(&self) -> Vec<NamedFile<'_>> {
        self.files_shown(PairUse::Client)
    }

    fn files_shown(&self, shown: PairUse) -> Vec<NamedFile<'_>> {
        let own = NamedFile::Identity {
            certificate: &self.certificate,
            key: &self.key,
            shown,
        };
        let pins = self.server.iter().map(|path| NamedFile::Pin(path));
        let authority = self.ca.iter().map(|path| NamedFile::Authorities(path));
        let mut files: Vec<_> = pins.chain(authority).collect();
        files.push(own);
        files
    }
}

fn of_server(tls: &TlsFiles) -> Vec<NamedFile<'_>> {
    let own = NamedFile::Identity {
        certificate: &tls.certificate,
        key: &tls.key,
        shown: PairUse::Server,
    };
    vec![own]
}

fn of_openers(openers: &Openers) -> Vec<NamedFile<'_>> {
    let mut files = vec![];
    let pin = openers.token.as_ref().and_then(|token| token.pin.as_ref());
    for source in [openers.passphrase.as_ref(), pin].into_iter().flatten() {
        if let PassphraseSource::File(path) = source {
            files.push(NamedFile::Private(path));
        }
    }
    files.extend(
        openers
            .token
            .as_ref()
            .map(|token| NamedFile::Module(&token.module)),
    );
    files
}

fn of_log<'c>(log: &'c LogConfig, store: &'c Path) -> Vec<NamedFile<'c>> {
    let written = [&log.second, &log.followed, &log.cosigned]
        .into_iter()
        .flatten();
    let written = written.map(|at| NamedFile::Written { at, store });
    written
        .chain(
            log.witnesses
                .iter()
                .flat_map(|witness| witness.client.named_files()),
        )
        .collect()
}
