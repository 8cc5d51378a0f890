//! Pseudonyms and their text forms.
//!
//! A pseudonym is 16 bytes. A sector writes it in one of three forms, and each form has exactly one
//! spelling of each pseudonym; [`parse`] takes that spelling and nothing else:
//!
//! | form | example | |
//! |---|---|---|
//! | `bech32m` | `sante1r…` | tag, `1`, epoch modulo 32, 128 bits, two zero bits, checksum (BIP 350); lower case only |
//! | `uuid` | `xxxxxxxx-xxxx-8xxx-[89ab]xxx-xxxxxxxxxxxx` | RFC 9562 version 8; six bits of the pseudonym are fixed |
//! | `hex` | 32 digits | lower case |
//!
//! Only `bech32m` finds typing errors and pseudonyms pasted into the wrong sector; the other two
//! are for databases that have a native column type for them.

mod bech32m;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::code::Code;

/// How a sector's pseudonyms are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TextForm {
    /// BIP 350 with the sector's tag and the epoch modulo 32.
    #[default]
    Bech32m,
    /// RFC 9562 version 8.
    Uuid,
    /// 32 lower-case hexadecimal digits.
    Hex,
}

impl TextForm {
    /// The spelling in the register.
    pub const fn as_str(self) -> &'static str {
        match self {
            TextForm::Bech32m => "bech32m",
            TextForm::Uuid => "uuid",
            TextForm::Hex => "hex",
        }
    }
}

/// The name of a person in one domain: 16 bytes, public to that domain's sector and meaningless to
/// any other.
///
/// Ordered by its bytes. `Debug` does not show them: a pseudonym never enters a log. Bytes become a
/// pseudonym only by [`from_bytes`](Self::from_bytes).
///
/// ```compile_fail,E0277
/// let pseudonym: cloison::pseudonym::Pseudonym = [0; 16].into();
/// ```
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct Pseudonym([u8; 16]);

impl Pseudonym {
    /// The pseudonym with these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its 16 bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The same with the four version bits (8) and two variant bits (binary 10) of RFC 9562,
    /// section 5.8, fixed.
    ///
    /// A sector of text form `uuid` does this once, right after derivation: the fixed pseudonym is
    /// stored, sealed, indexed and sent. 122 bits are left.
    pub const fn with_uuid_bits(mut self) -> Self {
        self.0[6] = self.0[6] & 0x0f | 0x80;
        self.0[8] = self.0[8] & 0x3f | 0x80;
        self
    }

    /// The pseudonym as a sector of that text form uses it:
    /// [`with_uuid_bits`](Self::with_uuid_bits) for `uuid`, unchanged for the others.
    pub const fn fixed_for(self, form: TextForm) -> Self {
        match form {
            TextForm::Uuid => self.with_uuid_bits(),
            TextForm::Bech32m | TextForm::Hex => self,
        }
    }

    const fn has_uuid_bits(&self) -> bool {
        self.0[6] & 0xf0 == 0x80 && self.0[8] & 0xc0 == 0x80
    }
}

impl fmt::Debug for Pseudonym {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pseudonym(…)")
    }
}

/// Whether `text` can be a sector's tag: `[a-z]{2,12}`, the human-readable part of the `bech32m`
/// form.
pub const fn is_tag(text: &str) -> bool {
    let bytes = text.as_bytes();
    let mut i = 0;
    while i < bytes.len() && bytes[i].is_ascii_lowercase() {
        i += 1;
    }
    i == bytes.len() && 2 <= i && i <= bech32m::MAX_TAG
}

/// Writes the pseudonyms of one sector and epoch. Made once per batch; everything but the pseudonym
/// is computed then.
#[derive(Debug, Clone)]
pub struct TextWriter(FormWriter);

#[derive(Debug, Clone)]
enum FormWriter {
    Bech32m(bech32m::Bech32mWriter),
    Uuid,
    Hex,
}

impl TextWriter {
    /// The longest text form there is, in bytes (`bech32m` with the longest tag).
    pub const MAX_LEN: usize = bech32m::MAX_LEN;

    /// A writer for a sector's text form and tag, and one epoch. Only `bech32m` shows the last two.
    ///
    /// # Panics
    /// When `tag` is not a tag ([`is_tag`]); the register holds only tags.
    pub fn new(form: TextForm, tag: &str, epoch: u32) -> Self {
        assert!(is_tag(tag), "a tag is 2 to 12 of a-z");
        Self(match form {
            TextForm::Bech32m => FormWriter::Bech32m(bech32m::Bech32mWriter::new(tag, epoch)),
            TextForm::Uuid => FormWriter::Uuid,
            TextForm::Hex => FormWriter::Hex,
        })
    }

    /// How many bytes (all ASCII) each pseudonym takes.
    pub const fn text_len(&self) -> usize {
        match &self.0 {
            FormWriter::Bech32m(writer) => writer.text_len(),
            FormWriter::Uuid => 36,
            FormWriter::Hex => 32,
        }
    }

