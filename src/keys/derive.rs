//! The derivations, each with its label.

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use uuid::Uuid;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::mac::ShortMac;
use super::{
    AuditSecret, AuthoritySecret, IdentityCheck, IdentitySecret, JournalSecret, KEY_LEN, Key,
    SectorSecret, StoreSecret, Uti, lp,
};
use crate::pseudonym::Pseudonym;
use crate::register::Suite;

type HmacSha256 = Hmac<Sha256>;

/// HKDF-Extract (RFC 5869, section 2.2) with a label as the salt.
fn extract(label: &str, ikm: &Key) -> Key {
    let (mut prk, _) = Hkdf::<Sha256>::extract(Some(label.as_bytes()), ikm.expose());
    let key = Key::init(|k| k.copy_from_slice(&prk));
    prk.zeroize();
    key
}

/// HKDF-Expand (RFC 5869, section 2.3) to 32 bytes.
fn expand(prk: &Key, info: &[u8]) -> Key {
    let hkdf = Hkdf::<Sha256>::from_prk(prk.expose()).expect("32 bytes are a PRK of SHA-256");
    Key::init(|k| {
        hkdf.expand(info, k)
            .expect("32 bytes are within HKDF's limit");
    })
}

/// `info` = label ‖ LP(field)…
fn info(label: &str, fields: &[&[u8]]) -> Vec<u8> {
    let mut info = label.as_bytes().to_vec();
    fields.iter().for_each(|field| lp(&mut info, field));
    info
}

fn keyed(key: &Key) -> HmacSha256 {
    HmacSha256::new_from_slice(key.expose()).expect("HMAC takes a key of any length")
}

// --- identity
// ---------------------------------------------------------------------------------------------------------

/// The identity secret's keys, in this process.
pub struct IdentityKeys {
    prk: Key,
    uti: ShortMac,
}

impl IdentityKeys {
    /// `PRK_id` and `K_uti`.
    pub fn new(secret: &IdentitySecret) -> Self {
        let prk = extract("cloison/v1/extract/identity", &secret.0);
        let uti = ShortMac::new(&expand(&prk, b"cloison/v1/uti"));
        Self { prk, uti }
    }

    /// `PRK_id`, for the conformance kit.
    pub(crate) fn prk(&self) -> &Key {
        &self.prk
    }

    /// `K_uti`, for the conformance kit.
    pub(crate) fn uti_key(&self) -> Key {
        expand(&self.prk, b"cloison/v1/uti")
    }

    /// Appends the UTI of each canonical value of a scheme to `utis`, in order:
    /// `HMAC-SHA256(K_uti, LP(scheme) ‖ LP(value))`.
    pub fn append_utis<'v>(
        &self,
        scheme: &str,
        values: impl IntoIterator<Item = &'v [u8]>,
        utis: &mut Vec<Uti>,
    ) {
        // LP(scheme) is the same for all; behind it comes LP(value), whose length has two bytes.
        let mut prefix = Vec::with_capacity(2 + scheme.len());
        lp(&mut prefix, scheme.as_bytes());
        let mut macs = self.uti.batch(Uti);
        for value in values {
            macs.push([&prefix, &(value.len() as u16).to_be_bytes(), value], utis);
        }
        macs.finish(utis);
    }

    /// `K_person`, from which [`PersonKey::new`] makes the person-handle key of a sector.
    pub fn person_key_of(&self, sector: Uuid) -> Key {
        expand(&self.prk, &info("cloison/v1/person", &[sector.as_bytes()]))
    }

    /// `HKDF-Expand(PRK_id, "cloison/v1/identity-check", 32)`: as one-way as any derived key, and
    /// used for nothing else, so it may lie in a store.
    pub fn check_value(&self) -> IdentityCheck {
        IdentityCheck(*expand(&self.prk, b"cloison/v1/identity-check").expose())
    }
}

/// Derives person handles of one sector.
pub struct PersonKey(HmacSha256);

impl PersonKey {
    /// The key of a sector, from its 32 bytes.
    pub fn new(key: &Key) -> Self {
        Self(keyed(key))
    }

    /// `H`: 16 bytes that never leave the vault; oppositions, freezes and tombstones are keyed by
    /// them.
    pub fn handle(&self, uti: &Uti) -> [u8; 16] {
        let tag: [u8; 32] = self
            .0
            .clone()
            .chain_update(uti.0)
            .finalize()
            .into_bytes()
            .into();
        tag[..16].try_into().expect("half of 32")
    }
}

// --- the sector tree
// --------------------------------------------------------------------------------------------------

