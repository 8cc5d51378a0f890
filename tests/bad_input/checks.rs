//! `cloison check`, and what `serve` says of a file that is another kind's.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use cloison::keys::file::write_private;

use crate::common::{Side, World, swap};

/// The vault's and the node's configuration, a client's file, and a witness's configuration beside
/// them.
fn world() -> World {
    let world = World::asleep();
    let key = world.read("secrets/vault/checkpoint.pem");
    write_private(&world.path("secrets/witness.pem"), key.as_bytes()).unwrap();
    let public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    world.write(
        "witness.toml",
        &format!(
            "name = \"cndp\"\n[control]\nlisten = \"127.0.0.1:0\"\n[health]\nlisten = \"127.0.0.1:0\"\n\
             [tls]\ncertificate = \"tls/vault.pem\"\nkey = \"secrets/tls/vault.key\"\n\
             [state]\npath = \"data/witness\"\n[secrets]\nkey = \"secrets/witness.pem\"\n\
             [[log]]\nowner = \"test/vault\"\npublic = \"{public}\"\n[[caller]]\ncertificate = \"{public}\"\n"
        ),
    );
    fs::create_dir_all(world.path("data")).unwrap();
    world
}

/// What `check` says on standard output and on standard error, and its exit code.
fn check(world: &World, files: &[&str]) -> (String, String, Option<i32>) {
    let output = world.cloison(&[&["check"], files].concat());
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        text(output.stdout),
        text(output.stderr),
        output.status.code(),
    )
}

#[test]
fn check_knows_what_kind_of_file_it_got() {
    let world = world();
    let files = [
        "register.toml",
        "vault.toml",
        "node.toml",
        "witness.toml",
        "clients/cnss-health.toml",
    ];
    let (said, faults, exit) = check(&world, &files);
    assert_eq!((faults.as_str(), exit), ("", Some(0)));
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), files.len(), "{said}");
    for (line, (file, kind)) in lines.iter().zip(files.iter().zip([
        "a register without a fault",
        "MiB for the index",
        "a configuration without a fault, with a signed register",
        "a witness's configuration without a fault: it watches 1 log",
        "a client's configuration without a fault",
    ])) {
        assert!(line.starts_with(file) && line.contains(kind), "{line}");
    }
}

/// A follower that can never vouch would leave every act that grants something waiting.
#[test]
fn a_follower_that_can_never_count_is_a_fault() {
    let world = world();
    let (vault, node) = (world.read("vault.toml"), world.read("node.toml"));
    let register = world.register();
    let own = data_encoding::HEXLOWER.encode(register.vault_checkpoint_key.unwrap().as_bytes());
    let follower = |line: &str| format!("\n[[audit.follower]]\nname = \"one\"\n{line}\n");
    for (file, text, line, says) in [
        ("vault.toml", &vault, "peer = \"court\"", None),
        (
            "vault.toml",
            &vault,
            "peer = \"cort\"",
            Some("no checkpoint key of test/node/cort"),
        ),
        (
            "vault.toml",
            &vault,
            "peer = \"vault\"",
            Some("no checkpoint key of test/node/vault"),
        ),
        ("node.toml", &node, "peer = \"vault\"", None),
        (
            "node.toml",
            &node,
            &format!("public = \"{own}\""),
            Some("is the checkpoint key of"),
        ),
    ] {
        world.write(file, &format!("{text}{}", follower(line)));
        let (_, faults, exit) = check(&world, &[file]);
        assert_eq!(exit, Some(i32::from(says.is_some())), "{line}: {faults}");
        assert!(
            faults.contains(says.unwrap_or_default()),
            "{line}: {faults}"
        );
        world.write(file, text);
    }
}

/// Files that are often given by mistake are called what they are, and one that nothing tells has
/// ten faults at most.
#[test]
fn a_file_that_is_nothing_to_check_is_called_what_it_is() {
    let world = world();
    world.write("cards.txt", &"AB123456\n".repeat(100_000));
    world.write("strange.txt", &"a = \n".repeat(1_000));
    for (file, called) in [
        ("cards.txt", "is a list, a line an entry"),
        ("tls/vault.pem", "is a certificate or key in PEM"),
        ("secrets/vault/identity.secret", "is a secret"),
        ("register.jws", "is JSON"),
    ] {
        let (_, faults, exit) = check(&world, &[file]);
        assert!(
            faults.starts_with(file) && faults.contains(called) && faults.lines().count() < 5,
            "{faults}"
        );
        assert_eq!(exit, Some(1));
    }
    let (_, faults, _) = check(&world, &["strange.txt"]);
    assert!(
        faults.lines().count() < 40 && faults.contains("more faults"),
        "{faults}"
    );
}

