//! The clear part of a sealed backup: what the server needs to list, prune and reuse what it cannot
//! open, and what anybody may compare who has the register.
//!
//! It is a JWS of type `cloison-sealed-backup+json`, signed with the key that signs the log's
//! checkpoints. Its payload is one JSON object without white space, with the members in this order:
//!
//! ```text
//! backup      id, as of the manifest that is sealed
//! entity      owner of store and log
//! repository  id of the repository, hexadecimal: it counts in no other
//! taken       RFC 3339, whole seconds
//! log         {origin, size, root} of the last shard
//! recipients  to whom every file of it is sealed (`age1…`), sorted
//! manifest    {sha256, length} of the sealed manifest
//! files       [{sha256, length, mark}], in the order of the manifest's files
//! ```
//!
//! `sha256` and `length` are those of the sealed bytes. A `mark` is a keyed hash of the clear file:
//! by it the server knows which files it has sealed already ([`crate::keys::JournalKey`]). No name
//! of a file and no hash of clear bytes is here; those are in the manifest, an age file beside the
//! others.

use ed25519_dalek::VerifyingKey;
use jiff::Timestamp;

use super::envelope::BackupRecipients;
use super::manifest::{BackupId, BackupLogHead, ManifestError, digest, log_head, wrong};
use super::repository::RepositoryId;
use super::signed::{self, ManifestPayload};
use crate::id::{from_hex, hex};
use crate::json::{JsonFault, JsonObject};

/// The `typ` of the clear part.
pub const SEALED_TYP: &str = "cloison-sealed-backup+json";

/// A file as it lies sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealedPart {
    /// SHA-256 of its sealed bytes: its name in the repository, before `.age`.
    pub sha256: [u8; 32],
    /// How many there are.
    pub length: u64,
}

/// A file of a sealed backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealedFile {
    /// How it lies there.
    pub part: SealedPart,
    /// The keyed hash by which the server recognises it.
    pub mark: [u8; 32],
}

/// What a sealed backup shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedManifest {
    /// Its id.
    pub id: BackupId,
    /// Whose store it is.
    pub owner: String,
    /// The repository that it was written for.
    pub repository: RepositoryId,
    /// When it was taken.
    pub taken: Timestamp,
    /// The end of its log.
    pub log: BackupLogHead,
    /// To whom it is sealed.
    pub recipients: Vec<String>,
    /// The manifest, sealed.
    pub manifest: SealedPart,
    /// The files, in the order of the manifest.
    pub files: Vec<SealedFile>,
}

impl SealedManifest {
    /// The payload's one spelling.
    pub fn payload(&self) -> Vec<u8> {
        let text = |text: &str| serde_json::Value::from(text).to_string();
        let recipients: Vec<_> = self.recipients.iter().map(|one| text(one)).collect();
        let files: Vec<_> = self.files.iter().map(file_text).collect();
        let BackupLogHead { origin, size, root } = &self.log;
        format!(
            "{{\"backup\":\"{}\",\"entity\":{},\"repository\":\"{}\",\"taken\":\"{}\",\
             \"log\":{{\"origin\":{},\"size\":{size},\"root\":\"{}\"}},\"recipients\":[{}],\
             \"manifest\":{{{}}},\"files\":[{}]}}",
            self.id,
            text(&self.owner),
            hex(&self.repository.0),
            self.taken,
            text(origin),
            hex(root),
            recipients.join(","),
            part_text(&self.manifest),
            files.join(",")
        )
        .into_bytes()
    }

    /// Reads one without checking its signature.
    ///
    /// # Errors
    /// [`ManifestError::Text`]
    pub fn read_unverified(text: &str) -> Result<Self, ManifestError> {
        signed::read_unverified(text)
    }

    /// Reads one that the key of its owner's checkpoints must have signed.
    ///
    /// # Errors
    /// [`ManifestError::Text`], [`ManifestError::Signature`].
    pub fn read(text: &str, key: &VerifyingKey) -> Result<Self, ManifestError> {
        signed::read(text, key)
    }
}

impl ManifestPayload for SealedManifest {
    const TYP: &'static str = SEALED_TYP;