/// `PRK_sec` of one version of the sector secret.
pub struct SectorRootKey(Key);

impl SectorRootKey {
    /// `PRK_sec`.
    pub fn new(secret: &SectorSecret) -> Self {
        Self(extract("cloison/v1/extract/sector", &secret.0))
    }

    /// `K(root)`.
    pub fn root(&self) -> SectorTreeKey {
        SectorTreeKey(expand(&self.0, b"cloison/v1/sector-root"))
    }

    /// `K(path)`, for a path of sector UUIDs from the top-level sector down.
    pub fn sector(&self, path: &[Uuid]) -> SectorTreeKey {
        path.iter().fold(self.root(), |key, uuid| key.child(*uuid))
    }

    /// `PRK_sec`, for the conformance kit.
    pub(crate) fn expose(&self) -> &[u8; KEY_LEN] {
        self.0.expose()
    }
}

/// `K(p)`: the key of one node of the sector tree.
pub struct SectorTreeKey(Key);

impl SectorTreeKey {
    /// `K(p.c)`: the key of the child with that UUID.
    pub fn child(&self, uuid: Uuid) -> SectorTreeKey {
        SectorTreeKey(expand(
            &self.0,
            &info("cloison/v1/sector-child", &[uuid.as_bytes()]),
        ))
    }

    /// `K_domain`.
    pub fn domain(&self, epoch: u32, scope: &DomainScope) -> DomainKey {
        let mut label = b"cloison/v1/domain".to_vec();
        label.extend_from_slice(&epoch.to_be_bytes());
        lp(&mut label, scope.controller.as_bytes());
        lp(&mut label, scope.purpose.as_bytes());
        lp(&mut label, scope.period.as_bytes());
        let key = expand(&self.0, &label);
        DomainKey {
            mac: ShortMac::new(&key),
            key,
        }
    }

    /// `K(path)`, for the conformance kit.
    pub(crate) fn expose(&self) -> &[u8; KEY_LEN] {
        self.0.expose()
    }
}

/// The granularity values of a domain; an absent one is empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub struct DomainScope {
    /// Organisation id, where the sector's granularity has `controller`.
    pub controller: String,
    /// Purpose code, if it has `purpose`.
    pub purpose: String,
    /// `2026` or `2026-11`, if it has a `period`.
    pub period: String,
}

/// `K_domain`: turns UTIs into the pseudonyms of one domain.
pub struct DomainKey {
    mac: ShortMac,
    key: Key,
}

impl DomainKey {
    /// `PRF = HMAC-SHA256(K_domain, UTI)`.
    pub fn prf(&self, uti: &Uti) -> PrfOutput {
        let mut prfs = Vec::with_capacity(1);
        self.prfs(std::slice::from_ref(uti), &mut prfs);
        prfs.pop().expect("one for one")
    }

    /// The PRF of each UTI, appended in order.
    pub fn prfs(&self, utis: &[Uti], prfs: &mut Vec<PrfOutput>) {
        let mut macs = self.mac.batch(PrfOutput);
        utis.iter()
            .for_each(|uti| macs.push([&uti.0, &[], &[]], prfs));
        macs.finish(prfs);
    }

    /// `K_domain`, for the conformance kit.
    pub(crate) fn expose(&self) -> &[u8; KEY_LEN] {
        self.key.expose()
    }
}

/// The 32 bytes of the PRF: secret until a named method makes a part of it public.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct PrfOutput([u8; 32]);

impl PrfOutput {
    /// The public pseudonym: the first 16 bytes.
    ///
    /// Safe to publish because HMAC-SHA256 under a secret key is a pseudo-random function: 16 of
    /// its bytes tell nothing of the UTI, of the key, of the other 16 bytes, or of the pseudonym in
    /// any other domain.
    pub fn to_pseudonym(&self) -> Pseudonym {
        Pseudonym::from_bytes(self.0[..16].try_into().expect("half of 32"))
    }

    /// `PRF[16..24]`: the person's part of the nonce under which the mapping is sealed.
    pub fn nonce_part(&self) -> NoncePart {
        NoncePart(self.0[16..24].try_into().expect("8 of 32"))
    }
}

/// Eight bytes of a PRF, used only in the nonce of a mapping, which is stored beside its
/// ciphertext.
#[derive(Clone, Copy)]
pub struct NoncePart([u8; 8]);

impl NoncePart {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

// --- store, audit, authority, segments
// --------------------------------------------------------------------------------

/// `K_store`: the key of the outer envelope, one version.
pub struct StoreKey(Key);

impl StoreKey {
    /// `K_store = HKDF-Expand(HKDF-Extract("cloison/v1/extract/store", store_secret),
    /// "cloison/v1/store", 32)`.
    pub fn new(secret: &StoreSecret) -> Self {
        Self(expand(
            &extract("cloison/v1/extract/store", &secret.0),
            b"cloison/v1/store",
        ))
    }

