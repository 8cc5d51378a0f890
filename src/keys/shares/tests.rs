use super::*;
use crate::keys::KEY_LEN;

fn id(text: &str) -> Id {
    Id::parse(text).unwrap()
}

fn five() -> Vec<Id> {
    ["amina", "brahim", "chaimae", "driss", "esther"]
        .map(id)
        .to_vec()
}

fn splitting(threshold: usize) -> (Key, Key, ShareSet, Vec<Share>) {
    let (one, other) = (Key::random(), Key::random());
    let secrets = [
        (
            SecretKind::Authority,
            "court-2026".to_owned(),
            vec![7; 32],
            &one,
        ),
        (SecretKind::Sector, "1".to_owned(), vec![], &other),
    ];
    let (set, shares) = split(&secrets, &five(), threshold).unwrap();
    (one, other, set, shares)
}

fn copy(share: &Share) -> Share {
    let key = |key: &Key| Key::take(&mut key.expose().to_owned());
    Share {
        set: share.set,
        custodian: share.custodian.clone(),
        index: share.index,
        values: share
            .values
            .iter()
            .map(|(value, blinder)| (key(value), key(blinder)))
            .collect(),
    }
}

#[test]
fn any_three_of_five_recover_and_two_do_not() {
    let (one, other, set, shares) = splitting(3);
    for a in 0..5 {
        for b in 0..5 {
            for c in 0..5 {
                let recovered = set.recover(&[&shares[a], &shares[b], &shares[c]]);
                if a == b || b == c || a == c {
                    assert!(matches!(recovered, Err(ShareError::Repeated(_))));
                    continue;
                }
                let recovered = recovered.unwrap();
                assert_eq!(recovered[0].expose(), one.expose());
                assert_eq!(recovered[1].expose(), other.expose());
            }
        }
    }
    let two = set.recover(&[&shares[0], &shares[4]]).unwrap_err();
    assert_eq!(
        two,
        ShareError::TooFew {
            given: 2,
            threshold: 3
        }
    );
    assert_eq!(
        set.recover(&shares.iter().collect::<Vec<_>>()).unwrap()[0].expose(),
        one.expose()
    );
}

/// Another way to the same: Lagrange's formula in plain `k256`, from the values as they are
/// written.
#[test]
fn lagrange_agrees() {
    use k256::Scalar;
    use k256::elliptic_curve::PrimeField as _;
    let (one, _, _, shares) = splitting(3);
    let read = |key: &Key| Scalar::from_repr((*key.expose()).into()).unwrap();
    let chosen = [&shares[1], &shares[2], &shares[4]];
    let x = |share: &Share| Scalar::from(share.index as u64);
    let mut sum = Scalar::ZERO;
    for share in chosen {
        let mut basis = Scalar::ONE;
        for other in chosen.iter().filter(|other| other.index != share.index) {
            basis *= x(other) * (x(other) - x(share)).invert().unwrap();
        }
        sum += read(&share.values[0].0) * basis;
    }
    assert_eq!(<[u8; KEY_LEN]>::from(sum.to_repr()), *one.expose());
}

