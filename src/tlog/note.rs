//! Signed notes (C2SP `signed-note`): a text and, below it, lines that say who signed it.
//!
//! Three kinds of signature are known: a log's (0x01, Ed25519 over the text), a cosigner's (0x04,
//! `tlog-cosignature`: Ed25519 over a header, a time and the text), and, of our own (0xff and an
//! identifier), a keeper's, who holds all that a checkpoint covers (the same with another header).
//! None passes for another: key ids and what is signed differ. A fourth line, of our own as well,
//! is a log's over the digest of what travels with its note ([`accompany`]). As the specification
//! says, signatures by unknown keys are ignored, and a signature by a known key that does not
//! verify makes the note worthless.

use std::fmt;

use data_encoding::HEXLOWER;
use ed25519_dalek::{Signature as Ed25519, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};

use super::base64;
use super::tree::Hash;

/// The most bytes of a note. A checkpoint with dozens of cosignatures is shorter.
pub const MAX_NOTE: usize = 64 * 1024;

/// Why a note or a verifier key is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Not the form of a signed note.
    #[error("it is not a signed note")]
    Malformed,
    /// A signature that names a known key does not verify over this text.
    #[error("the signature by {0} does not verify: it is forged, or the text was changed")]
    Forged(String),
    /// Not a verifier key.
    #[error("not a verifier key (name+id+key), or its id is not the key's")]
    Key,
}

/// What a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureKind {
    /// A log, its own checkpoints.
    Log,
    /// A witness or a peer, the checkpoints of other logs.
    Cosigner,
    /// One who holds all that a checkpoint of another log covers. It says nothing of what else the
    /// log has shown.
    Keeper,
}

impl SignatureKind {
    /// The signature type (C2SP `signed-note`).
    const fn identifier(self) -> &'static [u8] {
        match self {
            Self::Log => &[0x01],
            Self::Cosigner => &[0x04],
            Self::Keeper => b"\xffjournal-held/v1",
        }
    }
}

/// The public half of a key, with the name under which it signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verifier {
    name: String,
    kind: SignatureKind,
    key: VerifyingKey,
    id: [u8; 4],
}

impl Verifier {
    /// The key that signs as `name`.
    pub fn new(name: impl Into<String>, kind: SignatureKind, key: VerifyingKey) -> Self {
        let name = name.into();
        let id = key_id(&name, kind.identifier(), &key);
        Self {
            name,
            kind,
            key,
            id,
        }
    }

    /// Reads a verifier key: `<name>+<key id, hex>+<base64(kind ‖ public key)>`.
    ///
    /// # Errors
    /// [`NoteError::Key`]
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let read = || {
            let (name, rest) = text.split_once('+')?;
            let (id, key) = rest.split_once('+')?;
            let bytes = base64::decode(key)?;
            let (kind, key) = [SignatureKind::Log, SignatureKind::Cosigner]
                .into_iter()
                .find_map(|known| Some((known, bytes.strip_prefix(known.identifier())?)))?;
            let key = VerifyingKey::from_bytes(key.try_into().ok()?)
                .ok()
                .filter(|key| !key.is_weak())?;
            let verifier = Self::new(name, kind, key);
            (is_name(name) && HEXLOWER.encode(&verifier.id) == id).then_some(verifier)
        };
        read().ok_or(NoteError::Key)
    }

    /// The name under which it signs.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it signs.
    pub fn kind(&self) -> SignatureKind {
        self.kind
    }

    /// The key itself.
    pub fn key(&self) -> &VerifyingKey {
        &self.key
    }
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = [self.kind.identifier(), self.key.as_bytes()].concat();
        write!(
            f,
            "{}+{}+{}",
            self.name,
            HEXLOWER.encode(&self.id),
            base64::encode(&key)
        )
    }
}