/// Every file that a configuration names, but for those that the process itself makes.
fn named(text: &str) -> BTreeSet<&str> {
    let values = text
        .lines()
        .filter_map(|line| {
            line.split_once(" = ")?
                .1
                .trim_start_matches('[')
                .strip_prefix('"')
        })
        .filter_map(|rest| rest.split('"').next());
    let paths = values.filter(|value| value.contains('/') || value.contains("register."));
    paths
        .filter(|path| !path.starts_with("data/") && !path.contains("://") && *path != "test/vault")
        .collect()
}

#[test]
fn check_opens_every_file_that_a_configuration_names_and_tells_all_faults_at_once() {
    for config in [
        "vault.toml",
        "node.toml",
        "witness.toml",
        "clients/cnss-health.toml",
    ] {
        let world = world();
        let text = world.read(config);
        let folder = world.path(config).parent().unwrap().to_owned();
        let files = named(&text);
        assert!(files.len() >= 3, "{files:?}");
        for path in &files {
            let path = folder.join(path);
            fs::rename(&path, path.with_extension("away")).unwrap();
        }
        let (_, faults, exit) = check(&world, &[config]);
        assert_eq!(exit, Some(1));
        for path in &files {
            // Of a register that is not there the signatures are not asked for.
            let name = path
                .rsplit('/')
                .next()
                .unwrap()
                .replace("register.jws", "register.toml");
            assert!(faults.contains(&name), "{path} is not in:\n{faults}");
        }
    }
}

#[test]
fn check_reads_what_it_opens() {
    let world = world();
    for (file, text) in [
        (
            "secrets/vault/identity.secret",
            world.read("secrets/vault/audit.secret"),
        ),
        ("secrets/vault/sector/1.secret", "nonsense\n".to_owned()),
        (
            "secrets/vault/checkpoint.pem",
            "-----BEGIN PRIVATE KEY-----\n".to_owned(),
        ),
        ("secrets/tls/vault.key", world.read("secrets/tls/node.key")),
    ] {
        world.write(file, &text);
    }
    fs::set_permissions(
        world.path("secrets/vault/store/1.secret"),
        fs::Permissions::from_mode(0o644),
    )
    .unwrap();
    world.replace("vault.toml", "data/vault.place", "nowhere/vault.place");
    let (_, faults, exit) = check(&world, &["vault.toml"]);
    assert_eq!(exit, Some(1));
    for fault in [
        "identity.secret: holds a secret of kind `audit`, wanted is `identity`",
        "sector/1.secret: is not a line `cloison-secret-1",
        "checkpoint.pem: is not an Ed25519 private key in PKCS#8 PEM",
        "vault.key: is not the key of the certificate ",
        "store/1.secret: has mode 0644 and must have 0600",
        "nowhere/vault.place: there is no folder ",
    ] {
        assert!(faults.contains(fault), "{fault:?} is not in:\n{faults}");
    }
}

#[test]
fn a_file_of_another_kind_is_called_by_its_name() {
    let mut world = world();
    let vault = world.read("vault.toml");
    for (file, called) in [
        (
            "node.toml",
            "an authority node's configuration, which `cloison authority serve --config` takes",
        ),
        (
            "witness.toml",
            "a witness's configuration, which `cloison witness serve --config` takes",
        ),
        (
            "clients/cnss-health.toml",
            "a client's file, which `--client` takes",
        ),
        (
            "register.toml",
            "a register, which `[register] file` of a configuration takes",
        ),
    ] {
        world.write("vault.toml", &world.read(file));
        let failed = world
            .try_start(Side::Vault, &[])
            .expect_err("it must not start");
        assert!(
            failed
                .said
                .contains(&format!("vault.toml: this is {called}, and not a vault's")),
            "{failed}"
        );
        assert!(!failed.said.contains("write instead"), "{failed}");
    }
    world.write("vault.toml", &vault);
    let output = world.cloison(&[
        "client",
        "tokenize",
        "--client",
        "vault.toml",
        "--sector",
        "health",
        "--scheme",
        "cnie",
    ]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains(
            "vault.toml: this is a vault's configuration, which `cloison serve --config` takes"
        ),
        "{said}"
    );
    // A fault in a file of the right kind is told as before.
    world.write(
        "vault.toml",
        &swap(&vault, "[store]\n", "[store]\nnonsense = 1\n"),
    );
    let failed = world
        .try_start(Side::Vault, &[])
        .expect_err("it must not start");
    assert!(failed.said.contains("unknown field `nonsense`"), "{failed}");
}
