//! Identifiers: schemes, and the one canonical form of a value (`docs/spec.md`).
//!
//! Two clients who mean the same person must reach the same bytes, or that person has two
//! pseudonyms; and two persons must never reach the same bytes, or one is taken for the other. So
//! the mapping from spellings to values is small enough to be listed: spaces and the declared
//! separators are removed, full-width forms become the ASCII characters that they show, and ASCII
//! letters are folded to upper case where the scheme says so. Every other character beyond ASCII is
//! refused, because to replace a look-alike (`²`, `①`, `Ⅷ`, an Arabic-Indic digit) would be to
//! guess a person's number. What is left must match the scheme's pattern as a whole and end in its
//! check digit. A refusal is a [`Code`] and never repeats the value.

mod check_digit;
mod pattern;

use std::fmt;

use serde::Serialize;

pub use check_digit::CheckDigit;
use pattern::{Pattern, PatternState};

use crate::code::Code;
use crate::id::Id;

/// The most bytes (UTF-8) of an identifier as a client presents it.
pub const MAX_RAW: usize = 128;

/// The most bytes of a canonical value.
pub const MAX_CANONICAL: usize = 64;

/// Full-width U+FF01 to U+FF5E show the ASCII characters U+0021 to U+007E, this far below them.
const FULL_WIDTH_OFFSET: u32 = 0xfee0;

/// What a scheme does with the case of ASCII letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LetterCase {
    /// `a` and `A` are one letter, `A`.
    #[default]
    Fold,
    /// `a` and `A` are two letters, as in the record numbers of some hospitals.
    Keep,
}

impl LetterCase {
    /// The spelling in the register.
    pub const fn as_str(self) -> &'static str {
        match self {
            LetterCase::Fold => "fold",
            LetterCase::Keep => "keep",
        }
    }

    /// The case rule of that name.
    pub fn parse(text: &str) -> Option<Self> {
        [LetterCase::Fold, LetterCase::Keep]
            .into_iter()
            .find(|case| case.as_str() == text)
    }

    const fn apply(self, byte: u8) -> u8 {
        match self {
            LetterCase::Fold => byte.to_ascii_uppercase(),
            LetterCase::Keep => byte,
        }
    }
}

/// A scheme's rules. They are frozen at its first use, because other rules would give other
/// canonical forms, and so other pseudonyms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemeRules {
    /// Stable id, bound into the derivation.
    pub id: Id,
    /// A regular expression over ASCII that the whole canonical value must match.
    pub pattern: String,
    /// ASCII characters that are removed wherever they stand, each once: punctuation, and the
    /// space, which is removed anyway.
    pub separators: String,
    /// The check digit that a canonical value ends in.
    pub check: CheckDigit,
    /// What happens to the case of letters.
    pub case: LetterCase,
}

/// A scheme of identifiers, ready to be applied.
pub struct Scheme {
    rules: SchemeRules,
    pattern: Pattern,
    classes: [u8; 256],
}

// What a byte of the presented identifier becomes; any other value is the canonical byte itself.
const REMOVED: u8 = 0;
const CONTROL: u8 = 1;
const BEYOND_ASCII: u8 = 2;

