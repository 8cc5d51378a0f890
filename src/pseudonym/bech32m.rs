//! The `bech32m` text form: BIP 350 with a sector's tag as the human-readable part.
//!
//! ```text
//! tag ‖ "1" ‖ epoch mod 32 (1 character) ‖ pseudonym (26 characters: 128 bits, two zero bits) ‖ checksum (6 characters)
//! ```
//!
//! The checksum is the remainder of a division over GF(2)\[x\], so it is linear: the checksum of a
//! text is that of the text with an all-zero pseudonym, xored with one constant for each bit that
//! is set. Both the constants, one table per byte position, and the characters, one table for each
//! ten bits, are computed at compile time; writing is 32 look-ups. Reading goes through the
//! `bech32` crate instead, so that the two check each other.

use bech32::Bech32m;
use bech32::primitives::decode::CheckedHrpstring;

use super::{ParsedPseudonym, Pseudonym, TextForm};
use crate::code::Code;

/// Letters of the longest tag.
pub(super) const MAX_TAG: usize = 12;
/// Characters after the `1`: epoch, pseudonym, checksum.
const DATA: usize = 1 + 26 + 6;
/// The longest text.
pub(super) const MAX_LEN: usize = MAX_TAG + 1 + DATA;

/// The 32 characters (BIP 173): one for each five bits.
const CHARSET: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
/// The generator (BIP 173): what each of the five bits that leave the register does to it.
const GENERATOR: [u32; 5] = [
    0x3b6a_57b2,
    0x2650_8e6d,
    0x1ea1_19fa,
    0x3d42_33dd,
    0x2a14_62b3,
];
/// What sets Bech32m apart from Bech32 (BIP 350).
const BECH32M: u32 = 0x2bc8_30a3;

/// One step of the checksum's register (`bech32_polymod` of BIP 173), for one five-bit value.
const fn step(register: u32, value: u32) -> u32 {
    let mut next = (register & 0x01ff_ffff) << 5 ^ value;
    let mut i = 0;
    while i < 5 {
        if register >> (25 + i) & 1 == 1 {
            next ^= GENERATOR[i];
        }
        i += 1;
    }
    next
}

/// The steps for `count` zero values.
const fn zeros(mut register: u32, count: usize) -> u32 {
    let mut i = 0;
    while i < count {
        register = step(register, 0);
        i += 1;
    }
    register
}

/// What each value of each byte of the pseudonym adds to the checksum.
static CHECKSUM: [[u32; 256]; 16] = {
    let mut table = [[0; 256]; 16];
    let mut position = 0;
    while position < 16 {
        let mut byte = 1usize;
        while byte < 256 {
            // The lowest set bit alone, then the rest, which was computed before.
            let rest = byte & (byte - 1);
            let bit = position * 8 + 7 - byte.trailing_zeros() as usize;
            let (character, value) = (bit / 5, 1 << (4 - bit % 5));
            table[position][byte] = table[position][rest] ^ zeros(value, 26 - 1 - character + 6);
            byte += 1;
        }
        position += 1;
    }
    table
};

/// The two characters of each ten bits.
static PAIRS: [[u8; 2]; 1024] = {
    let mut table = [[0; 2]; 1024];
    let mut i = 0;
    while i < 1024 {
        table[i] = [CHARSET[i >> 5], CHARSET[i & 31]];
        i += 1;
    }
    table
};

fn pair(bits: u32) -> [u8; 2] {
    PAIRS[(bits & 1023) as usize]
}

/// Writes pseudonyms under one tag and epoch.
#[derive(Debug, Clone)]
pub(super) struct Bech32mWriter {
    /// Tag, `1` and the epoch's character.
    head: [u8; MAX_TAG + 2],
    head_len: usize,
    /// The checksum where the pseudonym is all zero.
    checksum: u32,
}

impl Bech32mWriter {
    pub(super) fn new(tag: &str, epoch: u32) -> Self {
        let epoch = epoch % 32;
        let tag = tag.as_bytes();
        let mut head = [0; MAX_TAG + 2];
        head[..tag.len()].copy_from_slice(tag);
        head[tag.len()] = b'1';
        head[tag.len() + 1] = CHARSET[epoch as usize];

        // The human-readable part, expanded (BIP 173): high bits, a zero, low bits.
        let high = tag.iter().map(|b| u32::from(b >> 5));
        let low = tag.iter().map(|b| u32::from(b & 31));
        let register = high.chain([0]).chain(low).chain([epoch]).fold(1, step);
        Self {
            head,
            head_len: tag.len() + 2,
            checksum: zeros(register, 26 + 6) ^ BECH32M,
        }
    }

