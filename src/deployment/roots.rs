//! The secrets, key pairs and certificates of a new deployment, each made once and written as it is
//! made.

use data_encoding::HEXLOWER;
use ed25519_dalek::SigningKey;
use jiff::civil::Date;

use super::certificates::{CertificateMaker, CertificateUse};
use super::identity::{IDENTITY, IdentityDigests, IdentityPublics};
use super::keys::DeploymentKeys;
use super::layout::{NewFolder, vault_secret};
use super::register_text::{
    APPROVERS, AUDITOR, AUTHORITY, AUTHORITY_KEY, OFFICER, OPERATORS, PublicKeys,
};
use super::{COMMISSION, DeploymentPlan, WITNESS_KEY, configuration, example, identity, shares};
use crate::keys::file::{SecretKind, public_key_text};
use crate::keys::{AuthoritySecret, IdentitySecret, SectorSecret};
use crate::register::{Id, Suite};
use crate::seal::segment::AuthorityPrivateKey;
use crate::terminal::CommandError;

/// The vault's certificate and key: `tls/vault.pem`, `secrets/tls/vault.key`.
pub(super) const VAULT: &str = "vault";
/// The node's, in the same way.
pub(super) const NODE: &str = "node";
/// The witness's.
pub(super) const WITNESS: &str = "witness";

/// A key that signs registers.
pub(super) struct RegisterKey {
    pub(super) id: &'static str,
    pub(super) body: &'static str,
    pub(super) key: SigningKey,
}

/// The keys and secrets from which the rest of a deployment is made.
pub(super) struct Roots {
    pub(super) identity: IdentitySecret,
    pub(super) sector: SectorSecret,
    pub(super) segment: SigningKey,
    pub(super) register: Vec<RegisterKey>,
    /// In the order of [`APPROVERS`].
    pub(super) approvers: Vec<SigningKey>,
    authority: AuthorityPrivateKey,
    custodians: Vec<Id>,
    vault_checkpoint: SigningKey,
    node_checkpoint: SigningKey,
    officer: SigningKey,
    /// In the order of [`OPERATORS`].
    operators: Vec<SigningKey>,
    /// In the order of the plan.
    rights_officers: Vec<SigningKey>,
    pub(super) witness: Option<SigningKey>,
    /// Signs the checkpoints of the identity source, where there is one.
    identity_checkpoint: Option<SigningKey>,
}

impl Roots {
    /// Makes all of them. Their order is that of the published fingerprints.
    pub(super) fn make(
        keys: &mut DeploymentKeys<'_>,
        folder: &NewFolder,
        plan: &DeploymentPlan,
    ) -> Result<Self, CommandError> {
        let identity =
            IdentitySecret(keys.secret(&identity::secret_place(plan), SecretKind::Identity)?);
        let sector =
            SectorSecret(keys.secret(&vault_secret(SecretKind::Sector, "1"), SecretKind::Sector)?);
        keys.secret(&vault_secret(SecretKind::Store, "1"), SecretKind::Store)?;
        keys.secret(&vault_secret(SecretKind::Audit, ""), SecretKind::Audit)?;
        keys.secret("secrets/authority/audit.secret", SecretKind::Audit)?;
        keys.secret(&vault_secret(SecretKind::Journal, "1"), SecretKind::Journal)?;
        keys.secret("secrets/authority/journal/1.secret", SecretKind::Journal)?;
        let (authority, custodians) = match plan.custodians {
            None => {
                let scalar = keys.secret(
                    &format!("secrets/authority/{AUTHORITY_KEY}.secret"),
                    SecretKind::Authority,
                )?;
                (
                    AuthorityPrivateKey::derive(
                        &AuthoritySecret(scalar),
                        AUTHORITY_KEY,
                        Suite::X25519,
                    ),
                    vec![],
                )
            }
            Some((threshold, count)) => shares::make(folder, threshold, count)?,
        };
        let segment = keys.signing_key(&vault_secret(SecretKind::Segment, ""))?;
        let vault_checkpoint = keys.signing_key(&vault_secret(SecretKind::Checkpoint, ""))?;
        let node_checkpoint = keys.signing_key("secrets/authority/checkpoint.pem")?;
        let register =
            [("operations", "operations"), ("commission", COMMISSION)].map(|(id, body)| {
                Ok((
                    id,
                    body,
                    keys.signing_key(&format!("secrets/register/{id}.pem"))?,
                ))
            });
        let register = register
            .into_iter()
            .map(|made| made.map(|(id, body, key)| RegisterKey { id, body, key }));
        let register = register.collect::<Result<Vec<_>, CommandError>>()?;
        let mut person = |id: &str| keys.signing_key(&format!("secrets/people/{id}.pem"));
        let approvers = APPROVERS
            .iter()
            .map(|approver| person(approver.id))
            .collect::<Result<_, CommandError>>()?;
        let officer = person(OFFICER)?;
        let operators = OPERATORS
            .iter()
            .map(|id| person(id))
            .collect::<Result<_, CommandError>>()?;
        let rights_officers = plan.facts.rights_officers.iter();
        let rights_officers = rights_officers
            .map(|id| person(id))
            .collect::<Result<_, CommandError>>()?;
        let witness = plan.witness.as_ref();
        let witness = witness.map(|_| keys.signing_key(WITNESS_KEY)).transpose()?;
        let source = plan.identity.as_ref();
        let identity_checkpoint = source.map(|_| identity::make_secrets(keys)).transpose()?;
        Ok(Self {
            identity,
            sector,
            segment,
            register,
            approvers,
            authority,
            custodians,
            vault_checkpoint,
            node_checkpoint,
            officer,
            operators,
            rights_officers,
            witness,
            identity_checkpoint,
        })
    }

