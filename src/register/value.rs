//! The values of a register's fields, each with the one spelling that is accepted.

use ed25519_dalek::VerifyingKey;
use jiff::civil::Date;
use toml::de::DeValue;
use uuid::Uuid;

use super::read::{TomlField, wrong_type};
use super::{DeclarationDecision, Id, Operation, PeriodLength, SpkiDigest, Suite, TextForm};
use crate::identifier::{CheckDigit, LetterCase};

fn text<'v>(value: &'v DeValue<'_>) -> Result<&'v str, String> {
    value
        .as_str()
        .ok_or_else(|| wrong_type(value, "a text in quotes"))
}

/// A text for people: a title, a name, an address.
#[derive(Debug, Clone)]
pub(super) struct PlainText(pub(super) String);

impl TomlField for PlainText {
    const EXAMPLE: &'static str = "\"…\", up to 500 characters";

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        match text(value)? {
            text if text.trim().is_empty() => Err("is empty".into()),
            text if text.trim() != text => Err("begins or ends with a space".into()),
            text if text.chars().count() > 500 => Err("is longer than 500 characters".into()),
            text if text.chars().any(char::is_control) => {
                Err("has a control character or a line break".into())
            }
            text => Ok(PlainText(text.into())),
        }
    }
}

/// Any text at all, judged later (patterns, separators).
#[derive(Debug, Clone)]
pub(super) struct UncheckedText(pub(super) String);

impl TomlField for UncheckedText {
    const EXAMPLE: &'static str = "'…'";

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        text(value).map(|text| UncheckedText(text.into()))
    }
}

impl TomlField for Id {
    const EXAMPLE: &'static str = "an id of a-z, 0-9 and -, in quotes, up to 64 characters";

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        Id::parse(text(value)?).ok_or_else(|| "is not an id: 1 to 64 of a-z, 0-9 and -".into())
    }
}

/// A sector's name: ids with dots between them, at most 253 characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct DottedName(pub(super) String);

impl TomlField for DottedName {
    const EXAMPLE: &'static str = "ids with dots between them, as in \"health.chu-rabat\"";

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        let name = text(value)?;
        if name.len() <= 253 && name.split('.').all(|label| Id::parse(label).is_some()) {
            Ok(DottedName(name.into()))
        } else {
            Err("is not a sector's name: ids of a-z, 0-9 and - with dots between them".into())
        }
    }
}

/// A sector's tag, `[a-z]{2,12}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SectorTag(pub(super) String);

impl TomlField for SectorTag {
    const EXAMPLE: &'static str = "2 to 12 letters a to z, in quotes";

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        let tag = text(value)?;
        if (2..=12).contains(&tag.len()) && tag.bytes().all(|byte| byte.is_ascii_lowercase()) {
            Ok(SectorTag(tag.into()))
        } else {
            Err("is not a tag: 2 to 12 letters a to z".into())
        }
    }
}

impl TomlField for Uuid {
    const EXAMPLE: &'static str = "a new random UUID in quotes, as `uuidgen -r` prints";

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        let text = text(value)?;
        let uuid = Uuid::try_parse(text)
            .ok()
            .filter(|uuid| uuid.hyphenated().to_string() == text);
        match uuid {
            None => Err("is not a UUID in lower case with hyphens".into()),
            Some(uuid) if uuid.is_nil() || uuid.is_max() => {
                Err("is a reserved UUID that identifies nothing".into())
            }
            Some(uuid) => Ok(uuid),
        }
    }
}

impl TomlField for Date {
    const EXAMPLE: &'static str = "a day as 2026-01-31";

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        let written = match value {
            DeValue::Datetime(date) if date.time.is_none() && date.offset.is_none() => {
                date.to_string()
            }
            other => text(other)
                .map_err(|_| wrong_type(other, "a day without a time"))?
                .to_owned(),
        };
        match written.parse::<Date>() {
            Ok(date) if date.to_string() == written => Ok(date),
            _ => Err("is not a day of the calendar".into()),
        }
    }
}