    pub(super) const fn text_len(&self) -> usize {
        self.head_len - 1 + DATA
    }

    pub(super) fn write(&self, pseudonym: &[u8; 16], out: &mut Vec<u8>) {
        let checksum = pseudonym
            .iter()
            .zip(&CHECKSUM)
            .fold(self.checksum, |sum, (&byte, table)| {
                sum ^ table[usize::from(byte)]
            });
        let bits = u128::from_be_bytes(*pseudonym);
        let mut tail = [[0; 2]; 16];
        for (i, two) in tail[..12].iter_mut().enumerate() {
            *two = pair((bits >> (118 - 10 * i)) as u32);
        }
        tail[12] = pair((bits as u32 & 0xff) << 2);
        tail[13] = pair(checksum >> 20);
        tail[14] = pair(checksum >> 10);
        tail[15] = pair(checksum);

        out.extend_from_slice(&self.head[..self.head_len]);
        out.extend_from_slice(tail.as_flattened());
    }
}

/// Whether a byte is a data character: one look-up, because a search through the 32 took a sixth of
/// a re-identification's time.
static IN_CHARSET: [bool; 256] = {
    let (mut table, mut at) = ([false; 256], 0);
    while at < CHARSET.len() {
        table[CHARSET[at] as usize] = true;
        at += 1;
    }
    table
};

/// Reads the canonical spelling. A text of another form is malformed before its checksum counts, a
/// wrong checksum (which may sit in the tag) before the tag, and another sector's tag before
/// anything that only this sector could know.
pub(super) fn parse(tag: &str, text: &str) -> Result<ParsedPseudonym, Code> {
    let (own, data) = text.split_once('1').ok_or(Code::PseudonymMalformed)?;
    if !super::is_tag(own)
        || data.len() != DATA
        || !data.bytes().all(|b| IN_CHARSET[usize::from(b)])
    {
        return Err(Code::PseudonymMalformed);
    }
    let checked = CheckedHrpstring::new::<Bech32m>(text).map_err(|_| Code::PseudonymChecksum)?;
    if own != tag {
        return Err(Code::PseudonymOtherSector);
    }
    let mut values = [0; 27];
    values
        .iter_mut()
        .zip(checked.fe32_iter())
        .for_each(|(to, from)| *to = from.to_u8());
    let [epoch, upper @ .., last] = values;
    if last & 0b11 != 0 {
        return Err(Code::PseudonymMalformed);
    }
    // 25 characters hold 125 bits, the last one three more and the padding.
    let bits = upper
        .iter()
        .fold(0u128, |bits, &value| bits << 5 | u128::from(value))
        << 3
        | u128::from(last >> 2);
    Ok(ParsedPseudonym {
        pseudonym: Pseudonym(bits.to_be_bytes()),
        form: TextForm::Bech32m,
        epoch_mod_32: Some(epoch),
    })
}

#[cfg(test)]
mod tests {
    use bech32::primitives::iter::{ByteIterExt, Fe32IterExt};
    use bech32::{Fe32, Hrp};
    use proptest::prelude::*;

    use super::*;

    /// The same text by the `bech32` crate.
    fn reference(tag: &str, epoch: u8, pseudonym: &[u8; 16]) -> String {
        let hrp = Hrp::parse(tag).unwrap();
        let epoch = Fe32::try_from(epoch % 32).unwrap();
        let values = [epoch]
            .into_iter()
            .chain(pseudonym.iter().copied().bytes_to_fes());
        values.with_checksum::<Bech32m>(&hrp).chars().collect()
    }

    fn text(tag: &str, epoch: u32, pseudonym: &[u8; 16]) -> String {
        let mut out = Vec::new();
        Bech32mWriter::new(tag, epoch).write(pseudonym, &mut out);
        String::from_utf8(out).unwrap()
    }

    /// Any data characters under a sound checksum: as only a buggy or hostile writer makes.
    fn sound(tag: &str, values: &[u8]) -> String {
        let hrp = Hrp::parse(tag).unwrap();
        let values = values.iter().map(|&v| Fe32::try_from(v).unwrap());
        values.with_checksum::<Bech32m>(&hrp).chars().collect()
    }