/// `SHA-256(name ‖ "\n" ‖ signature type ‖ public key)[0..4]`.
fn key_id(name: &str, identifier: &[u8], key: &VerifyingKey) -> [u8; 4] {
    let digest: [u8; 32] = Sha256::new()
        .chain_update(name)
        .chain_update(b"\n")
        .chain_update(identifier)
        .chain_update(key.as_bytes())
        .finalize()
        .into();
    [digest[0], digest[1], digest[2], digest[3]]
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name
            .chars()
            .any(|c| c.is_whitespace() || c.is_control() || c == '+')
}

/// Signs a log's own text; the line below the note, with its line end.
pub fn sign(name: &str, key: &SigningKey, text: &str) -> String {
    line(
        name,
        SignatureKind::Log.identifier(),
        key,
        &key.sign(text.as_bytes()).to_bytes(),
    )
}

/// Cosigns another log's text at a time (Unix seconds); the line below the note, with its line end.
pub fn cosign(name: &str, key: &SigningKey, text: &str, time: u64) -> String {
    let signature = key.sign(&cosigned(text, time)).to_bytes();
    line(
        name,
        SignatureKind::Cosigner.identifier(),
        key,
        &[&time.to_be_bytes()[..], &signature].concat(),
    )
}

/// Says that all that another log's checkpoint covers is held, at a time (Unix seconds); the line
/// below the note, with its line end.
pub fn vouch(name: &str, key: &SigningKey, text: &str, time: u64) -> String {
    let signature = key.sign(&vouched(text, time)).to_bytes();
    line(
        name,
        SignatureKind::Keeper.identifier(),
        key,
        &[&time.to_be_bytes()[..], &signature].concat(),
    )
}

/// The signature type of a line about what travels with a note.
const ACCOMPANIED: &[u8] = b"\xffjournal-offer/v1";

/// Signs the digest of what travels with a log's own note; the line below the note, with its line
/// end.
pub fn accompany(name: &str, key: &SigningKey, text: &str, digest: &Hash) -> String {
    let signature = key.sign(&accompanied(text, digest)).to_bytes();
    line(name, ACCOMPANIED, key, &signature)
}

/// The bytes that such a signature signs. A note's text has no such first line.
fn accompanied(text: &str, digest: &Hash) -> Vec<u8> {
    format!("journal-offer/v1\n{}\n{text}", base64::encode(digest)).into_bytes()
}

/// The bytes that a keeper's signature signs. A note's text has no such first line.
fn vouched(text: &str, time: u64) -> Vec<u8> {
    format!("journal-held/v1\ntime {time}\n{text}").into_bytes()
}

/// The bytes that a cosignature signs (`tlog-cosignature`, Ed25519 signed message).
fn cosigned(text: &str, time: u64) -> Vec<u8> {
    format!("cosignature/v1\ntime {time}\n{text}").into_bytes()
}

fn line(name: &str, identifier: &[u8], key: &SigningKey, signature: &[u8]) -> String {
    let id = key_id(name, identifier, &key.verifying_key());
    format!(
        "— {name} {}\n",
        base64::encode(&[&id[..], signature].concat())
    )
}

/// A note as it was received. No signature is checked before [`SignedNote::time_of`] or
/// [`SignedNote::is_signed_by`] is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedNote<'a> {
    text: &'a str,
    signatures: Vec<NoteSignature<'a>>,
}

/// One line below a note.
#[derive(Debug, Clone, PartialEq, Eq)]
struct NoteSignature<'a> {
    name: &'a str,
    id: [u8; 4],
    bytes: Vec<u8>,
    line: &'a str,
}

impl<'a> SignedNote<'a> {
    /// Parses a note.
    ///
    /// # Errors
    /// [`NoteError::Malformed`]
    pub fn parse(note: &'a [u8]) -> Result<Self, NoteError> {
        let read = || {
            let note = std::str::from_utf8(note)
                .ok()
                .filter(|note| note.len() <= MAX_NOTE)?;
            if note.chars().any(|c| c < ' ' && c != '\n') {
                return None;
            }
            let end = note.rfind("\n\n")?;
            let signatures = Self::lines(&note[end + 2..])?;
            (!signatures.is_empty()).then_some(Self {
                text: &note[..=end],
                signatures,
            })
        };
        read().ok_or(NoteError::Malformed)
    }