    pub(crate) fn expose(&self) -> &[u8; KEY_LEN] {
        self.0.expose()
    }
}

/// `K_journal` and `K_mark`, of one version of the journal secret: the key that seals the log's
/// side records, and the one by which a server recognises files of sealed backups.
pub struct JournalKey {
    seal: Key,
    mark: Key,
}

impl JournalKey {
    /// `PRK_journal = HKDF-Extract("cloison/v1/extract/journal", journal_secret)`, `K_journal =
    /// HKDF-Expand(PRK_journal, "cloison/v1/journal", 32)`, `K_mark = HKDF-Expand(PRK_journal,
    /// "cloison/v1/backup-mark", 32)`.
    pub fn new(secret: &JournalSecret) -> Self {
        let prk = extract("cloison/v1/extract/journal", &secret.0);
        Self {
            seal: expand(&prk, b"cloison/v1/journal"),
            mark: expand(&prk, b"cloison/v1/backup-mark"),
        }
    }

    pub(crate) fn expose(&self) -> &[u8; KEY_LEN] {
        self.seal.expose()
    }

    /// `mark = HMAC-SHA256(K_mark, repository's id ‖ SHA-256 of the file)`: tells those who lack
    /// the key nothing of the file, only where the same file is in two backups of one repository.
    pub(crate) fn backup_mark(&self, repository: &[u8; 16], sha256: &[u8; 32]) -> [u8; 32] {
        let mac = keyed(&self.mark).chain_update(repository);
        mac.chain_update(sha256).finalize().into_bytes().into()
    }
}

/// `K_index` and `K_place`, of one version of the storage secret: they hide the pseudonyms in the
/// index on the disk, so that a thief learns nothing from it.
pub struct IndexKey {
    tag: ShortMac,
    place: ShortMac,
}

impl IndexKey {
    /// `K_index = HKDF-Expand(PRK_store, "cloison/v1/index", 32)`, `K_place =
    /// HKDF-Expand(PRK_store, "cloison/v1/index-place", 32)`.
    pub fn new(secret: &StoreSecret) -> Self {
        let prk = extract("cloison/v1/extract/store", &secret.0);
        let mac = |label: &[u8]| ShortMac::new(&expand(&prk, label));
        Self {
            tag: mac(b"cloison/v1/index"),
            place: mac(b"cloison/v1/index-place"),
        }
    }

    /// `HMAC-SHA256(K_index, u32be(sector number) ‖ u32be(epoch) ‖ P)[0..16]` of each pseudonym, in
    /// order.
    pub fn tags<'a>(
        &self,
        sector: u32,
        epoch: u32,
        pseudonyms: impl Iterator<Item = &'a [u8; 16]>,
        mut each: impl FnMut([u8; 16]),
    ) {
        let (mut macs, mut tags) = (self.tag.batch(|tag| tag), Vec::<[u8; 32]>::new());
        let mut hand_out = |tags: &mut Vec<[u8; 32]>| {
            tags.drain(..)
                .for_each(|tag| each(tag[..16].try_into().expect("half of 32")));
        };
        for pseudonym in pseudonyms {
            macs.push(
                [&sector.to_be_bytes(), &epoch.to_be_bytes(), pseudonym],
                &mut tags,
            );
            hand_out(&mut tags);
        }
        macs.finish(&mut tags);
        hand_out(&mut tags);
    }

    /// A permutation of 0 to 255: the order of `HMAC-SHA256(K_place, u32be(sector number) ‖
    /// u32be(epoch) ‖ u8(n))`.
    pub fn places(&self, sector: u32, epoch: u32) -> [u8; 256] {
        let (mut macs, mut tags) = (
            self.place.batch(|tag| tag),
            Vec::<[u8; 32]>::with_capacity(256),
        );
        (0..=255u8).for_each(|n| {
            macs.push(
                [&sector.to_be_bytes(), &epoch.to_be_bytes(), &[n]],
                &mut tags,
            );
        });
        macs.finish(&mut tags);
        let mut order: Vec<u8> = (0..=255).collect();
        order.sort_unstable_by_key(|n| tags[usize::from(*n)]);
        let mut places = [0; 256];
        (0..=255u8)
            .zip(order)
            .for_each(|(place, n)| places[usize::from(n)] = place);
        places
    }
}

