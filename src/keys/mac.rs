//! HMAC-SHA256 (RFC 2104) over short messages, from precomputed states.
//!
//! A key is hashed into its inner and outer state once; a message of at most [`SHORT`] bytes then costs exactly two calls of
//! the compression function, which is `sha2`'s own, and nothing around them. Longer messages take the `hmac` crate's way.
//! That crate is also what every result is tested against.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use sha2::block_api::compress256;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::Key;
use super::locked::Locked;

/// The longest message that fits one block beside the padding (FIPS 180-4, section 5.1.1), in bytes.
pub(super) const SHORT: usize = 64 - 1 - 8;

/// FIPS 180-4, section 5.3.3.
const INITIAL: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// A key, ready for many short messages; its states lie in locked memory.
pub(super) struct ShortMac(Locked<States>);

struct States {
    inner: [u32; 8],
    outer: [u32; 8],
    long: Hmac<Sha256>,
}

/// The block that messages are laid into; wiped on drop.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(super) struct Scratch([u8; 64]);

impl Scratch {
    pub(super) fn new() -> Self {
        Self([0; 64])
    }
}

impl ShortMac {
    pub(super) fn new(key: &Key) -> Self {
        let state = |pad: u8| {
            let mut block = [pad; 64];
            block.iter_mut().zip(key.expose()).for_each(|(byte, key)| *byte ^= key);
            let mut state = INITIAL;
            compress256(&mut state, &[block]);
            block.zeroize();
            state
        };
        let long = Hmac::new_from_slice(key.expose()).expect("HMAC takes a key of any length");
        Self(Locked::new(States { inner: state(0x36), outer: state(0x5c), long }))
    }

    /// HMAC-SHA256 of `parts`, one after the other.
    #[inline]
    pub(super) fn mac(&self, parts: [&[u8]; 2], scratch: &mut Scratch) -> [u8; 32] {
        let len = parts[0].len() + parts[1].len();
        if len > SHORT {
            return self.0.long.clone().chain_update(parts[0]).chain_update(parts[1]).finalize().into_bytes().into();
        }
        let block = &mut scratch.0;
        block[..parts[0].len()].copy_from_slice(parts[0]);
        block[parts[0].len()..len].copy_from_slice(parts[1]);
        let mut state = finish(self.0.inner, block, len);
        for (bytes, word) in block.chunks_exact_mut(4).zip(&state) {
            bytes.copy_from_slice(&word.to_be_bytes());
        }
        state = finish(self.0.outer, block, 32);
        let mut tag = [0; 32];
        for (bytes, word) in tag.chunks_exact_mut(4).zip(&state) {
            bytes.copy_from_slice(&word.to_be_bytes());
        }
        tag
    }
}

/// Pads the block behind `len` bytes, as the second block of a hash, and compresses it.
#[inline]
fn finish(mut state: [u32; 8], block: &mut [u8; 64], len: usize) -> [u32; 8] {
    block[len] = 0x80;
    block[len + 1..56].fill(0);
    block[56..].copy_from_slice(&((64 + len as u64) * 8).to_be_bytes());
    compress256(&mut state, std::slice::from_ref(block));
    state
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Against the `hmac` crate, across the border between short and long.
        #[test]
        fn agrees_with_the_hmac_crate(key: [u8; 32], message in prop::collection::vec(any::<u8>(), 0..80), cut in 0usize..80) {
            let (head, tail) = message.split_at(cut.min(message.len()));
            let expected: [u8; 32] =
                Hmac::<Sha256>::new_from_slice(&key).unwrap().chain_update(&message).finalize().into_bytes().into();
            let mac = ShortMac::new(&Key::take(&mut key.clone()));
            prop_assert_eq!(mac.mac([head, tail], &mut Scratch::new()), expected);
        }
    }

    /// RFC 4231, test case 2, has a short key: here as the 32 bytes that HMAC pads it to.
    #[test]
    fn rfc_4231() {
        let mut key = [0; 32];
        key[..4].copy_from_slice(b"Jefe");
        let tag = ShortMac::new(&Key::take(&mut key)).mac([b"what do ya want ", b"for nothing?"], &mut Scratch::new());
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(data_encoding::HEXLOWER.encode(&tag), expected);
    }

    #[test]
    fn the_border_is_where_the_padding_ends() {
        let mac = ShortMac::new(&Key::take(&mut [7; 32]));
        for len in SHORT - 1..=SHORT + 1 {
            let message = vec![5; len];
            let expected: [u8; 32] =
                Hmac::<Sha256>::new_from_slice(&[7; 32]).unwrap().chain_update(&message).finalize().into_bytes().into();
            assert_eq!(mac.mac([&message, b""], &mut Scratch::new()), expected, "{len}");
        }
    }
}
