//! People, machines and keys come and go by command: a hospital joins, a stolen key is shut out.

use std::process::Output;
use std::time::{Duration, Instant};

use cloison::deployment::register_text::OPERATORS;
use cloison::epoch::statement::Destruction;
use cloison::register;
use serde_json::json;

use super::common::{Door, QUORUM, Side, World, batch_path, request};

/// What the hospital pastes into its request: the sector as it was declared.
pub const SECTOR: &str = r#"
[[sector]]                       # declared on 1 November
name = "health.chu-fes"
tag = "chuf"
parent = "health"
granularity = {}
text-form = "bech32m"
reversible = true
schemes = ["cnie"]
purposes = ["care"]
authorities = ["court"]
epoch-overlap-days = 30
retention-years = 20

[sector.declaration]
controller = "Centre hospitalier universitaire Hassan II, Fès"
purpose = "Care in hospital"
persons = "Patients"
data = "Stays, diagnoses, acts"
received = "2026-11-01"
decided = "2026-11-02"
decision = "explicit"
"#;

fn run(world: &World, line: &str) -> Output {
    let words: Vec<&str> = line.split_whitespace().collect();
    world.cloison(&words)
}

#[track_caller]
fn done(world: &World, line: &str) -> String {
    let output = run(world, line);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{line}\n{said}");
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn refused(world: &World, line: &str, why: &str) {
    let output = run(world, line);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{line} was done");
    assert!(said.contains(why), "{line}\n{said}");
}

fn ask(world: &World, out: &str, more: &str) -> String {
    format!(
        "client request --organisation chu-fes --organisation-name Hassan-II --sector health.chu-fes --purpose care \
         --url https://{} --server tls/vault.pem --out {out} {more}",
        world.address(Door::Data)
    )
}

#[test]
fn a_second_hospital_joins_by_four_commands_and_one_paste() {
    let world = World::new();
    let began = Instant::now();
    let said = done(&world, &ask(&world, "fes", ""));
    let pasted = world.read("fes/request.toml") + SECTOR;
    world.write("fes/request.toml", &pasted);
    let shown = done(
        &world,
        "register add fes/request.toml --as operations --key secrets/register/operations.pem --config vault.toml",
    );
    assert!(shown.contains("sector health.chu-fes: new"), "{shown}");
    assert!(
        shown.contains("client chu-fes: new") && shown.contains("organisation = \"chu-fes\""),
        "{shown}"
    );
    assert!(
        shown.contains(
            "1 of 2 signatures, one of them by cndp; missing could be: commission (cndp)"
        ),
        "{shown}"
    );
    // The second signer sees the same, since the version that is in force.
    let second = run(
        &world,
        "register sign --as commission --key secrets/register/commission.pem --config vault.toml",
    );
    let seen = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(second.status.success(), "{seen}");
    assert!(
        seen.contains("changes since version 1, ") && seen.contains("client chu-fes: new"),
        "{seen}"
    );
    assert!(seen.contains("operations = [\"tokenize\"]"), "{seen}");
    done(
        &world,
        "register reload --client clients/operator.toml --client clients/officer.toml",
    );
    println!("a hospital joined in {:?}", began.elapsed());

    let cards = world.cloison_with(
        &[
            "client",
            "tokenize",
            "--client",
            "fes/client.toml",
            "--sector",
            "health.chu-fes",
            "--scheme",
            "cnie",
            "--purpose",
            "care",
        ],
        b"AB123456\n",
    );
    let own = String::from_utf8(cards.stdout).unwrap();
    assert!(
        own.starts_with("chuf1"),
        "{}",
        String::from_utf8_lossy(&cards.stderr)
    );
    let own = vec![own.trim().to_owned()];
    let order = world.sign(&world.order("health.chu-fes", &own), QUORUM);
    let opened = world.reidentify(&order, "health.chu-fes", &own).ok();
    assert_eq!(opened["items"][0]["value"], "AB123456");

    // What was there stays as it was, comments and all; the fingerprint is the same everywhere.
    let merged = world.read("register.toml");
    let before = world.read("register.v1.toml");
    for line in before.lines().filter(|line| !line.starts_with("version")) {
        assert!(merged.contains(line), "{line}");
    }
    assert!(merged.contains("[[sector]]                       # declared on 1 November"));
    assert_eq!(register::parse(&merged).unwrap().version, 2);
    let print = done(&world, "register fingerprint fes/client.pem");
    let compare = print.lines().last().unwrap().rsplit(": ").next().unwrap();
    assert!(
        said.contains(compare) && pasted.contains(compare),
        "{print}"
    );
    assert!(done(&world, "register diff register.v1.toml").contains("version 1 → 2"));
    assert!(
        done(&world, "register history --client clients/auditor.toml")
            .lines()
            .count()
            == 3
    );
    let today = jiff::Timestamp::now().to_string();
    let shown = done(
        &world,
        &format!(
            "register show --at {} --client clients/auditor.toml --text",
            &today[..10]
        ),
    );
    assert_eq!(shown.trim_end(), merged.trim_end());
}

#[test]
fn blocks_that_do_not_fit_are_refused_by_name_and_nothing_is_written() {
    let world = World::asleep();
    done(&world, &ask(&world, "fes", ""));
    let (register, block) = (world.read("register.toml"), world.read("fes/request.toml"));
    let client = &block[block.find("[[client]]").unwrap()..];
    let known = world.register();
    let cnss = known
        .clients
        .iter()
        .find(|(_, client)| client.id.as_str() == "cnss-health")
        .unwrap();
    let key = cnss.0;
    let line = client
        .lines()
        .find(|line| line.starts_with("certificate"))
        .unwrap();
    let in_health = client
        .replace("health.chu-fes", "health")
        .replace("\"care\"", "\"billing\"")
        .replace("organisation = \"chu-fes\"", "organisation = \"cnss\"");
    let nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    for (text, why) in [
        (
            in_health.replace("id = \"chu-fes\"", "id = \"cnss-health\""),
            "a client with the id `cnss-health` is in the register already",
        ),
        (
            in_health.replace(line, &format!("certificate = \"{key:?}\"")),
            "the key of `chu-fes` is that of `cnss-health`",
        ),
        (
            in_health.replace(line, &format!("certificate = \"{nothing}\"")),
            "is the SHA-256 of nothing",
        ),
        (in_health.clone() + "colour = \"red\"\n", "colour"),
        (
            in_health.clone() + "until = \"2020-01-01\"\nuntil = \"2021-01-01\"\n",
            "is not TOML",
        ),
        (
            format!("version = 9\n{in_health}"),
            "`version`, which does not belong into a block",
        ),
        (
            "[[authority]]\nid = \"x\"\n".to_owned(),
            "`authority`, which does not belong into a block",
        ),
        (in_health[..in_health.len() / 2].to_owned(), ""),
        (String::new(), "has no block"),
        (client.to_owned(), "chu-fes"),
    ] {
        world.write("block.toml", &text);
        refused(&world, "register add block.toml", why);
        assert_eq!(world.read("register.toml"), register);
    }
    refused(&world, "register add no-such.toml", "no-such.toml");
    refused(&world, "register add tls", "tls");
    world.write("block.toml", &in_health);
    refused(&world, "register add block.toml block.toml", "chu-fes");

    // The request itself: a folder that is there, a certificate that is none, a day that is past.
    refused(&world, &ask(&world, "fes", ""), "is there already");
    refused(
        &world,
        &ask(&world, "other", "--until 2020-01-01"),
        "--until is in the past",
    );
    refused(
        &world,
        &ask(&world, "other", "").replace("tls/vault.pem", "vault.toml"),
        "vault.toml",
    );
    assert!(!world.path("other").exists() && !world.path("other.new").exists());
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(world.path("fes/client.key"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);

    // A changed text under a signed version is not signed.
    done(&world, "register add block.toml");
    let sign =
        "register sign --as operations --key secrets/register/operations.pem --config vault.toml";
    done(&world, sign);
    world.replace("register.toml", "id = \"chu-fes\"", "id = \"chu-fez\"");
    refused(&world, sign, "version 2 was signed already");
}

#[test]
fn a_stolen_key_is_shut_out_at_once_and_comes_back_by_the_quorum() {
    let mut world = World::new();
    let body =
        json!({"scheme": "cnie", "purpose": "billing", "identifiers": ["AB123456"]}).to_string();
    let asked = request(
        "POST",
        &batch_path("health"),
        &[("content-type", "application/json")],
        body.as_bytes(),
    );
    let asked = String::from_utf8(asked)
        .unwrap()
        .replace("connection: close", "connection: keep-alive");
    let mut open = world.connect(Some("cnss-health"), Door::Data);
    open.write(asked.as_bytes()).unwrap();
    assert_eq!(open.read_one().unwrap().status, 200);

    let suspend = |entry: &str, kid: &str| {
        format!(
            "client suspend {entry} --reason key-stolen --key secrets/register/{kid}.pem --kid {kid} \
             --client clients/operator.toml --yes"
        )
    };
    let began = Instant::now();
    let said = done(&world, &suspend("cnss-health", "commission"));
    assert!(said.contains("suspended now: cnss-health"), "{said}");
    open.write(asked.as_bytes()).unwrap();
    let refusal = open.read_one().unwrap();
    println!("shut out in {:?}", began.elapsed());
    assert_eq!(
        (refusal.status, refusal.code().as_str()),
        (403, "suspended")
    );
    // Nor does it come in again, and others do.
    assert!(
        world
            .connect(Some("cnss-health"), Door::Data)
            .exchange(asked.as_bytes())
            .is_err()
    );
    assert_eq!(
        world
            .tokenize("dgi-tax", "tax", "cnie", Some("assessment"), &["AB123456"])
            .len(),
        1
    );

    // It outlives a restart, and one key does not lift it.
    world.kill(Side::Vault);
    world.start(Side::Vault, &[]);
    assert!(
        world
            .connect(Some("cnss-health"), Door::Data)
            .exchange(asked.as_bytes())
            .is_err()
    );
    let lift = "client suspend cnss-health --lift --reason precaution";
    let operations = "--key secrets/register/operations.pem --kid operations";
    refused(
        &world,
        &format!("{lift} {operations} --client clients/operator.toml --yes"),
        "1 of 2 signatures",
    );
    done(&world, &format!("{lift} {operations} --out lift.jws"));
    done(&world, &format!("{lift} {operations} --out kept.jws"));
    let kept_since = jiff::Timestamp::now().as_second();
    done(
        &world,
        &format!(
            "{lift} --statement lift.jws --key secrets/register/commission.pem --kid commission --client clients/operator.toml --yes"
        ),
    );
    world.health_pseudonyms(&["AB123456"]);

    // One key suspends ten entries a day; a stranger's key none; an approver only officers.
    let approver =
        "--key secrets/people/judge-1.pem --kid judge-1 --client clients/operator.toml --yes";
    refused(
        &world,
        &format!("client suspend cnss-health --reason misuse {approver}"),
        "is not the holder of a register key",
    );
    done(
        &world,
        &format!("client suspend officer --reason misuse {approver}"),
    );
    for _ in 1..10 {
        done(&world, &suspend("dgi-tax", "commission"));
    }
    refused(
        &world,
        &suspend("dgi-tax", "commission"),
        "at most 10 entries a day",
    );

    // What a suspended person signed counts for nothing. Who has no certificate is refused by name.
    done(&world, &suspend("operator-2", "operations"));
    let study = "health.chu-rabat.study-42";
    let statement = world.statement(Destruction::OwnSecret {
        sector: study.to_owned(),
        from: 1,
    });
    let statement = world.sign_statement(&statement, &OPERATORS);
    let advanced = world.post_json(
        "operator",
        Door::Control,
        &format!("/v1/sectors/{study}/epochs"),
        &json!({"from": 1, "own_secret": true, "statement": statement}),
    );
    assert_eq!(advanced.code(), "suspended");
    // Those who can bring a lift are not all shut out by one key.
    for (last, kind) in [("operator", "operator"), ("auditor", "auditor")] {
        let why = format!("`{last}` is the last {kind} who is let in");
        refused(&world, &suspend(last, "operations"), &why);
    }
    // A lift that was kept back does not lift what was suspended after it was written.
    while jiff::Timestamp::now().as_second() <= kept_since {
        std::thread::sleep(Duration::from_millis(20));
    }
    done(&world, &suspend("cnss-health", "operations"));
    let commission = "--key secrets/register/commission.pem --kid commission --client clients/operator.toml --yes";
    refused(
        &world,
        &format!("{lift} --statement kept.jws {commission}"),
        "by a statement that is later than this one",
    );
    for nobody in ["cnss", "judge-1", "nobody"] {
        refused(
            &world,
            &suspend(nobody, "operations"),
            "with a certificate's key",
        );
    }

    // Its key stays out under another id, until that is lifted.
    world.edit_register(|text| text.replace("id = \"dgi-tax\"", "id = \"dgi-tax-2\""));
    done(&world, "register reload --client clients/operator.toml");
    assert!(
        world
            .connect(Some("dgi-tax"), Door::Data)
            .exchange(asked.as_bytes())
            .is_err()
    );
    let lift = "client suspend dgi-tax-2 --lift --reason precaution";
    done(&world, &format!("{lift} {operations} --out renamed.jws"));
    done(
        &world,
        &format!("{lift} --statement renamed.jws {commission}"),
    );
    assert_eq!(
        world
            .tokenize("dgi-tax", "tax", "cnie", Some("assessment"), &["AB123456"])
            .len(),
        1
    );
    std::thread::sleep(Duration::from_millis(1));
    world.stop();
    let entries = world.entries(Side::Vault);
    let entry = entries
        .iter()
        .find(|entry| entry["event"] == "suspension")
        .unwrap();
    assert_eq!(
        (
            &entry["act"],
            &entry["entry"],
            &entry["bearer"],
            &entry["signers"][0]
        ),
        (
            &"suspend".into(),
            &"cnss-health".into(),
            &"operator".into(),
            &"commission".into()
        )
    );
}
