//! The log of processes that run: served to auditors and to nobody else, verified, copied,
//! searched, proven.

use std::fs;
use std::process::Output;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::common::shim::shim;
use super::common::{Door, QUORUM, Side, World};

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

#[track_caller]
fn ok(output: &Output) -> String {
    assert!(output.status.success(), "{}", text(output));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[track_caller]
fn json(output: &Output) -> Value {
    serde_json::from_str(&ok(output)).unwrap()
}

#[track_caller]
fn fails(output: &Output, why: &str) {
    assert_eq!(output.status.code(), Some(1), "{}", text(output));
    assert!(text(output).contains(why), "{}", text(output));
}

const LIVE: [&str; 4] = [
    "--client",
    "clients/auditor.toml",
    "--register",
    "register.toml",
];
/// A key of nobody here.
pub const OTHER_KEY: &str = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";
const NODE: [&str; 4] = [
    "--client",
    "clients/auditor-node.toml",
    "--register",
    "register.toml",
];

fn audit(world: &World, arguments: &[&str]) -> Output {
    world.cloison(&[&["audit"], arguments].concat())
}

#[test]
fn a_log_from_the_first_entry_to_a_proof() {
    let mut world = World::new();
    let cards: Vec<String> = (0..300).map(|n| format!("AB{n:06}")).collect();
    let mut pseudonyms = vec![];
    for card in &cards {
        pseudonyms.extend(world.health_pseudonyms(&[card]));
    }
    let order = world.sign(&world.order("health", &pseudonyms[..3]), QUORUM);
    world.reidentify(&order, "health", &pseudonyms[..3]).ok();
    // The holder of a release's entry also holds a checkpoint over it: no waiting here.
    let report = json(&audit(&world, &[&["verify", "--json"], &LIVE[..]].concat()));
    assert_eq!(
        (
            report["good"].as_bool(),
            report["logs"][0]["events"]["release"].as_u64()
        ),
        (Some(true), Some(1))
    );
    assert_eq!(
        report["logs"][0]["origin"]
            .as_str()
            .unwrap()
            .split('/')
            .take(3)
            .collect::<Vec<_>>(),
        ["cloison", "test", "vault"]
    );
    assert!(ok(&audit(&world, &[&["verify"], &NODE[..]].concat())).contains("\ngood: "));

    // What was seen is kept, and must still be there later, also after a kill.
    ok(&audit(
        &world,
        &[&["verify", "--keep", "seen"], &LIVE[..]].concat(),
    ));
    world.kill(Side::Vault);
    world.start(Side::Vault, &[]);
    world.health_pseudonyms(&["ZZ1", "ZZ2"]);
    let seen = json(&audit(
        &world,
        &[&["verify", "--seen", "seen", "--json"], &LIVE[..]].concat(),
    ));
    assert_eq!(seen["logs"][0]["contains"].as_array().unwrap().len(), 1);

    // A copy, verified by itself, brought up to date, and forged.
    ok(&audit(
        &world,
        &["copy", "--client", "clients/auditor.toml", "--to", "copy"],
    ));
    ok(&audit(
        &world,
        &[
            "verify",
            "copy",
            "--register",
            "register.toml",
            "--seen",
            "seen",
        ],
    ));
    world.health_pseudonyms(&["ZZ3"]);
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    ok(&audit(
        &world,
        &["copy", "--client", "clients/auditor.toml", "--to", "copy"],
    ));
    ok(&audit(
        &world,
        &["verify", "copy", "--register", "register.toml"],
    ));
    fails(&audit(&world, &["verify", "copy", "--key", OTHER_KEY]), "");
    let shard = fs::read_dir(world.path("copy"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .file_name()
        .into_string()
        .unwrap();
    let bundle = world.path(&format!("copy/{shard}/tile/entries/000"));
    let mut bytes = fs::read(&bundle).unwrap();
    let place = bytes
        .windows(6)
        .position(|window| window == b"health")
        .unwrap();
    bytes[place] = b'w';
    fs::write(&bundle, &bytes).unwrap();
    fails(
        &audit(&world, &["verify", "copy", "--register", "register.toml"]),
        "was changed: it hashes to",
    );
    bytes[place] = b'h';
    fs::write(&bundle, &bytes).unwrap();

    // For people and programs.
    let shown = ok(&audit(&world, &["show", "copy", "--event", "release"]));
    assert!(
        shown.lines().count() == 1 && shown.contains("officer=officer"),
        "{shown}"
    );
    let shown = json(&audit(
        &world,
        &[
            "show", "copy", "--actor", "cnss", "--sector", "health", "--last", "2", "--json",
        ],
    ));
    assert_eq!(
        (
            shown["matched"].as_u64(),
            shown["entries"].as_array().unwrap().len()
        ),
        (Some(302), 2)
    );
    let exported = ok(&audit(&world, &["export", "copy"]));
    let log: Vec<Value> = exported
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(log.iter().enumerate().all(|(n, line)| line["index"] == n));
    let csv = ok(&audit(
        &world,
        &["export", "copy", "--format", "csv", "--event", "release"],
    ));
    assert!(
        csv.starts_with("shard,index,time,event,")
            && csv.contains(",items,mappings,basis,request,epoch,entry\r\n")
            && csv.contains(",3,3,judicial,")
            && csv.lines().count() == 2,
        "{csv}"
    );
    let wrong = audit(&world, &["show", "copy", "--sector", "helth"]);
    assert_eq!(wrong.status.code(), Some(2), "{}", text(&wrong));
    let said = text(&wrong);
    assert!(
        said.contains("no entry names a sector \"helth\"") && said.contains("health"),
        "{said}"
    );
    let wrong = audit(&world, &["export", "copy", "--actor", "x", "--output", "x"]);
    assert_eq!(wrong.status.code(), Some(2), "{}", text(&wrong));
    assert!(!world.path("x").exists(), "nothing half done is left");
    let idle = [
        "show",
        "copy",
        "--actor",
        "judge-1",
        "--register",
        "register.toml",
    ];
    assert_eq!(ok(&audit(&world, &idle)), "no entry matches\n");
    let year = &shard[..4];
    let (since, until) = (format!("{year}-01"), format!("{year}-12"));
    let all = ["show", "copy", "--json", "--last", "1"];
    let of_year = [&all[..], &["--since", &since, "--until", &until]].concat();
    assert_eq!(
        json(&audit(&world, &of_year))["matched"],
        json(&audit(&world, &all))["matched"]
    );
    let before = [&all[..], &["--until", "2020"]].concat();
    assert_eq!(audit(&world, &before).status.code(), Some(2));

    // What was done, and both halves of each re-identification.
    let by = |key| json(&audit(&world, &["summary", "copy", "--by", key, "--json"]));
    let (clients, authorities) = (by("client"), by("authority"));
    assert_eq!(clients["rows"]["cnss-health"]["accepted"], 303);
    let court = &authorities["rows"]["court"];
    assert_eq!(
        (&court["reidentifications"], &court["asked"]),
        (&1.into(), &3.into())
    );
    let table = ok(&audit(&world, &["summary", "copy", "--by", "sector"]));
    assert!(
        table.starts_with("sector") && table.contains("health"),
        "{table}"
    );
    let halves = ["match", "copy", "clients/auditor-node.toml", "--json"];
    let halves = json(&audit(&world, &halves));
    assert_eq!(
        (&halves["matched"], &halves["without_reveal"]),
        (&1.into(), &Value::Array(vec![]))
    );
    let swapped = audit(&world, &["match", "clients/auditor-node.toml", "copy"]);
    assert_eq!(swapped.status.code(), Some(2), "{}", text(&swapped));
    let release = log
        .iter()
        .find(|line| line["entry"]["event"] == "release")
        .unwrap();

    // One entry, for a person who has only the register.
    let place = format!("{shard}#{}", release["index"]);
    ok(&audit(
        &world,
        &["prove", &place, "copy", "--output", "release.tlog-proof"],
    ));
    let proven = json(&audit(
        &world,
        &[
            "prove",
            "--check",
            "release.tlog-proof",
            "--register",
            "register.toml",
            "--json",
        ],
    ));
    assert_eq!(
        (proven["proven"].as_bool(), &proven["entry"]),
        (Some(true), &release["entry"])
    );
    let live = ok(&audit(
        &world,
        &["prove", "0", "--client", "clients/auditor.toml"],
    ));
    assert!(live.starts_with("c2sp.org/tlog-proof@v1\nextra "));
    world.replace(
        "release.tlog-proof",
        &format!("index {}", release["index"]),
        "index 0",
    );
    let check = [
        "prove",
        "--check",
        "release.tlog-proof",
        "--register",
        "register.toml",
    ];
    fails(
        &audit(&world, &check),
        "the path does not lead to the checkpoint's root",
    );
    fails(
        &audit(&world, &["prove", "99999", "copy"]),
        "has no entry 99999 yet",
    );

    // The store, beside the process and after it.
    ok(&audit(
        &world,
        &["verify", "data/vault", "--register", "register.toml"],
    ));
    world.stop();
    let report = json(&audit(
        &world,
        &[
            "verify",
            "data/vault",
            "--register",
            "register.toml",
            "--json",
            "--seen",
            "seen",
        ],
    ));
    assert!(
        report["logs"][0]["uncovered"].is_null(),
        "the last checkpoint covers everything: {report}"
    );
    ok(&audit(
        &world,
        &["verify", "data/node", "--register", "register.toml"],
    ));
    fails(
        &audit(&world, &["verify", "data/node", "--key", OTHER_KEY]),
        "",
    );
    fails(
        &audit(&world, &["verify", "orders", "--register", "register.toml"]),
        "holds no log",
    );
    fails(
        &audit(&world, &[&["verify"], &LIVE[..]].concat()),
        "cannot reach",
    );
}

/// A clock of the vault's own, which the test sets: as far from this one's as a file says, by
/// `ops/skew.c`.
struct Skewed<'w>(&'w World);

impl Skewed<'_> {
    /// Puts the vault, when it starts, under that clock.
    fn prepare(world: &mut World) {
        world.env = [
            ("LD_PRELOAD", shim("skew")),
            ("SKEWFILE", world.path("skew")),
        ]
        .map(|(name, path)| (name.to_owned(), path.to_str().unwrap().to_owned()))
        .to_vec();
    }

    /// Sets it, at once and for all calls.
    fn set(&self, time: Timestamp) {
        // This test may itself run under another clock than the system's.
        let own: i64 = std::env::var("SKEW").map_or(0, |seconds| seconds.parse().unwrap());
        let seconds = own + time.duration_since(Timestamp::now()).as_secs();
        self.0.write("skew.new", &seconds.to_string());
        fs::rename(self.0.path("skew.new"), self.0.path("skew")).unwrap();
    }
}

#[test]
fn a_year_ends_under_a_running_vault() {
    let mut world = World::asleep();
    Skewed::prepare(&mut world);
    let this_year = Timestamp::now()
        .to_zoned(TimeZone::UTC)
        .date()
        .last_of_year();
    let turn = this_year
        .tomorrow()
        .unwrap()
        .to_zoned(TimeZone::UTC)
        .unwrap()
        .timestamp();
    Skewed(&world).set(turn - SignedDuration::from_mins(10));
    world.start(Side::Vault, &[]);
    let before = world.health_pseudonyms(&["AB123456"]);
    Skewed(&world).set(turn + SignedDuration::from_mins(10));
    let after = world.health_pseudonyms(&["AB123456"]);
    assert_eq!(before, after, "the same person, whatever the year");
    world.end(Side::Vault);

    let report = json(&audit(
        &world,
        &[
            "verify",
            "data/vault",
            "--register",
            "register.toml",
            "--json",
        ],
    ));
    assert_eq!(report["good"], true, "{report}");
    let logs = report["logs"].as_array().unwrap();
    let years =
        [this_year.year(), this_year.year() + 1].map(|year| format!("cloison/test/vault/{year}"));
    assert_eq!(
        logs.iter()
            .map(|log| log["origin"].as_str().unwrap())
            .collect::<Vec<_>>(),
        years
    );
    let count = |log: usize, event: &str| logs[log]["events"][event].as_u64().unwrap_or(0);
    assert_eq!(
        [
            count(0, "start"),
            count(0, "tokenize"),
            count(0, "continue")
        ],
        [1, 1, 0]
    );
    assert_eq!(
        [
            count(1, "start"),
            count(1, "tokenize"),
            count(1, "continue")
        ],
        [0, 1, 1]
    );
}

#[test]
fn only_auditors_read_the_log_and_only_what_a_checkpoint_covers() {
    let mut world = World::new();
    world.health_pseudonyms(&["AB1"]);
    let doors = [(Door::Control, "vault"), (Door::Officers, "node/court")];
    for (door, owner) in doors {
        let note = world.get("auditor", door, "/checkpoint");
        assert_eq!(
            (note.status, note.header("content-type").unwrap()),
            (200, "text/plain; charset=utf-8")
        );
        let note = String::from_utf8(note.body).unwrap();
        let lines: Vec<&str> = note.lines().collect();
        let shard = lines[0]
            .strip_prefix(&format!("cloison/test/{owner}/"))
            .unwrap();
        let size: u64 = lines[1].parse().unwrap();
        let tile = world.get("auditor", door, &format!("/tile/0/000.p/{size}"));
        assert_eq!((tile.status, tile.body.len() as u64), (200, size * 32));
        assert_eq!(
            tile.header("content-type").unwrap(),
            "application/octet-stream"
        );
        for (path, status) in [
            (format!("/tile/entries/000.p/{size}"), 200),
            (format!("/log/{shard}/checkpoint"), 200),
            (format!("/log/{shard}/tile/entries/000.p/1"), 200),
            ("/tile/0/000".into(), 404),
            ("/tile/0/000.p/255".into(), 404),
            ("/tile/0/001.p/1".into(), 404),
            ("/tile/9/000".into(), 404),
            ("/tile/entries/000.p/0".into(), 404),
            ("/tile/entries/../../checkpoint".into(), 404),
            ("/log/1999/checkpoint".into(), 404),
            ("/log/x/checkpoint".into(), 404),
            ("/v1/audit/log".into(), 200),
            // Answers need an inspection (`inspection.rs`); what verifies the log does not.
            ("/v1/audit/entries".into(), 403),
            ("/v1/audit/entries?sektor=health".into(), 400),
        ] {
            assert_eq!(
                world.get("auditor", door, &path).status,
                status,
                "{owner} {path}"
            );
        }
    }
    super::inspection::enter(
        &world,
        &["--client", "clients/auditor.toml", "--sector", "health"],
    );
    // The last tokenization comes under a checkpoint within a second.
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    for (query, status) in [
        ("limit=0", 400),
        ("limit=1001", 400),
        ("from=yesterday", 400),
        ("shard=1999", 400),
    ] {
        assert_eq!(
            world
                .get(
                    "auditor",
                    Door::Control,
                    &format!("/v1/audit/entries?{query}")
                )
                .status,
            status,
            "{query}"
        );
    }
    let found = |query: &str| {
        world
            .get(
                "auditor",
                Door::Control,
                &format!("/v1/audit/entries?{query}"),
            )
            .ok()
    };
    let entries = |query: &str| found(query)["entries"].as_array().unwrap().len();
    assert_eq!(entries("sector=health&actor=cnss-health"), 1);
    assert_eq!(entries("sector=tax"), 0);
    assert_eq!(entries("from=2020-01-01&to=2021-01-01"), 0);
    assert_eq!(entries("event=start"), 0, "not of the object");
    let first = found("limit=1");
    assert_eq!(
        (
            first["entries"][0]["index"].as_u64(),
            first["next"].as_u64()
        ),
        (Some(2), Some(3))
    );
    assert_eq!(first["entries"][0]["entry"]["event"], "tokenize");

    for path in [
        "/checkpoint",
        "/tile/0/000.p/1",
        "/v1/audit/log",
        "/v1/audit/entries",
    ] {
        for (name, door) in [
            ("operator", Door::Control),
            ("cnss-health", Door::Control),
            ("officer", Door::Officers),
        ] {
            assert_eq!(world.get(name, door, path).status, 403, "{name} {path}");
        }
    }
    assert_eq!(
        world
            .get("auditor", Door::Control, "/v1/sectors/health/epochs")
            .status,
        403
    );
    assert_eq!(
        world
            .batch("auditor", "health", "cnie", None, &["AB1"])
            .status,
        403
    );
    world.stop();
    assert_eq!(
        world.refusals(Side::Vault, "operator", "audit", "forbidden"),
        4
    );
    assert_eq!(
        world.refusals(Side::Node, "officer", "audit", "forbidden"),
        4
    );
}

/// A node watches that the vault's log only grows, and for that it needs hashes. What other
/// authorities and sector systems did is not its affair, and another node's log not at all.
#[test]
fn nodes_read_hashes_of_the_vaults_log_and_no_entries() {
    let mut world = World::new();
    let health = world.health_pseudonyms(&["AB1"]);
    let order = world.sign(&world.order("health", &health), QUORUM);
    world.reidentify(&order, "health", &health).ok();
    let note = world.get("node", Door::Control, "/checkpoint");
    assert_eq!(note.status, 200);
    let note = String::from_utf8(note.body).unwrap();
    let (origin, size) = (note.lines().next().unwrap(), note.lines().nth(1).unwrap());
    let shard = origin.rsplit('/').next().unwrap();
    for path in [
        format!("/tile/0/000.p/{size}"),
        format!("/log/{shard}/tile/0/000.p/1"),
        "/v1/audit/log".into(),
    ] {
        assert_eq!(
            world.get("node", Door::Control, &path).status,
            200,
            "{path}"
        );
    }
    let entries = [
        format!("/tile/entries/000.p/{size}"),
        format!("/log/{shard}/tile/entries/000.p/1"),
        "/v1/audit/entries".to_owned(),
    ];
    for path in &entries {
        let reply = world.get("node", Door::Control, path);
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (403, "forbidden"),
            "{path}"
        );
    }
    let hashes = [
        "/checkpoint".to_owned(),
        "/tile/0/000.p/1".to_owned(),
        "/v1/audit/log".to_owned(),
    ];
    for path in entries.iter().chain(&hashes) {
        assert_eq!(
            world.get("node", Door::Officers, path).status,
            403,
            "{path} of a node"
        );
    }
    world.stop();
    assert_eq!(
        world.refusals(Side::Vault, "court", "audit", "forbidden"),
        3
    );
    assert_eq!(world.refusals(Side::Node, "court", "audit", "forbidden"), 6);
}

#[test]
fn a_start_with_another_key_than_the_register_states_is_refused() {
    let mut world = World::asleep();
    fs::copy(
        world.path("secrets/authority/checkpoint.pem"),
        world.path("secrets/vault/checkpoint.pem"),
    )
    .unwrap();
    let failed = world.try_start(Side::Vault, &[]).unwrap_err();
    assert!(
        failed
            .to_string()
            .contains("is not the one that the register states"),
        "{failed}"
    );
}
