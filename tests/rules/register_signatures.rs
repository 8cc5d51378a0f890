//! The register's signatures: which registers open, and why the others do not.

use std::path::PathBuf;

use cloison::jws;
use cloison::register::sign::{self, RegisterSignError, RegisterStatement};
use cloison::register::{
    self, Id, PinnedKey, RegisterOpenError, RegisterPins, RegisterSignatureFault,
};
use ed25519_dalek::SigningKey;
use sha2::{Digest, Sha256};

const GOOD: &str = include_str!("../data/register.toml");

fn id(text: &str) -> Id {
    Id::parse(text).unwrap()
}

fn key(name: &str) -> SigningKey {
    SigningKey::from_bytes(&Sha256::digest(format!("cloison test register-key {name}")).into())
}

fn pin(name: &str, body: &str) -> PinnedKey {
    PinnedKey {
        id: id(name),
        body: id(body),
        key: key(name).verifying_key(),
    }
}

/// Three keys of two bodies, of which two must sign.
fn pins() -> RegisterPins {
    RegisterPins {
        deployment: id("demo"),
        keys: vec![
            pin("operations", "vault-agency"),
            pin("standby", "vault-agency"),
            pin("commission", "cndp"),
        ],
        quorum: 2,
        commission: id("cndp"),
    }
}

fn signed(text: &str, signers: &[&str]) -> String {
    signers
        .iter()
        .fold(None, |jws: Option<String>, name| {
            Some(sign::sign(text, jws.as_deref(), &id(name), &key(name)).unwrap())
        })
        .unwrap()
}

fn fault(text: &str, jws: &str) -> RegisterSignatureFault {
    sign::verify(text.as_bytes(), jws, &pins()).unwrap_err()
}

/// A signature over whatever payload is given.
fn over(payload: &str, signers: &[&str]) -> String {
    signers
        .iter()
        .fold(jws::draft(payload.as_bytes()), |text, name| {
            jws::add_signature(&text, sign::TYP, name, &key(name)).unwrap()
        })
}

struct Files {
    folder: tempfile::TempDir,
    register: PathBuf,
    signatures: PathBuf,
}

fn files(text: &str, jws: Option<&str>) -> Files {
    let folder = tempfile::tempdir().unwrap();
    let (register, signatures) = (
        folder.path().join("register.toml"),
        folder.path().join("register.jws"),
    );
    std::fs::write(&register, text).unwrap();
    if let Some(jws) = jws {
        std::fs::write(&signatures, jws).unwrap();
    }
    Files {
        folder,
        register,
        signatures,
    }
}

fn open(files: &Files) -> Result<register::Register, RegisterOpenError> {
    register::open(&files.register, &files.signatures, &pins())
}

#[test]
fn two_of_three_with_the_commission_open_it() {
    for signers in [
        &["operations", "commission"][..],
        &["commission", "standby"],
        &["standby", "commission", "operations"],
    ] {
        let jws = signed(GOOD, signers);
        let register = open(&files(GOOD, Some(&format!("{jws}\n")))).unwrap();
        assert_eq!(register.version, 1);
        let stated = sign::verify(GOOD.as_bytes(), &jws, &pins()).unwrap();
        assert_eq!(
            stated,
            RegisterStatement {
                deployment: id("demo"),
                version: 1,
                digest: register.digest
            }
        );
    }
}

