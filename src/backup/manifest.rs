//! The manifest of a backup: what it holds, signed with the key that signs the log's checkpoints.
//!
//! It is a JWS of type `cloison-backup+json` (strict General JSON, as orders are). Its payload is
//! one JSON object without white space, with the members in this order:
//!
//! ```text
//! backup      id, `<UTC time>-<8 hexadecimal digits>`: 20261128T081500Z-1f3a9c07
//! entity      owner of store and log: `<deployment>/vault`, `<deployment>/node/<authority>`
//! taken       RFC 3339, whole seconds
//! program     version of cloison
//! format      of the store
//! register    {version, sha256} of the register in force
//! secrets     versions of the sector secret that epochs need, as texts; empty at a node
//! log         {origin, size, root} of the last shard, every entry of the backup included
//! checkpoint  the last checkpoint that was published over that log (a signed note); absent if none
//! files       [{name, length, sha256}], sorted by name
//! ```

use std::fmt;

use data_encoding::HEXLOWER;
use ed25519_dalek::VerifyingKey;
use jiff::fmt::strtime;
use jiff::{SignedDuration, Timestamp};

use super::signed::{self, ManifestPayload};
use crate::audit::origin::owner_and_shard;
use crate::id::{from_hex, hex};
use crate::json::{JsonFault, JsonObject};
use crate::jws::JwsError;
use crate::store::Shard;
use crate::tlog::checkpoint::Checkpoint;

/// The `typ` of a manifest.
pub const TYP: &str = "cloison-backup+json";
/// The longest manifest, in bytes. A file takes about 180 of them, and a table has 64 MiB: enough
/// for a store of more than 20 TB, and little enough to be read whole.
pub const LONGEST: usize = 64 << 20;
/// The time in a backup's id.
const ID_TIME: &str = "%Y%m%dT%H%M%SZ";

/// The id of a backup.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackupId(String);

impl BackupId {
    /// The id of a backup that is taken at that time.
    pub fn new(time: Timestamp, random: [u8; 4]) -> Self {
        let time = strtime::format(ID_TIME, time).unwrap_or_default();
        Self(format!("{time}-{}", HEXLOWER.encode(&random)))
    }

    /// The same in a repository whose last backup is `last`: behind it in the order of the ids also
    /// where both are taken in one second, so that the last name is the last backup's.
    pub fn after(last: Option<&Self>, time: Timestamp, random: [u8; 4]) -> Self {
        let id = Self::new(time, random);
        let Some((second, suffix)) = last.and_then(Self::parts) else {
            return id;
        };
        if id.parts().is_none_or(|(own, _)| own != second) {
            return id;
        }
        let next = u32::from_be_bytes(suffix).checked_add(1);
        match next.map(u32::to_be_bytes) {
            Some(next) => Self::new(time, next.max(random)),
            // No id of this second is behind it.
            None => Self::new(time + SignedDuration::from_secs(1), random),
        }
    }

    /// The second and the rest.
    fn parts(&self) -> Option<(&str, [u8; 4])> {
        let (second, rest) = self.0.split_once('-')?;
        Some((second, from_hex(rest)?))
    }