    #[test]
    fn each_bit_in_each_place_as_the_bech32_crate_has_it() {
        for bit in 0..128 {
            let pseudonym = (1u128 << bit).to_be_bytes();
            for tag in ["ab", "sante", "abcdefghijkl"] {
                assert_eq!(text(tag, 3, &pseudonym), reference(tag, 3, &pseudonym));
            }
        }
        for epoch in 0..70 {
            assert_eq!(
                text("sante", epoch, &[0; 16]),
                reference("sante", epoch as u8 % 32, &[0; 16])
            );
        }
        assert!(text("sante", 3, &[0; 16]).starts_with("sante1r"));
    }

    proptest! {
        #[test]
        fn as_the_bech32_crate_writes_it(p: [u8; 16], tag in "[a-z]{2,12}", epoch in 0..32u8) {
            prop_assert_eq!(text(&tag, epoch.into(), &p), reference(&tag, epoch, &p));
        }

        #[test]
        fn any_single_change_is_refused(p: [u8; 16], tag in "[a-z]{2,12}", epoch: u32, other in any::<char>()) {
            let good = text(&tag, epoch, &p);
            for at in 0..good.len() {
                // Each place gets all of the characters that texts are made of, and one from
                // anywhere.
                for c in ('0'..='9').chain('a'..='z').chain('A'..='Z').chain(['-', ' ', other]) {
                    let changed = format!("{}{c}{}", &good[..at], &good[at + 1..]);
                    if changed != good {
                        let refused = parse(&tag, &changed).unwrap_err();
                        prop_assert!(matches!(refused, Code::PseudonymMalformed | Code::PseudonymChecksum), "{}", changed);
                    }
                }
            }
        }

        #[test]
        fn any_insertion_deletion_or_swap_is_refused(p: [u8; 16], tag in "[a-z]{2,12}", epoch: u32) {
            let good = text(&tag, epoch, &p);
            for at in 0..good.len() {
                let shorter = format!("{}{}", &good[..at], &good[at + 1..]);
                prop_assert!(parse(&tag, &shorter).is_err());
                for c in ('0'..='9').chain('a'..='z') {
                    let longer = format!("{}{c}{}", &good[..at], &good[at..]);
                    prop_assert!(parse(&tag, &longer).is_err());
                }
                let mut swapped = good.clone().into_bytes();
                swapped.swap(at, (at + 1) % good.len());
                let swapped = String::from_utf8(swapped).unwrap();
                prop_assert!(swapped == good || parse(&tag, &swapped).is_err());
            }
        }

        #[test]
        fn another_tag_is_refused_as_such(p: [u8; 16], tag in "[a-z]{2,12}", other in "[a-z]{2,12}", epoch: u32) {
            prop_assume!(tag != other);
            prop_assert_eq!(parse(&other, &text(&tag, epoch, &p)), Err(Code::PseudonymOtherSector));
        }
    }

    #[test]
    fn padding_is_zero() {
        let mut values = [7; 27];
        for last in 0..32 {
            values[26] = last;
            let parsed = parse("sante", &sound("sante", &values));
            if last % 4 == 0 {
                assert!(parsed.is_ok());
            } else {
                assert_eq!(parsed, Err(Code::PseudonymMalformed));
            }
        }
    }

    #[test]
    fn length_is_exact() {
        for len in 0..40 {
            let parsed = parse("sante", &sound("sante", &vec![4; len]));
            assert_eq!(parsed.is_ok(), len == 27, "{len} data characters");
        }
    }

    #[test]
    fn bech32_of_bip_173_is_another_checksum() {
        let hrp = Hrp::parse("sante").unwrap();
        let values = [4; 27].map(|v| Fe32::try_from(v).unwrap());
        let text: String = values
            .into_iter()
            .with_checksum::<bech32::Bech32>(&hrp)
            .chars()
            .collect();
        assert_eq!(parse("sante", &text), Err(Code::PseudonymChecksum));
    }

    #[test]
    fn upper_and_mixed_case_are_refused() {
        let good = text("sante", 3, &[0x5a; 16]);
        let mixed = good.replacen('r', "R", 1);
        for bad in [
            good.to_uppercase(),
            mixed,
            good.replacen("sante", "Sante", 1),
        ] {
            assert_eq!(parse("sante", &bad), Err(Code::PseudonymMalformed));
        }
    }
}
