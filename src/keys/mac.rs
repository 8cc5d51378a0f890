//! HMAC-SHA256 (RFC 2104) over short messages, from precomputed states.
//!
//! A key is hashed into its inner and outer state once; a message of at most [`SHORT`] bytes then
//! costs exactly two calls of `sha2`'s compression function and nothing more. Longer messages go
//! through the `hmac` crate, against which the tests also check every result.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use sha2::block_api::compress256;
use zeroize::Zeroize;

use super::Key;
use super::locked::Locked;

/// The longest message that fits one block beside the padding (FIPS 180-4, section 5.1.1), in
/// bytes.
pub(super) const SHORT: usize = 64 - 1 - 8;

/// Messages that are hashed together.
const GROUP: usize = 8;

/// FIPS 180-4, section 5.3.3.
const INITIAL: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// A key, ready for many short messages; its states lie in locked memory, which wipes them.
pub(super) struct ShortMac(Locked<MacStates>);

struct MacStates {
    inner: [u32; 8],
    outer: [u32; 8],
    long: Hmac<Sha256>,
}

impl ShortMac {
    pub(super) fn new(key: &Key) -> Self {
        let state = |pad: u8| {
            let mut block = [pad; 64];
            block
                .iter_mut()
                .zip(key.expose())
                .for_each(|(byte, key)| *byte ^= key);
            let mut state = INITIAL;
            compress256(&mut state, &[block]);
            block.zeroize();
            state
        };
        let long = Hmac::new_from_slice(key.expose()).expect("HMAC takes a key of any length");
        Self(Locked::new(MacStates {
            inner: state(0x36),
            outer: state(0x5c),
            long,
        }))
    }

    /// Many messages under this key; `wrap` makes the tag's own type.
    pub(super) fn batch<T, W: Fn([u8; 32]) -> T>(&self, wrap: W) -> MacBatch<'_, W> {
        MacBatch {
            key: self,
            wrap,
            blocks: [[0; 64]; GROUP],
            filled: 0,
        }
    }
}

/// Messages that are hashed together: the inner hashes of a group first, then the outer ones. They
/// do not depend on one another, so the processor works on several at a time.
pub(super) struct MacBatch<'k, W> {
    key: &'k ShortMac,
    wrap: W,
    blocks: [[u8; 64]; GROUP],
    filled: usize,
}

impl<W> Drop for MacBatch<'_, W> {
    fn drop(&mut self) {
        self.blocks.zeroize();
    }
}

impl<W> MacBatch<'_, W> {
    /// Adds the message that `parts` make one after the other. Tags are appended in order, the last
    /// ones by [`MacBatch::finish`].
    #[inline]
    pub(super) fn push<T>(&mut self, parts: [&[u8]; 3], tags: &mut Vec<T>)
    where
        W: Fn([u8; 32]) -> T,
    {
        let len = parts.iter().map(|part| part.len()).sum();
        if len > SHORT {
            self.finish(tags);
            let mac = parts
                .iter()
                .fold(self.key.0.long.clone(), hmac::Mac::chain_update);
            tags.push((self.wrap)(mac.finalize().into_bytes().into()));
            return;
        }
        let block = &mut self.blocks[self.filled];
        let mut at = 0;
        for part in parts {
            block[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        pad(block, len);
        self.filled += 1;
        if self.filled == GROUP {
            self.finish(tags);
        }
    }

    /// Hashes what has been added and not hashed yet.
    pub(super) fn finish<T>(&mut self, tags: &mut Vec<T>)
    where
        W: Fn([u8; 32]) -> T,
    {
        let blocks = &mut self.blocks[..self.filled];
        let mut states = [self.key.0.inner; GROUP];
        for (block, state) in blocks.iter_mut().zip(&mut states) {
            compress256(state, std::slice::from_ref(block));
        }
        for (block, state) in blocks.iter_mut().zip(&states) {
            block[..32].copy_from_slice(&to_bytes(state));
            pad(block, 32);
        }
        states = [self.key.0.outer; GROUP];
        for (block, state) in blocks.iter().zip(&mut states) {
            compress256(state, std::slice::from_ref(block));
        }
        tags.extend(
            states[..self.filled]
                .iter()
                .map(|state| (self.wrap)(to_bytes(state))),
        );
        self.filled = 0;
    }
}

/// Pads a message of `len` bytes that is the second block of a hash (FIPS 180-4, section 5.1.1).
#[inline]
fn pad(block: &mut [u8; 64], len: usize) {
    block[len] = 0x80;
    block[len + 1..56].fill(0);
    block[56..].copy_from_slice(&((64 + len as u64) * 8).to_be_bytes());
}

#[inline]
fn to_bytes(state: &[u32; 8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes
        .chunks_exact_mut(4)
        .zip(state)
        .for_each(|(bytes, word)| bytes.copy_from_slice(&word.to_be_bytes()));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tags(key: &[u8; 32], messages: &[[&[u8]; 3]]) -> Vec<[u8; 32]> {
        let mac = ShortMac::new(&Key::take(&mut key.clone()));
        let (mut batch, mut tags) = (mac.batch(|tag| tag), vec![]);
        messages
            .iter()
            .for_each(|parts| batch.push(*parts, &mut tags));
        batch.finish(&mut tags);
        tags
    }

    fn by_the_hmac_crate(key: &[u8; 32], message: &[u8]) -> [u8; 32] {
        Hmac::<Sha256>::new_from_slice(key)
            .unwrap()
            .chain_update(message)
            .finalize()
            .into_bytes()
            .into()
    }

    proptest! {
        /// Against the `hmac` crate, across the borders between short and long and between groups.
        #[test]
        fn agrees_with_the_hmac_crate(
            key: [u8; 32],
            messages in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..80), 0usize..80, 0usize..80), 0..40),
        ) {
            let cut = |(message, one, other): &'_ (Vec<u8>, usize, usize)| {
                let (one, other) = (*one.min(other), *one.max(other));
                (one.min(message.len()), other.min(message.len()))
            };
            let parts: Vec<[&[u8]; 3]> = messages
                .iter()
                .map(|entry| {
                    let (one, other) = cut(entry);
                    [&entry.0[..one], &entry.0[one..other], &entry.0[other..]]
                })
                .collect();
            let expected: Vec<_> = messages.iter().map(|(message, ..)| by_the_hmac_crate(&key, message)).collect();
            prop_assert_eq!(tags(&key, &parts), expected);
        }
    }

    /// RFC 4231, test case 2, has a short key: here as the 32 bytes that HMAC pads it to.
    #[test]
    fn rfc_4231() {
        let mut key = [0; 32];
        key[..4].copy_from_slice(b"Jefe");
        let tags = tags(&key, &[[b"what do ya want ", b"for ", b"nothing?"]]);
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(data_encoding::HEXLOWER.encode(&tags[0]), expected);
    }

    #[test]
    fn the_border_is_where_the_padding_ends() {
        for len in SHORT - 1..=SHORT + 1 {
            let message = vec![5; len];
            assert_eq!(
                tags(&[7; 32], &[[&message, b"", b""]]),
                [by_the_hmac_crate(&[7; 32], &message)],
                "{len}"
            );
        }
    }
}