    fn lines(text: &'a str) -> Option<Vec<NoteSignature<'a>>> {
        let lines = text.strip_suffix('\n')?.split('\n');
        lines
            .map(|line| {
                let (name, signature) = line.strip_prefix("— ")?.split_once(' ')?;
                let bytes = base64::decode(signature)?;
                let (id, bytes) = bytes.split_first_chunk::<4>()?;
                is_name(name).then(|| NoteSignature {
                    name,
                    id: *id,
                    bytes: bytes.to_vec(),
                    line,
                })
            })
            .collect()
    }

    /// The text, with its last line end.
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// The names in the signature lines, unchecked.
    pub fn claimed(&self) -> impl Iterator<Item = &'a str> {
        self.signatures.iter().map(|signature| signature.name)
    }

    /// Whether that key signed the text as a log.
    ///
    /// # Errors
    /// [`NoteError::Forged`] where a signature names this key and does not verify.
    pub fn is_signed_by(&self, verifier: &Verifier) -> Result<bool, NoteError> {
        self.verified(verifier)
            .map(|found| found.is_some() && verifier.kind == SignatureKind::Log)
    }

    /// Whether that key signed, under that name, the digest of what travels with the note.
    ///
    /// # Errors
    /// [`NoteError::Forged`] where a signature of this kind names this key and does not verify: it
    /// is forged, or is over something else.
    pub fn is_accompanied_by(
        &self,
        (name, key): (&str, &VerifyingKey),
        digest: &Hash,
    ) -> Result<bool, NoteError> {
        let id = key_id(name, ACCOMPANIED, key);
        let mut lines = self.signatures.iter();
        let Some(line) = lines.find(|line| line.name == name && line.id == id) else {
            return Ok(false);
        };
        let forged = |_| NoteError::Forged(name.to_owned());
        let signature = Ed25519::from_slice(&line.bytes).map_err(forged)?;
        let message = accompanied(self.text, digest);
        key.verify_strict(&message, &signature).map_err(forged)?;
        Ok(true)
    }

    /// When that key cosigned the text, or vouched for it (Unix seconds; the latest time where it
    /// did so more than once).
    ///
    /// # Errors
    /// [`NoteError::Forged`] where a signature names this key and does not verify.
    pub fn time_of(&self, verifier: &Verifier) -> Result<Option<u64>, NoteError> {
        self.verified(verifier).map(|found| {
            found
                .filter(|_| verifier.kind != SignatureKind::Log)
                .map(|(time, _)| time)
        })
    }