    /// Appends the text of `pseudonym` to `out`. Allocates nothing where `out` has
    /// [`text_len`](Self::text_len) bytes of room.
    ///
    /// # Panics
    /// In the form `uuid`, when the six bits of `pseudonym` were not fixed: the text would name
    /// another pseudonym than the one that was stored.
    pub fn write(&self, pseudonym: &Pseudonym, out: &mut Vec<u8>) {
        match &self.0 {
            FormWriter::Bech32m(writer) => writer.write(&pseudonym.0, out),
            FormWriter::Uuid => {
                assert!(
                    pseudonym.has_uuid_bits(),
                    "the version and variant bits are fixed before a pseudonym is used"
                );
                write_uuid(&pseudonym.0, out);
            }
            FormWriter::Hex => out.extend_from_slice(hex(&pseudonym.0).as_flattened()),
        }
    }

    /// The text of one pseudonym, where speed does not matter.
    ///
    /// # Panics
    /// As [`write`](Self::write).
    pub fn text(&self, pseudonym: &Pseudonym) -> String {
        let mut out = Vec::with_capacity(self.text_len());
        self.write(pseudonym, &mut out);
        String::from_utf8(out).expect("all text forms are ASCII")
    }
}

/// A pseudonym as a text names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ParsedPseudonym {
    /// The pseudonym.
    pub pseudonym: Pseudonym,
    /// The form that it was written in.
    pub form: TextForm,
    /// The epoch modulo 32, if the form shows it (`bech32m`).
    pub epoch_mod_32: Option<u8>,
}

/// Reads the one canonical spelling of a pseudonym of a sector with that text form and tag.
///
/// # Errors
/// * [`Code::PseudonymMalformed`]: not a canonical spelling: a character, length, case, padding, or
///   UUID version or variant that this form does not have;
/// * [`Code::PseudonymChecksum`]: a `bech32m` text whose checksum does not match, a typing error;
/// * [`Code::PseudonymOtherSector`]: a sound `bech32m` text under another tag.
pub fn parse(form: TextForm, tag: &str, text: &str) -> Result<ParsedPseudonym, Code> {
    match form {
        TextForm::Bech32m => bech32m::parse(tag, text),
        TextForm::Uuid => parse_uuid(text).map(|pseudonym| ParsedPseudonym {
            pseudonym,
            form,
            epoch_mod_32: None,
        }),
        TextForm::Hex => parse_hex(text).map(|pseudonym| ParsedPseudonym {
            pseudonym,
            form,
            epoch_mod_32: None,
        }),
    }
}

// --- uuid and hex
// -----------------------------------------------------------------------------------------------------

/// The two digits of each byte.
static HEX: [[u8; 2]; 256] = {
    let digits = b"0123456789abcdef";
    let mut table = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = [digits[byte >> 4], digits[byte & 15]];
        byte += 1;
    }
    table
};

fn hex(bytes: &[u8; 16]) -> [[u8; 2]; 16] {
    bytes.map(|byte| HEX[usize::from(byte)])
}

/// Hexadecimal digits before each hyphen of a UUID.
const HYPHENS: [usize; 4] = [8, 12, 16, 20];

fn write_uuid(bytes: &[u8; 16], out: &mut Vec<u8>) {
    let digits = hex(bytes);
    let digits: &[u8] = digits.as_flattened();
    let mut text = [b'-'; 36];
    text[..8].copy_from_slice(&digits[..8]);
    text[9..13].copy_from_slice(&digits[8..12]);
    text[14..18].copy_from_slice(&digits[12..16]);
    text[19..23].copy_from_slice(&digits[16..20]);
    text[24..].copy_from_slice(&digits[20..]);
    out.extend_from_slice(&text);
}

fn parse_uuid(text: &str) -> Result<Pseudonym, Code> {
    let text: &[u8; 36] = text
        .as_bytes()
        .try_into()
        .map_err(|_| Code::PseudonymMalformed)?;
    let mut digits = [0; 32];
    for (i, digit) in digits.iter_mut().enumerate() {
        *digit = text[i + HYPHENS.iter().filter(|&&h| h <= i).count()];
    }
    let pseudonym = parse_digits(&digits)?;
    // Only the text that `write_uuid` would write is canonical, whatever stands between the digits.
    let mut canonical = Vec::with_capacity(text.len());
    write_uuid(&pseudonym.0, &mut canonical);
    if canonical == text && pseudonym.has_uuid_bits() {
        Ok(pseudonym)
    } else {
        Err(Code::PseudonymMalformed)
    }
}

fn parse_hex(text: &str) -> Result<Pseudonym, Code> {
    parse_digits(
        text.as_bytes()
            .try_into()
            .map_err(|_| Code::PseudonymMalformed)?,
    )
}