    /// Reads an id in its one spelling.
    pub fn parse(text: &str) -> Option<Self> {
        let (time, random) = text.split_once('-')?;
        let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        // Characters are bytes then, so that no cut is within one.
        let is_time = time.is_ascii()
            && time.len() == 16
            && digits(&time[..8])
            && &time[8..9] == "T"
            && digits(&time[9..15])
            && time.ends_with('Z');
        (is_time && from_hex::<4>(random).is_some()).then(|| Self(text.to_owned()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BackupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A file of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupFile {
    /// Its name in the store's folder.
    pub name: String,
    /// Its bytes.
    pub length: u64,
    /// SHA-256 of them: its name in the repository, unless that is sealed.
    pub sha256: [u8; 32],
}

/// The end of the log in a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupLogHead {
    /// The last shard's origin.
    pub origin: String,
    /// Its entries.
    pub size: u64,
    /// The Merkle root over them.
    pub root: [u8; 32],
}

impl BackupLogHead {
    /// The same as a checkpoint.
    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint {
            origin: self.origin.clone(),
            size: self.size,
            root: self.root,
        }
    }

    /// Where the backup stands among those of one log.
    pub fn position(&self) -> Option<(Shard, u64)> {
        Some((owner_and_shard(&self.origin)?.1, self.size))
    }
}

/// What a backup holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupManifest {
    /// Its id.
    pub id: BackupId,
    /// Whose store it is: `<deployment>/vault`, `<deployment>/node/<authority>`.
    pub owner: String,
    /// When it was taken.
    pub taken: Timestamp,
    /// The version of the program that took it.
    pub program: String,
    /// The store's format.
    pub format: u32,
    /// Version and digest of the register in force.
    pub register: (u64, [u8; 32]),
    /// Versions of the sector secret that epochs of it need.
    pub secrets: Vec<u32>,
    /// The end of its log.
    pub log: BackupLogHead,
    /// The last published checkpoint over that log, signed.
    pub checkpoint: Option<String>,
    /// Its files, sorted by name.
    pub files: Vec<BackupFile>,
}

/// Why a text is not the manifest of a backup, or not to be believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Not a JWS of that type, or not its members.
    #[error("it is not a manifest: {0}")]
    Text(#[from] JwsError),
    /// The key of the log's checkpoints did not sign it.
    #[error("its signature is not by the key that signs its log's checkpoints")]
    Signature,
    /// The clear part and the sealed manifest are of two backups.
    #[error("what is sealed in it is the manifest of another backup")]
    Sealed,
    /// More files than a manifest can list.
    #[error("it would be longer than a manifest may be (64 MiB)")]
    TooLong,
}

impl From<JsonFault> for ManifestError {
    fn from(fault: JsonFault) -> Self {
        Self::Text(fault.into())
    }
}

impl BackupManifest {
    /// Bytes of all files together. A manifest that is not verified may name any lengths.
    pub fn length(&self) -> u64 {
        let lengths = self.files.iter().map(|file| file.length);
        lengths.fold(0, u64::saturating_add)
    }

    /// The payload's one spelling.
    pub fn payload(&self) -> Vec<u8> {
        let text = |text: &str| serde_json::Value::from(text).to_string();
        let files: Vec<_> = self.files.iter().map(file_text).collect();
        let secrets: Vec<_> = self.secrets.iter().map(|v| format!("\"{v}\"")).collect();
        let checkpoint = self
            .checkpoint
            .as_deref()
            .map(|note| format!("\"checkpoint\":{},", text(note)));
        let BackupLogHead { origin, size, root } = &self.log;
        format!(
            "{{\"backup\":\"{}\",\"entity\":{},\"taken\":\"{}\",\"program\":{},\"format\":{},\
             \"register\":{{\"version\":{},\"sha256\":\"{}\"}},\"secrets\":[{}],\
             \"log\":{{\"origin\":{},\"size\":{size},\"root\":\"{}\"}},{}\"files\":[{}]}}",
            self.id,
            text(&self.owner),
            self.taken,
            text(&self.program),
            self.format,
            self.register.0,
            hex(&self.register.1),
            secrets.join(","),
            text(origin),
            hex(root),
            checkpoint.unwrap_or_default(),
            files.join(",")
        )
        .into_bytes()
    }

    /// Reads a manifest without checking its signature.
    ///
    /// # Errors
    /// [`ManifestError::Text`]
    pub fn read_unverified(text: &str) -> Result<Self, ManifestError> {
        signed::read_unverified(text)
    }

    /// Reads a manifest that the key of its owner's checkpoints must have signed.
    ///
    /// # Errors
    /// [`ManifestError::Text`], [`ManifestError::Signature`].
    pub fn read(text: &str, key: &VerifyingKey) -> Result<Self, ManifestError> {
        signed::read(text, key)
    }
}

impl ManifestPayload for BackupManifest {
    const TYP: &'static str = TYP;

