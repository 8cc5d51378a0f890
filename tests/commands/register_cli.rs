//! `cloison check` and `cloison register …` as people call them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use data_encoding::HEXLOWER;
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::DecodePrivateKey as _;

/// A deployment in a folder of its own, as `init` makes it.
struct Deployment {
    _folder: tempfile::TempDir,
    dir: PathBuf,
}

impl Deployment {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("deployment");
        good(
            Command::new(env!("CARGO_BIN_EXE_cloison"))
                .arg("init")
                .arg(&dir)
                .output()
                .unwrap(),
        );
        Self {
            _folder: folder,
            dir,
        }
    }

    fn run(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_cloison"))
            .args(args)
            .current_dir(&self.dir)
            .output()
            .unwrap()
    }

    fn sign(&self, who: &str) -> Output {
        self.run(&[
            "register",
            "sign",
            "--as",
            who,
            "--key",
            &format!("secrets/register/{who}.pem"),
        ])
    }

    fn verify(&self) -> Output {
        self.run(&["register", "verify", "--config", "vault.toml"])
    }

    fn edit(&self, from: &str, to: &str) {
        let file = self.dir.join("register.toml");
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "{from:?} is in the register");
        fs::write(file, text.replacen(from, to, 1)).unwrap();
    }
}

/// Standard output of a command that succeeded.
#[track_caller]
fn good(output: Output) -> String {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Standard error of a command that was refused.
#[track_caller]
fn bad(output: Output) -> String {
    assert_eq!(
        output.status.code(),
        Some(1),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn check_tells_good_from_bad_and_says_where() {
    let deployment = Deployment::new();
    let files = [
        "check",
        "register.toml",
        "vault.toml",
        "node.toml",
        "clients/operator.toml",
    ];
    let said = good(deployment.run(&files));
    assert_eq!(
        said.lines()
            .filter(|line| line.contains("without a fault"))
            .count(),
        4,
        "{said}"
    );

    deployment.edit("quorum = 2", "quorum = 1\ncolour = \"red\"");
    let text = fs::read_to_string(deployment.dir.join("register.toml")).unwrap();
    let line = 1 + text.lines().position(|line| line == "quorum = 1").unwrap();
    let output = deployment.run(&files);
    let said = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(
        said.contains("clients/operator.toml: ") && !said.contains("register.toml: "),
        "{said}"
    );
    let said = bad(output);
    assert!(
        said.contains(&format!(
            "register.toml:{line}: authority `court`: `quorum` is 1"
        )),
        "{said}"
    );
    assert!(
        said.contains(&format!(
            "register.toml:{}: authority `court`: unknown field `colour`",
            line + 1
        )),
        "{said}"
    );
    assert!(
        said.contains("write instead: quorum = 2")
            && said.contains("is not the one that was signed"),
        "{said}"
    );
    assert!(bad(deployment.run(&["check", "--config", "nowhere.toml"])).contains("nowhere.toml: "));
    assert_eq!(deployment.run(&["check"]).status.code(), Some(2));
}

#[test]
fn sign_and_verify_in_turn() {
    let deployment = Deployment::new();
    let said = good(deployment.verify());
    assert!(
        said.contains("version 1")
            && said.contains("signed by operations (operations), commission (cndp)"),
        "{said}"
    );

    let before = fs::read(deployment.dir.join("register.jws")).unwrap();
    deployment.edit("version = 1", "version = 2");
    assert!(bad(deployment.verify()).contains("is not the one that was signed (version 1)"));
    let output = deployment.sign("operations");
    let aside = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(
        aside.contains("set aside: signatures over another text by operations, commission, in "),
        "{aside}"
    );
    let aside = aside.trim_end().rsplit(' ').next().unwrap();
    assert_eq!(
        fs::read(deployment.dir.join(aside)).unwrap(),
        before,
        "they may be the only ones of what is in force"
    );
    good(output);
    assert!(bad(deployment.verify()).contains("signed by 1 register keys of the 2 that must sign"));
    assert!(
        bad(deployment.sign("operations"))
            .contains("`operations` has signed this register already")
    );
    let said = good(deployment.sign("commission"));
    assert_eq!(
        said.trim(),
        "register.jws: signed by operations, commission"
    );
    assert!(good(deployment.verify()).contains("version 2"));
    assert!(
        good(deployment.run(&["register", "verify", "--config", "node.toml"]))
            .contains("version 2")
    );
    assert!(!deployment.dir.join("register.jws.new").exists());

    // A register with a fault gets no signature, and the old ones stay what they were.
    let before = fs::read(deployment.dir.join("register.jws")).unwrap();
    deployment.edit("version = 2", "version = 0");
    let said = bad(deployment.sign("operations"));
    assert!(
        said.contains("register.toml:") && said.contains("`version` is 0"),
        "{said}"
    );
    assert_eq!(
        fs::read(deployment.dir.join("register.jws")).unwrap(),
        before
    );
}

#[test]
fn a_private_key_that_others_can_read_signs_nothing() {
    let deployment = Deployment::new();
    let key = deployment.dir.join("secrets/register/operations.pem");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    fs::remove_file(deployment.dir.join("register.jws")).unwrap();
    assert!(bad(deployment.sign("operations")).contains("must have 0600"));
    assert!(!deployment.dir.join("register.jws").exists());
    assert!(bad(deployment.verify()).contains("the register is not signed"));
}

/// What the commission does with its own copy: keys from hand to hand, no configuration.
#[test]
fn verify_by_named_keys() {
    let deployment = Deployment::new();
    let pin = |who: &str, body: &str| {
        let pem =
            fs::read_to_string(deployment.dir.join(format!("secrets/register/{who}.pem"))).unwrap();
        let key = SigningKey::from_pkcs8_pem(&pem).unwrap().verifying_key();
        format!("{who}:{body}:{}", HEXLOWER.encode(key.as_bytes()))
    };
    let (operations, commission) = (pin("operations", "operations"), pin("commission", "cndp"));
    let verify = |deployment_id: &str, body: &str, more: &[&str]| {
        let args = [
            "register",
            "verify",
            "--deployment",
            deployment_id,
            "--commission",
            body,
            "--pin",
            &operations,
        ];
        deployment.run(&[&args[..], &["--pin", &commission], more].concat())
    };
    let said = good(verify("cloison", "cndp", &["--json"]));
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["version"], 1);
    assert_eq!(said["signed_by"].as_array().unwrap().len(), 2);
    assert!(bad(verify("elsewhere", "cndp", &[])).contains("the register is foreign"));
    assert!(
        bad(verify("cloison", "parliament", &[]))
            .contains("no register key of `parliament` signed")
    );
    assert!(
        bad(verify("cloison", "cndp", &["--quorum", "3"]))
            .contains("signed by 2 register keys of the 3")
    );
    let weak = format!("weak:cndp:{}", "0".repeat(64));
    let refused = verify("cloison", "cndp", &["--pin", &weak]);
    assert_eq!(
        refused.status.code(),
        Some(2),
        "a key that anybody can sign for is no key"
    );
}

#[test]
fn show_says_all_of_it() {
    let deployment = Deployment::new();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/register.toml");
    let page = good(deployment.run(&["register", "show", example.to_str().unwrap()]));
    for part in [
        "deployment demo, version 1",
        "health.chu-rabat.study-42: tag etude, bech32m, one a person and purpose, uuid ",
        "irreversible: no mapping is stored",
        "finance: tag finance, uuid, one a person and controller",
        "mobility: tag mobilite, hex, one a person and purpose, month",
        "bank-atlas-customers: tokenize in finance; purposes know-your-customer",
        "approver commissioner-haddad: Commissioner Haddad, of cndp",
        "officer officer-el-fassi: Officer El Fassi",
        "at most 50",
    ] {
        assert!(page.contains(part), "{part:?} in {page}");
    }
    let json = good(deployment.run(&["register", "show", "--json", example.to_str().unwrap()]));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["sectors"].as_array().unwrap().len(), 7);
    assert_eq!(json["sectors"][0]["text-form"], "uuid");
    assert_eq!(json["authorities"][1]["force-majeure-quorum"], 2);
    assert_eq!(
        json["schemes"][0],
        serde_json::json!({"id": "cnie", "pattern": "[A-Z]{1,2}[0-9]{1,7}", "separators": " -.", "case": "fold", "check": "none"})
    );
}

#[test]
fn show_names_identity_sources_and_whose_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("split");
    let mut init = Command::new(env!("CARGO_BIN_EXE_cloison"));
    good(
        init.args(["init", "--identity-host", "localhost"])
            .arg(&dir)
            .output()
            .unwrap(),
    );
    let show = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cloison"));
        command.current_dir(&dir).args(["register", "show"]);
        good(command.args(more).output().unwrap())
    };
    let page = show(&[]);
    assert!(
        page.contains("\nIdentity sources\n") && page.contains(", counts 1 of every quota"),
        "{page}"
    );
    let json: serde_json::Value = serde_json::from_str(&show(&["--json"])).unwrap();
    let source = &json["identities"][0];
    assert_eq!(source["share"], 1.0);
    assert_eq!(source["certificate"].as_str().unwrap().len(), 64);
    assert_ne!(source["organisation"], json["vault"]["organisation"]);
}

#[test]
fn with_a_configuration_nobody_signs_in_a_name_or_with_a_key_that_it_does_not_pin() {
    let deployment = Deployment::new();
    let before = fs::read(deployment.dir.join("register.jws")).unwrap();
    let sign = |name: &str, key: &str| {
        let key = format!("secrets/register/{key}.pem");
        deployment.run(&[
            "register",
            "sign",
            "--as",
            name,
            "--key",
            &key,
            "--config",
            "node.toml",
        ])
    };
    assert!(bad(sign("minister", "operations")).contains("no key is pinned as `minister`"));
    assert!(
        bad(sign("commission", "operations"))
            .contains("the key is not the one that is pinned as `commission`")
    );
    assert_eq!(
        fs::read(deployment.dir.join("register.jws")).unwrap(),
        before
    );
    deployment.edit("version = 1", "version = 2");
    good(sign("operations", "operations"));
}
