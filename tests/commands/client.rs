//! `cloison client tokenize`, and the officer's and operator's commands, against a running
//! deployment.

use std::fs::File;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use crate::common::{Door, QUORUM, Side, World, plain_get};

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// Runs `client tokenize` in the sector `health`.
fn tokenize(world: &World, more: &[&str], input: &[u8]) -> Output {
    let client = world.path("clients/cnss-health.toml");
    let fixed = [
        "client",
        "tokenize",
        "--sector",
        "health",
        "--scheme",
        "cnie",
        "--purpose",
        "billing",
        "--client",
    ];
    world.cloison_with(
        &[&fixed[..], &[client.to_str().unwrap()], more].concat(),
        input,
    )
}

#[test]
fn a_file_keeps_its_order_over_many_batches() {
    let world = World::new();
    let cards: String = (0..2_500).map(|n| format!("AB{n:06}\n")).collect();
    let small = tokenize(&world, &["--batch", "7"], cards.as_bytes());
    assert!(small.status.success(), "{}", text(&small.stderr));
    let lines: Vec<&str> = text(&small.stdout).lines().collect();
    assert_eq!(lines.len(), 2_500);
    assert!(lines.iter().all(|line| line.starts_with("sante1p")));
    // Backwards, in one batch: the same answers, backwards.
    let backwards: String = cards.lines().rev().flat_map(|card| [card, "\n"]).collect();
    let large = tokenize(&world, &["--batch", "100000"], backwards.as_bytes());
    let mut again: Vec<&str> = text(&large.stdout).lines().collect();
    again.reverse();
    assert_eq!(again, lines);
    // A single one, as any other client gets it.
    assert_eq!(world.health_pseudonyms(&["AB000042"]), [lines[42]]);
}

#[test]
fn a_bad_line_fails_alone_and_shows_in_the_exit_code() {
    let world = World::new();
    let input =
        b"\xef\xbb\xbfAB123456\r\nnonsense\r\n\r\nbe 9876\r\n\xff\xfe\r\nAB\x0b1\r\nAB123456";
    for batch in ["1", "2", "1000"] {
        let output = tokenize(&world, &["--batch", batch], input);
        assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
        let lines: Vec<&str> = text(&output.stdout).lines().collect();
        assert_eq!(lines.len(), 7, "{lines:?}");
        assert_eq!(lines[0], lines[6]);
        assert!(
            lines[0].starts_with("sante1p") && lines[3].starts_with("sante1p"),
            "{lines:?}"
        );
        assert_eq!(lines[1], "!identifier-pattern");
        assert_eq!(lines[2], "!identifier-empty");
        assert_eq!(lines[4], "!identifier-not-utf8");
        assert_eq!(lines[5], "!identifier-control-character");
        let said = text(&output.stderr);
        assert!(
            said.contains("4 of 7 lines were rejected") && !said.contains("nonsense"),
            "{said}"
        );
    }
}