#[test]
fn unsigned() {
    for jws in [None, Some(jws::draft(br#"{"aud":"demo"}"#))] {
        let files = files(GOOD, jws.as_deref());
        match open(&files) {
            Err(RegisterOpenError::Signatures {
                path,
                fault: RegisterSignatureFault::Unsigned,
            }) => assert_eq!(path, files.signatures),
            other => panic!("{other:?}"),
        }
    }
    // Not even looked at: it could say anything.
    assert!(matches!(
        open(&files("not = [a register", None)),
        Err(RegisterOpenError::Signatures { .. })
    ));
}

#[test]
fn too_few_or_not_the_commission() {
    let fault_of = |signers: &[&str]| fault(GOOD, &signed(GOOD, signers));
    for alone in ["operations", "standby", "commission"] {
        let fault = fault_of(&[alone]);
        assert!(
            matches!(
                fault,
                RegisterSignatureFault::Quorum {
                    have: 1,
                    need: 2,
                    ..
                }
            ),
            "{alone}: {fault}"
        );
    }
    assert_eq!(
        fault_of(&["operations", "standby"]),
        RegisterSignatureFault::NoCommission(id("cndp"))
    );
    // A stranger's signature counts for nothing, and neither does one key that is pinned under two
    // names.
    assert!(matches!(
        fault_of(&["commission", "stranger"]),
        RegisterSignatureFault::Quorum {
            have: 1,
            need: 2,
            ..
        }
    ));
    let mut twice = pins();
    twice.keys[0].key = key("commission").verifying_key();
    let jws = signed(GOOD, &["commission"]);
    let jws = sign::sign(GOOD, Some(&jws), &id("operations"), &key("commission")).unwrap();
    let fault = sign::verify(GOOD.as_bytes(), &jws, &twice).unwrap_err();
    assert!(
        matches!(
            fault,
            RegisterSignatureFault::Quorum {
                have: 1,
                need: 2,
                ..
            }
        ),
        "{fault}"
    );
    // Two of the commission's own do not make two bodies.
    let mut commission_only = pins();
    commission_only.keys[1].body = id("cndp");
    let jws = signed(GOOD, &["commission", "standby"]);
    let fault = sign::verify(GOOD.as_bytes(), &jws, &commission_only).unwrap_err();
    assert_eq!(fault, RegisterSignatureFault::OneBody(id("cndp")));
    // With a stranger beside them, two good ones are still two good ones.
    assert!(
        sign::verify(
            GOOD.as_bytes(),
            &signed(GOOD, &["stranger", "commission", "operations"]),
            &pins()
        )
        .is_ok()
    );
}

#[test]
fn forged() {
    let jws = signed(GOOD, &["commission"]);
    let jws = sign::sign(GOOD, Some(&jws), &id("operations"), &key("stranger")).unwrap();
    assert_eq!(
        fault(GOOD, &jws),
        RegisterSignatureFault::Forged(id("operations"))
    );
    // A forged one is refused even where the others would do.
    let jws = sign::sign(GOOD, Some(&jws), &id("standby"), &key("standby")).unwrap();
    assert_eq!(
        fault(GOOD, &jws),
        RegisterSignatureFault::Forged(id("operations"))
    );
    // A good signature moved under another payload.
    let other = GOOD.replace("version = 1\n", "version = 2\n");
    let (old, new) = (
        signed(GOOD, &["operations", "commission"]),
        signed(&other, &["operations", "commission"]),
    );
    let payload = |jws: &str| {
        serde_json::from_str::<serde_json::Value>(jws).unwrap()["payload"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let moved = old.replace(&payload(&old), &payload(&new));
    assert_eq!(
        fault(&other, &moved),
        RegisterSignatureFault::Forged(id("operations"))
    );
    assert!(matches!(
        fault(GOOD, &old.replace("signatures", "signers")),
        RegisterSignatureFault::Malformed(_)
    ));
    assert!(matches!(
        fault(GOOD, "{}"),
        RegisterSignatureFault::Malformed(_)
    ));
    assert!(matches!(
        fault(GOOD, ""),
        RegisterSignatureFault::Malformed(_)
    ));
    let order = jws::add_signature(
        &jws::draft(b"{}"),
        "cloison-order+json",
        "commission",
        &key("commission"),
    )
    .unwrap();
    assert!(
        matches!(fault(GOOD, &order), RegisterSignatureFault::Malformed(_)),
        "an order's signature is none of a register"
    );
}

#[test]
fn changed_after_signing() {
    let jws = signed(GOOD, &["operations", "commission"]);
    for text in [
        GOOD.replace("quorum = 2", "quorum = 3"),
        format!("{GOOD}\n"),
        GOOD.replace('\n', "\r\n"),
        String::new(),
    ] {
        assert_eq!(
            fault(&text, &jws),
            RegisterSignatureFault::OtherText { signed_version: 1 }
        );
    }
    assert!(
        open(&files(
            &GOOD.replace("quorum = 2", "quorum = 3"),
            Some(&jws)
        ))
        .is_err()
    );
}

#[test]
fn foreign() {
    let text = GOOD.replace("deployment = \"demo\"", "deployment = \"elsewhere\"");
    let jws = signed(&text, &["operations", "commission"]);
    assert_eq!(
        fault(&text, &jws),
        RegisterSignatureFault::Foreign {
            signed_for: id("elsewhere"),
            here: id("demo")
        }
    );
    // Signers who say "demo" of a text that says otherwise do not make it ours.
    let digest = data_encoding::HEXLOWER.encode(&sign::digest_of(text.as_bytes()));
    let jws = over(
        &format!(r#"{{"aud":"demo","version":1,"sha256":"{digest}"}}"#),
        &["operations", "commission"],
    );
    let opened = open(&files(&text, Some(&jws)));
    assert!(
        matches!(
            opened,
            Err(RegisterOpenError::Signatures {
                fault: RegisterSignatureFault::Contradiction,
                ..
            })
        ),
        "{opened:?}"
    );
    let digest = data_encoding::HEXLOWER.encode(&sign::digest_of(GOOD.as_bytes()));
    let jws = over(
        &format!(r#"{{"aud":"demo","version":9,"sha256":"{digest}"}}"#),
        &["operations", "commission"],
    );
    let opened = open(&files(GOOD, Some(&jws)));
    assert!(
        matches!(
            opened,
            Err(RegisterOpenError::Signatures {
                fault: RegisterSignatureFault::Contradiction,
                ..
            })
        ),
        "{opened:?}"
    );
}

#[test]
fn a_payload_has_one_form() {
    let digest = "ab".repeat(32);
    for (payload, why) in [
        (
            format!(r#"{{"aud":"demo","version":1,"sha256":"{digest}","note":""}}"#),
            "another member",
        ),
        (
            format!(
                r#"{{"aud":"demo","version":1,"sha256":"{}"}}"#,
                digest.to_uppercase()
            ),
            "upper case",
        ),
        (
            format!(
                r#"{{"aud":"demo","version":1,"sha256":"{}"}}"#,
                &digest[2..]
            ),
            "too short",
        ),
        (
            format!(r#"{{"aud":"De mo","version":1,"sha256":"{digest}"}}"#),
            "no id",
        ),
        (
            format!(r#"{{"aud":"demo","version":"1","sha256":"{digest}"}}"#),
            "a text for a number",
        ),
        (
            format!(r#"{{"aud":"demo","sha256":"{digest}"}}"#),
            "no version",
        ),
    ] {
        let fault = fault(GOOD, &over(&payload, &["operations", "commission"]));
        assert!(
            matches!(
                fault,
                RegisterSignatureFault::Payload | RegisterSignatureFault::Malformed(_)
            ),
            "{why}: {fault}"
        );
    }
    let text = sign::RegisterStatement::of(&register::parse(GOOD).unwrap()).payload();
    let digest = data_encoding::HEXLOWER.encode(&sign::digest_of(GOOD.as_bytes()));
    assert_eq!(
        String::from_utf8(text).unwrap(),
        format!(r#"{{"aud":"demo","version":1,"sha256":"{digest}"}}"#)
    );
}

#[test]
fn signing_joins_what_is_there_or_begins_anew() {
    let first = signed(GOOD, &["operations"]);
    let again = sign::sign(GOOD, Some(&first), &id("operations"), &key("operations"));
    assert!(matches!(
        again,
        Err(RegisterSignError::Jws(jws::JwsError::DuplicateSigner))
    ));
    let other = GOOD.replace("version = 1\n", "version = 2\n");
    let anew = sign::sign(&other, Some(&first), &id("commission"), &key("commission")).unwrap();
    let signers: Vec<String> = jws::parse(&anew, sign::TYP)
        .unwrap()
        .signers()
        .map(str::to_owned)
        .collect();
    assert_eq!(
        signers,
        ["commission"],
        "signatures over another version are not carried along"
    );
    let faulty = GOOD.replace("tag = \"sante\"", "tag = \"impot\"");
    let faults = sign::sign(&faulty, None, &id("commission"), &key("commission"));
    assert!(matches!(faults, Err(RegisterSignError::Faults(faults)) if faults.len() == 1));
}

#[test]
fn signed_and_still_faulty() {
    let text = GOOD
        .replace("tag = \"sante\"", "tag = \"impot\"")
        .replace("max-hours = 720", "max-hours = 0");
    let digest = data_encoding::HEXLOWER.encode(&sign::digest_of(text.as_bytes()));
    let jws = over(
        &format!(r#"{{"aud":"demo","version":1,"sha256":"{digest}"}}"#),
        &["operations", "commission"],
    );
    let files = files(&text, Some(&jws));
    let error = open(&files).unwrap_err();
    assert!(
        matches!(&error, RegisterOpenError::Faults { faults, .. } if faults.len() == 2),
        "{error}"
    );
    let shown = error.to_string();
    assert!(
        shown.contains("register.toml:")
            && shown.contains("write instead")
            && shown.ends_with("2 faults"),
        "{shown}"
    );
    drop(files.folder);
}

/// Who signs the register does not sign orders or requests with the same key.
#[test]
fn a_register_key_is_nobody_elses() {
    let mut pins = pins();
    let judge = SigningKey::from_bytes(&Sha256::digest("cloison test person judge-amrani").into());
    pins.keys[1].key = judge.verifying_key();
    let files = files(GOOD, Some(&signed(GOOD, &["operations", "commission"])));
    let error = register::open(&files.register, &files.signatures, &pins)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("same key for an approver and for a holder of a register key"),
        "{error}"
    );
}

#[test]
fn files_that_are_no_text() {
    let jws = signed(GOOD, &["operations", "commission"]);
    let good = files(GOOD, Some(&jws));
    std::fs::write(&good.register, [0xff, 0xfe, b'a']).unwrap();
    assert!(
        matches!(open(&good), Err(RegisterOpenError::Read { .. })),
        "not UTF-8"
    );
    std::fs::write(&good.register, vec![b'#'; sign::MAX_FILE as usize + 1]).unwrap();
    assert!(
        matches!(open(&good), Err(RegisterOpenError::Read { .. })),
        "too long"
    );
    std::fs::remove_file(&good.register).unwrap();
    assert!(
        matches!(open(&good), Err(RegisterOpenError::Read { .. })),
        "not there"
    );
}
