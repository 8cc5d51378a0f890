//! A second opinion: roots, tiles, proofs, paths and notes as the crates `tlog_tiles` and
//! `signed_note` have them.

use std::convert::Infallible;
use std::rc::Rc;
use std::sync::OnceLock;

use cloison::tlog::checkpoint::Checkpoint;
use cloison::tlog::path::LogResource;
use cloison::tlog::proof::{TileReader, consistency, inclusion, is_consistent, is_included};
use cloison::tlog::tree::{self, Hash, MerkleTree, TileId, leaf_hash, tree_hash};
use ed25519_dalek::SigningKey;
use proptest::prelude::*;
use signed_note::{Note, StandardVerifier, VerifierList};
use tlog_tiles::tlog;

const MOST: u64 = 70_000;

fn entry(n: u64) -> Vec<u8> {
    format!("entry {n}").into_bytes()
}

/// Their stored hashes and our leaf hashes of the same entries.
struct Both {
    theirs: Vec<tlog::Hash>,
    ours: Vec<Hash>,
}

struct Reader<'a>(&'a [tlog::Hash]);

impl tlog::HashReader for Reader<'_> {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog::Hash>, tlog::Error> {
        Ok(indexes
            .iter()
            .map(|index| self.0[*index as usize])
            .collect())
    }
}

fn both() -> &'static Both {
    static BOTH: OnceLock<Both> = OnceLock::new();
    BOTH.get_or_init(|| {
        let mut theirs = vec![];
        for n in 0..MOST {
            let more = tlog::stored_hashes(n, &entry(n), &Reader(&theirs)).unwrap();
            theirs.extend(more);
        }
        Both {
            theirs,
            ours: (0..MOST).map(|n| leaf_hash(&entry(n))).collect(),
        }
    })
}

/// Our tiles of the tree of `size` leaves.
struct Leaves(u64);

impl TileReader for Leaves {
    type Error = Infallible;

    fn tile(&mut self, id: TileId, count: usize) -> Result<Rc<Vec<Hash>>, Infallible> {
        let width = usize::from(tree::width(id, self.0));
        assert!(
            count <= width,
            "asks for no more of a tile than the tree has"
        );
        let span = 256usize.pow(id.level.into());
        let first = id.index as usize * 256;
        let hash = |n: usize| tree_hash(&both().ours[n * span..(n + 1) * span]);
        Ok(Rc::new((first..first + width).map(hash).collect()))
    }
}

fn our_tree(size: u64) -> MerkleTree {
    let edge = (0..tree::LEVELS).map(|level| {
        let at_level = size >> (8 * u32::from(level));
        let id = TileId {
            level,
            index: at_level / 256,
        };
        if at_level.is_multiple_of(256) {
            vec![]
        } else {
            Leaves(size).tile(id, 0).unwrap().to_vec()
        }
    });
    MerkleTree::from_edge(size, edge.collect()).unwrap()
}

/// Sizes of all magnitudes, and those around the edges of tiles.
fn size() -> impl Strategy<Value = u64> {
    prop_oneof![
        1..MOST,
        1..600u64,
        Just(255u64),
        Just(256u64),
        Just(257u64),
        Just(65_535u64),
        Just(65_536u64),
        Just(65_537u64)
    ]
}

