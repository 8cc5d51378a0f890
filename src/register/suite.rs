//! The suites that an authority's key may have.

use std::fmt;

/// An HPKE suite (RFC 9180, mode base) by its KEM; KDF is HKDF-SHA256 and AEAD is ChaCha20-Poly1305
/// in each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Suite {
    /// Suite 1: DHKEM(X25519, HKDF-SHA256).
    X25519,
    /// Suite 2: X-Wing (draft-connolly-cfrg-xwing-kem), which is X25519 and ML-KEM-768 at once: an
    /// attacker who keeps segments today for a quantum computer tomorrow must break both.
    XWing,
}

impl Suite {
    /// All of them.
    pub const ALL: [Suite; 2] = [Self::X25519, Self::XWing];

    /// Its number in registers and segments.
    pub const fn number(self) -> u8 {
        match self {
            Self::X25519 => 1,
            Self::XWing => 2,
        }
    }

    /// The suite of that number.
    pub fn from_number(number: u64) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|suite| u64::from(suite.number()) == number)
    }

    /// Its name for people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::X25519 => "x25519",
            Self::XWing => "x-wing",
        }
    }

    /// The suite of that name or number, as a command line gives it.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|suite| suite.as_str() == text || suite.number().to_string() == text)
    }

    /// Bytes of a public key.
    pub const fn public_len(self) -> usize {
        match self {
            Self::X25519 => 32,
            Self::XWing => 1216,
        }
    }

    /// Bytes of what is sent along with a ciphertext (`enc`).
    pub const fn enc_len(self) -> usize {
        match self {
            Self::X25519 => 32,
            Self::XWing => 1120,
        }
    }

    /// The suite whose public keys are as long as this one.
    pub fn of_public(public: &[u8]) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|suite| suite.public_len() == public.len())
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