#[test]
fn a_bad_share_is_named_and_a_foreign_one_is_told_apart() {
    let (_, _, set, shares) = splitting(3);
    let (.., foreign) = splitting(3);
    assert_eq!(set.check(&foreign[0]), Err(ShareError::Foreign));
    for secret in 0..2 {
        for half in 0..2 {
            for bit in [0, 7, 100, 255] {
                let mut bad = copy(&shares[3]);
                let pair = &mut bad.values[secret];
                let of = if half == 0 { &mut pair.0 } else { &mut pair.1 };
                let mut bytes = *of.expose();
                bytes[bit / 8] ^= 1 << (bit % 8);
                *of = Key::take(&mut bytes);
                assert_eq!(set.check(&bad), Err(ShareError::Invalid(id("driss"))));
                let error = set.recover(&[&shares[0], &bad, &shares[1]]).unwrap_err();
                assert_eq!(error, ShareError::Invalid(id("driss")));
                assert!(error.to_string().contains("driss"));
            }
        }
    }
    let mut zero = copy(&shares[0]);
    zero.values[0].0 = Key::take(&mut [0; 32]);
    assert_eq!(set.check(&zero), Err(ShareError::Invalid(id("amina"))));
    // Beyond the field: no scalar.
    zero.values[0].0 = Key::take(&mut [0xff; 32]);
    assert_eq!(set.check(&zero), Err(ShareError::Invalid(id("amina"))));
    let mut renamed = copy(&shares[0]);
    renamed.custodian = id("brahim");
    assert_eq!(set.check(&renamed), Err(ShareError::Invalid(id("brahim"))));
    for index in [0, 2, 6, usize::MAX] {
        let mut moved = copy(&shares[0]);
        moved.index = index;
        assert!(matches!(set.check(&moved), Err(ShareError::Invalid(_))));
    }
    let mut short = copy(&shares[0]);
    short.values.pop();
    assert!(matches!(set.check(&short), Err(ShareError::Invalid(_))));
}

#[test]
fn thresholds_and_custodians_that_cannot_be() {
    let secret = Key::random();
    let secrets = [(SecretKind::Audit, String::new(), vec![], &secret)];
    for (threshold, shares) in [(0, 5), (1, 5), (6, 5), (2, 1)] {
        let refused = split(&secrets, &five()[..shares], threshold).unwrap_err();
        assert_eq!(refused, ShareError::Threshold { threshold, shares });
    }
    let twice = split(&secrets, &[id("a"), id("b"), id("a")], 2).unwrap_err();
    assert_eq!(twice, ShareError::Twice(id("a")));
    let zero = Key::take(&mut [0; 32]);
    let none = split(
        &[(SecretKind::Audit, String::new(), vec![], &zero)],
        &five(),
        2,
    )
    .unwrap_err();
    assert_eq!(none, ShareError::Unsplittable);
    split(&secrets, &five(), 5).unwrap();
}

#[test]
fn texts_come_back_and_have_one_form() {
    let (one, _, set, mut shares) = splitting(2);
    let json = set.to_json();
    assert_eq!(ShareSet::from_json(json.as_bytes()).unwrap(), set);
    assert!(
        json.starts_with(r#"{"custodians":["amina","brahim","#),
        "{json}"
    );
    let file = ShareFile {
        set: set.clone(),
        share: shares.remove(1),
    }
    .into_json();
    let back = ShareFile::from_json(&file).unwrap();
    assert_eq!((back.set.digest(), back.share.index()), (set.digest(), 2));
    let again = set.recover(&[&back.share, &shares[0]]).unwrap();
    assert_eq!(again[0].expose(), one.expose());
    assert!(!format!("{:?}", back.share).contains("values"));

    let text = String::from_utf8(file.to_vec()).unwrap();
    for (from, to) in [
        ("cloison-share-1", "cloison-share-2"),
        ("cloison-share-set-1", "cloison-share-set-2"),
        ("\"threshold\":2", "\"threshold\":1"),
        ("\"threshold\":2", "\"threshold\":3"),
        ("\"index\":2", "\"index\":3"),
        ("\"brahim\"", "\"amina\""),
        ("\"kind\":\"sector\"", "\"kind\":\"store\""),
        ("\"share\":", "\"more\":1,\"share\":"),
        ("\"blinder\":\"", "\"blinder\":\"0"),
    ] {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "{from}");
        let refused = ShareFile::from_json(changed.as_bytes())
            .map(|_| ())
            .unwrap_err();
        assert!(!refused.to_string().contains("\"value"), "{refused}");
    }
    assert!(ShareFile::from_json(b"[]").is_err() && ShareFile::from_json(b"").is_err());
}