    /// The line of that key's (latest) signature, without its line end.
    ///
    /// # Errors
    /// [`NoteError::Forged`] where a signature names this key and does not verify.
    pub fn line_of(&self, verifier: &Verifier) -> Result<Option<&'a str>, NoteError> {
        self.verified(verifier)
            .map(|found| found.map(|(_, line)| line))
    }

    /// The verifier of `key`, under the name in its cosignature line: registers state keys, and
    /// notes state names.
    pub fn cosigner(&self, key: &VerifyingKey) -> Option<Verifier> {
        let claims = self.signatures.iter().map(|line| {
            (
                line,
                Verifier::new(line.name, SignatureKind::Cosigner, *key),
            )
        });
        claims
            .into_iter()
            .find(|(line, verifier)| line.id == verifier.id)
            .map(|(_, verifier)| verifier)
    }

    fn verified(&self, verifier: &Verifier) -> Result<Option<(u64, &'a str)>, NoteError> {
        let mut latest = None;
        for signature in self
            .signatures
            .iter()
            .filter(|s| s.name == verifier.name && s.id == verifier.id)
        {
            let forged = || NoteError::Forged(verifier.name.clone());
            let (time, message, bytes) = match verifier.kind {
                SignatureKind::Log => (0, self.text.as_bytes().to_vec(), &signature.bytes[..]),
                SignatureKind::Cosigner | SignatureKind::Keeper => {
                    let (time, bytes) = signature
                        .bytes
                        .split_first_chunk::<8>()
                        .ok_or_else(forged)?;
                    let time = u64::from_be_bytes(*time);
                    let message = match verifier.kind {
                        SignatureKind::Keeper => vouched(self.text, time),
                        _ => cosigned(self.text, time),
                    };
                    (time, message, bytes)
                }
            };
            let bytes = Ed25519::from_slice(bytes).map_err(|_| forged())?;
            verifier
                .key
                .verify_strict(&message, &bytes)
                .map_err(|_| forged())?;
            latest = latest.max(Some((time, signature.line)));
        }
        Ok(latest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification.
    #[test]
    fn the_specifications_example() {
        let key = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
        let verifier = Verifier::parse(key).unwrap();
        assert_eq!(verifier.to_string(), key);
        let text = "This is an example message.\n\n— example.com/foo \
                    Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";
        let note = SignedNote::parse(text.as_bytes()).unwrap();
        assert_eq!(note.text(), "This is an example message.\n");
        assert_eq!(note.is_signed_by(&verifier), Ok(true));
        let changed = text.replace("example message", "exemplar message");
        let changed = SignedNote::parse(changed.as_bytes())
            .unwrap()
            .is_signed_by(&verifier);
        assert_eq!(changed, Err(NoteError::Forged("example.com/foo".into())));
        for wrong in [
            key.replace("530d", "530e"),
            key.replace('+', "-"),
            key.replace("Aeky", "Aekz"),
            String::new(),
        ] {
            assert_eq!(Verifier::parse(&wrong), Err(NoteError::Key), "{wrong}");
        }
    }

    #[test]
    fn signing_and_cosigning_come_back() {
        let (log, witness) = (
            SigningKey::from_bytes(&[1; 32]),
            SigningKey::from_bytes(&[2; 32]),
        );
        let text = "a/log\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n";
        let note = format!(
            "{text}\n{}{}",
            sign("a/log", &log, text),
            cosign("w", &witness, text, 1_700_000_000)
        );
        let parsed = SignedNote::parse(note.as_bytes()).unwrap();
        let log = Verifier::new("a/log", SignatureKind::Log, log.verifying_key());
        let witness = Verifier::new("w", SignatureKind::Cosigner, witness.verifying_key());
        assert_eq!(parsed.is_signed_by(&log), Ok(true));
        assert_eq!(parsed.time_of(&witness), Ok(Some(1_700_000_000)));
        assert_eq!(
            parsed.time_of(&log),
            Ok(None),
            "a log's own signature is no cosignature"
        );
        assert_eq!(parsed.is_signed_by(&witness), Ok(false));
        let stranger = Verifier::new("w", SignatureKind::Cosigner, *log.key());
        assert_eq!(
            parsed.time_of(&stranger),
            Ok(None),
            "the same name, another key"
        );
        assert_eq!(parsed.claimed().collect::<Vec<_>>(), ["a/log", "w"]);
    }

    #[test]
    fn what_is_not_a_note() {
        let line = sign("n", &SigningKey::from_bytes(&[1; 32]), "t\n");
        let good = format!("t\n\n{line}");
        SignedNote::parse(good.as_bytes()).unwrap();
        let bad = [
            String::new(),
            "t\n".into(),
            "t\n\n".into(),
            good.trim_end().into(),
            format!("t\n\n{line}\n"),
            format!("t\r\n\n{line}"),
            format!("t\n\n- {}", &line[4..]),
            good.replace(" n ", " n  "),
            good.replace(" n ", " n+m "),
            good.replace('=', ""),
            format!("{}\n\n{line}", "x".repeat(MAX_NOTE)),
        ];
        for note in bad {
            assert_eq!(
                SignedNote::parse(note.as_bytes()),
                Err(NoteError::Malformed),
                "{note:?}"
            );
        }
        assert_eq!(
            SignedNote::parse(b"\xff\n\n\xe2\x80\x94 n AAAAAAAA\n"),
            Err(NoteError::Malformed)
        );
    }
}
