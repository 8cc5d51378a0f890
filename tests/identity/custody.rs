//! The identity secret in shares: the source starts sealed, and its custodians open it.

use cloison::keys::custody::passphrase::new_identity;
use secrecy::ExposeSecret as _;

use super::*;
use crate::common::process::soon;

/// Runs a command that splits secrets between the three custodians, two of whom recover them.
fn split_between(world: &World, command: [&str; 2], config: &str, out: &str) {
    let mut custodians = vec![];
    for number in 1..=3 {
        let (identity, recipient) = new_identity();
        let path = world.path(&format!("keeper-{number}.key"));
        let text = format!("{}\n", identity.expose_secret());
        cloison::keys::file::write_private(&path, text.as_bytes()).unwrap();
        custodians.push("--custodian".to_owned());
        custodians.push(format!("keeper-{number}={recipient}"));
    }
    let mut arguments = command.to_vec();
    arguments.extend(["--config", config, "--threshold", "2"]);
    arguments.extend(custodians.iter().map(String::as_str));
    arguments.extend(["--out", out]);
    let split = world.cloison(&arguments);
    assert!(split.status.success(), "{split:?}");
}

/// Has the source start on a set of shares.
fn name_set(world: &World, set: &str) {
    world.replace(
        "identity.toml",
        "identity = \"secrets/identity/identity.secret\"",
        &format!("identity-shares = {set:?}"),
    );
}

/// Splits the secret, and takes the file away.
fn split(world: &World) {
    split_between(
        world,
        ["identity", "split"],
        "identity.toml",
        "identity-shares",
    );
    name_set(world, "identity-shares/identity.set");
    std::fs::remove_file(world.path("secrets/identity/identity.secret")).unwrap();
}

/// The set of a whole vault begins with the identity secret and goes on with others: the last of
/// them would be taken for it.
#[test]
fn a_set_of_more_than_the_identity_secret_is_refused_at_the_start() {
    let world = World::asleep();
    let place = IdentityPlace::prepare(&world);
    split_between(&world, ["secrets", "split"], "vault.toml", "vault-shares");
    let files = crate::common::files(&world.path("vault-shares")).into_iter();
    let mut sets = files.filter(|path| path.extension().is_some_and(|end| end == "set"));
    name_set(&world, sets.next().unwrap().to_str().unwrap());
    let failed = place.start(&world, &["--first-start"]).err();
    let failed = failed.expect("it does not start");
    assert!(
        failed
            .said
            .contains("not a set of the identity secret alone"),
        "{failed}"
    );
}

#[test]
fn a_secret_in_shares_answers_nobody_until_its_custodians_came() {
    let world = World::asleep();
    let place = IdentityPlace::prepare(&world);
    let keys = identity_keys(&world);
    split(&world);
    for name in ["keeper-1", "keeper-2", "keeper-3"] {
        place.client(&world, name);
    }
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_cloison"));
    command.args(["identity", "serve", "--first-start", "--config"]);
    command.arg(world.path("identity.toml"));
    let log = std::fs::File::create(world.path("logs/identity.log")).unwrap();
    let mut source = command.stderr(log).spawn().unwrap();
    soon("it is sealed", || {
        crate::common::plain_get(place.health, "/readyz")
            .is_some_and(|said| said.contains("unseal"))
    });
    let probe = body(&[EncodedPart::probe()]);
    let reply = place.ask(&world, &probe);
    assert_eq!((reply.status, &*problem(&reply)), (503, "sealed"));

    let bring = |command: &str, keeper: &str, share: &str| {
        let client = format!("clients/{keeper}.toml");
        let (file, key) = (
            format!("identity-shares/{share}.share"),
            format!("{share}.key"),
        );
        let brought = ["--client", &client, "--share", &file, "--identity", &key];
        world.cloison(&[&["identity", command][..], &brought[..]].concat())
    };
    // Another custodian's share is refused; a drill opens nothing.
    let foreign = bring("unseal", "keeper-2", "keeper-1");
    assert!(!foreign.status.success());
    for keeper in ["keeper-1", "keeper-3"] {
        let drilled = bring("drill", keeper, keeper);
        assert!(drilled.status.success(), "{drilled:?}");
    }
    assert_eq!(problem(&place.ask(&world, &probe)), "sealed");
    for keeper in ["keeper-1", "keeper-2"] {
        let brought = bring("unseal", keeper, keeper);
        assert!(brought.status.success(), "{brought:?}");
    }
    let reply = place.ask(&world, &probe);
    let PartOutcome::Answers(check) = &outcomes(&reply, &[1])[0] else {
        panic!("it is open")
    };
    assert_eq!(check[0], keys.check_value().0);
    let sealed = world.cloison(&["identity", "seal", "--client", "clients/keeper-3.toml"]);
    assert!(sealed.status.success(), "{sealed:?}");
    assert_eq!(problem(&place.ask(&world, &probe)), "sealed");
    source.kill().unwrap();
    source.wait().unwrap();
    let actions: Vec<_> = entries(&world)
        .into_iter()
        .filter(|entry| entry["event"] == "custody")
        .map(|entry| entry["action"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        actions,
        [
            "drill-share",
            "drill-share",
            "drill",
            "share",
            "share",
            "unseal",
            "seal"
        ]
    );
}