fn parse_digits(digits: &[u8; 32]) -> Result<Pseudonym, Code> {
    let mut bytes = [0; 16];
    // HEXLOWER is strict: lower case, an even number of digits, nothing between them.
    data_encoding::HEXLOWER
        .decode_mut(digits, &mut bytes)
        .map_err(|_| Code::PseudonymMalformed)?;
    Ok(Pseudonym(bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FORMS: [TextForm; 3] = [TextForm::Bech32m, TextForm::Uuid, TextForm::Hex];

    fn any_pseudonym() -> impl Strategy<Value = Pseudonym> {
        any::<[u8; 16]>().prop_map(Pseudonym::from_bytes)
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(p in any_pseudonym(), tag in "[a-z]{2,12}", epoch: u32, form in 0..3usize) {
            let form = FORMS[form];
            let p = p.fixed_for(form);
            let writer = TextWriter::new(form, &tag, epoch);
            let mut out = b"before".to_vec();
            writer.write(&p, &mut out);
            let text = std::str::from_utf8(&out[6..]).unwrap();
            prop_assert_eq!(text.len(), writer.text_len());
            let parsed = parse(form, &tag, text).unwrap();
            prop_assert_eq!(parsed.pseudonym, p);
            prop_assert_eq!(parsed.epoch_mod_32, (form == TextForm::Bech32m).then_some((epoch % 32) as u8));
        }

        #[test]
        fn whatever_is_read_is_the_canonical_spelling(text in "[0-9a-f-]{30,38}|[a-z0-9]{30,50}", form in 0..3usize) {
            if let Ok(parsed) = parse(FORMS[form], "sante", &text) {
                let writer = TextWriter::new(FORMS[form], "sante", parsed.epoch_mod_32.unwrap_or(0).into());
                prop_assert_eq!(writer.text(&parsed.pseudonym), text);
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in any::<String>(), form in 0..3usize) {
            let _ = parse(FORMS[form], "sante", &text);
        }
    }

    #[test]
    fn uuid_bits_are_rfc_9562_version_8() {
        for byte in 0..=255 {
            let fixed = uuid::Uuid::from_bytes(*Pseudonym([byte; 16]).with_uuid_bits().as_bytes());
            assert_eq!(fixed.get_version(), Some(uuid::Version::Custom));
            assert_eq!(fixed.get_variant(), uuid::Variant::RFC4122);
            let mask = 0xffff_ffff_ffff_0fff_3fff_ffff_ffff_ffff;
            assert_eq!(
                fixed.as_u128() & mask,
                u128::from_be_bytes([byte; 16]) & mask,
                "no other bit changes"
            );
            let text = TextWriter::new(TextForm::Uuid, "ab", 0).text(&Pseudonym(*fixed.as_bytes()));
            assert_eq!(text, fixed.hyphenated().to_string());
        }
    }

    #[test]
    fn uuid_has_one_spelling() {
        let good = "01234567-89ab-8def-8123-456789abcdef";
        assert!(parse(TextForm::Uuid, "sante", good).is_ok());
        let bad = [
            "01234567-89AB-8DEF-8123-456789ABCDEF",
            "0123456789ab8def8123456789abcdef",
            "{01234567-89ab-8def-8123-456789abcdef}",
            "urn:uuid:01234567-89ab-8def-8123-456789abcdef",
            "012345678-9ab-8def-8123-456789abcdef",
            "01234567-89ab-8def-8123-456789abcde",
            "01234567-89ab-8def-8123-456789abcdef0",
            "01234567-89ab-4def-8123-456789abcdef",
            "01234567-89ab-8def-7123-456789abcdef",
            "01234567-89ab-8def-c123-456789abcdef",
            "01234567 89ab 8def 8123 456789abcdef",
            "01234567-89ab-8def-8123-456789abcdeg",
            " 1234567-89ab-8def-8123-456789abcdef",
            "",
        ];
        for text in bad {
            assert_eq!(
                parse(TextForm::Uuid, "sante", text),
                Err(Code::PseudonymMalformed),
                "{text}"
            );
        }
    }

    #[test]
    fn hex_has_one_spelling() {
        assert!(parse(TextForm::Hex, "sante", "0123456789abcdef0123456789abcdef").is_ok());
        let bad = [
            "0123456789ABCDEF0123456789ABCDEF",
            "0x123456789abcdef0123456789abcdef",
            "0123456789abcdef0123456789abcde",
            "0123456789abcdef0123456789abcdef0",
            "0123456789abcdef0123456789abcdef\n",
            "0123456789abcdef 123456789abcdef",
            "0123456789abcdef0123456789abcdeé",
            "",
        ];
        for text in bad {
            assert_eq!(
                parse(TextForm::Hex, "sante", text),
                Err(Code::PseudonymMalformed),
                "{text}"
            );
        }
    }

    #[test]
    #[should_panic(expected = "fixed before a pseudonym is used")]
    fn a_pseudonym_without_uuid_bits_is_never_written_as_a_uuid() {
        TextWriter::new(TextForm::Uuid, "sante", 1).write(&Pseudonym([0; 16]), &mut Vec::new());
    }

    #[test]
    fn tags() {
        for (tag, good) in [
            ("ab", true),
            ("abcdefghijkl", true),
            ("a", false),
            ("", false),
            ("abcdefghijklm", false),
            ("a1", false),
            ("Ab", false),
            ("a-b", false),
            ("sété", false),
        ] {
            assert_eq!(is_tag(tag), good, "{tag}");
        }
    }

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", Pseudonym([0xab; 16])), "Pseudonym(…)");
    }
}
