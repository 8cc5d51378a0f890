//! Root secrets and the key schedule (version 1).
//!
//! Each label belongs to one derivation and stands next to it. Every variable field is
//! length-prefixed ([`lp`]), so that `("ab", "c")` and `("a", "bc")` never meet. `docs/spec.md`
//! states the same for implementers in other languages.
//!
//! ```text
//! identity_secret ─ PRK_id ─┬─ K_uti ──────────────── UTI of a person
//!                           ├─ person key of a sector ─ person handle
//!                           └─ check value of the identity secret
//! sector_secret[version] ─ PRK_sec ─ K(root) ─ K(path) ─ K_domain ─ PRF ─ pseudonym
//! store_secret[version] ── K_store         audit_secret ── K_audit         authority scalar ── HPKE key pair
//! journal_secret[version] ── K_journal
//! ```

pub mod custody;
mod derive;
pub mod example;
pub mod file;
pub mod locked;
mod mac;
pub mod memory;
pub mod sector_secrets;
pub mod shares;
mod uti;

use zeroize::Zeroize;

use locked::Locked;

pub use derive::{
    AuditKey, DomainKey, DomainScope, IdentityKeys, IndexKey, JournalKey, NoncePart, PersonKey,
    PrfOutput, SectorRootKey, SectorTreeKey, StoreKey, authority_key_material, segment_commitment,
    segment_opening,
};
pub use uti::{IdentityCheck, Uti};

/// Length of every root secret and derived key, in bytes.
pub const KEY_LEN: usize = 32;

/// 32 secret bytes in locked memory: wiped on drop, never printed, never cloned.
///
/// ```compile_fail,E0599
/// let key = cloison::keys::Key::random();
/// let copy = key.clone();
/// ```
///
/// ```
/// let key = cloison::keys::Key::take(&mut [0xab; 32]);
/// assert_eq!(format!("{key:?}"), "Key(…)");
/// ```
pub struct Key(Locked<[u8; KEY_LEN]>);

impl Key {
    /// A key whose bytes `fill` writes in place, so that no copy is left behind.
    pub fn init(fill: impl FnOnce(&mut [u8; KEY_LEN])) -> Self {
        Self(Locked::init(fill))
    }

    /// Takes the bytes over and wipes the argument.
    pub fn take(bytes: &mut [u8; KEY_LEN]) -> Self {
        let key = Self::init(|k| k.copy_from_slice(bytes));
        bytes.zeroize();
        key
    }

    /// A fresh random key.
    pub fn random() -> Self {
        Self::take(&mut crate::clock::random())
    }

    /// The bytes, for the one computation that needs them.
    pub fn expose(&self) -> &[u8; KEY_LEN] {
        &self.0
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}

macro_rules! root_secrets {
    ($($(#[$doc:meta])* $name:ident,)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name(pub Key);
    )*};
}

root_secrets! {
    /// Root of every UTI and person handle. Never rotates: a new one would mean enrolling the whole
    /// country again.
    IdentitySecret,
    /// Root of the sector tree; versioned, each epoch of a sector names the version it derives
    /// from.
    SectorSecret,
    /// Root of the outer envelope; versioned.
    StoreSecret,
    /// Root of the tags by which audit entries can be searched for a person.
    AuditSecret,
    /// Root of the key that seals the log's side records; versioned.
    JournalSecret,
    /// The scalar from which an authority's HPKE key pair derives.
    AuthoritySecret,
}

/// Appends `LP(x)`: the two-byte big-endian length of `x`, then `x`.
///
/// # Panics
/// When `x` is longer than 65 535 bytes. Every field of cloison is bounded far below that where it
/// enters.
pub fn lp(out: &mut Vec<u8>, x: &[u8]) {
    let len = u16::try_from(x.len()).expect("a length-prefixed field has at most 65 535 bytes");
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(x);
}