/// A State, ISO 3166-1 alpha-3.
#[derive(Debug, Clone)]
pub(super) struct CountryCode(pub(super) String);

impl TomlField for CountryCode {
    const EXAMPLE: &'static str = "\"FRA\"";

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        let state = text(value)?;
        if state.len() == 3 && state.bytes().all(|byte| byte.is_ascii_uppercase()) {
            Ok(CountryCode(state.into()))
        } else {
            Err("is not a State of three capital letters (ISO 3166-1 alpha-3)".into())
        }
    }
}

/// 32 bytes, as 64 hexadecimal digits in lower case.
pub(super) fn hex(digits: &str) -> Result<[u8; 32], String> {
    let bytes = data_encoding::HEXLOWER.decode(digits.as_bytes());
    bytes
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| "is not 64 hexadecimal digits in lower case".into())
}

impl TomlField for SpkiDigest {
    const EXAMPLE: &'static str = "the SHA-256 of the certificate's public key (SPKI, DER) as 64 hexadecimal digits, in quotes";

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        match hex(text(value)?)? {
            digest if digest == [0; 32] => Err("is all zeroes and no certificate's".into()),
            digest if digest == SpkiDigest::OF_NOTHING => Err(
                "is the SHA-256 of nothing, not of a key: the command that made it got an empty file"
                    .into(),
            ),
            digest => Ok(SpkiDigest(digest)),
        }
    }
}

impl TomlField for VerifyingKey {
    const EXAMPLE: &'static str = "an Ed25519 public key as 64 hexadecimal digits, in quotes";

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        read_ed25519(&hex(text(value)?)?)
    }
}

/// An Ed25519 public key (RFC 8032) that only its owner can sign for: on the curve, in its one
/// encoding, not of small order (with such a key, signatures exist that fit many messages).
pub(super) fn read_ed25519(bytes: &[u8; 32]) -> Result<VerifyingKey, String> {
    match VerifyingKey::from_bytes(bytes) {
        Err(_) => Err("is not a point of Ed25519".into()),
        Ok(key) if key.is_weak() => Err("is a weak Ed25519 key (of small order)".into()),
        Ok(key) if key.to_edwards().compress().as_bytes() != bytes => {
            Err("is not the canonical encoding of a key".into())
        }
        Ok(key) => Ok(key),
    }
}

/// An authority's public key, of the suite that its length tells.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SealingKey {
    pub(super) suite: Suite,
    pub(super) public: Vec<u8>,
}

impl TomlField for SealingKey {
    const EXAMPLE: &'static str =
        "the authority's public key as 64 (X25519) or 2432 (X-Wing) hexadecimal digits, in quotes";

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        let digits = text(value)?;
        let public = data_encoding::HEXLOWER.decode(digits.as_bytes()).ok();
        let read = public.and_then(|public| Some((Suite::of_public(&public)?, public)));
        let (suite, public) = read.ok_or("is not 64 or 2432 hexadecimal digits in lower case")?;
        // An X-Wing key is one of ML-KEM-768 and then one of X25519.
        let (mlkem, x25519) = public.split_at(public.len() - 32);
        x25519_key(x25519.try_into().map_err(|_| "is too short")?)?;
        if suite == Suite::XWing && !mlkem_is_reduced(mlkem) {
            Err("is not an encapsulation key of ML-KEM-768 (FIPS 203, section 7.2)".into())
        } else {
            Ok(SealingKey { suite, public })
        }
    }
}

