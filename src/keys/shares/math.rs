//! Splitting, checking and recovering over secp256k1, by `vsss-rs`.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use k256::elliptic_curve::PrimeField as _;
use k256::elliptic_curve::group::GroupEncoding as _;
use k256::hash2curve::GroupDigest as _;
use k256::{ProjectivePoint, Scalar, Secp256k1};
use vsss_rs::{
    IdentifierPrimeField, PedersenResult as _, PedersenVerifierSet as _, PrimeFieldShare,
    ReadableShareSet as _, Share as _, ShareVerifierGroup, VecPedersenVerifierSet,
};
use zeroize::{Zeroize as _, Zeroizing};

use super::{MAX_SHARES, Share, ShareError, ShareSet, SharedSecret};
use crate::id::Id;
use crate::keys::Key;
use crate::keys::file::SecretKind;

type Point = PrimeFieldShare<Scalar>;
type Commitment = ShareVerifierGroup<ProjectivePoint>;

/// `H`: its logarithm to the base `G` is unknown, because it comes out of a hash.
static BLINDER_GENERATOR: LazyLock<ProjectivePoint> = LazyLock::new(|| {
    Secp256k1::hash_from_bytes(&[b"blinder"], &[b"cloison/v1/share-blinder-generator"])
        .expect("the tag has a length that RFC 9380 takes")
});

/// Splits secrets between custodians: the set, and each custodian's share, in order.
///
/// # Errors
/// [`ShareError::Threshold`], [`ShareError::Twice`], [`ShareError::Unsplittable`].
pub fn split(
    secrets: &[(SecretKind, String, Vec<u8>, &Key)],
    custodians: &[Id],
    threshold: usize,
) -> Result<(ShareSet, Vec<Share>), ShareError> {
    let count = custodians.len();
    if threshold < 2 || threshold > count || count > MAX_SHARES {
        return Err(ShareError::Threshold {
            threshold,
            shares: count,
        });
    }
    let mut seen = BTreeSet::new();
    if let Some(twice) = custodians.iter().find(|id| !seen.insert(*id)) {
        return Err(ShareError::Twice(twice.clone()));
    }
    let mut set = ShareSet {
        threshold,
        custodians: custodians.to_vec(),
        secrets: vec![],
    };
    let mut values: Vec<Vec<(Key, Key)>> = custodians.iter().map(|_| vec![]).collect();
    for (kind, name, public, secret) in secrets {
        let scalar = IdentifierPrimeField(*scalar(secret).ok_or(ShareError::Unsplittable)?);
        let split = vsss_rs::pedersen::split_secret::<Point, Commitment>(
            threshold,
            count,
            &scalar,
            None,
            None,
            Some((*BLINDER_GENERATOR).into()),
            crate::clock::dice(),
        );
        let split = split.map_err(|_| ShareError::Unsplittable)?;
        // The generators stand before the commitments.
        let commitments = split.pedersen_verifier_set()[2..]
            .iter()
            .map(|point| bytes_of(&point.0))
            .collect();
        set.secrets.push(SharedSecret {
            kind: *kind,
            name: name.clone(),
            public: public.clone(),
            commitments,
        });
        for (own, (secret, blinder)) in values
            .iter_mut()
            .zip(split.secret_shares().iter().zip(split.blinder_shares()))
        {
            own.push((key(&secret.value().0), key(&blinder.value().0)));
        }
    }
    let digest = set.digest();
    let owners = custodians.iter().cloned().zip(1..);
    let share = |((custodian, index), values)| Share {
        set: digest,
        custodian,
        index,
        values,
    };
    let shares = owners.zip(values).map(share).collect();
    Ok((set, shares))
}

/// Whether a share of one secret fits its commitments.
pub(super) fn fits(shared: &SharedSecret, index: usize, (value, blinder): &(Key, Key)) -> bool {
    let Some(commitments) = shared
        .commitments
        .iter()
        .map(point_of)
        .collect::<Option<Vec<_>>>()
    else {
        return false;
    };
    let (Some(value), Some(blinder)) = (scalar(value), scalar(blinder)) else {
        return false;
    };
    let generators = [ProjectivePoint::GENERATOR, *BLINDER_GENERATOR];
    let verifiers: Vec<Commitment> = generators
        .into_iter()
        .chain(commitments)
        .map(Into::into)
        .collect();
    let verifiers = VecPedersenVerifierSet::<Point, Commitment>::from(verifiers);
    verifiers
        .verify_share_and_blinder(&point(index, &value), &point(index, &blinder))
        .is_ok()
}

/// Recovers a secret from `threshold` checked shares, and checks it against its commitment.
pub(super) fn recover(
    shared: &SharedSecret,
    shares: &[(usize, &(Key, Key))],
) -> Result<Key, ShareError> {
    let combine = |of: fn(&(Key, Key)) -> &Key| {
        let points: Option<Vec<Point>> = shares
            .iter()
            .map(|(index, pair)| Some(point(*index, &*scalar(of(pair))?)))
            .collect();
        let mut points = points.ok_or(ShareError::Mismatch)?;
        let combined = points.combine().map_err(|_| ShareError::Mismatch);
        points
            .iter_mut()
            .for_each(|point| point.value_mut().0.zeroize());
        combined.map(|value| Zeroizing::new(value.0))
    };
    let (secret, blinder) = (combine(|pair| &pair.0)?, combine(|pair| &pair.1)?);
    let committed = ProjectivePoint::GENERATOR * *secret + *BLINDER_GENERATOR * *blinder;
    match shared.commitments.first().and_then(point_of) {
        Some(first) if first == committed => Ok(key(&secret)),
        _ => Err(ShareError::Mismatch),
    }
}

fn point(index: usize, value: &Scalar) -> Point {
    Point::with_identifier_and_value(
        IdentifierPrimeField(Scalar::from(index as u64)),
        IdentifierPrimeField(*value),
    )
}

/// A key as a scalar, if it is one and not zero.
fn scalar(key: &Key) -> Option<Zeroizing<Scalar>> {
    let mut bytes = (*key.expose()).into();
    let scalar = Option::<Scalar>::from(Scalar::from_repr(bytes))
        .filter(|scalar| !bool::from(scalar.is_zero()));
    bytes.zeroize();
    scalar.map(Zeroizing::new)
}

fn key(scalar: &Scalar) -> Key {
    let mut bytes = scalar.to_repr();
    let key = Key::init(|key| key.copy_from_slice(&bytes));
    bytes.zeroize();
    key
}

fn bytes_of(point: &ProjectivePoint) -> [u8; 33] {
    point.to_bytes().into()
}

/// A commitment's point; the neutral element is refused.
fn point_of(bytes: &[u8; 33]) -> Option<ProjectivePoint> {
    Option::<ProjectivePoint>::from(ProjectivePoint::from_bytes(&(*bytes).into()))
        .filter(|point| *point != ProjectivePoint::IDENTITY)
}
