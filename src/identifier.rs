//! Identifiers: schemes, and the one canonical form of a value (design §4).
//!
//! Two clients who mean the same person must reach the same bytes, or that person has two pseudonyms; and whatever is not
//! plainly an identifier of the scheme is refused, because a typing error silently accepted is a stranger's pseudonym.
//! So: NFKC, upper case of the ASCII letters, the declared separators removed; what is left must be plain ASCII, match the
//! scheme's pattern as a whole and end in its check digit. A refusal is a [`Code`] and never repeats the value.

mod check_digit;
mod pattern;

use std::fmt;

use unicode_normalization::UnicodeNormalization;

pub use check_digit::CheckDigit;
use pattern::{Pattern, Walk};

use crate::code::Code;
use crate::id::Id;

/// The most bytes (UTF-8) of an identifier as a client presents it.
pub const MAX_RAW: usize = 128;

/// The most bytes of a canonical value.
pub const MAX_CANONICAL: usize = 64;

/// A scheme's rules: what is frozen at its first use, because another rule would be another canonical form and with it
/// other pseudonyms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemeRules {
    /// Stable id, bound into the derivation.
    pub id: Id,
    /// A regular expression over ASCII that the whole canonical value must match.
    pub pattern: String,
    /// ASCII characters that are removed wherever they stand: punctuation and space, each once.
    pub separators: String,
    /// The check digit that a canonical value ends in.
    pub check: CheckDigit,
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
    /// When a separator is a letter, a digit, repeated or not ASCII; when the pattern does not compile within its size
    /// limits, is not ASCII, or matches no canonical value, the empty one, or (with a check digit) one that is not all
    /// digits.
    pub fn new(mut rules: SchemeRules) -> Result<Scheme, String> {
        let mut separators: Vec<char> = rules.separators.chars().collect();
        separators.sort_unstable(); // their order means nothing, and so it must not change what is frozen
        if let Some(bad) = separators.iter().find(|c| !(**c == ' ' || c.is_ascii_punctuation())) {
            return Err(format!("the separator {bad:?} is neither a space nor ASCII punctuation"));
        }
        if let Some(pair) = separators.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(format!("the separator {:?} is written twice", pair[0]));
        }
        rules.separators = separators.into_iter().collect();
        let classes = std::array::from_fn(|byte| match byte as u8 {
            byte if byte.is_ascii_control() => CONTROL,
            byte if !byte.is_ascii() => BEYOND_ASCII,
            byte if rules.separators.contains(char::from(byte)) => REMOVED,
            byte => byte.to_ascii_uppercase(),
        });
        let canonical: Vec<u8> = (0x20..0x7f).filter(|byte| classes[usize::from(*byte)] == *byte).collect();
        let pattern = Pattern::compile(&rules.pattern)?;
        pattern.suits(&canonical, rules.check)?;
        Ok(Scheme { rules, pattern, classes })
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
    /// Plain ASCII, which is what nearly all identifiers are, takes one pass and allocates nothing.
    ///
    /// # Errors
    /// In this order: [`Code::IdentifierTooLong`] (as presented), [`Code::IdentifierControl`], [`Code::IdentifierEmpty`],
    /// [`Code::IdentifierTooLong`] (canonical), [`Code::IdentifierPattern`] and [`Code::IdentifierCheckDigit`].
    pub fn canonical(&self, raw: &str, out: &mut Vec<u8>) -> Result<(), Code> {
        let before = out.len();
        let done = self.append(raw, out).and_then(|walk| self.judge(walk, &out[before..]));
        if done.is_err() {
            out.truncate(before);
        }
        done
    }

    fn append(&self, raw: &str, out: &mut Vec<u8>) -> Result<Walk, Code> {
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
    fn append_unicode(&self, raw: &str, out: &mut Vec<u8>) -> Result<Walk, Code> {
        if raw.chars().any(char::is_control) {
            return Err(Code::IdentifierControl);
        }
        let before = out.len();
        let mut walk = self.pattern.start();
        let mut plain = true;
        // NFKC may lengthen: one character becomes at most 18, so this stays small.
        for character in raw.nfkc() {
            match u8::try_from(character).map_or(BEYOND_ASCII, |byte| self.classes[usize::from(byte)]) {
                REMOVED => {}
                CONTROL => return Err(Code::IdentifierControl), // no compatibility mapping yields one; were it so, refuse
                BEYOND_ASCII => plain = false,
                byte => {
                    walk = self.pattern.step(walk, byte);
                    out.push(byte);
                }
            }
        }
        match plain {
            true => Ok(walk),
            false if out.len() - before > MAX_CANONICAL => Err(Code::IdentifierTooLong),
            false => Err(Code::IdentifierPattern),
        }
    }

    fn judge(&self, walk: Walk, value: &[u8]) -> Result<(), Code> {
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

impl fmt::Debug for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Scheme").field(&self.rules).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scheme(pattern: &str, separators: &str, check: CheckDigit) -> Result<Scheme, String> {
        let id = Id::parse("test").unwrap();
        Scheme::new(SchemeRules { id, pattern: pattern.into(), separators: separators.into(), check })
    }

    fn cnie() -> Scheme {
        scheme("[A-Z]{1,2}[0-9]{1,7}", " -.", CheckDigit::None).unwrap()
    }

    fn canonical(scheme: &Scheme, raw: &str) -> Result<String, Code> {
        let mut out = b"before".to_vec();
        let done = scheme.canonical(raw, &mut out);
        let rest = out.strip_prefix(b"before").expect("what was there stays");
        assert!(done.is_ok() || rest.is_empty(), "an error leaves nothing behind");
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
            "AB①23456",
        ] {
            assert_eq!(canonical(&cnie(), raw).as_deref(), Ok("AB123456"), "{raw:?}");
        }
        assert_eq!(canonical(&cnie(), "be007").as_deref(), Ok("BE007"), "digits are kept as printed");
        assert_eq!(canonical(&cnie(), "\u{212a}7").as_deref(), Ok("K7"), "the Kelvin sign is a K under NFKC");
    }

    #[test]
    fn every_refusal_has_its_code() {
        let digits = scheme("[0-9]+", "-", CheckDigit::Luhn).unwrap();
        for (scheme, raw, code) in [
            (&cnie(), "", Code::IdentifierEmpty),
            (&cnie(), " - .", Code::IdentifierEmpty),
            (&cnie(), &"A".repeat(MAX_RAW + 1), Code::IdentifierTooLong),
            (&cnie(), &"\0".repeat(MAX_RAW + 1), Code::IdentifierTooLong),
            (&digits, &"0".repeat(MAX_CANONICAL + 1), Code::IdentifierTooLong),
            (&cnie(), "AB123\t456", Code::IdentifierControl),
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
            (&cnie(), "ÀB123456", Code::IdentifierPattern),
            (&cnie(), "АВ123456", Code::IdentifierPattern), // Cyrillic А and В
            (&cnie(), "AB١٢٣٤٥٦", Code::IdentifierPattern), // Arabic-Indic digits have no compatibility mapping
            (&cnie(), "AB12\u{200f}3456", Code::IdentifierPattern), // a direction mark
            (&cnie(), "\u{fdfa}\u{fdfa}", Code::IdentifierPattern),
            (&digits, "79927398710", Code::IdentifierCheckDigit),
            (&digits, "0", Code::IdentifierCheckDigit),
        ] {
            assert_eq!(canonical(scheme, raw), Err(code), "{raw:?}");
        }
        assert_eq!(canonical(&digits, "7992-739-8713").as_deref(), Ok("79927398713"));
    }

    #[test]
    fn a_pattern_matches_the_whole_value() {
        let scheme = scheme("A|AB|[0-9]{3}$", "", CheckDigit::None).unwrap();
        for (raw, ok) in [("A", true), ("AB", true), ("ABC", false), ("012", true), ("0123", false), ("XA", false)] {
            assert_eq!(canonical(&scheme, raw).is_ok(), ok, "{raw}");
        }
    }

    #[test]
    fn rules_that_cannot_work_are_refused() {
        for (pattern, separators, check, why) in [
            ("[A-Z", "", CheckDigit::None, "regular expression"),
            ("[a-z]+", "", CheckDigit::None, "matches no canonical"),
            ("[0-9]{2}-[0-9]", "-", CheckDigit::None, "matches no canonical"),
            ("[0-9]{65}", "", CheckDigit::None, "matches no canonical"),
            ("[0-9]*", "", CheckDigit::None, "empty"),
            ("[É]", "", CheckDigit::None, "ASCII"),
            ("", "", CheckDigit::None, "empty"),
            ("([A-Z0-9]{1,60}X){1,60}Y{0,500}(A|B)*[0-9]{900}", "", CheckDigit::None, "too large"),
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
    fn the_order_of_separators_is_no_rule() {
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