/// An X25519 public key (RFC 7748) that contributes something: not of small order, in its one
/// encoding.
fn x25519_key(public: [u8; 32]) -> Result<(), String> {
    // The prime is 2^255 - 19; in little-endian, a number that is not below it has 31 high bytes of
    // 7fff…ff (or the top bit).
    let top_bit = public[31] & 0x80 != 0;
    let beyond_prime =
        public[31] == 0x7f && public[1..31].iter().all(|byte| *byte == 0xff) && public[0] >= 0xed;
    // Any clamped scalar is a multiple of the cofactor and takes a point of small order to zero.
    if x25519_dalek::x25519([0x55; 32], public) == [0; 32] {
        return Err("is a weak X25519 key (of small order)".into());
    }
    if top_bit || beyond_prime {
        return Err("is not the canonical encoding of a key".into());
    }
    Ok(())
}

/// The modulus check of FIPS 203, section 7.2: 768 coefficients of twelve bits, each below q =
/// 3329, and 32 bytes of seed.
fn mlkem_is_reduced(key: &[u8]) -> bool {
    let three = |bytes: &[u8]| {
        let [a, b, c] = [bytes[0], bytes[1], bytes[2]].map(u16::from);
        (a | (b & 0x0f) << 8) < 3329 && (b >> 4 | c << 4) < 3329
    };
    key.len() == 1184 && key[..1152].chunks_exact(3).all(three)
}

/// An X25519 recipient of age (`age1…`, bech32, lower case): answers to an officer are sealed to
/// it, and backups for a foreign place. Not a weak key: the library would not survive one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AgeRecipient(pub(crate) String);

impl AgeRecipient {
    /// Reads a recipient in its one spelling.
    ///
    /// # Errors
    /// What is wrong with it, as a clause.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || "is not an X25519 recipient of age".to_owned();
        match text.parse::<age::x25519::Recipient>() {
            Ok(recipient) if recipient.to_string() == text => {}
            _ => return Err(wrong()),
        }
        let (_, public) = bech32::decode(text).map_err(|_| wrong())?;
        x25519_key(public.try_into().map_err(|_| wrong())?)?;
        Ok(Self(text.to_owned()))
    }
}

impl TomlField for AgeRecipient {
    const EXAMPLE: &'static str = "an age recipient in quotes, \"age1…\", as `age-keygen` prints";

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        Self::parse(text(value)?)
    }
}

/// The X25519 public key of a sector system, to which the pairs of a migration are sealed.
#[derive(Debug, Clone)]
pub(super) struct MigrationPublicKey(pub(super) [u8; 32]);

impl TomlField for MigrationPublicKey {
    const EXAMPLE: &'static str =
        "an X25519 public key as 64 hexadecimal digits, as `cloison client keygen` prints";

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        let public = hex(text(value)?)?;
        x25519_key(public).map(|()| MigrationPublicKey(public))
    }
}

macro_rules! one_of {
    ($type:ty, $($text:literal => $value:expr),+) => {
        impl TomlField for $type {
            const EXAMPLE: &'static str = concat!("one of:", $(" \"", $text, "\""),+);

            fn read(value: &DeValue<'_>) -> Result<Self, String> {
                match text(value)? {
                    $($text => Ok($value),)+
                    _ => Err(concat!("is not one of:", $(" \"", $text, "\""),+).into()),
                }
            }
        }
    };
}

one_of!(TextForm, "bech32m" => TextForm::Bech32m, "uuid" => TextForm::Uuid, "hex" => TextForm::Hex);
one_of!(PeriodLength, "year" => PeriodLength::Year, "month" => PeriodLength::Month);
one_of!(Operation, "tokenize" => Operation::Tokenize, "migrate" => Operation::Migrate,
    "retire-epoch" => Operation::RetireEpoch);
one_of!(DeclarationDecision, "explicit" => DeclarationDecision::Explicit, "tacit" => DeclarationDecision::Tacit);
one_of!(CheckDigit, "none" => CheckDigit::None, "luhn" => CheckDigit::Luhn, "verhoeff" => CheckDigit::Verhoeff,
    "damm" => CheckDigit::Damm, "iso7064-11-10" => CheckDigit::Iso7064Mod11_10);
one_of!(LetterCase, "fold" => LetterCase::Fold, "keep" => LetterCase::Keep);