    /// The logs that a witness watches.
    pub(super) fn watched_logs(&self, certificates: &CertificateDigests) -> Vec<LogToWitness> {
        let log = |owner: String, key: &SigningKey, caller: [u8; 32]| LogToWitness {
            owner,
            key: public_key_text(&key.verifying_key()),
            caller,
        };
        let mut logs = vec![
            log(VAULT.to_owned(), &self.vault_checkpoint, certificates.vault),
            log(
                format!("{NODE}/{AUTHORITY}"),
                &self.node_checkpoint,
                certificates.node,
            ),
        ];
        let source = self.identity_checkpoint.as_ref();
        logs.extend(
            source
                .zip(certificates.identity.as_ref())
                .map(|(key, digests)| log(format!("{IDENTITY}/{IDENTITY}"), key, digests.own)),
        );
        logs
    }

    /// The ids of the custodians.
    pub(super) fn custodians(&self) -> Vec<String> {
        self.custodians.iter().map(Id::to_string).collect()
    }

    /// The public halves, for the register.
    pub(super) fn publics<'p>(
        &self,
        plan: &'p DeploymentPlan,
        today: Date,
        certificates: &'p CertificateDigests,
    ) -> PublicKeys<'p> {
        let public = |key: &SigningKey| public_key_text(&key.verifying_key());
        PublicKeys {
            deployment: &plan.deployment,
            note: if plan.example { example::NOTE } else { "" },
            today: today.to_string(),
            clients: certificates.clients.clone(),
            operators: with_keys(&certificates.operators, &self.operators),
            rights_officers: with_keys(&certificates.rights_officers, &self.rights_officers),
            witness: self.witness.as_ref().map(public),
            auditor: certificates.auditor,
            vault_checkpoint: public(&self.vault_checkpoint),
            node_checkpoint: public(&self.node_checkpoint),
            node: certificates.node,
            identity: self
                .identity_checkpoint
                .as_ref()
                .zip(certificates.identity.as_ref())
                .map(|(key, own)| IdentityPublics {
                    vault: certificates.vault,
                    own,
                    checkpoint: public(key),
                }),
            officer_certificate: certificates.officer,
            officer_key: public(&self.officer),
            approvers: self.approvers.iter().map(public).collect(),
            authority_key: HEXLOWER.encode(self.authority.public()),
            custodians: self
                .custodians
                .iter()
                .map(Id::to_string)
                .zip(certificates.custodians.iter().copied())
                .collect(),
        }
    }
}