fn plain(hashes: &[tlog::Hash]) -> Vec<Hash> {
    hashes.iter().map(|hash| hash.0).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn roots_and_inclusion(size in size(), at in any::<prop::sample::Index>(), other in any::<prop::sample::Index>()) {
        let Both { theirs, ours } = both();
        let root = our_tree(size).root();
        prop_assert_eq!(root, tlog::tree_hash(size, &Reader(theirs)).unwrap().0);
        let index = at.index(size as usize) as u64;
        let proof = inclusion(&mut Leaves(size), index, size).unwrap();
        prop_assert_eq!(&proof, &plain(&tlog::prove_record(size, index, &Reader(theirs)).unwrap()));
        let leaf = &ours[index as usize];
        prop_assert!(is_included(leaf, index, size, &proof, &root));
        // And nothing else is.
        let wrong = other.index(size as usize) as u64;
        if wrong != index {
            prop_assert!(!is_included(leaf, wrong, size, &proof, &root));
            prop_assert!(!is_included(&ours[wrong as usize], index, size, &proof, &root));
        }
        let mut longer = proof.clone();
        longer.push([0; 32]);
        prop_assert!(!is_included(leaf, index, size, &longer, &root));
        if let Some((_, shorter)) = proof.split_last() {
            prop_assert!(!is_included(leaf, index, size, shorter, &root));
        }
    }

    #[test]
    fn consistency_proofs(new in size(), at in any::<prop::sample::Index>(), spoil in any::<prop::sample::Index>()) {
        let Both { theirs, .. } = both();
        let old = 1 + at.index(new as usize) as u64;
        let (old_root, new_root) = (our_tree(old).root(), our_tree(new).root());
        let proof = consistency(&mut Leaves(new), old, new).unwrap();
        prop_assert_eq!(&proof, &plain(&tlog::prove_tree(new, old, &Reader(theirs)).unwrap()));
        prop_assert!(is_consistent((old, old_root), (new, new_root), &proof));
        prop_assert!(!is_consistent((old, [0; 32]), (new, new_root), &proof));
        prop_assert!(!is_consistent((old, old_root), (new, [0; 32]), &proof));
        if !proof.is_empty() {
            let mut spoilt = proof.clone();
            spoilt[spoil.index(proof.len())][0] ^= 1;
            prop_assert!(!is_consistent((old, old_root), (new, new_root), &spoilt));
            prop_assert!(!is_consistent((old, old_root), (new, new_root), &proof[1..]));
        }
    }

    #[test]
    fn paths(level in 0u8..8, index in 0u64..1_000_000_000_000, width in 1u16..=256) {
        let ours = LogResource::Tile(TileId { level, index }, width).to_string();
        // Theirs name the height, too.
        let theirs = tlog_tiles::Tile::new(8, level, index, width.into(), false).path();
        prop_assert_eq!(ours.clone(), theirs.replacen("tile/8/", "tile/", 1));
        prop_assert_eq!(LogResource::parse(&ours), Some(LogResource::Tile(TileId { level, index }, width)));
    }

    #[test]
    fn checkpoints(size in 0..u64::MAX, root in any::<[u8; 32]>(), seed in any::<[u8; 32]>()) {
        let key = SigningKey::from_bytes(&seed);
        let checkpoint = Checkpoint { origin: "cloison/test/vault/2026".into(), size, root };
        let signed = checkpoint.sign(&key);
        let theirs = tlog_tiles::Checkpoint::from_bytes(checkpoint.text().as_bytes()).unwrap();
        prop_assert_eq!((theirs.origin(), theirs.size(), theirs.hash().0), (&*checkpoint.origin, size, root));
        let note = Note::from_bytes(signed.as_bytes()).unwrap();
        let verifier = StandardVerifier::new(&checkpoint.verifier(key.verifying_key()).to_string()).unwrap();
        prop_assert_eq!(note.verify(&VerifierList::new(vec![Box::new(verifier)])).unwrap().0.len(), 1);
    }
}

/// Trees that have nothing in common but their size are not consistent, and the empty tree is the
/// beginning of any.
#[test]
fn ends_of_consistency() {
    let (one, empty) = (leaf_hash(b"1"), tree::empty_root());
    assert!(is_consistent((0, empty), (1, one), &[]));
    assert!(!is_consistent((0, one), (1, one), &[]));
    assert!(!is_consistent((0, empty), (1, one), &[one]));
    assert!(is_consistent((1, one), (1, one), &[]));
    assert!(!is_consistent((1, one), (1, leaf_hash(b"2")), &[]));
    assert!(!is_consistent((2, one), (1, one), &[]));
    assert!(!is_included(&one, 0, 0, &[], &empty));
}