    fn of_payload(payload: &[u8]) -> Result<Self, ManifestError> {
        let mut members = JsonObject::parse(payload)?;
        let id = members.text("backup")?;
        let owner = members.text("entity")?;
        let taken = members.text("taken")?;
        let (program, format) = (members.text("program")?, members.small("format")?);
        let mut register = members.object("register")?;
        let version = register.number("version")?;
        let sha256 = register.text("sha256")?;
        register.end()?;
        let secrets = members.texts("secrets")?;
        let log = log_head(members.object("log")?)?;
        let checkpoint = members.maybe_text("checkpoint")?;
        let files = members.objects("files")?.into_iter().map(file);
        let files = files.collect::<Result<Vec<_>, _>>()?;
        members.end()?;
        let secrets = secrets.iter().map(|text| text.parse().ok());
        let manifest = Self {
            id: BackupId::parse(&id).ok_or(wrong("backup", "is not an id"))?,
            owner,
            taken: taken.parse().map_err(|_| wrong("taken", "is not a time"))?,
            program,
            format,
            register: (version, digest("sha256", &sha256)?),
            secrets: secrets
                .collect::<Option<_>>()
                .ok_or(wrong("secrets", "has something else than a number"))?,
            log,
            checkpoint,
            files,
        };
        // One spelling: what is shown is what was signed, names included.
        if manifest.payload() == payload {
            Ok(manifest)
        } else {
            Err(wrong("backup", "is not in the one spelling of a manifest").into())
        }
    }
}

pub(super) fn wrong(name: &'static str, fault: &'static str) -> JsonFault {
    JsonFault::Value { name, fault }
}

pub(super) fn digest(name: &'static str, text: &str) -> Result<[u8; 32], JsonFault> {
    from_hex(text).ok_or(wrong(name, "is not 64 hexadecimal digits"))
}

pub(super) fn log_head(mut log: JsonObject) -> Result<BackupLogHead, JsonFault> {
    let (origin, size, root) = (log.text("origin")?, log.number("size")?, log.text("root")?);
    log.end()?;
    let root = digest("root", &root)?;
    Ok(BackupLogHead { origin, size, root })
}

fn file_text(file: &BackupFile) -> String {
    format!(
        "{{\"name\":\"{}\",\"length\":{},\"sha256\":\"{}\"}}",
        file.name,
        file.length,
        hex(&file.sha256)
    )
}

fn file(mut object: JsonObject) -> Result<BackupFile, JsonFault> {
    let (name, length) = (object.text("name")?, object.number("length")?);
    let sha256 = object.text("sha256")?;
    object.end()?;
    if !is_file_name(&name) {
        return Err(wrong("name", "is not the name of a file of a store"));
    }
    let sha256 = digest("sha256", &sha256)?;
    Ok(BackupFile {
        name,
        length,
        sha256,
    })
}

/// Whether a name leads nowhere but to a file in the store's folder.
pub(super) fn is_file_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && !name.starts_with('.')
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
}

#[cfg(test)]
pub(super) mod tests {
    use ed25519_dalek::SigningKey;

    use super::*;
    use crate::jws;

    pub(in crate::backup) fn manifest() -> BackupManifest {
        let taken: Timestamp = "2026-11-28T08:15:00Z".parse().unwrap();
        BackupManifest {
            id: BackupId::new(taken, [0x1f, 0x3a, 0x9c, 7]),
            owner: "demo/vault".to_owned(),
            taken,
            program: "0.1.0".to_owned(),
            format: 2,
            register: (7, [5; 32]),
            secrets: vec![1, 3],
            log: BackupLogHead {
                origin: "cloison/demo/vault/2026".to_owned(),
                size: 12,
                root: [9; 32],
            },
            checkpoint: Some("cloison/demo/vault/2026\n12\n…\n\n— x y\n".to_owned()),
            files: vec![
                BackupFile {
                    name: "000012.sst".to_owned(),
                    length: 4,
                    sha256: [1; 32],
                },
                BackupFile {
                    name: "CURRENT".to_owned(),
                    length: 16,
                    sha256: [2; 32],
                },
            ],
        }
    }