/// A log that a witness watches, and who brings its checkpoints.
pub(super) struct LogToWitness {
    /// The log's owner, without the deployment: `vault`, `node/court`, `identity/identity`.
    pub(super) owner: String,
    /// The key of its checkpoints, hex.
    pub(super) key: String,
    /// SHA-256 of the owner's certificate key.
    pub(super) caller: [u8; 32],
}

/// The certificate and the signing key of each person.
fn with_keys(certificates: &[[u8; 32]], keys: &[SigningKey]) -> Vec<([u8; 32], String)> {
    let keys = keys.iter().map(|key| public_key_text(&key.verifying_key()));
    certificates.iter().copied().zip(keys).collect()
}

/// SHA-256 of the public keys in the certificates that were made.
pub(super) struct CertificateDigests {
    pub(super) vault: [u8; 32],
    pub(super) node: [u8; 32],
    clients: Vec<[u8; 32]>,
    operators: Vec<[u8; 32]>,
    officer: [u8; 32],
    auditor: [u8; 32],
    rights_officers: Vec<[u8; 32]>,
    custodians: Vec<[u8; 32]>,
    identity: Option<IdentityDigests>,
}

impl CertificateDigests {
    /// Makes them, and writes a client file for each client.
    pub(super) fn make(
        keys: &mut DeploymentKeys<'_>,
        folder: &NewFolder,
        maker: &CertificateMaker,
        plan: &DeploymentPlan,
        roots: &Roots,
    ) -> Result<Self, CommandError> {
        // The vault dials witnesses.
        let vault = keys.leaf(
            VAULT,
            &maker.make(VAULT, &plan.vault.names(), CertificateUse::Both)?,
        )?;
        let node = keys.leaf(
            NODE,
            &maker.make(NODE, &plan.node.names(), CertificateUse::Both)?,
        )?;
        let identity = plan.identity.as_ref();
        let identity = identity
            .map(|place| IdentityDigests::make(keys, folder, maker, place))
            .transpose()?;
        if let Some(witness) = &plan.witness {
            let made = maker.make(WITNESS, &witness.names(), CertificateUse::Server)?;
            keys.leaf(WITNESS, &made)?;
        }
        let mut client = |id: &str, url: &str, server: &str| {
            let spki = keys.leaf(id, &maker.make(id, &[], CertificateUse::Client)?)?;
            folder.public(
                &format!("clients/{id}.toml"),
                &configuration::client(id, url, server),
            )?;
            Ok::<_, CommandError>(spki)
        };
        let (data, control) = (
            plan.vault.url(plan.vault.data),
            plan.vault.url(plan.vault.control),
        );
        let node_control = plan.node.url(plan.node.control);
        let clients = plan
            .facts
            .clients
            .iter()
            .map(|declared| client(declared.id, &data, VAULT))
            .collect::<Result<_, _>>()?;
        let mut operators = vec![];
        for id in OPERATORS {
            operators.push(client(id, &control, VAULT)?);
            // After a restore of the node operators confirm there, too.
            let at_node = configuration::client(id, &node_control, NODE);
            folder.public(&format!("clients/{id}-node.toml"), &at_node)?;
        }
        let officer = client(OFFICER, &node_control, NODE)?;
        let auditor = client(AUDITOR, &control, VAULT)?;
        // The same certificate at the other log.
        let at_node = configuration::client(AUDITOR, &node_control, NODE);
        folder.public(&format!("clients/{AUDITOR}-node.toml"), &at_node)?;
        let mut rights_officers = vec![];
        for id in plan.facts.rights_officers {
            rights_officers.push(client(id, &control, VAULT)?);
            let at_node = configuration::client(id, &node_control, NODE);
            folder.public(&format!("clients/{id}-node.toml"), &at_node)?;
        }
        let custodians = roots
            .custodians
            .iter()
            .map(|id| client(id.as_str(), &node_control, NODE))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            vault,
            node,
            clients,
            operators,
            officer,
            auditor,
            rights_officers,
            custodians,
            identity,
        })
    }
}