impl Scheme {
    /// Compiles the rules, or says in one sentence what is wrong with them.
    ///
    /// # Errors
    /// When a separator is a letter, a digit, repeated or not ASCII; when the pattern does not
    /// compile within its size limits, is not ASCII, or matches no canonical value, the empty one,
    /// or (with a check digit) one that is not all digits.
    pub fn new(mut rules: SchemeRules) -> Result<Scheme, String> {
        let mut separators: Vec<char> = rules.separators.chars().collect();
        separators.sort_unstable(); // their order means nothing, and so it must not change what is frozen
        if let Some(bad) = separators
            .iter()
            .find(|c| !(**c == ' ' || c.is_ascii_punctuation()))
        {
            return Err(format!(
                "the separator {bad:?} is neither a space nor ASCII punctuation"
            ));
        }
        if let Some(pair) = separators.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(format!("the separator {:?} is written twice", pair[0]));
        }
        rules.separators = separators.into_iter().collect();
        let classes = std::array::from_fn(|byte| match byte as u8 {
            byte if !byte.is_ascii() => BEYOND_ASCII,
            byte if is_space(char::from(byte)) => REMOVED,
            byte if byte.is_ascii_control() => CONTROL,
            byte if rules.separators.contains(char::from(byte)) => REMOVED,
            byte => rules.case.apply(byte),
        });
        let canonical: Vec<u8> = (0x21..0x7f)
            .filter(|byte| classes[usize::from(*byte)] == *byte)
            .collect();
        let pattern = Pattern::compile(&rules.pattern)?;
        pattern.suits(&canonical, rules.check)?;
        Ok(Scheme {
            rules,
            pattern,
            classes,
        })
    }

    /// The scheme's id.
    pub fn id(&self) -> &Id {
        &self.rules.id
    }

    /// The rules, with the separators in ascending order.
    pub fn rules(&self) -> &SchemeRules {
        &self.rules
    }

    /// Appends the canonical form of `raw` to `out`; on an error `out` is as before.
    ///
    /// Plain ASCII (nearly all identifiers) takes one pass and allocates nothing.
    ///
    /// # Errors
    /// In this order: [`Code::IdentifierTooLong`] (as presented), [`Code::IdentifierControl`],
    /// [`Code::IdentifierCharacter`], [`Code::IdentifierEmpty`], [`Code::IdentifierTooLong`]
    /// (canonical), [`Code::IdentifierPattern`] and [`Code::IdentifierCheckDigit`].
    pub fn canonical(&self, raw: &str, out: &mut Vec<u8>) -> Result<(), Code> {
        let before = out.len();
        let done = self
            .append(raw, out)
            .and_then(|walk| self.judge(walk, &out[before..]));
        if done.is_err() {
            out.truncate(before);
        }
        done
    }

    /// The form of an identifier as presented, without what the scheme removes: `A` or `a` for a
    /// letter, `9` for a digit, `?` for what no identifier has, and other characters as they are.
    /// It says why a pattern does not match, and not who it is.
    pub fn form(&self, raw: &str) -> String {
        let shown = |character: char| match self.class_of(character) {
            REMOVED => None,
            CONTROL | BEYOND_ASCII => Some('?'),
            byte if byte.is_ascii_digit() => Some('9'),
            byte if byte.is_ascii_uppercase() => Some('A'),
            byte if byte.is_ascii_lowercase() => Some('a'),
            byte => Some(char::from(byte)),
        };
        raw.chars().filter_map(shown).take(MAX_RAW).collect()
    }

    fn append(&self, raw: &str, out: &mut Vec<u8>) -> Result<PatternState, Code> {
        if raw.len() > MAX_RAW {
            return Err(Code::IdentifierTooLong);
        }
        let before = out.len();
        let mut walk = self.pattern.start();
        for byte in raw.bytes() {
            match self.classes[usize::from(byte)] {
                REMOVED => {}
                CONTROL => return Err(Code::IdentifierControl),
                BEYOND_ASCII => {
                    out.truncate(before);
                    return self.append_unicode(raw, out);
                }
                byte => {
                    walk = self.pattern.step(walk, byte);
                    out.push(byte);
                }
            }
        }
        Ok(walk)
    }

    #[cold]
    fn append_unicode(&self, raw: &str, out: &mut Vec<u8>) -> Result<PatternState, Code> {
        let mut walk = self.pattern.start();
        let mut refused = false;
        for character in raw.chars() {
            match self.class_of(character) {
                REMOVED => {}
                CONTROL => return Err(Code::IdentifierControl),
                BEYOND_ASCII => refused = true, // but a control character further on is named first
                byte => {
                    walk = self.pattern.step(walk, byte);
                    out.push(byte);
                }
            }
        }
        if refused {
            Err(Code::IdentifierCharacter)
        } else {
            Ok(walk)
        }
    }

    fn class_of(&self, character: char) -> u8 {
        match character {
            '\0'..='\x7f' => self.classes[character as usize],
            '\u{80}'..='\u{9f}' => CONTROL,
            '\u{ff01}'..='\u{ff5e}' => {
                self.classes[(character as u32 - FULL_WIDTH_OFFSET) as usize]
            }
            _ if is_space(character) => REMOVED,
            _ => BEYOND_ASCII,
        }
    }

    fn judge(&self, walk: PatternState, value: &[u8]) -> Result<(), Code> {
        if value.is_empty() {
            Err(Code::IdentifierEmpty)
        } else if value.len() > MAX_CANONICAL {
            Err(Code::IdentifierTooLong)
        } else if !self.pattern.ends(walk) {
            Err(Code::IdentifierPattern)
        } else if !self.rules.check.holds(value) {
            Err(Code::IdentifierCheckDigit)
        } else {
            Ok(())
        }
    }
}