    fn signed(payload: &[u8], key: &SigningKey) -> String {
        jws::add_signature(&jws::draft(payload), TYP, "vault", key).unwrap()
    }

    #[test]
    fn ids_of_one_second_come_after_one_another() {
        let time: Timestamp = "2026-11-28T08:15:00Z".parse().unwrap();
        let after = |last: &BackupId, random| BackupId::after(Some(last), time, random);
        let first = BackupId::after(None, time, [0xff, 0xff, 0xff, 0xfe]);
        assert_eq!(first.as_str(), "20261128T081500Z-fffffffe");
        let second = after(&first, [0; 4]);
        assert_eq!(second.as_str(), "20261128T081500Z-ffffffff");
        let third = after(&second, [7; 4]);
        assert_eq!(third.as_str(), "20261128T081501Z-07070707");
        // One that is behind by itself, and one of another second, stay as they are.
        let low = BackupId::new(time, [0; 4]);
        assert_eq!(after(&low, [9; 4]), BackupId::new(time, [9; 4]));
        assert_eq!(after(&third, [0; 4]), low);
    }

    #[test]
    fn a_manifest_comes_back_under_its_own_key_only() {
        let key = SigningKey::from_bytes(&[3; 32]);
        let text = signed(&manifest().payload(), &key);
        let read = BackupManifest::read(&text, &key.verifying_key());
        assert_eq!(read, Ok(manifest()));
        assert_eq!(manifest().id.as_str(), "20261128T081500Z-1f3a9c07");
        let other = SigningKey::from_bytes(&[4; 32]);
        assert_eq!(
            BackupManifest::read(&text, &other.verifying_key()),
            Err(ManifestError::Signature)
        );
        let draft = jws::draft(&manifest().payload());
        assert!(BackupManifest::read(&draft, &key.verifying_key()).is_err());
        let without = BackupManifest {
            checkpoint: None,
            secrets: vec![],
            ..manifest()
        };
        let text = signed(&without.payload(), &key);
        assert_eq!(
            BackupManifest::read(&text, &key.verifying_key()),
            Ok(without)
        );
    }

    #[test]
    fn a_large_store_has_a_manifest() {
        let key = SigningKey::from_bytes(&[3; 32]);
        let files = (0..50_000).map(|number| BackupFile {
            name: format!("{number:06}.sst"),
            length: 64 << 20,
            sha256: [7; 32],
        });
        let large = BackupManifest {
            files: files.collect(),
            ..manifest()
        };
        let draft = jws::draft(&large.payload());
        let sign = |longest| jws::add_signature_within(&draft, (TYP, longest), "vault", &key);
        assert_eq!(sign(jws::MAX_TEXT), Err(JwsError::TooLarge));
        let text = sign(LONGEST).unwrap();
        assert_eq!(BackupManifest::read(&text, &key.verifying_key()), Ok(large));
    }

    #[test]
    fn a_manifest_has_one_spelling_and_its_names_stay_in_the_folder() {
        let payload = String::from_utf8(manifest().payload()).unwrap();
        for (from, to) in [
            ("000012.sst", "../12.sst"),
            ("000012.sst", ".hidden"),
            ("000012.sst", "a/b"),
            ("CURRENT", ""),
            ("20261128T081500Z-1f3a9c07", "20261128T081500Z-1F3A9C07"),
            ("20261128T081500Z-1f3a9c07", "2026"),
            ("\"length\":4", "\"length\":04"),
            ("\"length\":4", "\"length\": 4"),
            ("\"format\":2", "\"format\":2,\"more\":1"),
            ("2026-11-28T08:15:00Z", "2026-11-28T08:15:00+00:00"),
            ("0101", "01"),
        ] {
            let changed = payload.replacen(from, to, 1);
            assert_ne!(changed, payload, "{from}");
            let read = BackupManifest::read_unverified(&jws::draft(changed.as_bytes()));
            assert!(read.is_err(), "{from} → {to}");
        }
    }
}