#[test]
fn nothing_in_nothing_out() {
    let world = World::new();
    let output = tokenize(&world, &[], b"");
    assert!(
        output.status.success() && output.stdout.is_empty(),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn a_refusal_says_its_code_and_what_to_do() {
    let world = World::new();
    let client = world.path("clients/dgi-tax.toml");
    let fixed = [
        "client",
        "tokenize",
        "--scheme",
        "cnie",
        "--client",
        client.to_str().unwrap(),
        "--sector",
    ];
    for (sector, purpose, code) in [
        ("health", "billing", "unknown-sector"),
        ("no/such?sector", "x", "unknown-sector"),
        ("tax", "aid", "unknown-purpose"),
    ] {
        let output = world.cloison_with(
            &[&fixed[..], &[sector, "--purpose", purpose]].concat(),
            b"AB123456\n",
        );
        assert_eq!(output.status.code(), Some(1));
        let said = text(&output.stderr);
        assert!(said.contains(code) && said.contains(" hint: "), "{said}");
        assert!(
            !said.contains("AB123456") && output.stdout.is_empty(),
            "{said}"
        );
    }
}

#[test]
fn a_vault_that_is_away_is_an_error_at_once_and_a_lost_one_is_waited_for() {
    let mut world = World::new();
    world.stop();
    let output = tokenize(&world, &[], b"AB123456\n");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("cannot reach"),
        "{}",
        text(&output.stderr)
    );

    world.start(Side::Vault, &[]);
    let client = world.path("clients/cnss-health.toml");
    let mut child = Command::new(env!("CARGO_BIN_EXE_cloison"))
        .args([
            "client",
            "tokenize",
            "--sector",
            "health",
            "--scheme",
            "cnie",
            "--purpose",
            "billing",
            "--batch",
            "10",
        ])
        .args(["--client", client.to_str().unwrap()])
        .stdin(Stdio::piped())
        .stdout(File::create(world.path("output.txt")).unwrap())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let batch: String = (0..10).map(|n| format!("AB{n}\n")).collect();
    input.write_all(batch.as_bytes()).unwrap();
    // The first batch is answered; then the vault goes, and comes back.
    let since = std::time::Instant::now();
    // The status that it asks for first, and the batch.
    let answered = "cloison_http_answers_total{listener=\"data\"} 2\n";
    while !plain_get(world.health(Side::Vault), "/metrics")
        .unwrap()
        .contains(answered)
    {
        assert!(
            since.elapsed() < std::time::Duration::from_secs(60),
            "no answer"
        );
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    world.kill(Side::Vault);
    input.write_all(batch.as_bytes()).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(500));
    world.start(Side::Vault, &[]);
    drop(input);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let answers = world.read("output.txt");
    let lines: Vec<&str> = answers.lines().collect();
    assert_eq!(lines.len(), 20);
    assert_eq!(lines[..10], lines[10..]);
}

#[test]
fn a_reader_that_goes_away_is_no_fault() {
    let world = World::new();
    let cards: String = (0..50_000).map(|n| format!("AB{n:06}\n")).collect();
    world.write("input/many.txt", &cards);
    let mut child = Command::new(env!("CARGO_BIN_EXE_cloison"))
        .args([
            "client",
            "tokenize",
            "--sector",
            "health",
            "--scheme",
            "cnie",
            "--purpose",
            "billing",
        ])
        .args([
            "--client",
            world.path("clients/cnss-health.toml").to_str().unwrap(),
        ])
        .stdin(File::open(world.path("input/many.txt")).unwrap())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(
        !text(&output.stderr).contains("panicked"),
        "{}",
        text(&output.stderr)
    );
    assert!(output.status.code().is_some());
}

#[test]
fn an_epoch_is_advanced_listed_and_both_generations_are_answered() {
    let world = World::new();
    let before = tokenize(&world, &[], b"AB123456\n");
    let operator = world.path("clients/operator.toml");
    let operator = [
        "--sector",
        "health",
        "--client",
        operator.to_str().unwrap(),
        "--json",
    ];
    let advance = |more: &[&str]| {
        world.cloison(&[&["epoch", "advance", "--from", "1"][..], more, &operator].concat())
    };
    let own = ["--own-secret", "--yes"];
    // The same call again makes no further version.
    for _ in 0..2 {
        let refused = advance(&own);
        let said = String::from_utf8([refused.stdout, refused.stderr].concat()).unwrap();
        assert!(
            !refused.status.success() && said.contains("secret-unconfirmed"),
            "{said}"
        );
        assert!(
            said.contains("version 2 of the sector secret waits"),
            "{said}"
        );
    }
    let confirm = ["secrets", "confirm", "2", "--client", operator[3]];
    assert!(world.cloison(&confirm).status.success());
    let epochs: serde_json::Value = serde_json::from_slice(&advance(&own).stdout).unwrap();
    assert_eq!(epochs["sector"], "health");
    assert_eq!(epochs["epochs"].as_array().unwrap().len(), 2);
    assert_eq!(epochs["epochs"][1]["own_secret"], true);
    let listed = world.cloison(&[&["epoch", "list"][..], &operator].concat());
    assert_eq!(
        serde_json::from_slice::<serde_json::Value>(&listed.stdout).unwrap(),
        epochs
    );
    let table = world.cloison(&[&["epoch", "list"][..], &operator[..4]].concat());
    assert!(
        text(&table.stdout).starts_with("EPOCH") && text(&table.stdout).contains("(own)"),
        "{}",
        text(&table.stdout)
    );

    let after = tokenize(&world, &["--previous"], b"AB123456\nnonsense\n");
    let lines: Vec<&str> = text(&after.stdout).lines().collect();
    let (new, old) = lines[0].split_once('\t').unwrap();
    assert!(new.starts_with("sante1z"), "epoch 2: {new}");
    assert_eq!(old, text(&before.stdout).trim_end());
    assert_eq!(lines[1], "!identifier-pattern");
    assert_eq!(after.status.code(), Some(3));
}

#[test]
fn an_officer_resolves_from_the_command_line_and_a_missing_one_shows() {
    let world = World::new();
    let known = world.health_pseudonyms(&["AB123456", "BE9876"]);
    let order = world.sign(&world.order("health", &known), QUORUM);
    world.write("orders/o.jws", &order);
    let (order, key) = (
        world.path("orders/o.jws"),
        world.path("secrets/people/officer.pem"),
    );
    let officer = world.path("clients/officer.toml");
    let fixed = [
        "reidentify",
        "--order",
        order.to_str().unwrap(),
        "--key",
        key.to_str().unwrap(),
        "--client",
        officer.to_str().unwrap(),
    ];
    let output = world.cloison(&[&fixed[..], &[&known[0]]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(
        text(&output.stdout),
        format!("{}\tcnie\tAB123456\n", known[0])
    );

    // The same from standard input, and as JSON.
    let output = world.cloison_with(
        &[&fixed[..], &["--json"]].concat(),
        format!("{}\n\n", known[1]).as_bytes(),
    );
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["items"][0]["value"], "BE9876");

    // Not in the order: the item says so, and so does the exit code.
    let other = world.health_pseudonyms(&["AB1"]);
    let output = world.cloison(&[&fixed[..], &[&known[0], &other[0]]].concat());
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    assert!(
        text(&output.stdout).ends_with("\t!out-of-scope\n"),
        "{}",
        text(&output.stdout)
    );

    // A key that is not the officer's own.
    let wrong = world.path("secrets/people/judge-1.pem");
    let mut forged = fixed;
    forged[4] = wrong.to_str().unwrap();
    let output = world.cloison(&[&forged[..], &[&known[0]]].concat());
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("request-invalid"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn an_epoch_advanced_twice_is_advanced_once_and_an_overlap_ends_only_by_name() {
    let mut world = World::asleep();
    world.start(Side::Vault, &[]);
    let operator = [
        "--yes",
        "--json",
        "--sector",
        "health",
        "--client",
        "clients/operator.toml",
    ];
    let advance = |more: &[&str]| {
        let output = world.cloison(&[&["epoch", "advance"][..], &operator, more].concat());
        let epochs: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let states: Vec<_> = epochs["epochs"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|it| it["state"].clone())
            .collect();
        (states, text(&output.stderr).to_owned())
    };
    let refused = |more: &[&str], code: &str| {
        let (states, said) = advance(more);
        assert!(
            states.is_empty() && said.contains(code) && said.contains("\"hint\":"),
            "{said}"
        );
    };
    refused(&["--from", "0"], "epoch-not-current");
    refused(&["--from", "2"], "epoch-not-current");
    assert_eq!(advance(&["--from", "1"]).0, ["overlap", "current"]);
    // The answer was lost, and the command comes again: nothing is done, and the overlap stays.
    assert_eq!(advance(&["--from", "1"]).0, ["overlap", "current"]);
    refused(&["--from", "1", "--own-secret"], "epoch-not-current");
    refused(&["--from", "2"], "epoch-overlaps");
    refused(&["--from", "2", "--end-overlap", "2"], "epoch-overlaps");
    assert_eq!(
        advance(&["--from", "2", "--end-overlap", "1"]).0,
        ["closed", "overlap", "current"]
    );
    assert_eq!(
        advance(&["--from", "2", "--end-overlap", "1"]).0,
        ["closed", "overlap", "current"]
    );
    // Another overlap than the one that was ended: this is no call that was carried out.
    refused(&["--from", "2", "--end-overlap", "7"], "epoch-not-current");
    world.end(Side::Vault);
    let entries = world.entries(Side::Vault);
    let ended: Vec<_> = entries
        .iter()
        .filter(|entry| entry["event"] == "epoch-advance")
        .map(|entry| &entry["ended_overlap"])
        .collect();
    assert_eq!(ended, [&serde_json::Value::Null, &serde_json::json!(1)]);
}

#[test]
fn without_a_terminal_nothing_is_done_for_good_but_with_yes() {
    let world = World::new();
    let id = "97483811-47ac-4cfb-9d79-2e01cc0fb1e3";
    let judge = [
        "--key",
        "secrets/people/judge-1.pem",
        "--kid",
        "judge-1",
        "--reason",
        "test",
    ];
    let act = [
        &[
            "--register",
            "register.toml",
            "--client",
            "clients/officer.toml",
            id,
        ],
        &judge[..],
    ]
    .concat();
    let operator = ["--client", "clients/operator.toml"];
    let sector = ["--client", "clients/cnss-health.toml", "--sector", "health"];
    for (command, more) in [
        (
            &["epoch", "advance", "--sector", "health", "--from", "1"][..],
            &operator[..],
        ),
        (&["secrets", "retire", "1"], &operator),
        (&["authority", "renew", "--drop-old"], &operator),
        (&["client", "retire-epoch", "--epoch", "1"], &sector),
        (&["order", "revoke"], &act),
        (&["order", "review", "--close"], &act),
    ] {
        let output = world.cloison(&[command, more].concat());
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{command:?}: {said}");
        assert!(
            said.contains("there is no terminal") && said.contains("--yes"),
            "{command:?}: {said}"
        );
    }
    let epochs = world
        .get("operator", Door::Control, "/v1/sectors/health/epochs")
        .ok();
    assert_eq!(epochs["epochs"].as_array().unwrap().len(), 1);
    assert_eq!(
        world.get("operator", Door::Control, "/v1/orders").ok()["orders"],
        serde_json::json!([])
    );
}

#[test]
fn a_statement_is_made_signed_by_two_operators_and_taken() {
    let mut world = World::asleep();
    world.start(Side::Vault, &[]);
    let cloison = |words: &[&str]| {
        let output = world.cloison(words);
        (
            output.status.code(),
            text(&output.stdout).to_owned() + text(&output.stderr),
        )
    };
    let done = |words: &[&str], says: &str| {
        let (code, said) = cloison(words);
        assert!(
            code == Some(0) && said.contains(says),
            "{words:?}: {code:?}: {said}"
        );
    };
    let fails = |words: &[&str], says: &str| {
        let (code, said) = cloison(words);
        assert!(
            said.contains(says) && (code == Some(2) || said.contains("hint: ")),
            "{code:?}: {said}"
        );
        assert!(matches!(code, Some(1 | 2)), "{code:?}: {said}");
    };
    let register = ["--register", "register.toml"];
    fn new<'a>(act: &[&'a str], out: &'a str) -> Vec<&'a str> {
        [
            &[
                "statement",
                "new",
                "--register",
                "register.toml",
                "--out",
                out,
            ],
            act,
        ]
        .concat()
    }
    const STUDY: &str = "health.chu-rabat.study-42";
    let own = format!("{STUDY}:1");
    fails(
        &new(&["--own-secret", "health:1"], "wrong.jws"),
        "takes no statement",
    );
    fails(
        &new(&["--retire-epoch", "nowhere:1"], "wrong.jws"),
        "no such sector",
    );
    fails(&new(&["--retire-epoch", "health"], "wrong.jws"), "health:1");
    done(&new(&["--own-secret", &own], "own.jws"), "leave epoch 1");
    let check = [&["statement", "check", "own.jws"], &register[..]].concat();
    fails(&check, "0 of 2 signatures");
    let signs = |kid: &str, person: &str| {
        let key = format!("secrets/people/{person}.pem");
        cloison(
            &[
                &["statement", "sign", "own.jws", "--kid", kid, "--key", &key],
                &register[..],
            ]
            .concat(),
        )
    };
    assert!(
        signs("operator-2", "operator")
            .1
            .contains("not the operator's")
    );
    assert!(signs("judge-1", "judge-1").1.contains("no such operator"));
    let (code, said) = signs("operator", "operator");
    assert!(
        code == Some(0) && said.contains("leave epoch 1") && said.contains("1 of 2 signatures"),
        "{said}"
    );
    fails(&check, "1 of 2 signatures");
    assert!(
        signs("operator", "operator")
            .1
            .contains("two signatures by one")
    );
    let (code, said) = signs("operator-2", "operator-2");
    assert!(
        code == Some(0) && said.contains("No signature is missing"),
        "{said}"
    );
    done(&check, "it allows this once");

    let advance = [
        "epoch",
        "advance",
        "--yes",
        "--own-secret",
        "--sector",
        STUDY,
        "--client",
        "clients/operator.toml",
    ];
    fails(
        &[&advance[..], &["--from", "1"]].concat(),
        "statement-required",
    );
    let allowed = [&advance[..], &["--from", "1", "--statement", "own.jws"]].concat();
    fails(&allowed, "secret-unconfirmed");
    let confirm = ["secrets", "confirm", "2"];
    let operator = ["--client", "clients/operator.toml"];
    done(&[&confirm[..], &operator].concat(), "2");
    done(&allowed, "(own)");
    done(&allowed, "(own)");
    // It allowed this and nothing else.
    let further = [
        &advance[..],
        &[
            "--from",
            "2",
            "--end-overlap",
            "1",
            "--statement",
            "own.jws",
        ],
    ]
    .concat();
    fails(&further, "statement-invalid");
    let secret = [
        "secrets",
        "retire",
        "--yes",
        "1",
        "--statement",
        "own.jws",
        "--client",
        "clients/operator.toml",
    ];
    fails(&secret, "secret-needed");
    world.end(Side::Vault);
    let entries = world.entries(Side::Vault);
    let advanced = entries
        .iter()
        .find(|entry| entry["event"] == "epoch-advance")
        .unwrap();
    assert_eq!(
        advanced["signers"],
        serde_json::json!(["operator", "operator-2"])
    );
    assert!(advanced["statement"].is_string());
}