/// The tab and Unicode's spaces (general category Zs). Line and paragraph separators are not among
/// them: two lines are two values.
const fn is_space(character: char) -> bool {
    matches!(
        character,
        '\t' | ' ' | '\u{a0}' | '\u{1680}' | '\u{2000}'
            ..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}'
    )
}

impl fmt::Debug for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Scheme").field(&self.rules).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_shows_the_pattern_and_not_the_person() {
        let rules = SchemeRules {
            id: Id::parse("cnie").unwrap(),
            pattern: "[A-Z]{1,2}[0-9]{1,6}".into(),
            separators: "-".into(),
            check: CheckDigit::None,
            case: LetterCase::Fold,
        };
        let scheme = Scheme::new(rules).unwrap();
        assert_eq!(scheme.form(" ab-12 34/5\u{e9}\n"), "AA9999/9??");
        assert_eq!(scheme.form(&"x".repeat(1_000)).len(), MAX_RAW);
    }
    use proptest::prelude::*;

    fn scheme(pattern: &str, separators: &str, check: CheckDigit) -> Result<Scheme, String> {
        cased(pattern, separators, check, LetterCase::Fold)
    }

    fn cased(
        pattern: &str,
        separators: &str,
        check: CheckDigit,
        case: LetterCase,
    ) -> Result<Scheme, String> {
        let id = Id::parse("test").unwrap();
        Scheme::new(SchemeRules {
            id,
            pattern: pattern.into(),
            separators: separators.into(),
            check,
            case,
        })
    }

    fn cnie() -> Scheme {
        scheme("[A-Z]{1,2}[0-9]{1,7}", " -.", CheckDigit::None).unwrap()
    }

    fn canonical(scheme: &Scheme, raw: &str) -> Result<String, Code> {
        let mut out = b"before".to_vec();
        let done = scheme.canonical(raw, &mut out);
        let rest = out.strip_prefix(b"before").expect("what was there stays");
        assert!(
            done.is_ok() || rest.is_empty(),
            "an error leaves nothing behind"
        );
        done.map(|()| String::from_utf8(rest.to_vec()).unwrap())
    }

    #[test]
    fn one_spelling_of_many() {
        for raw in [
            "AB123456",
            "ab123456",
            " ab-12.34 56 ",
            "ＡＢ１２３４５６",
            "ａｂ１２３４５６",
            "AB\u{a0}123456",
            "\tAB\u{202f}123\u{2009}456\u{3000}",
            "AB－123456",
        ] {
            assert_eq!(
                canonical(&cnie(), raw).as_deref(),
                Ok("AB123456"),
                "{raw:?}"
            );
        }
        assert_eq!(
            canonical(&cnie(), "be007").as_deref(),
            Ok("BE007"),
            "digits are kept as printed"
        );
        let undeclared = scheme("[0-9]+", "", CheckDigit::None).unwrap();
        assert_eq!(
            canonical(&undeclared, "12 34\t5").as_deref(),
            Ok("12345"),
            "spaces need no declaration"
        );
    }

    /// Under NFKC each of these would become another person's number.
    #[test]
    fn a_look_alike_of_a_number_is_refused() {
        for raw in [
            "AB12345²",
            "AB①23456",
            "\u{212a}7",
            "ſ123456",
            "AB12345Ⅷ",
            "AB１２３٤",
            "AB123456\u{200f}",
        ] {
            assert_eq!(
                canonical(&cnie(), raw),
                Err(Code::IdentifierCharacter),
                "{raw:?}"
            );
        }
    }

    #[test]
    fn a_scheme_that_keeps_case_has_two_persons_where_another_has_one() {
        let record = cased(
            "[A-Za-z]{2}[0-9]{4}",
            "-",
            CheckDigit::None,
            LetterCase::Keep,
        )
        .unwrap();
        for (raw, value) in [
            ("aB-1234", "aB1234"),
            ("ab 1234", "ab1234"),
            ("ａＢ１２３４", "aB1234"),
        ] {
            assert_eq!(canonical(&record, raw).as_deref(), Ok(value), "{raw}");
        }
        let upper = cased("[A-Z]{2}[0-9]{4}", "", CheckDigit::None, LetterCase::Keep).unwrap();
        assert_eq!(
            canonical(&upper, "ab1234"),
            Err(Code::IdentifierPattern),
            "kept, and so not of the pattern"
        );
        let digits = cased("[0-9]+", "-", CheckDigit::Luhn, LetterCase::Keep).unwrap();
        assert_eq!(
            canonical(&digits, "7992-739-8713").as_deref(),
            Ok("79927398713")
        );
        let fault = cased("[a-z0-9]+", "", CheckDigit::Luhn, LetterCase::Keep).unwrap_err();
        assert!(fault.contains("digits"), "{fault}");
    }

    #[test]
    fn every_refusal_has_its_code() {
        let digits = scheme("[0-9]+", "-", CheckDigit::Luhn).unwrap();
        for (scheme, raw, code) in [
            (&cnie(), "", Code::IdentifierEmpty),
            (&cnie(), " - .", Code::IdentifierEmpty),
            (&cnie(), &"A".repeat(MAX_RAW + 1), Code::IdentifierTooLong),
            (&cnie(), &"\0".repeat(MAX_RAW + 1), Code::IdentifierTooLong),
            (
                &digits,
                &"0".repeat(MAX_CANONICAL + 1),
                Code::IdentifierTooLong,
            ),
            (&cnie(), "AB123\n456", Code::IdentifierControl),
            (&cnie(), "AB123456\r", Code::IdentifierControl),
            (&cnie(), "?\0", Code::IdentifierControl),
            (&cnie(), "é\u{7f}", Code::IdentifierControl),
            (&cnie(), "AB12\u{85}3456", Code::IdentifierControl),
            (&cnie(), "\u{9b}", Code::IdentifierControl),
            (&cnie(), "AB", Code::IdentifierPattern),
            (&cnie(), "123456", Code::IdentifierPattern),
            (&cnie(), "AB12345678", Code::IdentifierPattern),
            (&cnie(), "xAB123456", Code::IdentifierPattern),
            (&cnie(), "AB123456x", Code::IdentifierPattern),
            (&cnie(), "AB_123456", Code::IdentifierPattern),
            (&cnie(), "ÀB123456", Code::IdentifierCharacter),
            (&cnie(), "À", Code::IdentifierCharacter),
            (&cnie(), "AB12\u{2028}3456", Code::IdentifierCharacter),
            (&cnie(), "\u{feff}AB123456", Code::IdentifierCharacter),
            (&cnie(), "АВ123456", Code::IdentifierCharacter), // Cyrillic А and В
            (&cnie(), "AB١٢٣٤٥٦", Code::IdentifierCharacter), // Arabic-Indic digits
            (&cnie(), "AB12\u{200f}3456", Code::IdentifierCharacter), // a direction mark
            (&cnie(), "\u{fdfa}\u{fdfa}", Code::IdentifierCharacter),
            (&digits, "79927398710", Code::IdentifierCheckDigit),
            (&digits, "0", Code::IdentifierCheckDigit),
        ] {
            assert_eq!(canonical(scheme, raw), Err(code), "{raw:?}");
        }
        assert_eq!(
            canonical(&digits, "7992-739-8713").as_deref(),
            Ok("79927398713")
        );
    }

    #[test]
    fn a_pattern_matches_the_whole_value() {
        let scheme = scheme("A|AB|[0-9]{3}$", "", CheckDigit::None).unwrap();
        for (raw, ok) in [
            ("A", true),
            ("AB", true),
            ("ABC", false),
            ("012", true),
            ("0123", false),
            ("XA", false),
        ] {
            assert_eq!(canonical(&scheme, raw).is_ok(), ok, "{raw}");
        }
    }

    #[test]
    fn rules_that_cannot_work_are_refused() {
        for (pattern, separators, check, why) in [
            ("[A-Z", "", CheckDigit::None, "regular expression"),
            ("[a-z]+", "", CheckDigit::None, "matches no canonical"),
            (
                "[0-9]{2}-[0-9]",
                "-",
                CheckDigit::None,
                "matches no canonical",
            ),
            (
                "[0-9]{2} [0-9]",
                "",
                CheckDigit::None,
                "matches no canonical",
            ),
            ("[0-9]{65}", "", CheckDigit::None, "matches no canonical"),
            ("[0-9]*", "", CheckDigit::None, "empty"),
            ("[É]", "", CheckDigit::None, "ASCII"),
            ("", "", CheckDigit::None, "empty"),
            (
                "([A-Z0-9]{1,60}X){1,60}Y{0,500}(A|B)*[0-9]{900}",
                "",
                CheckDigit::None,
                "too large",
            ),
            ("[A-Z][0-9]{4}", "", CheckDigit::Luhn, "digits"),
            ("[0-9]+", "--", CheckDigit::None, "twice"),
            ("[0-9]+", "A", CheckDigit::None, "punctuation"),
            ("[0-9]+", "\t", CheckDigit::None, "punctuation"),
            ("[0-9]+", "–", CheckDigit::None, "punctuation"),
        ] {
            let fault = scheme(pattern, separators, check).unwrap_err();
            assert!(fault.contains(why), "{pattern:?} {separators:?}: {fault}");
        }
    }

    #[test]
    fn the_order_of_separators_does_not_matter() {
        let one = scheme("[0-9]+", " -", CheckDigit::None).unwrap();
        let other = scheme("[0-9]+", "- ", CheckDigit::None).unwrap();
        assert_eq!(one.rules(), other.rules());
    }

    proptest! {
        #[test]
        fn anything_at_all_is_an_answer(raw in "\\PC{0,40}|.{0,150}") {
            if let Ok(value) = canonical(&cnie(), &raw) {
                prop_assert!(value.len() <= MAX_CANONICAL && value.is_ascii());
                prop_assert_eq!(canonical(&cnie(), &value), Ok(value.clone()), "idempotent");
            }
        }

        #[test]
        fn spelling_does_not_matter(value in "[A-Z]{1,2}[0-9]{1,7}", seed in any::<u64>()) {
            let mut raw = String::new();
            for (place, character) in value.chars().enumerate() {
                match (seed >> (place * 3)) & 7 {
                    0 => raw.push_str(" -"),
                    1 => raw.push('\u{3000}'),
                    _ => {}
                }
                raw.push(match (seed >> (place * 5)) & 3 {
                    0 => character.to_ascii_lowercase(),
                    1 => char::from_u32(character as u32 + 0xfee0).unwrap(), // full width
                    _ => character,
                });
            }
            prop_assert_eq!(canonical(&cnie(), &raw), Ok(value));
        }

        #[test]
        fn the_fast_path_and_the_other_agree(raw in "[ -~]{0,20}") {
            let scheme = cnie();
            let (mut fast, mut slow) = (Vec::new(), Vec::new());
            let one = scheme.append(&raw, &mut fast).and_then(|walk| scheme.judge(walk, &fast));
            let two = scheme.append_unicode(&raw, &mut slow).and_then(|walk| scheme.judge(walk, &slow));
            prop_assert_eq!((one, fast), (two, slow));
        }
    }
}
