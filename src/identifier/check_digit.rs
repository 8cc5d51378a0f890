//! Check digits: they catch a mistyped identifier before it becomes a stranger's pseudonym.
//!
//! All four run over the whole canonical value, which must then consist of ASCII digits, the last
//! one being the check digit. They protect no secret: a match only means that the value was typed
//! well.

use serde::{Deserialize, Serialize};

/// A check digit's algorithm, as the register names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum CheckDigit {
    /// No check digit.
    #[default]
    #[serde(rename = "none")]
    None,
    /// ISO/IEC 7812-1, annex B: doubles every second digit. Misses the transposition of 0 and 9.
    #[serde(rename = "luhn")]
    Luhn,
    /// J. Verhoeff, 1969: the dihedral group D5. Catches every single error and adjacent
    /// transposition.
    #[serde(rename = "verhoeff")]
    Verhoeff,
    /// H. M. Damm, 2004: a totally anti-symmetric quasigroup. Catches the same without
    /// permutations.
    #[serde(rename = "damm")]
    Damm,
    /// ISO/IEC 7064, the hybrid system MOD 11,10.
    #[serde(rename = "iso7064-11-10")]
    Iso7064Mod11_10,
}

impl CheckDigit {
    /// Every algorithm on offer.
    pub const ALL: [CheckDigit; 5] = [
        CheckDigit::None,
        CheckDigit::Luhn,
        CheckDigit::Verhoeff,
        CheckDigit::Damm,
        CheckDigit::Iso7064Mod11_10,
    ];

    /// The spelling in the register.
    pub const fn as_str(self) -> &'static str {
        match self {
            CheckDigit::None => "none",
            CheckDigit::Luhn => "luhn",
            CheckDigit::Verhoeff => "verhoeff",
            CheckDigit::Damm => "damm",
            CheckDigit::Iso7064Mod11_10 => "iso7064-11-10",
        }
    }

    /// The algorithm of that name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|check| check.as_str() == text)
    }

    /// Whether `value` ends in its right check digit. A value with anything but digits, or with
    /// fewer than two, has none.
    pub fn holds(self, value: &[u8]) -> bool {
        if self == CheckDigit::None {
            return true;
        }
        if value.len() < 2 || !value.iter().all(u8::is_ascii_digit) {
            return false;
        }
        let digits = value.iter().map(|byte| usize::from(byte - b'0'));
        match self {
            CheckDigit::None => true,
            CheckDigit::Luhn => luhn(digits.rev()),
            CheckDigit::Verhoeff => verhoeff(digits.rev()),
            CheckDigit::Damm => damm(digits),
            CheckDigit::Iso7064Mod11_10 => iso7064_mod_11_10(digits),
        }
    }
}

/// From the right; the check digit itself counts once.
fn luhn(from_the_right: impl Iterator<Item = usize>) -> bool {
    let sum: usize = from_the_right
        .enumerate()
        .map(|(place, digit)| match place % 2 {
            0 => digit,
            _ => digit * 2 / 10 + digit * 2 % 10,
        })
        .sum();
    sum.is_multiple_of(10)
}

fn verhoeff(from_the_right: impl Iterator<Item = usize>) -> bool {
    let product = from_the_right
        .enumerate()
        .fold(0, |so_far, (place, digit)| {
            usize::from(DIHEDRAL[so_far][usize::from(PERMUTATION[place % 8][digit])])
        });
    product == 0
}

fn damm(from_the_left: impl Iterator<Item = usize>) -> bool {
    from_the_left.fold(0, |interim, digit| usize::from(QUASIGROUP[interim][digit])) == 0
}

/// ISO/IEC 7064 clause 9: every digit but the last goes through the product; the last one must
/// bring the sum to 1.
fn iso7064_mod_11_10(from_the_left: impl Iterator<Item = usize>) -> bool {
    let mut product = 10;
    let mut sum = 0;
    for digit in from_the_left {
        sum = (product + digit) % 10;
        product = if sum == 0 { 10 } else { sum } * 2 % 11;
    }
    sum == 1
}

/// Multiplication in D5, Verhoeff's `d`.
const DIHEDRAL: [[u8; 10]; 10] = [
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
    [1, 2, 3, 4, 0, 6, 7, 8, 9, 5],
    [2, 3, 4, 0, 1, 7, 8, 9, 5, 6],
    [3, 4, 0, 1, 2, 8, 9, 5, 6, 7],
    [4, 0, 1, 2, 3, 9, 5, 6, 7, 8],
    [5, 9, 8, 7, 6, 0, 4, 3, 2, 1],
    [6, 5, 9, 8, 7, 1, 0, 4, 3, 2],
    [7, 6, 5, 9, 8, 2, 1, 0, 4, 3],
    [8, 7, 6, 5, 9, 3, 2, 1, 0, 4],
    [9, 8, 7, 6, 5, 4, 3, 2, 1, 0],
];