/// `K_audit` tags pseudonyms, so that "who resolved this person" can be answered; `K_tombstone`
/// marks those that were erased.
pub struct AuditKey {
    tag: HmacSha256,
    tombstone: HmacSha256,
}

impl AuditKey {
    /// `K_audit = HKDF-Expand(HKDF-Extract("cloison/v1/extract/audit", audit_secret),
    /// "cloison/v1/audit-tag", 32)`, and `K_tombstone` with `"cloison/v1/tombstone"`.
    pub fn new(secret: &AuditSecret) -> Self {
        let prk = extract("cloison/v1/extract/audit", &secret.0);
        Self {
            tag: keyed(&expand(&prk, b"cloison/v1/audit-tag")),
            tombstone: keyed(&expand(&prk, b"cloison/v1/tombstone")),
        }
    }

    /// `HMAC-SHA256(K_audit, LP(sector UUID) ‖ LP(P))[0..16]`.
    pub fn tag(&self, sector: Uuid, pseudonym: &Pseudonym) -> [u8; 16] {
        located(&self.tag, sector, pseudonym)
    }

    /// `HMAC-SHA256(K_tombstone, LP(sector UUID) ‖ LP(P))[0..16]`.
    pub fn tombstone(&self, sector: Uuid, pseudonym: &Pseudonym) -> [u8; 16] {
        located(&self.tombstone, sector, pseudonym)
    }
}

fn located(key: &HmacSha256, sector: Uuid, pseudonym: &Pseudonym) -> [u8; 16] {
    let mut message = Vec::with_capacity(36);
    lp(&mut message, sector.as_bytes());
    lp(&mut message, pseudonym.as_bytes());
    let tag: [u8; 32] = key
        .clone()
        .chain_update(&message)
        .finalize()
        .into_bytes()
        .into();
    tag[..16].try_into().expect("half of 32")
}

/// The input keying material of an authority's HPKE key pair (RFC 9180, section 7.1.3):
/// `HKDF-Expand(HKDF-Extract("cloison/v1/extract/authority", scalar), label ‖ LP(key id), 32)`.
/// Each suite has its own label, so that no two share material.
pub fn authority_key_material(secret: &AuthoritySecret, key_id: &str, suite: Suite) -> Key {
    let label = match suite {
        Suite::X25519 => "cloison/v1/authority-key",
        Suite::XWing => "cloison/v1/authority-key-x-wing",
    };
    expand(
        &extract("cloison/v1/extract/authority", &secret.0),
        &info(label, &[key_id.as_bytes()]),
    )
}

/// The commitment of a segment to its DEK: ChaCha20-Poly1305 alone would let one record open under
/// two keys.
pub fn segment_commitment(dek: &Key) -> [u8; 32] {
    *expand(dek, b"cloison/v1/segment-commitment").expose()
}

/// The value that proves that its holder opened a segment's DEK. The vault keeps its SHA-256 from
/// the segment's creation on, so that a node without an authority's key cannot claim to have one.
pub fn segment_opening(dek: &Key) -> Key {
    expand(dek, b"cloison/v1/segment-opening")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of docs/spec.md §7, computed with Python's `hmac`.
    #[test]
    fn the_index_on_the_disk_is_that_of_the_specification() {
        let bytes = |text: &str| data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap();
        let secret = bytes("d9d18135db7b409b39643741cf4dc1f9f745b88928abc2f46bd0789beaa182fe");
        let key = IndexKey::new(&StoreSecret(Key::init(|k| k.copy_from_slice(&secret))));
        let pseudonym: [u8; 16] = bytes("806bdfc6a1fab8a2f5297cd8811c1027")
            .try_into()
            .unwrap();
        let mut tags = vec![];
        key.tags(1, 3, [pseudonym, [0; 16]].iter(), |tag| tags.push(tag));
        assert_eq!(tags[0].to_vec(), bytes("2bdff1d62d6555d5784933d9ed5686f2"));
        assert_eq!(tags[1][..8].to_vec(), bytes("1716f729021aea25"));
        let places = key.places(1, 3);
        assert_eq!((places[0x80], places[181], places[194]), (0x2e, 0, 1));
        let mut all = places.to_vec();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..=255), "a permutation");
        // Many at once are the same as one at a time.
        let many: Vec<[u8; 16]> = (0..=255).map(|n| [n; 16]).collect();
        let (mut together, mut alone) = (vec![], vec![]);
        key.tags(7, 9, many.iter(), |tag| together.push(tag));
        many.iter()
            .for_each(|one| key.tags(7, 9, std::iter::once(one), |tag| alone.push(tag)));
        assert_eq!(together, alone);
    }
}
