//! The same on the command line: one clear line about what is wrong, one about what to do, an exit
//! code, and no word about a person.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Output;

use cloison::keys::file::write_private;
use cloison::order::OrderPayload;
use jiff::SignedDuration;

use crate::common::{QUORUM, Side, World, id, now, swap};
use crate::watch::{Left, Watch, mentions};

/// What a command that failed said, if it failed as it should: exit code, an error, a hint, no
/// result, no secret.
#[track_caller]
fn failed(output: &Output, exit: i32, why: &str, secrets: &[String]) {
    let said = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(exit), "{said}");
    assert!(said.contains(why), "{why:?} is not in: {said}");
    assert!(
        said.lines().any(|line| line.starts_with("error: ")),
        "{said}"
    );
    assert!(
        said.lines()
            .any(|line| line.trim_start().starts_with("hint: ")),
        "{said}"
    );
    assert!(!said.contains("panicked"), "{said}");
    assert_eq!(String::from_utf8(output.stdout.clone()).unwrap(), "");
    for secret in secrets {
        assert!(mentions(&said, secret).is_none(), "{said}");
    }
}

#[test]
fn sector_systems_and_operators() {
    let mut watch = Watch::new(World::new());
    let secrets = ["QC770001".to_owned(), "QC770002".to_owned()];
    watch.secrets(&secrets);
    let input = b"QC770001\nQC770002\n";
    let tokenize = |watch: &Watch, client: &str, sector: &str, scheme: &str, more: &[&str]| {
        let client = format!("clients/{client}.toml");
        let arguments = [
            "client", "tokenize", "--client", &client, "--sector", sector, "--scheme", scheme,
        ];
        watch.cloison_with(&[&arguments[..], more].concat(), input)
    };
    let vault = |actor: &'static str| (Side::Vault, actor, "tokenize");
    for (client, sector, scheme, more, code) in [
        ("cnss-health", "nowhere", "cnie", &[][..], "unknown-sector"),
        ("cnss-health", "tax", "cnie", &[], "unknown-sector"),
        ("cnss-health", "../../health", "cnie", &[], "unknown-sector"),
        ("cnss-health", "health", "nonsense", &[], "unknown-scheme"),
        (
            "cnss-health",
            "health",
            "cnie&purpose=billing",
            &[],
            "unknown-scheme",
        ),
        (
            "cnss-health",
            "health",
            "cnie",
            &["--purpose", "nonsense"],
            "unknown-purpose",
        ),
        ("rsu-social", "social", "cnie", &[], "unknown-purpose"),
    ] {
        failed(
            &tokenize(&watch, client, sector, scheme, more),
            1,
            code,
            &secrets,
        );
        let (side, actor, operation) = vault(client);
        watch.entry(side, actor, operation, code);
    }
    let epoch = |watch: &Watch, sector: &str| {
        let advance = [
            "epoch", "advance", "--sector", sector, "--from", "1", "--yes",
        ];
        watch.cloison(&[&advance[..], &["--client", "clients/operator.toml"]].concat())
    };
    failed(&epoch(&watch, "nowhere"), 1, "unknown-sector", &secrets);
    watch.entry(Side::Vault, "operator", "epoch-advance", "unknown-sector");

    // What fails before anything is sent.
    failed(
        &tokenize(&watch, "nobody", "health", "cnie", &[]),
        1,
        "clients/nobody.toml",
        &secrets,
    );
    let key = watch.path("secrets/tls/cnss-health.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640)).unwrap();
    failed(
        &tokenize(&watch, "cnss-health", "health", "cnie", &[]),
        1,
        "has mode 0640 and must have 0600",
        &secrets,
    );
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    watch.replace("clients/cnss-health.toml", "url = ", "nonsense = 1\nurl = ");
    failed(
        &tokenize(&watch, "cnss-health", "health", "cnie", &[]),
        1,
        "clients/cnss-health.toml:",
        &secrets,
    );
    watch.finish(Left::default());
}

#[test]
fn officers() {
    let mut watch = Watch::new(World::new());
    let cards = ["QC660001", "QC660002"];
    let pseudonyms = watch.health_pseudonyms(&cards);
    watch.secrets(cards);
    watch.secrets(&pseudonyms);
    let secrets: Vec<String> = cards
        .iter()
        .map(|card| (*card).to_owned())
        .chain(pseudonyms.iter().cloned())
        .collect();
    let reidentify = |watch: &Watch, order: &str, more: &[&str]| {
        watch.write("orders/tried.jws", order);
        let arguments = [
            "reidentify",
            "--order",
            "orders/tried.jws",
            "--client",
            "clients/officer.toml",
        ];
        watch.cloison(&[&arguments[..], more, &[&pseudonyms[0]]].concat())
    };
    let own = ["--key", "secrets/people/officer.pem"];
    let right = watch.order("health", &pseudonyms[..1]);
    let hour = SignedDuration::from_hours(1);
    let expired = OrderPayload {
        not_before: now() - hour * 2,
        not_after: now() - hour,
        ..watch.order("health", &pseudonyms)
    };
    let elsewhere = OrderPayload {
        aud: id("elsewhere"),
        ..watch.order("health", &pseudonyms)
    };
    for (payload, signers, code) in [
        (&right, &["judge-1"][..], "order-quorum"),
        (&right, &["judge-1", "judge-2"], "order-quorum"),
        (&expired, QUORUM, "order-expired"),
        (&elsewhere, QUORUM, "order-audience"),
    ] {
        let order = watch.sign(payload, signers);
        failed(&reidentify(&watch, &order, &own), 1, code, &secrets);
        watch.entry(Side::Node, "officer", "reidentify", code);
    }
    // Another person's key in the officer's name.
    let order = watch.sign(&right, QUORUM);
    failed(
        &reidentify(&watch, &order, &["--key", "secrets/people/judge-1.pem"]),
        1,
        "request-invalid",
        &secrets,
    );
    watch.entry(Side::Node, "officer", "reidentify", "request-invalid");
    failed(
        &reidentify(&watch, &order, &[&own[..], &["--sector", "tax"]].concat()),
        1,
        "out-of-scope",
        &secrets,
    );
    watch.entry(Side::Node, "officer", "reidentify", "out-of-scope");

    // What fails before anything is sent.
    failed(
        &reidentify(&watch, &order, &["--key", "secrets/people/nobody.pem"]),
        1,
        "nobody.pem",
        &secrets,
    );
    for nonsense in ["", "nonsense", &pseudonyms[0], "{}"] {
        failed(
            &reidentify(&watch, nonsense, &own),
            1,
            "is not an order",
            &secrets,
        );
    }
    let mut two = watch.order("health", &pseudonyms);
    two.officers.push(id("other"));
    failed(
        &reidentify(&watch, &watch.sign(&two, QUORUM), &own),
        2,
        "several officers",
        &secrets,
    );

    // An item that is not in the order, beside one that is.
    watch.write("orders/tried.jws", &order);
    let output = watch.cloison(
        &[
            &[
                "reidentify",
                "--order",
                "orders/tried.jws",
                "--client",
                "clients/officer.toml",
            ][..],
            &own,
            &[&pseudonyms[0], &pseudonyms[1]],
        ]
        .concat(),
    );
    assert_eq!(output.status.code(), Some(3));
    let wanted = format!(
        "{}\tcnie\tQC660001\n{}\t!out-of-scope\n",
        pseudonyms[0], pseudonyms[1]
    );
    assert_eq!(String::from_utf8(output.stdout).unwrap(), wanted);
    let orders = [(right.id, 1)];
    watch.finish(Left {
        mappings: 2,
        quota: &[("cnss", 2)],
        orders: &orders,
        unused: &[expired.id, elsewhere.id, two.id],
    });
}

#[test]
fn lists_and_secrets_are_read_as_any_editor_leaves_them() {
    let mut world = World::asleep();
    let windows = |text: &str| format!("\u{feff}{}", text.replace('\n', "\r\n"));
    for file in [
        "vault.toml",
        "node.toml",
        "clients/cnss-health.toml",
        "clients/officer.toml",
        "secrets/vault/identity.secret",
        "secrets/vault/audit.secret",
        "secrets/vault/segment.pem",
        "secrets/vault/sector/1.secret",
        "secrets/authority/court-2026.secret",
        "secrets/tls/vault.key",
        "secrets/tls/cnss-health.key",
        "secrets/people/officer.pem",
        "tls/vault.pem",
    ] {
        world.write(file, &windows(&world.read(file)));
    }
    let store = world.read("secrets/vault/store/1.secret");
    world.write("secrets/vault/store/1.secret", store.trim_end());
    world.start(Side::Vault, &[]);
    world.start(Side::Node, &[]);
    let cards = windows("QC550001\nQC550002");
    let tokenize = [
        "client",
        "tokenize",
        "--client",
        "clients/cnss-health.toml",
        "--sector",
        "health",
        "--scheme",
        "cnie",
    ];
    let output = world.cloison_with(&tokenize, cards.as_bytes());
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let pseudonyms = String::from_utf8(output.stdout).unwrap();

    // What came out goes through an editor, and into an order and a request.
    let list = windows(&format!(
        "\u{a0}{} ",
        pseudonyms.replace('\n', "\n\n").trim_end()
    ));
    world.write("list.txt", &list);
    let made = world.cloison(&[
        "order",
        "new",
        "--register",
        "register.toml",
        "--judicial",
        "--case",
        "RABAT/1",
        "--purpose",
        "p",
        "--sector",
        "health",
        "--officer",
        "officer",
        "--list",
        "list.txt",
        "--out",
        "orders/list.jws",
    ]);
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    for person in QUORUM {
        let key = format!("secrets/people/{person}.pem");
        let signed = world.cloison(&[
            "order",
            "sign",
            "--key",
            &key,
            "--kid",
            person,
            "orders/list.jws",
        ]);
        assert!(
            signed.status.success(),
            "{}",
            String::from_utf8_lossy(&signed.stderr)
        );
    }
    world.write("orders/list.jws", &windows(&world.read("orders/list.jws")));
    let ask = [
        "reidentify",
        "--order",
        "orders/list.jws",
        "--key",
        "secrets/people/officer.pem",
        "--client",
        "clients/officer.toml",
    ];
    let output = world.cloison_with(&ask, list.as_bytes());
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let opened = String::from_utf8(output.stdout).unwrap();
    let identifiers: Vec<&str> = opened
        .lines()
        .map(|line| line.rsplit('\t').next().unwrap())
        .collect();
    assert_eq!(identifiers, ["QC550001", "QC550002"]);

    // A line that is no text is named, and nothing is sent.
    let mut broken = list.into_bytes();
    broken.extend_from_slice(b"\r\n\xff\r\n");
    let output = world.cloison_with(&ask, &broken);
    failed(&output, 1, "standard input: line 4 is not UTF-8", &[]);
}

#[test]
fn what_is_no_pseudonym_is_not_repeated() {
    let world = World::new();
    let known = world.tokenize("cnss-health", "health", "cnie", None, &["QC440001"]);
    world.write(
        "orders/o.jws",
        &world.sign(&world.order("health", &known), QUORUM),
    );
    let ask = [
        "reidentify",
        "--order",
        "orders/o.jws",
        "--key",
        "secrets/people/officer.pem",
        "--client",
        "clients/officer.toml",
    ];
    let input = format!("QC440001\n{}\n", known[0]);
    for json in [false, true] {
        let output = world.cloison_with(
            &[&ask[..], if json { &["--json"] } else { &[] }].concat(),
            input.as_bytes(),
        );
        assert_eq!(
            output.status.code(),
            Some(3),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let said = String::from_utf8(output.stdout).unwrap();
        // Once, as the identifier behind the pseudonym that was asked for.
        assert_eq!(said.matches("QC440001").count(), 1, "{said}");
        if json {
            assert!(said.contains("\"pseudonym\": \"#1\""), "{said}");
        } else {
            assert!(said.starts_with("#1\t!pseudonym-malformed\n"), "{said}");
        }
        assert!(!String::from_utf8_lossy(&output.stderr).contains("QC44"));
    }
}

#[test]
fn a_client_that_is_turned_away_learns_why() {
    let world = World::new();
    let tokenize = |client: &str| {
        let fixed = [
            "client", "tokenize", "--sector", "health", "--scheme", "cnie", "--client",
        ];
        world.cloison_with(&[&fixed[..], &[client]].concat(), b"QC330001\n")
    };
    let made = world.read("clients/cnss-health.toml");
    let client = |name: &str, from: &str, to: &str| {
        let file = format!("clients/{name}.toml");
        world.write(&file, &swap(&made, from, to));
        file
    };
    // The certificate of a role that may not do this.
    let output = tokenize(&client("role", "cnss-health", "operator"));
    failed(
        &output,
        1,
        "use the client file of a role that may do this",
        &[],
    );
    // Nobody that the register knows: whoever enters it needs the digest.
    let digest = world.certify("stranger", 2000, 4000);
    failed(
        &tokenize(&client("stranger", "cnss-health", "stranger")),
        1,
        &digest,
        &[],
    );
    // Nobody whom the register's people issued a certificate.
    let elsewhere = World::asleep();
    world.write("tls/foreign.pem", &elsewhere.read("tls/operator.pem"));
    write_private(
        &world.path("secrets/tls/foreign.key"),
        elsewhere.read("secrets/tls/operator.key").as_bytes(),
    )
    .unwrap();
    let output = tokenize(&client("foreign", "cnss-health", "foreign"));
    failed(&output, 1, "foreign.pem", &[]);
    // Judged before anybody is asked: a key of another certificate.
    let output = tokenize(&client("mixed", "cnss-health.key", "operator.key"));
    failed(
        &output,
        1,
        "operator.key: is not the key of the certificate",
        &[],
    );
}

#[test]
fn servers() {
    let mut world = World::asleep();
    let refuse = |world: &mut World, side: Side, why: &str| {
        let failed = world.try_start(side, &[]).expect_err("it must not start");
        assert_eq!(failed.code, Some(1), "{failed}");
        assert!(failed.said.contains(why), "{why:?} is not in: {failed}");
        assert!(
            failed.said.contains("hint: ") && !failed.said.contains("panicked"),
            "{failed}"
        );
    };
    // A configuration with a field that nobody knows, without one that is needed, of another
    // deployment.
    let configs = [("vault.toml", Side::Vault), ("node.toml", Side::Node)];
    for (config, side) in configs {
        let right = world.read(config);
        for (faulty, why) in [
            (right.clone() + "\n[nonsense]\n", "nonsense"),
            (
                swap(&right, "[store]\n", "[store]\nnonsense = 1\n"),
                "nonsense",
            ),
            (swap(&right, "deployment = \"test\"", ""), "deployment"),
            (swap(&right, "quorum = 2", "quorum = 3"), "quorum"),
            (
                swap(&right, "commission = \"cndp\"", "commission = \"nobody\""),
                "no register key is of the body `nobody`",
            ),
            (swap(&right, "[health]", "[health"), config),
            (
                swap(&right, "register.jws", "nothing.jws"),
                "the register is not signed",
            ),
            (
                swap(&right, "deployment = \"test\"", "deployment = \"prod\""),
                "the register is foreign",
            ),
        ] {
            world.write(config, &faulty);
            refuse(&mut world, side, why);
        }
        world.write(config, &right);
    }
    // Secrets that others can read, are of another kind, damaged, or missing.
    for (file, side) in [
        ("secrets/vault/identity.secret", Side::Vault),
        ("secrets/vault/sector/1.secret", Side::Vault),
        ("secrets/vault/store/1.secret", Side::Vault),
        ("secrets/vault/segment.pem", Side::Vault),
        ("secrets/tls/vault.key", Side::Vault),
        ("secrets/authority/court-2026.secret", Side::Node),
        ("secrets/authority/audit.secret", Side::Node),
        ("secrets/tls/node.key", Side::Node),
    ] {
        let path = world.path(file);
        let right = world.read(file);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        refuse(&mut world, side, "has mode 0644 and must have 0600");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        world.write(file, &right[..right.len() / 2]);
        let failed = world.try_start(side, &[]).expect_err("it must not start");
        assert!(
            !failed.said.contains(&right[20..40]),
            "a secret is shown: {failed}"
        );
        std::fs::remove_file(&path).unwrap();
        refuse(&mut world, side, "");
        cloison::keys::file::write_private(&path, right.as_bytes()).unwrap();
    }
    let (identity, audit) = (
        world.read("secrets/vault/identity.secret"),
        world.read("secrets/vault/audit.secret"),
    );
    world.write("secrets/vault/identity.secret", &audit);
    refuse(&mut world, Side::Vault, "holds a secret of kind `audit`");
    world.write("secrets/vault/identity.secret", &identity);
    // Another authority's key.
    let other = World::asleep();
    let key = world.read("secrets/authority/court-2026.secret");
    world.write(
        "secrets/authority/court-2026.secret",
        &other.read("secrets/authority/court-2026.secret"),
    );
    refuse(
        &mut world,
        Side::Node,
        "is not one that the register states",
    );
    world.write("secrets/authority/court-2026.secret", &key);

    // All of it put right again, both serve; and a second process on the same store does not.
    world.start(Side::Vault, &[]);
    world.start(Side::Node, &[]);
    let output = world.cloison(&["serve", "--config", "vault.toml"]);
    assert_eq!(output.status.code(), Some(75), "it may succeed later");
    let pseudonyms = world.tokenize("cnss-health", "health", "cnie", None, &["QC550001"]);
    world.stop();

    // The store of another deployment, or opened with another storage secret.
    let store = world.read("secrets/vault/store/1.secret");
    world.write(
        "secrets/vault/store/1.secret",
        &other.read("secrets/vault/store/1.secret"),
    );
    refuse(&mut world, Side::Vault, "is this the right store secret?");
    world.write("secrets/vault/store/1.secret", &store);
    world.start(Side::Vault, &[]);
    assert_eq!(
        world.tokenize("cnss-health", "health", "cnie", None, &["QC550001"]),
        pseudonyms
    );
}
