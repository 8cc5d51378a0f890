//! Shares: secrets split between custodians. Any `threshold` of them recover the secrets; fewer
//! learn nothing.
//!
//! Pedersen's verifiable secret sharing (CRYPTO '91) over secp256k1: a secret of 32 bytes is a
//! scalar `s` (a random one is, but for one in 2¹²⁸), hidden in a random polynomial of degree
//! `threshold - 1` and blinded by a second one. The commitments to the coefficients are public, and
//! each share is checked against them by itself, so that a bad one is named and does no harm.
//! Pedersen's commitments hide `s` perfectly: an attacker who can compute discrete logarithms still
//! learns nothing from them or from `threshold - 1` shares. (Feldman's publish `s·G`: to a quantum
//! computer, that is `s`.)
//!
//! ```text
//! G, H     = secp256k1's generator; hash_to_curve (RFC 9380, secp256k1_XMD:SHA-256_SSWU_RO_) of "blinder" under the tag below
//! share i  = (i, f(i), g(i)), i from 1           f(0) = s, g random; big-endian, 32 bytes each
//! C_j      = f_j·G + g_j·H, compressed           f(i)·G + g(i)·H must be Σ i^j·C_j
//! digest   = SHA-256("cloison/v1/share-set" ‖ the set's canonical JSON)
//! ```
//!
//! A *set* ([`ShareSet`]) is the public part of one splitting: who holds which share of what, and
//! the commitments. A node that takes shares pins it. Each share names its digest, which tells a
//! share of another set from a bad one.

mod math;
mod text;

use sha2::{Digest as _, Sha256};

use super::Key;
use super::file::SecretKind;
use crate::id::Id;
pub use math::split;
pub use text::{ShareFile, ShareText};

/// The most custodians of one set.
pub const MAX_SHARES: usize = 32;

/// Why shares are refused. Says what is wrong with a share and nothing about a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShareError {
    /// Fewer than two needed, more needed than there are, or more than [`MAX_SHARES`].
    #[error("{threshold} of {shares} shares cannot be: from 2 of 2 to 32 of 32")]
    Threshold {
        /// How many are to recover the secret.
        threshold: usize,
        /// How many there are to be.
        shares: usize,
    },
    /// A custodian is named twice.
    #[error("{0} is named as custodian twice")]
    Twice(Id),
    /// Not the form of a set or a share.
    #[error("is not a {0} of cloison's")]
    Form(&'static str),
    /// A share of another set.
    #[error("the share is of another set: of another key, or of an earlier or later splitting")]
    Foreign,
    /// It does not fit the commitments: damaged, tampered with, or never right.
    #[error("the share of {0} is not the one that was made: it does not fit the commitments")]
    Invalid(Id),
    /// The same share twice.
    #[error("the share of {0} is given twice")]
    Repeated(Id),
    /// Fewer than the threshold.
    #[error("{given} shares are given and {threshold} are needed")]
    TooFew {
        /// How many were given.
        given: usize,
        /// How many it takes.
        threshold: usize,
    },
    /// The secret is not a scalar: 0, or one of the 2⁻¹²⁸ beyond the field.
    #[error("the secret cannot be split")]
    Unsplittable,
    /// The shares recover a secret that does not fit the commitments; impossible once each share
    /// was checked.
    #[error("the shares do not recover what was split")]
    Mismatch,
}

/// The public part of a secret that is split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedSecret {
    /// What it is for.
    pub kind: SecretKind,
    /// Which one: an authority key's id, a version's number, or empty where there is only one.
    pub name: String,
    /// The HPKE public key that the secret makes, for an authority's key; empty otherwise.
    pub public: Vec<u8>,
    /// Commitments to the polynomial's coefficients, as many as the threshold: SEC 1 compressed
    /// points.
    commitments: Vec<[u8; 33]>,
}

/// The public part of one splitting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareSet {
    /// How many shares recover the secrets.
    pub threshold: usize,
    /// Who holds the shares 1, 2, …
    pub custodians: Vec<Id>,
    /// What was split.
    pub secrets: Vec<SharedSecret>,
}

/// A custodian's share, of every secret of a set. In memory it is as secret as the secrets.
pub struct Share {
    /// The digest of its set.
    set: [u8; 32],
    /// Whose it is.
    custodian: Id,
    /// Its number, from 1.
    index: usize,
    /// `f(i)` and `g(i)` of each secret, in the set's order.
    values: Vec<(Key, Key)>,
}

impl ShareSet {
    /// The digest that names the set, over all of its content.
    pub fn digest(&self) -> [u8; 32] {
        Sha256::new()
            .chain_update("cloison/v1/share-set")
            .chain_update(self.to_json())
            .finalize()
            .into()
    }

    /// Checks a share against the commitments, and that it belongs to the custodian that it names.
    ///
    /// # Errors
    /// [`ShareError::Foreign`], [`ShareError::Invalid`].
    pub fn check(&self, share: &Share) -> Result<(), ShareError> {
        if share.set != self.digest() {
            return Err(ShareError::Foreign);
        }
        let invalid = || ShareError::Invalid(share.custodian.clone());
        let owner = share
            .index
            .checked_sub(1)
            .and_then(|place| self.custodians.get(place));
        if owner != Some(&share.custodian) || share.values.len() != self.secrets.len() {
            return Err(invalid());
        }
        let mut pairs = self.secrets.iter().zip(&share.values);
        if pairs.all(|(shared, value)| math::fits(shared, share.index, value)) {
            Ok(())
        } else {
            Err(invalid())
        }
    }

    /// Recovers the secrets, in the set's order, from any `threshold` of its shares or more; each
    /// is checked first.
    ///
    /// # Errors
    /// [`ShareError`]: the first share that is wrong, or too few.
    pub fn recover(&self, shares: &[&Share]) -> Result<Vec<Key>, ShareError> {
        for (place, share) in shares.iter().enumerate() {
            self.check(share)?;
            if shares[..place]
                .iter()
                .any(|before| before.index == share.index)
            {
                return Err(ShareError::Repeated(share.custodian.clone()));
            }
        }
        if shares.len() < self.threshold {
            return Err(ShareError::TooFew {
                given: shares.len(),
                threshold: self.threshold,
            });
        }
        let shares = &shares[..self.threshold];
        let secret = |(place, shared): (usize, &SharedSecret)| {
            let points: Vec<_> = shares
                .iter()
                .map(|share| (share.index, &share.values[place]))
                .collect();
            math::recover(shared, &points)
        };
        self.secrets.iter().enumerate().map(secret).collect()
    }
}

impl Share {
    /// Whose it is.
    pub fn custodian(&self) -> &Id {
        &self.custodian
    }

    /// The digest of its set.
    pub fn set(&self) -> &[u8; 32] {
        &self.set
    }

    /// Its number, from 1.
    pub fn index(&self) -> usize {
        self.index
    }
}

impl std::fmt::Debug for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Share({} of {})", self.index, self.custodian)
    }
}

#[cfg(test)]
mod tests;
