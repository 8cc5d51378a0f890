//! Weak keys, for which everybody could sign, or with which everybody could open.

use cloison::keys::{AuthoritySecret, Key};
use cloison::register::{self, Suite};
use cloison::seal::segment::AuthorityPrivateKey;

use super::{GOOD, changed, line, one, with};

/// Keys that anybody could sign for, or that anybody could open with.
#[test]
fn weak_keys() {
    let key = GOOD
        .lines()
        .find(|line| line.starts_with("key = "))
        .unwrap();
    for (bad, what) in [
        // The points of small order, and encodings of them that are not canonical (y = p, p + 1).
        (
            "0100000000000000000000000000000000000000000000000000000000000000",
            "weak",
        ),
        (
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "weak",
        ),
        (
            "0000000000000000000000000000000000000000000000000000000000000000",
            "weak",
        ),
        (
            "0000000000000000000000000000000000000000000000000000000000000080",
            "weak",
        ),
        (
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
            "weak",
        ),
        (
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
            "weak",
        ),
        (
            "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "weak",
        ),
        (
            "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "weak",
        ),
        // y = p + 3: a good point, written in a way in which it is not written.
        (
            "f0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "canonical",
        ),
        // No point has y = 2.
        (
            "0200000000000000000000000000000000000000000000000000000000000000",
            "not a point",
        ),
        ("ABCD", "64 hexadecimal"),
        ("", "64 hexadecimal"),
    ] {
        changed(key, &format!("key = \"{bad}\""), what, "Ed25519 public key");
    }
    changed(
        key,
        &key.to_uppercase().replace("KEY", "key"),
        "lower case",
        "Ed25519 public key",
    );

    let public = GOOD
        .lines()
        .find(|line| line.starts_with("public = "))
        .unwrap();
    for (bad, what) in [
        (
            "0000000000000000000000000000000000000000000000000000000000000000",
            "weak",
        ),
        (
            "0100000000000000000000000000000000000000000000000000000000000000",
            "weak",
        ),
        (
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "weak",
        ),
        (
            "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
            "weak",
        ),
        (
            "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
            "weak",
        ),
        (
            "f6ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "canonical",
        ),
        (
            "09000000000000000000000000000000000000000000000000000000000000",
            "64 or 2432 hexadecimal",
        ),
    ] {
        changed(
            public,
            &format!("public = \"{bad}\""),
            what,
            "64 (X25519) or 2432 (X-Wing)",
        );
    }
    let genuine = AuthorityPrivateKey::derive(&AuthoritySecret(Key::random()), "k", Suite::XWing)
        .public()
        .to_vec();
    let spoiled = |spoil: fn(&mut Vec<u8>)| {
        let mut key = genuine.clone();
        spoil(&mut key);
        format!("public = \"{}\"", data_encoding::HEXLOWER.encode(&key))
    };
    let suited = |text: &str| text.replacen("suite = 1", "suite = 2", 1);
    assert!(
        register::parse(&suited(&with(public, &spoiled(|_| ())))).is_ok(),
        "a key of suite 2"
    );
    type Spoil = fn(&mut Vec<u8>);
    let cases: [(Spoil, &str); 4] = [
        // A coefficient of 4095, which is not below 3329: the first, and the second half of a
        // triple.
        (
            |key| (key[0], key[1]) = (0xff, key[1] | 0x0f),
            "not an encapsulation key",
        ),
        (
            |key| (key[1150], key[1151]) = (key[1150] | 0xf0, 0xff),
            "not an encapsulation key",
        ),
        (|key| key[1184..].fill(0), "weak X25519"),
        (|key| key.truncate(1215), "64 or 2432"),
    ];
    for (spoil, what) in cases {
        let text = suited(&with(public, &spoiled(spoil)));
        one(
            &text,
            line(&text, "public = ", "public"),
            what,
            "64 (X25519) or 2432 (X-Wing)",
        );
    }
    let certificate = GOOD
        .lines()
        .find(|line| line.starts_with("certificate = "))
        .unwrap();
    changed(
        certificate,
        &format!("certificate = \"{}\"", "0".repeat(64)),
        "all zeroes",
        "SHA-256",
    );
}