    fn of_payload(payload: &[u8]) -> Result<Self, ManifestError> {
        let mut members = JsonObject::parse(payload)?;
        let (id, owner) = (members.text("backup")?, members.text("entity")?);
        let (repository, taken) = (members.text("repository")?, members.text("taken")?);
        let log = log_head(members.object("log")?)?;
        let recipients = members.texts("recipients")?;
        let mut sealed = members.object("manifest")?;
        let manifest = part(&mut sealed)?;
        sealed.end()?;
        let files = members.objects("files")?.into_iter().map(file);
        let files = files.collect::<Result<Vec<_>, _>>()?;
        members.end()?;
        let read = Self {
            id: BackupId::parse(&id).ok_or(wrong("backup", "is not an id"))?,
            owner,
            repository: from_hex(&repository)
                .map(RepositoryId)
                .ok_or(wrong("repository", "is not 32 hexadecimal digits"))?,
            taken: taken.parse().map_err(|_| wrong("taken", "is not a time"))?,
            log,
            recipients: BackupRecipients::read(&recipients)
                .map_err(|_| wrong("recipients", "are not recipients of age"))?
                .texts(),
            manifest,
            files,
        };
        if read.payload() == payload {
            Ok(read)
        } else {
            Err(wrong("backup", "is not in the one spelling of a manifest").into())
        }
    }
}

fn part_text(part: &SealedPart) -> String {
    format!(
        "\"sha256\":\"{}\",\"length\":{}",
        hex(&part.sha256),
        part.length
    )
}

fn file_text(file: &SealedFile) -> String {
    format!(
        "{{{},\"mark\":\"{}\"}}",
        part_text(&file.part),
        hex(&file.mark)
    )
}

fn part(object: &mut JsonObject) -> Result<SealedPart, JsonFault> {
    Ok(SealedPart {
        sha256: digest("sha256", &object.text("sha256")?)?,
        length: object.number("length")?,
    })
}

fn file(mut object: JsonObject) -> Result<SealedFile, JsonFault> {
    let part = part(&mut object)?;
    let mark = digest("mark", &object.text("mark")?)?;
    object.end()?;
    Ok(SealedFile { part, mark })
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;

    use super::super::manifest::tests::manifest as clear;
    use super::*;
    use crate::jws;

    fn sealed() -> SealedManifest {
        let clear = clear();
        let recipient = age::x25519::Identity::generate().to_public();
        let part = |byte| SealedPart {
            sha256: [byte; 32],
            length: 200,
        };
        SealedManifest {
            id: clear.id,
            owner: clear.owner,
            repository: RepositoryId([8; 16]),
            taken: clear.taken,
            log: clear.log,
            recipients: vec![recipient.to_string()],
            manifest: part(3),
            files: vec![SealedFile {
                part: part(4),
                mark: [5; 32],
            }],
        }
    }

    #[test]
    fn it_comes_back_under_its_own_key_only_and_is_no_clear_manifest() {
        use super::super::manifest::{BackupManifest, TYP};
        let [key, other] = [3, 4].map(|byte| SigningKey::from_bytes(&[byte; 32]));
        let sealed = sealed();
        let draft = jws::draft(&sealed.payload());
        let sign = |typ| jws::add_signature(&draft, typ, "vault", &key).unwrap();
        let text = sign(SEALED_TYP);
        let read = |key: &SigningKey| SealedManifest::read(&text, &key.verifying_key());
        assert_eq!(read(&key), Ok(sealed.clone()));
        assert_eq!(read(&other), Err(ManifestError::Signature));
        // What this key did not sign is not read: neither its recipients nor anything else.
        let nonsense = jws::draft(b"{\"recipients\":[\"\"]}");
        let nonsense = jws::add_signature(&nonsense, SEALED_TYP, "vault", &other).unwrap();
        let read = SealedManifest::read(&nonsense, &key.verifying_key());
        assert_eq!(read, Err(ManifestError::Signature));
        assert!(SealedManifest::read(&draft, &key.verifying_key()).is_err());
        assert!(SealedManifest::read(&sign(TYP), &key.verifying_key()).is_err());
        assert!(BackupManifest::read(&text, &key.verifying_key()).is_err());
    }

    #[test]
    fn it_has_one_spelling() {
        let payload = String::from_utf8(sealed().payload()).unwrap();
        for (from, to) in [
            ("\"length\":200", "\"length\":0200"),
            ("\"length\":200", "\"length\": 200"),
            ("\"files\":[", "\"more\":1,\"files\":["),
            ("0404", "04"),
            ("0505", "05"),
            ("0808", "08"),
            ("age1", "AGE1"),
            ("\"recipients\":[\"", "\"recipients\":[\"x"),
        ] {
            let changed = payload.replacen(from, to, 1);
            assert_ne!(changed, payload, "{from}");
            let read = SealedManifest::read_unverified(&jws::draft(changed.as_bytes()));
            assert!(read.is_err(), "{from} → {to}");
        }
    }
}
