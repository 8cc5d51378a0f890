//! `cloison init` and the example keys.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use cloison::keys::example::{fingerprint, fingerprint_of_spki, is_example, listed};
use cloison::keys::file::read_signing_key;
use cloison::order;
use cloison::order::OrderPayload;
use cloison::register::{Id, PinnedKey, RegisterPins, open};
use cloison::statement::Statement as _;

fn cloison(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_cloison"))
        .args(arguments)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// A fresh deployment.
fn init(place: &Path, more: &[&str]) -> PathBuf {
    let dir = place.join("deployment");
    let output = cloison(&[&["init", dir.to_str().unwrap()], more].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    dir
}

/// Every file below `dir`, by its path inside.
fn files(dir: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

/// The pins that a deployment's configuration states.
fn pins(config: &Path) -> RegisterPins {
    let config: toml::Table = fs::read_to_string(config).unwrap().parse().unwrap();
    let register = config["register"].as_table().unwrap();
    let id = |value: &toml::Value| Id::parse(value.as_str().unwrap()).unwrap();
    let key = |entry: &toml::Value| {
        let public = data_encoding::HEXLOWER
            .decode(entry["public"].as_str().unwrap().as_bytes())
            .unwrap();
        let key = ed25519_dalek::VerifyingKey::from_bytes(&public.try_into().unwrap()).unwrap();
        PinnedKey {
            id: id(&entry["id"]),
            body: id(&entry["body"]),
            key,
        }
    };
    RegisterPins {
        deployment: id(&config["deployment"]),
        keys: register["key"]
            .as_array()
            .unwrap()
            .iter()
            .map(key)
            .collect(),
        quorum: register["quorum"].as_integer().unwrap() as usize,
        commission: id(&register["commission"]),
    }
}

#[test]
fn secrets_are_for_their_owner_alone_and_nothing_else_is_secret() {
    let place = tempfile::tempdir().unwrap();
    let dir = init(place.path(), &[]);
    assert_eq!(mode(&dir), 0o700);
    for path in files(&dir) {
        let contents = fs::read_to_string(dir.join(&path)).unwrap();
        let secret = contents.contains("cloison-secret-1:") || contents.contains("PRIVATE KEY");
        assert_eq!(secret, path.starts_with("secrets/"), "{path}");
        assert_eq!(
            mode(&dir.join(&path)),
            if secret { 0o600 } else { 0o644 },
            "{path}"
        );
        for above in Path::new(&path)
            .ancestors()
            .skip(1)
            .filter(|above| *above != Path::new(""))
        {
            assert_eq!(mode(&dir.join(above)), 0o700, "{}", above.display());
        }
    }
}

#[test]
fn a_second_time_is_refused_and_changes_nothing() {
    let place = tempfile::tempdir().unwrap();
    let dir = init(place.path(), &[]);
    let before: Vec<_> = files(&dir)
        .iter()
        .map(|path| fs::read(dir.join(path)).unwrap())
        .collect();
    let output = cloison(&["init", dir.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("is not empty"),
        "{}",
        text(&output.stderr)
    );
    assert!(
        text(&output.stderr).contains(" hint: "),
        "{}",
        text(&output.stderr)
    );
    let after: Vec<_> = files(&dir)
        .iter()
        .map(|path| fs::read(dir.join(path)).unwrap())
        .collect();
    assert_eq!(before, after);
}

#[test]
fn a_folder_that_cannot_be_filled_is_left_as_it_was() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("deployment");
    let output = cloison(&[
        "init",
        dir.to_str().unwrap(),
        "--vault-host",
        "not a host\n",
    ]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    assert!(!dir.exists());
    for wrong in [&["--deployment", "Not An Id"][..], &["--years", "0"]] {
        let output = cloison(&[&["init", dir.to_str().unwrap()], wrong].concat());
        assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
        assert!(!dir.exists());
    }
}

#[test]
fn the_register_is_signed_by_the_keys_that_both_sides_pin() {
    let place = tempfile::tempdir().unwrap();
    let dir = init(place.path(), &["--deployment", "pilot"]);
    for config in ["vault.toml", "node.toml"] {
        let pins = pins(&dir.join(config));
        let register = open(&dir.join("register.toml"), &dir.join("register.jws"), &pins).unwrap();
        assert_eq!(register.deployment.as_str(), "pilot");
        assert_eq!(register.version, 1);
        // One signature less, or another deployment, and it is no register.
        let other = RegisterPins {
            deployment: Id::parse("other").unwrap(),
            ..pins.clone()
        };
        assert!(
            open(
                &dir.join("register.toml"),
                &dir.join("register.jws"),
                &other
            )
            .is_err()
        );
        let stricter = RegisterPins { quorum: 3, ..pins };
        assert!(
            open(
                &dir.join("register.toml"),
                &dir.join("register.jws"),
                &stricter
            )
            .is_err()
        );
    }
}

/// Whoever starts from it decides before the first use, after which the rules are frozen.
#[test]
fn the_register_says_beside_cnie_that_padding_makes_another_number() {
    let place = tempfile::tempdir().unwrap();
    let register = fs::read_to_string(init(place.path(), &[]).join("register.toml")).unwrap();
    let (before, _) = register.split_once("id = \"cnie\"").unwrap();
    let (_, comment) = before.rsplit_once("\n\n").unwrap();
    assert!(
        comment
            .lines()
            .all(|line| line.starts_with('#') || line == "[[scheme]]"),
        "{comment}"
    );
    for word in [
        "padded with zeros",
        "is another number",
        "Before the first use, ask the issuer",
    ] {
        assert!(
            comment.replace("\n# ", " ").contains(word),
            "{word}: {comment}"
        );
    }
}

#[test]
fn keys_and_certificates_belong_together() {
    let place = tempfile::tempdir().unwrap();
    let dir = init(
        place.path(),
        &[
            "--vault-host",
            "vault.example.org",
            "--vault-host",
            "192.0.2.7",
        ],
    );
    let register = open(
        &dir.join("register.toml"),
        &dir.join("register.jws"),
        &pins(&dir.join("vault.toml")),
    )
    .unwrap();
    let court = &register.authorities[&Id::parse("court").unwrap()];
    for approver in court.approvers.values() {
        let key =
            read_signing_key(&dir.join(format!("secrets/people/{}.pem", approver.id))).unwrap();
        assert_eq!(key.verifying_key(), approver.key);
    }
    let node: toml::Table = fs::read_to_string(dir.join("node.toml"))
        .unwrap()
        .parse()
        .unwrap();
    let segment = read_signing_key(&dir.join("secrets/vault/segment.pem"))
        .unwrap()
        .verifying_key();
    let pinned = node["segment-key"].as_array().unwrap()[0]["public"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(pinned, data_encoding::HEXLOWER.encode(segment.as_bytes()));
    assert_eq!(
        court.node.0,
        spki(&fs::read_to_string(dir.join("tls/node.pem")).unwrap())
    );
    assert_eq!(
        court.officers.values().next().unwrap().certificate.0,
        spki_of(&dir, "officer")
    );
    assert!(
        register
            .clients
            .keys()
            .any(|key| key.0 == spki_of(&dir, "cnss-health"))
    );
    // Two: what destroys takes the signatures of both.
    assert_eq!(register.operators.len(), 2);
    for (certificate, operator) in &register.operators {
        assert_eq!(certificate.0, spki_of(&dir, operator.id.as_str()));
        let key =
            read_signing_key(&dir.join(format!("secrets/people/{}.pem", operator.id))).unwrap();
        assert_eq!(operator.key, Some(key.verifying_key()));
    }
    let client = fs::read_to_string(dir.join("clients/cnss-health.toml")).unwrap();
    assert!(
        client.contains("https://vault.example.org:7443"),
        "{client}"
    );
    let vault = fs::read_to_string(dir.join("vault.toml")).unwrap();
    assert!(
        vault.contains("0.0.0.0:7443") && vault.contains("127.0.0.1:7445"),
        "{vault}"
    );
}

#[test]
fn on_machines_of_their_own_each_side_keeps_the_others_log_and_counts() {
    let place = tempfile::tempdir().unwrap();
    let hosts = ["--vault-host", "192.0.2.7", "--authority-host", "192.0.2.8"];
    let dir = init(place.path(), &hosts);
    let vault = cloison::config::VaultConfig::load(&dir.join("vault.toml")).unwrap();
    let node = cloison::config::NodeConfig::load(&dir.join("node.toml")).unwrap();
    let text = fs::read_to_string(dir.join("vault.toml")).unwrap();
    let again = "\n[[audit.follower]]\nname = \"twice\"\npeer = \"court\"\n";
    let faults = cloison::config::VaultConfig::parse(&(text + again), &dir).unwrap_err();
    assert!(faults[0].what.contains("second follower"), "{faults:?}");
    for log in [vault.log, node.log] {
        assert_eq!((log.places.needed, log.places.followers.len()), (1, 1));
        assert!(log.followed.is_some());
    }
    let place = tempfile::tempdir().unwrap();
    let dir = init(place.path(), &[]);
    let vault = cloison::config::VaultConfig::load(&dir.join("vault.toml")).unwrap();
    assert_eq!((vault.log.places.needed, vault.log.followed), (0, None));
}

fn spki_of(dir: &Path, name: &str) -> [u8; 32] {
    spki(&fs::read_to_string(dir.join(format!("tls/{name}.pem"))).unwrap())
}

/// SHA-256 of a certificate's SubjectPublicKeyInfo.
fn spki(pem: &str) -> [u8; 32] {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;
    use sha2::Digest as _;
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    let certificate = rustls::server::ParsedCertificate::try_from(&der).unwrap();
    sha2::Sha256::digest(certificate.subject_public_key_info()).into()
}

// --- keys-example/

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("keys-example")
}

#[test]
fn every_secret_in_keys_example_is_listed() {
    let mut expected = BTreeSet::new();
    for path in files(&example().join("secrets")) {
        let contents = fs::read_to_string(example().join("secrets").join(&path)).unwrap();
        let fingerprint = if let Some(line) = contents.strip_prefix("cloison-secret-1:") {
            let digits = line.trim_end().rsplit(':').next().unwrap();
            fingerprint(
                &data_encoding::HEXLOWER
                    .decode(digits.as_bytes())
                    .unwrap()
                    .try_into()
                    .unwrap(),
            )
        } else if path.starts_with("tls/") {
            let key = rcgen::KeyPair::from_pem(&contents).unwrap();
            use rcgen::PublicKeyData as _;
            use sha2::Digest as _;
            fingerprint_of_spki(&sha2::Sha256::digest(key.subject_public_key_info()).into())
        } else {
            use ed25519_dalek::pkcs8::DecodePrivateKey as _;
            fingerprint(
                ed25519_dalek::SigningKey::from_pkcs8_pem(&contents)
                    .unwrap()
                    .as_bytes(),
            )
        };
        assert!(is_example(&fingerprint), "{path} is not listed");
        expected.insert((fingerprint, format!("secrets/{path}")));
    }
    assert!(expected.len() > 15, "the example set is complete");
    let listed: BTreeSet<_> = listed()
        .map(|(fingerprint, path)| (fingerprint, path.to_owned()))
        .collect();
    assert_eq!(listed, expected, "and nothing else is listed");
    let lines = fs::read_to_string(example().join("FINGERPRINTS"))
        .unwrap()
        .lines()
        .count();
    assert_eq!(lines, expected.len(), "every line is well formed");
}

#[test]
fn a_fresh_deployment_shares_nothing_with_the_example() {
    let place = tempfile::tempdir().unwrap();
    let dir = init(place.path(), &[]);
    for path in files(&dir.join("secrets")) {
        let fresh = fs::read_to_string(dir.join("secrets").join(&path)).unwrap();
        let example = fs::read_to_string(example().join("secrets").join(&path)).unwrap_or_default();
        assert_ne!(fresh, example, "{path}");
    }
    let seed = read_signing_key(&dir.join("secrets/vault/segment.pem")).unwrap();
    assert!(!is_example(&fingerprint(seed.as_bytes())));
}

#[test]
fn the_example_says_what_it_is_and_its_register_and_order_are_valid() {
    let dir = example();
    assert!(
        fs::read_to_string(dir.join("README.md"))
            .unwrap()
            .starts_with("# EXAMPLE KEYS, NEVER USE")
    );
    assert!(
        fs::read_to_string(dir.join("register.toml"))
            .unwrap()
            .contains("EXAMPLE KEYS")
    );
    let pins = pins(&dir.join("vault.toml"));
    let register = open(&dir.join("register.toml"), &dir.join("register.jws"), &pins).unwrap();
    assert_eq!(
        register
            .operators
            .values()
            .filter(|operator| operator.key.is_some())
            .count(),
        2
    );
    let text = fs::read_to_string(dir.join("orders/example.jws")).unwrap();
    let payload = cloison::jws::parse(&text, OrderPayload::TYP)
        .unwrap()
        .payload()
        .to_vec();
    let payload = order::OrderPayload::read(&payload).unwrap();
    // It is valid from the day on which it was made; this test has to hold on any later day, too.
    let active = order::check(&text, &register, payload.not_before).unwrap();
    assert_eq!(active.signers().len(), 2);
    assert_eq!(active.limit(), 1);
    assert!(order::check(&text, &register, payload.not_after).is_err());
}