/// The powers of Verhoeff's permutation, his `p`.
const PERMUTATION: [[u8; 10]; 8] = [
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
    [1, 5, 7, 6, 2, 8, 3, 0, 9, 4],
    [5, 8, 0, 3, 7, 9, 6, 1, 4, 2],
    [8, 9, 1, 6, 0, 4, 3, 5, 2, 7],
    [9, 4, 5, 3, 1, 2, 6, 8, 7, 0],
    [4, 2, 8, 6, 5, 7, 3, 9, 0, 1],
    [2, 7, 9, 3, 8, 0, 6, 4, 1, 5],
    [7, 0, 4, 6, 9, 1, 3, 2, 5, 8],
];

/// The totally anti-symmetric quasigroup of order 10 from Damm's dissertation (page 111).
const QUASIGROUP: [[u8; 10]; 10] = [
    [0, 3, 1, 7, 5, 9, 8, 6, 4, 2],
    [7, 0, 9, 2, 1, 5, 4, 8, 6, 3],
    [4, 2, 0, 6, 8, 7, 1, 3, 5, 9],
    [1, 7, 5, 0, 9, 8, 3, 4, 2, 6],
    [6, 1, 2, 3, 0, 4, 5, 9, 7, 8],
    [3, 6, 7, 4, 2, 0, 9, 5, 8, 1],
    [5, 8, 6, 9, 7, 2, 0, 1, 3, 4],
    [8, 9, 4, 5, 3, 6, 2, 0, 1, 7],
    [9, 4, 3, 8, 6, 1, 7, 2, 0, 5],
    [2, 5, 8, 1, 4, 3, 6, 7, 9, 0],
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CHECKED: [CheckDigit; 4] = [
        CheckDigit::Luhn,
        CheckDigit::Verhoeff,
        CheckDigit::Damm,
        CheckDigit::Iso7064Mod11_10,
    ];

    #[test]
    fn published_examples() {
        // From ISO/IEC 7812 and its Wikipedia article; Verhoeff 1969; Damm 2004; the example of
        // ISO/IEC 7064.
        for (check, value) in [
            (CheckDigit::Luhn, "79927398713"),
            (CheckDigit::Luhn, "4539578763621486"),
            (CheckDigit::Verhoeff, "2363"),
            (CheckDigit::Verhoeff, "123451"),
            (CheckDigit::Damm, "5724"),
            (CheckDigit::Damm, "112946"),
            (CheckDigit::Iso7064Mod11_10, "07945"),
        ] {
            assert!(
                check.holds(value.as_bytes()),
                "{} of {value}",
                check.as_str()
            );
        }
    }

    #[test]
    fn names_go_both_ways() {
        for check in CheckDigit::ALL {
            assert_eq!(CheckDigit::parse(check.as_str()), Some(check));
            assert_eq!(
                serde_json::to_string(&check).unwrap(),
                format!("\"{}\"", check.as_str())
            );
        }
        assert_eq!(CheckDigit::parse("Luhn"), None);
    }

    #[test]
    fn too_short_or_not_digits() {
        for check in CHECKED {
            for value in ["", "0", "1", "A0", "00A", "0 0"] {
                assert!(
                    !check.holds(value.as_bytes()),
                    "{} of {value:?}",
                    check.as_str()
                );
            }
        }
    }

    proptest! {
        #[test]
        fn exactly_one_check_digit_fits(body in "[0-9]{1,20}") {
            for check in CHECKED {
                let fitting = (0..10).filter(|digit| check.holds(format!("{body}{digit}").as_bytes())).count();
                prop_assert_eq!(fitting, 1, "{}", check.as_str());
            }
        }

        #[test]
        fn every_single_wrong_digit_is_caught(body in "[0-9]{1,20}", place in 0usize..21, by in 1u8..10) {
            for check in CHECKED {
                let mut value = body.clone().into_bytes();
                let digit = (b'0'..=b'9').find(|digit| check.holds(&[&value[..], &[*digit]].concat())).unwrap();
                value.push(digit);
                let place = place % value.len();
                value[place] = b'0' + (value[place] - b'0' + by) % 10;
                prop_assert!(!check.holds(&value), "{}", check.as_str());
            }
        }

        #[test]
        fn adjacent_transpositions_are_caught(body in "[0-9]{2,20}", place in 0usize..20) {
            // Luhn misses 09 ↔ 90 and MOD 11,10 a few; Verhoeff and Damm none.
            for check in [CheckDigit::Verhoeff, CheckDigit::Damm] {
                let mut value = body.clone().into_bytes();
                let digit = (b'0'..=b'9').find(|digit| check.holds(&[&value[..], &[*digit]].concat())).unwrap();
                value.push(digit);
                let place = place % (value.len() - 1);
                prop_assume!(value[place] != value[place + 1]);
                value.swap(place, place + 1);
                prop_assert!(!check.holds(&value), "{}", check.as_str());
            }
        }
    }
}
