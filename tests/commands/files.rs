//! A file in, a file out: `client tokenize` and `reidentify` with `--in`, `--out`, `--resume` and
//! `--csv`, on real processes that are killed on the way.
#![expect(unsafe_code, reason = "signals to a child")]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::{QUORUM, Setup, Side, World};

/// How long something may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// A world in which the health fund has a quota of its own.
fn with_quota(second: u64, day: u64) -> World {
    let quota = move |register: String| {
        let (before, after) = register
            .split_once("[[organisation]]\nid = \"cnss\"\n")
            .unwrap();
        let (own, rest) = after.split_once("\n\n").unwrap();
        let lines = own.lines().map(|line| {
            if line.starts_with("quota") {
                format!("quota = {{ items-per-second = {second}, items-per-day = {day} }}")
            } else {
                line.to_owned()
            }
        });
        let own = lines.collect::<Vec<_>>().join("\n");
        format!("{before}[[organisation]]\nid = \"cnss\"\n{own}\n\n{rest}")
    };
    World::with(Setup {
        register: Box::new(quota),
        log: "info",
        ..Setup::default()
    })
}

fn quiet_world() -> World {
    World::with(Setup {
        log: "info",
        ..Setup::default()
    })
}

fn command(world: &World, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cloison"));
    command
        .current_dir(world.path(""))
        .args([
            "client", "tokenize", "--sector", "health", "--scheme", "cnie",
        ])
        .args([
            "--purpose",
            "billing",
            "--client",
            "clients/cnss-health.toml",
        ])
        .args(more)
        .env_remove("CLOISON_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn tokenize(world: &World, more: &[&str]) -> Output {
    command(world, more).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn succeeded(output: &Output) {
    assert!(output.status.success(), "{}", said(output));
}

/// Waits until the progress file says that more than `before` bytes are whole; nothing if the
/// command ended first.
fn progress_beyond(world: &World, file: &str, before: u64, child: &mut Child) -> Option<u64> {
    let since = Instant::now();
    loop {
        let progress = fs::read(world.path(&format!("{file}.progress"))).unwrap_or_default();
        let progress: Value = serde_json::from_slice(&progress).unwrap_or_default();
        match progress["written"]["bytes"].as_u64() {
            Some(bytes) if bytes > before => return Some(bytes),
            _ if child.try_wait().unwrap().is_some() => return None,
            _ => {}
        }
        assert!(since.elapsed() < PATIENCE, "no progress");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn beside(world: &World, file: &str) -> Vec<String> {
    let path = world.path(file);
    let names = path.parent().unwrap().read_dir().unwrap();
    let name = path.file_name().unwrap().to_str().unwrap().to_owned();
    let mut names: Vec<String> = names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|found| found.starts_with(&name))
        .collect();
    names.sort();
    names
}

fn card(n: usize) -> String {
    format!("AB{n:06}")
}

/// A table as Excel writes it in French: a byte order mark, semicolons, CR LF, quotation marks
/// where they are needed, line ends within fields, and, from another program, names in another
/// encoding.
fn excel(rows: usize, field: impl Fn(usize) -> String) -> Vec<u8> {
    let mut table = b"\xef\xbb\xbfnom;CIN;remarque\r\n".to_vec();
    for n in 0..rows {
        table.extend_from_slice(b"B\xe9n\xe9dicte ");
        table.extend_from_slice(format!("{n};{};", field(n)).as_bytes());
        table.extend_from_slice(match n % 4 {
            0 => &b"\"deux lignes;\r\net \"\"plus\"\"\"\r\n"[..],
            1 => b"\r\n",
            2 => b"\"\"\r\n",
            _ => b"  simple \r\n",
        });
    }
    table
}

#[test]
fn a_table_of_excel_interrupted_three_times_is_whole_and_every_other_byte_is_as_it_was() {
    let mut world = quiet_world();
    const ROWS: usize = 3_000;
    fs::write(world.path("people.csv"), excel(ROWS, card)).unwrap();
    let cards: Vec<String> = (0..ROWS).map(card).collect();
    let pseudonyms = world.health_pseudonyms(&cards.iter().map(String::as_str).collect::<Vec<_>>());

    let args = [
        "--in",
        "people.csv",
        "--out",
        "health.csv",
        "--csv",
        "--column",
        "CIN",
        "--batch",
        "10",
        "--resume",
    ];
    let mut whole = 0;
    for _ in 0..3 {
        let mut child = command(&world, &args).spawn().unwrap();
        let more = progress_beyond(&world, "health.csv", whole, &mut child);
        child.kill().unwrap();
        child.wait().unwrap();
        whole = more.expect("it is interrupted before its end");
        assert_eq!(
            beside(&world, "health.csv")[..2],
            ["health.csv.partial", "health.csv.progress"],
            "nothing has the name of the whole file"
        );
    }
    let end = tokenize(&world, &args);
    succeeded(&end);
    assert!(said(&end).contains("3,000 answered"), "{}", said(&end));
    assert_eq!(beside(&world, "health.csv"), ["health.csv"]);
    let made = fs::read(world.path("health.csv")).unwrap();
    assert!(made == excel(ROWS, |n| pseudonyms[n].clone()));
    let mode = world
        .path("health.csv")
        .metadata()
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);

    // The column added behind the old one, under a name of its own.
    let args = [
        "--in",
        "people.csv",
        "--out",
        "both.csv",
        "--csv",
        "--column",
        "CIN",
        "--as",
        "pseudo",
        "--keep",
    ];
    succeeded(&tokenize(&world, &args));
    let both = excel(ROWS, |n| format!("{};{}", card(n), pseudonyms[n]));
    let both = [
        &b"\xef\xbb\xbfnom;CIN;pseudo;remarque\r\n"[..],
        &both[b"\xef\xbb\xbfnom;CIN;remarque\r\n".len()..],
    ];
    assert!(fs::read(world.path("both.csv")).unwrap() == both.concat());

    world.stop();
    assert_eq!(refusals(&world), 0);
}

/// How many refused batches the vault's log has, without those whose client was killed before it
/// had sent the whole body.
fn refusals(world: &World) -> usize {
    let entries = world.entries(Side::Vault);
    let refused = |entry: &&Value| entry["event"] == "refuse" && entry["code"] != "malformed-body";
    entries.iter().filter(refused).count()
}

#[test]
fn a_long_file_keeps_the_pace_of_the_quota_and_no_request_is_refused() {
    // A bucket of 5 000, and twice that to be sent, by two runs after one another.
    let mut world = with_quota(500, 1_000_000);
    let lines = |from: usize| -> String { (from..from + 4_000).map(|n| card(n) + "\n").collect() };
    for (from, out) in [(0, "a"), (4_000, "b")] {
        world.write("cards.txt", &lines(from));
        let run = tokenize(
            &world,
            &["--in", "cards.txt", "--out", out, "--batch", "1500"],
        );
        succeeded(&run);
        assert_eq!(world.read(out).lines().count(), 4_000);
        assert!(
            world
                .read(out)
                .lines()
                .all(|line| line.starts_with("sante1p"))
        );
    }
    world.stop();
    assert_eq!(refusals(&world), 0);
}

#[test]
fn the_quota_of_the_day_stops_a_run_before_it_is_refused_and_says_how_to_go_on() {
    let mut world = with_quota(10_000, 5_000);
    let cards: String = (0..8_000).map(|n| card(n) + "\n").collect();
    world.write("cards.txt", &cards);
    let args = ["--in", "cards.txt", "--out", "out.txt", "--batch", "1000"];
    for more in [&[][..], &["--resume"]] {
        let run = tokenize(&world, &[&args[..], more].concat());
        assert_eq!(run.status.code(), Some(1));
        let said = said(&run);
        assert!(
            said.contains("quota of the day")
                && said.contains("5,000 items are answered and kept")
                && said.contains(" hint: go on with: cloison client tokenize")
                && said.contains("--batch 1000 --resume"),
            "{said}"
        );
        assert_eq!(
            beside(&world, "out.txt"),
            ["out.txt.partial", "out.txt.progress"]
        );
    }
    // To standard output, too.
    let run = tokenize(&world, &["--in", "cards.txt"]);
    assert_eq!(run.status.code(), Some(1));
    assert!(run.stdout.is_empty());
    world.stop();
    assert_eq!(refusals(&world), 0);
}

fn interrupt(child: &Child) {
    // SAFETY: `kill` takes any numbers; the child was not waited for yet.
    unsafe { libc::kill(i32::try_from(child.id()).unwrap(), libc::SIGINT) };
}

#[test]
fn an_interrupt_leaves_what_is_whole_and_prints_how_to_go_on() {
    let world = quiet_world();
    let cards: String = (0..3_000).map(|n| card(n) + "\n").collect();
    world.write("my cards.txt", &cards);
    let args = ["--in", "my cards.txt", "--out", "out.txt", "--batch", "10"];
    let mut child = command(&world, &args).spawn().unwrap();
    progress_beyond(&world, "out.txt", 0, &mut child).expect("it takes a while");
    interrupt(&child);
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    let words = said(&ended);
    assert!(words.contains("told to stop"), "{words}");
    let (_, next) = words.split_once("go on with: cloison ").unwrap();
    assert!(next.contains("--in 'my cards.txt'"), "{next}");
    let partial = world.read("out.txt.partial");
    assert!(partial.ends_with('\n') && partial.lines().count() < 3_000);

    // As it was printed.
    let shell = format!("{} {}", env!("CARGO_BIN_EXE_cloison"), next.trim());
    let mut again = Command::new("sh");
    again.args(["-c", &shell]).current_dir(world.path(""));
    succeeded(&again.output().unwrap());
    let whole = world.read("out.txt");
    assert!(whole.starts_with(&partial) && whole.lines().count() == 3_000);
}

#[test]
fn what_is_in_the_way_is_said_in_one_sentence_and_left_as_it_is() {
    let world = quiet_world();
    world.write("cards.txt", "AB1\nAB2\n");
    world.write("other.txt", "AB1\nXX2\n");
    world.write("there.txt", "old");
    world.write("foreign.txt.partial", "theirs");
    world.write("book.csv", "PK\x03\x04rest");
    world.write("utf16.txt", "");
    fs::write(world.path("utf16.txt"), b"\xff\xfeA\0B\0").unwrap();
    world.write("ragged.csv", "CIN,x\nAB1,2\nAB2\n");
    world.write("cut.csv", "CIN,x\nAB1,\"2\nAB2,");
    world.write("headless.csv", "AB123456,x\nAB1,2\n");
    fs::create_dir(world.path("folder")).unwrap();
    symlink(world.path("there.txt"), world.path("link.txt")).unwrap();
    // All but the stores, which the servers go on writing.
    let files = || -> Vec<PathBuf> {
        let all = crate::common::files(&world.path(""));
        let stores = world.path("data");
        all.into_iter()
            .filter(|file| !file.starts_with(&stores))
            .collect()
    };
    let before = files();
    let csv = ["--csv", "--column", "CIN"];
    let cases: &[(&[&str], &str)] = &[
        (
            &["--in", "cards.txt", "--out", "there.txt"],
            "there.txt: is there already",
        ),
        (
            &["--in", "cards.txt", "--out", "link.txt", "--force"],
            "link.txt: is a link",
        ),
        (
            &["--in", "cards.txt", "--out", "folder"],
            "folder: is a directory",
        ),
        (
            &["--in", "cards.txt", "--out", "no/such/out"],
            "No such file",
        ),
        (
            &["--in", "cards.txt", "--out", "foreign.txt"],
            "was interrupted",
        ),
        (
            &["--in", "cards.txt", "--out", "foreign.txt", "--resume"],
            "is not what the earlier run wrote",
        ),
        (
            &["--in", "cards.txt", "--out", "./cards.txt", "--force"],
            "is the input and the output",
        ),
        (
            &["--in", "none.txt", "--out", "out"],
            "none.txt: No such file",
        ),
        (
            &["--in", "folder", "--out", "out"],
            "folder: is a directory",
        ),
        (
            &["--in", "utf16.txt", "--out", "out"],
            "utf16.txt: is UTF-16",
        ),
        (
            &[&["--in", "book.csv", "--out", "out"][..], &csv].concat(),
            "book.csv: is a workbook",
        ),
        (
            &[&["--in", "ragged.csv", "--out", "out"][..], &csv].concat(),
            "line 3 has 1 columns",
        ),
        (
            &[&["--in", "cut.csv", "--out", "out"][..], &csv].concat(),
            "ends within the quotation marks",
        ),
        (
            &[&["--in", "headless.csv", "--out", "out"][..], &csv].concat(),
            "no column `CIN`",
        ),
        (&["--in", "cards.txt", "--resume"], "--out"),
        (&["--in", "cards.txt", "--csv"], "--column"),
    ];
    for (args, says) in cases {
        let run = tokenize(&world, args);
        let words = said(&run);
        assert!(
            !run.status.success() && words.contains(says),
            "{args:?}: {words}"
        );
        assert!(!words.contains("AB1") && run.stdout.is_empty(), "{words}");
        assert_eq!(files(), before, "{args:?}");
    }
    assert_eq!(world.read("there.txt"), "old");
    succeeded(&tokenize(
        &world,
        &["--in", "cards.txt", "--out", "there.txt", "--force"],
    ));
    assert_eq!(world.read("there.txt").lines().count(), 2);
}

#[test]
fn a_run_goes_on_only_with_what_it_began_with() {
    let world = with_quota(10_000, 10);
    world.write(
        "cards.txt",
        &(0..20).map(|n| card(n) + "\n").collect::<String>(),
    );
    let args = ["--in", "cards.txt", "--out", "out.txt", "--batch", "5"];
    assert_eq!(tokenize(&world, &args).status.code(), Some(1));
    let again = |more: &[&str]| {
        let run = tokenize(&world, &[&args[..], &["--resume"], more].concat());
        assert_eq!(run.status.code(), Some(1));
        said(&run)
    };
    let partial = world.read("out.txt.partial");
    assert!(again(&["--previous"]).contains("--previous was false and is true"));
    // The epoch moves on: the rest would have other pseudonyms.
    world.advance("health", false);
    assert!(again(&[]).contains("the sector's epoch was 1 and is 2"));
    assert_eq!(world.read("out.txt.partial"), partial);
    assert_eq!(partial.lines().count(), 10);
    // Another input of the same length.
    let other = with_quota(10_000, 10);
    other.write(
        "cards.txt",
        &(0..20).map(|n| card(n) + "\n").collect::<String>(),
    );
    assert_eq!(tokenize(&other, &args).status.code(), Some(1));
    other.replace("cards.txt", "AB000003", "AB000099");
    let changed = tokenize(&other, &[&args[..], &["--resume"]].concat());
    assert!(
        said(&changed).contains("is not the input that was begun with"),
        "{}",
        said(&changed)
    );
}

#[test]
fn a_full_disk_keeps_what_is_whole_and_the_run_goes_on_when_there_is_room() {
    let world = quiet_world();
    let cards: String = (0..2_000).map(|n| card(n) + "\n").collect();
    world.write("cards.txt", &cards);
    let args = ["--in", "cards.txt", "--out", "out.txt", "--batch", "100"];
    // The limit on file sizes is to a write what a full disk is.
    let mut full = Command::new("bash");
    full.args(["-c", "ulimit -f 16; exec \"$@\"", "bash"])
        .arg(env!("CARGO_BIN_EXE_cloison"))
        .args(command(&world, &args).get_args())
        .current_dir(world.path(""));
    let full = full.output().unwrap();
    assert_eq!(full.status.code(), Some(1), "{}", said(&full));
    assert!(
        said(&full).contains("out.txt.partial: File too large"),
        "{}",
        said(&full)
    );
    assert_eq!(
        beside(&world, "out.txt"),
        ["out.txt.partial", "out.txt.progress"]
    );
    succeeded(&tokenize(&world, &[&args[..], &["--resume"]].concat()));
    succeeded(&tokenize(
        &world,
        &["--in", "cards.txt", "--out", "other.txt"],
    ));
    assert!(world.read("out.txt") == world.read("other.txt"));
}

#[test]
fn the_closing_summary_names_codes_lines_and_what_the_scheme_wants() {
    let world = quiet_world();
    world.write(
        "cards.csv",
        "n,CIN\n1,AB1\n2,\"x\ny\"\n3,\n4,AB2\n5,nonsense\n",
    );
    let table = ["--in", "cards.csv", "--csv", "--column", "CIN"];
    let run = tokenize(&world, &table);
    assert_eq!(run.status.code(), Some(3));
    let words = said(&run);
    for part in [
        "5 answered: 2 accepted, 3 rejected",
        "identifier-control-character",
        "line 3\n",
        "identifier-empty: The identifier is empty; line 5",
        "identifier-pattern: The identifier does not have its scheme's form; line 7",
        "cnie wants ",
        "3 of 5 lines were rejected",
    ] {
        assert!(words.contains(part), "{part}: {words}");
    }
    assert!(!words.contains("nonsense"), "{words}");
    assert!(
        text(&run.stdout).contains("\n2,\"!identifier-control-character\"\n3,!identifier-empty\n")
    );
    let json = tokenize(&world, &[&table[..], &["--json"]].concat());
    let first = said(&json);
    let summary: Value = serde_json::from_str(first.lines().next().unwrap()).unwrap();
    assert_eq!(summary["accepted"], 2);
    assert_eq!(summary["rejected"]["identifier-empty"]["lines"][0], 5);
    let quiet = tokenize(&world, &[&table[..], &["--quiet"]].concat());
    assert!(!said(&quiet).contains("answered"), "{}", said(&quiet));

    // Why, without sending anything.
    let explain = [
        "client",
        "explain",
        "--scheme",
        "cnie",
        "--register",
        "register.toml",
    ];
    let why = world.cloison_with(&explain, b"AB123456\nA-12 3456789\n");
    assert_eq!(why.status.code(), Some(3));
    let told = text(&why.stdout);
    assert!(
        told.contains("line 1: accepted") && told.contains("line 2: !identifier-pattern"),
        "{told}"
    );
    assert!(
        told.contains("its form is A") && !told.contains("3456789"),
        "{told}"
    );
    let by_vault = [
        "client",
        "explain",
        "--scheme",
        "cnie",
        "--client",
        "clients/cnss-health.toml",
        "--json",
    ];
    let why = world.cloison_with(&by_vault, b"nonsense\n");
    let why: Value = serde_json::from_slice(&why.stdout).unwrap();
    assert_eq!(why["lines"][0]["code"], "identifier-pattern");
}

#[test]
fn an_officer_re_identifies_a_list_an_order_and_a_table_into_files() {
    let world = quiet_world();
    let cards = ["AB1", "AB2", "AB3"];
    let known = world.health_pseudonyms(&cards);
    world.write(
        "orders/o.jws",
        &world.sign(&world.order("health", &known), QUORUM),
    );
    let officer = |more: &[&str]| {
        let fixed = [
            "reidentify",
            "--order",
            "orders/o.jws",
            "--key",
            "secrets/people/officer.pem",
            "--client",
            "clients/officer.toml",
        ];
        world.cloison(&[&fixed[..], more].concat())
    };
    let all: String = known
        .iter()
        .zip(cards)
        .map(|(pseudonym, card)| format!("{pseudonym}\tcnie\t{card}\n"))
        .collect();
    succeeded(&officer(&["--all", "--out", "all.tsv", "--batch", "2"]));
    assert_eq!(world.read("all.tsv"), all);
    let mode = world
        .path("all.tsv")
        .metadata()
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    world.write(
        "list.txt",
        &format!("{}\n\n{}\nAB123456\n", known[2], known[0]),
    );
    let list = officer(&["--list", "list.txt"]);
    assert_eq!(list.status.code(), Some(3), "{}", said(&list));
    assert_eq!(
        text(&list.stdout),
        format!(
            "{}\tcnie\tAB3\n{}\tcnie\tAB1\n#3\t!pseudonym-malformed\n",
            known[2], known[0]
        )
    );
    let table = format!("id;who\n1;{}\n2;{}\n", known[1], known[0]);
    world.write("table.csv", &table);
    let csv = [
        "--in",
        "table.csv",
        "--out",
        "names.csv",
        "--csv",
        "--column",
        "who",
        "--as",
        "person",
        "--resume",
    ];
    succeeded(&officer(&csv));
    assert_eq!(
        world.read("names.csv"),
        "id;person;person_scheme\n1;AB2;cnie\n2;AB1;cnie\n"
    );
}
