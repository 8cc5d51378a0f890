//! A clock that was set back or had run ahead, and counts of orders.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use cloison::audit::StatementNote;
use cloison::clock::Clock;
use cloison::code::Code;
use cloison::commit::{LowerMark, LowerMarkError};
use cloison::epoch::{self, AdvanceEpochRequest};
use cloison::reidentify::ReleasedItem;
use cloison::tokenize::{DomainRequest, TokenizeOptions};
use cloison::vault::Vault;
use jiff::SignedDuration;
use uuid::Uuid;

use super::world::{
    CALLERS, Link, World, advance, asked, card, dawn, id, order_at_most, order_for, register,
    release_of, reveal, tokenize, tokenize_with,
};
use crate::common::shim::shim;
use crate::common::{Setup, Side, plain_get, swap};
use cloison::access;
use cloison::deployment::register_text::{AUTHORITY, OFFICER, OPERATORS};
use cloison::reidentify::reveal;

fn texts(vault: &Vault, n: u32) -> Vec<String> {
    let items: Vec<_> = (0..n).map(card).collect();
    let answer = tokenize(vault, CALLERS[0], &items).unwrap();
    answer
        .pseudonyms
        .iter()
        .map(|pseudonym| answer.writer.text(pseudonym))
        .collect()
}

/// Two minutes are tolerated; a moment more and nothing is released, also after a restart, until
/// the clock is right again.
#[test]
fn a_clock_behind_its_mark_releases_nothing() {
    let world = World::new();
    let mut vault = world.open();
    let texts = texts(&vault, 1);
    let order = order_for(dawn() - SignedDuration::from_hours(1), "health", &texts);
    let ask =
        |vault: &Vault| release_of(vault, &asked(world.clock.now(), &order, "health", &texts));
    assert!(ask(&vault).is_ok());
    world.clock.set(dawn() - SignedDuration::from_secs(120));
    assert!(ask(&vault).is_ok(), "two minutes are within what clocks do");
    world.clock.set(dawn() - SignedDuration::from_secs(121));
    let entries = vault.store().last_audit().unwrap().unwrap().0;
    assert_eq!(ask(&vault).unwrap_err().code(), Code::ClockBehind);
    assert_eq!(
        vault.store().last_audit().unwrap().unwrap().0,
        entries,
        "nothing was counted or released"
    );
    // What happens meanwhile does not drag the mark back, nor does a restart forget it.
    tokenize(&vault, CALLERS[0], &[card(9)]).unwrap();
    assert_eq!(ask(&vault).unwrap_err().code(), Code::ClockBehind);
    drop(vault);
    vault = world.open();
    assert_eq!(ask(&vault).unwrap_err().code(), Code::ClockBehind);
    world.clock.set(dawn());
    assert!(ask(&vault).is_ok());
}

/// The node keeps a mark of its own and asks nobody while its clock is behind.
#[test]
fn a_node_behind_its_mark_opens_nothing() {
    let world = World::new();
    let vault = world.open();
    let mut node = world.node();
    let texts = texts(&vault, 1);
    reveal(&vault, &node, "health", &texts);
    let order = order_for(dawn() - SignedDuration::from_hours(1), "health", &texts);
    for _ in 0..2 {
        world.clock.set(dawn() - SignedDuration::from_secs(121));
        let officer =
            vault.register().authorities[&id(AUTHORITY)].officers[&id(OFFICER)].certificate;
        let permit = access::officer(node.register(), &id(AUTHORITY), officer).unwrap();
        let question = asked(world.clock.now(), &order, "health", &texts);
        let refused = reveal::ask(&node, &permit, &question, &Link(&vault)).unwrap_err();
        assert_eq!(refused.code(), Code::ClockBehind);
        drop(node);
        node = world.node();
    }
}

/// While the clock is back, batches are still answered, with the same pseudonyms, and open
/// afterwards.
#[test]
fn batches_do_not_mind_a_clock_set_back() {
    let world = World::new();
    let vault = world.open();
    let node = world.node();
    let before = texts(&vault, 3);
    world.clock.set(dawn() - SignedDuration::from_hours(30));
    let after = texts(&vault, 6);
    assert_eq!(after[..3], before[..]);
    world.clock.set(dawn());
    assert_eq!(texts(&vault, 6), after);
    assert_eq!(reveal(&vault, &node, "health", &after).len(), 6);
}

/// A month that is over is not answered in again because the clock says so, also after a restart; a
/// sector without periods goes on.
#[test]
fn a_period_is_not_told_by_a_clock_behind_its_mark() {
    let world = World::new();
    let mut vault = world.open();
    let (school, study) = (CALLERS[6], CALLERS[7]);
    for caller in [school, study] {
        assert!(
            tokenize(&vault, caller, &[card(1)])
                .unwrap()
                .domain
                .period
                .is_some()
        );
    }
    world.clock.set(dawn() - SignedDuration::from_secs(120));
    assert!(
        tokenize(&vault, school, &[card(2)]).is_ok(),
        "two minutes are within what clocks do"
    );
    world
        .clock
        .set(dawn() - SignedDuration::from_hours(30 * 24));
    for _ in 0..2 {
        let entries = vault.store().last_audit().unwrap().unwrap().0;
        let closed = TokenizeOptions {
            domain: DomainRequest {
                epoch: None,
                period: Some("2026-10".into()),
            },
            previous: false,
        };
        for caller in [school, study] {
            assert_eq!(
                tokenize(&vault, caller, &[card(3)]).err(),
                Some(Code::ClockBehind)
            );
        }
        assert_eq!(
            tokenize_with(&vault, school, &closed, &[card(3)]).err(),
            Some(Code::ClockBehind)
        );
        assert_eq!(
            vault.store().last_audit().unwrap().unwrap().0,
            entries,
            "nothing was derived, counted or stored"
        );
        assert!(tokenize(&vault, CALLERS[0], &[card(3)]).is_ok());
        drop(vault);
        vault = world.open();
    }
    world.clock.set(dawn());
    assert_eq!(
        tokenize(&vault, school, &[card(3)])
            .unwrap()
            .domain
            .period
            .as_deref(),
        Some("2026-11")
    );
}

/// An overlap that is over does not come back, and none is begun that would be over too early.
#[test]
fn an_overlap_is_not_told_by_a_clock_behind_its_mark() {
    let world = World::new();
    let vault = world.open();
    let days = i64::from(vault.sector("health").unwrap().sector.epoch_overlap_days);
    let first = TokenizeOptions {
        domain: DomainRequest {
            epoch: Some(1),
            period: None,
        },
        previous: false,
    };
    let both = TokenizeOptions {
        previous: true,
        ..TokenizeOptions::default()
    };
    advance(&vault, "health", false);
    assert!(tokenize_with(&vault, CALLERS[0], &first, &[card(1)]).is_ok());
    world.later(SignedDuration::from_hours(24 * days + 1));
    assert_eq!(
        tokenize_with(&vault, CALLERS[0], &first, &[card(1)]).err(),
        Some(Code::DomainClosed)
    );
    assert!(tokenize(&vault, CALLERS[0], &[card(1)]).is_ok());
    world.clock.set(dawn());
    for wish in [&first, &both] {
        assert_eq!(
            tokenize_with(&vault, CALLERS[0], wish, &[card(1)]).err(),
            Some(Code::ClockBehind)
        );
    }
    assert_eq!(
        tokenize(&vault, CALLERS[0], &[card(1)])
            .unwrap()
            .domain
            .epoch,
        2
    );
    let operator = *vault.register().operators.keys().next().unwrap();
    let permit = access::operator(vault.register(), operator).unwrap();
    let how = AdvanceEpochRequest {
        from: 2,
        ..AdvanceEpochRequest::default()
    };
    assert_eq!(
        epoch::advance(&vault, &permit, "health", &how)
            .unwrap_err()
            .code(),
        Code::ClockBehind
    );
}

/// A day on which a quota was used up does not come back with the clock, nor with a restart.
#[test]
fn a_quota_is_not_given_twice_by_a_clock_set_back() {
    let world = World::new();
    let open = |world: &World| {
        let mut register = register();
        register
            .organisations
            .get_mut(&id("cnss"))
            .unwrap()
            .quota
            .items_per_day = 3;
        world
            .open_with(register, Box::new(|error| panic!("{error}")))
            .unwrap_or_else(|error| panic!("{error}"))
    };
    let mut vault = open(&world);
    let cards: Vec<_> = (0..3).map(card).collect();
    tokenize(&vault, CALLERS[0], &cards).unwrap();
    world.clock.set(dawn() - SignedDuration::from_hours(48));
    for _ in 0..2 {
        assert_eq!(
            tokenize(&vault, CALLERS[0], &[card(9)]).err(),
            Some(Code::QuotaExceeded)
        );
        drop(vault);
        vault = open(&world);
    }
    world.clock.set(dawn() + SignedDuration::from_hours(24));
    assert!(tokenize(&vault, CALLERS[0], &[card(9)]).is_ok());
}

/// A clock that once ran ahead: the refusal says until when, two operators have the mark lowered,
/// and the log says so.
#[test]
fn a_mark_from_a_clock_that_ran_ahead_is_lowered_by_two_operators() {
    let world = World::new();
    let mut vault = world.open();
    let texts = texts(&vault, 1);
    let ahead = dawn() + SignedDuration::from_hours(24 * 3_650);
    world.clock.set(ahead);
    tokenize(&vault, CALLERS[0], &[card(1)]).unwrap();
    world.clock.set(dawn());
    let ask = |vault: &Vault| {
        let order = order_for(dawn() - SignedDuration::from_hours(1), "health", &texts);
        release_of(vault, &asked(world.clock.now(), &order, "health", &texts))
    };
    let refused = ask(&vault).unwrap_err();
    assert_eq!(refused.code(), Code::ClockBehind);
    let until = ahead - SignedDuration::from_secs(120);
    assert!(
        refused
            .to_string()
            .contains(&format!("refused until {until}")),
        "{refused}"
    );

    let statement = StatementNote {
        statement: "a".into(),
        signers: vec![id("one"), id("two")],
    };
    let mut said = LowerMark {
        mark: dawn(),
        id: Uuid::from_u128(1),
        until: 0,
        statement,
        bearer: id("one"),
    };
    let other = vault
        .committer()
        .lower_mark(vault.store(), &said, vault.now());
    assert!(
        matches!(other, Err(LowerMarkError::OtherMark(mark)) if mark == ahead),
        "what they signed is about another mark"
    );
    assert_eq!(ask(&vault).unwrap_err().code(), Code::ClockBehind);
    said.mark = ahead;
    vault
        .committer()
        .lower_mark(vault.store(), &said, vault.now())
        .unwrap();
    assert!(ask(&vault).is_ok());
    said.id = Uuid::from_u128(2);
    let again = vault
        .committer()
        .lower_mark(vault.store(), &said, vault.now());
    assert!(matches!(again, Err(LowerMarkError::NotBehind)));
    let entries = vault.store().audit_from(0, usize::MAX).unwrap();
    let entries = entries
        .iter()
        .map(|(_, entry)| serde_json::from_slice::<serde_json::Value>(entry).unwrap());
    let lowered: Vec<_> = entries
        .filter(|entry| entry["event"] == "clock-lower")
        .collect();
    assert_eq!(lowered.len(), 1);
    assert_eq!(lowered[0]["signers"], serde_json::json!(["one", "two"]));
    assert_eq!(
        (&lowered[0]["from"], &lowered[0]["to"]),
        (
            &format!("{ahead:.3}").into(),
            &format!("{:.3}", dawn()).into()
        )
    );
    drop(vault);
    vault = world.open();
    assert!(
        ask(&vault).is_ok(),
        "a restart does not bring the old mark back"
    );
}

/// What two operators once signed lowers the mark once: whoever alone sets the clock to and fro
/// brings it a second time for nothing, also after a restart, after ten years of other requests,
/// and at another place.
#[test]
fn a_statement_lowers_one_mark_once_whatever_the_clock_shows() {
    let world = World::new();
    let mut vault = world.open();
    let ahead = dawn() + SignedDuration::from_hours(24 * 3_650);
    let tick = |vault: &Vault, n: u32| {
        world.clock.set(ahead);
        tokenize(vault, CALLERS[0], &[card(n)]).unwrap();
        world.clock.set(dawn());
    };
    let said = LowerMark {
        mark: ahead,
        id: Uuid::from_u128(1),
        until: dawn().as_second(),
        statement: StatementNote {
            statement: "a".into(),
            signers: vec![id("one"), id("two")],
        },
        bearer: id("one"),
    };
    let lower = |vault: &Vault| {
        vault
            .committer()
            .lower_mark(vault.store(), &said, vault.now())
    };
    tick(&vault, 1);
    lower(&vault).unwrap();
    tick(&vault, 2);
    assert!(matches!(lower(&vault), Err(LowerMarkError::Taken)));
    // Whatever prunes by time keeps it.
    let mut batch = cloison::store::RowBatch::default();
    vault
        .store()
        .put_request(&mut batch, 0, Uuid::from_u128(9), i64::MAX)
        .unwrap();
    vault.store().commit(batch).unwrap();
    drop(vault);
    vault = world.open();
    assert!(matches!(lower(&vault), Err(LowerMarkError::Taken)));
    assert_eq!(
        vault.committer().mark().time(),
        ahead,
        "it stays where it is"
    );
}

/// A real vault whose clock ran ahead by ten minutes and is right again: `/readyz`, `/metrics`, the
/// log and the refusals say so and until when; sectors without periods go on; and when two
/// operators have had the mark lowered, everything does.
#[test]
fn a_process_whose_clock_is_behind_says_so_and_until_when() {
    let register = |text: String| {
        swap(
            &text,
            "granularity = { purpose = true }",
            "granularity = { purpose = true, period = \"month\" }",
        )
    };
    let mut world = crate::common::World::with(Setup {
        register: Box::new(register),
        log: "info",
        start: false,
        ..Setup::default()
    });
    // Under a clock that is moved already, that is where this one stands, too.
    let already: i64 = std::env::var("SKEW")
        .ok()
        .and_then(|seconds| seconds.parse().ok())
        .unwrap_or(0);
    world.write("skew", &(already + 600).to_string());
    world.env = vec![
        ("LD_PRELOAD".into(), shim("skew").display().to_string()),
        ("SKEWFILE".into(), world.path("skew").display().to_string()),
    ];
    world.start(Side::Vault, &[]);
    let health = world.health_pseudonyms(&["AB1"]);
    let social = || world.batch("rsu-social", "social", "cnie", Some("aid"), &["AB1"]);
    assert_eq!(social().status, 200);
    let read = |path: &str| plain_get(world.health(Side::Vault), path).unwrap();
    assert!(read("/metrics").contains("\ncloison_clock_behind_seconds 0\n"));

    world.write("skew", &already.to_string());
    let refused = social();
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (503, "clock-behind")
    );
    assert!(
        refused.text().contains("is refused until "),
        "{}",
        refused.text()
    );
    assert_eq!(world.health_pseudonyms(&["AB1"]), health);
    let eventually = |what: &str, is: &dyn Fn() -> bool| {
        let since = Instant::now();
        while !is() {
            assert!(since.elapsed() < Duration::from_secs(60), "{what}");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    eventually("not ready", &|| {
        read("/readyz").contains("\"clock\":\"the clock shows ")
    });
    let behind = |text: &str| {
        text.lines().find_map(|line| {
            line.strip_prefix("cloison_clock_behind_seconds ")?
                .parse::<i64>()
                .ok()
        })
    };
    eventually("a gauge", &|| {
        behind(&read("/metrics")).is_some_and(|seconds| (500..700).contains(&seconds))
    });
    assert!(
        world.log(Side::Vault).contains("is refused until "),
        "a warning"
    );

    let ready = read("/readyz");
    let mark = ready
        .split(", and ")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap();
    let run = |arguments: &[&str]| world.cloison(arguments);
    let done = |arguments: &[&str]| {
        let output = run(arguments);
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    };
    let register = ["--register", "register.toml"];
    let new = |entity: &str, out: &str| {
        let mark = format!("{entity}:{mark}");
        done(
            &[
                &[
                    "statement",
                    "new",
                    "--lower-clock-mark",
                    &mark,
                    "--out",
                    out,
                ],
                &register[..],
            ]
            .concat(),
        );
    };
    new("vault", "lower.jws");
    new("node/court", "elsewhere.jws");
    let bring = |file: &str| {
        run(&[
            "clock",
            "lower",
            "--statement",
            file,
            "--yes",
            "--client",
            "clients/operator.toml",
        ])
    };
    for operator in OPERATORS {
        assert!(!bring("lower.jws").status.success(), "one is not enough");
        let key = format!("secrets/people/{operator}.pem");
        for file in ["lower.jws", "elsewhere.jws"] {
            let sign = ["statement", "sign", file, "--kid", operator, "--key", &key];
            done(&[&sign[..], &register[..]].concat());
        }
    }
    assert!(
        !bring("elsewhere.jws").status.success(),
        "what was signed for a node says nothing about the vault"
    );
    assert!(bring("lower.jws").status.success());
    assert!(!bring("lower.jws").status.success(), "once");
    eventually("ready again", &|| {
        read("/readyz").contains("\"ready\":true")
    });
    assert_eq!(social().status, 200);
    world.stop();
    assert_eq!(
        world.refusals(Side::Vault, "rsu-social", "tokenize", "clock-behind"),
        1
    );
    assert_eq!(
        world.refusals(Side::Vault, "operator", "clock-lower", "statement-invalid"),
        3
    );
    assert_eq!(
        world.refusals(Side::Vault, "operator", "clock-lower", "request-replayed"),
        1
    );
    assert!(
        world
            .entries(Side::Vault)
            .iter()
            .any(|entry| entry["event"] == "clock-lower")
    );
}

/// Many requests at once under one order for ten: ten pseudonyms are released, whoever comes first,
/// and after a restart the count is what it was.
#[test]
fn counts_are_exact_when_many_ask_at_once() {
    const LIMIT: u64 = 10;
    let world = World::new();
    let vault = world.open();
    let texts = texts(&vault, 24);
    let order = order_at_most(dawn(), "health", LIMIT);
    let barrier = Barrier::new(6);
    let mut released: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..6)
            .map(|thread| {
                let (vault, texts, order, barrier) = (&vault, &texts, &order, &barrier);
                scope.spawn(move || {
                    // Windows of eight that overlap with their neighbours'.
                    let window: Vec<_> = (0..8)
                        .map(|n| texts[(thread * 4 + n) % 24].clone())
                        .collect();
                    let question = asked(dawn(), order, "health", &window);
                    barrier.wait();
                    let items = release_of(vault, &question).unwrap().items;
                    let mappings = items.iter().zip(&window).filter(|(item, _)| match item {
                        ReleasedItem::Mapping { .. } => true,
                        ReleasedItem::Refused { code } => {
                            assert_eq!(*code, Code::LimitReached);
                            false
                        }
                    });
                    mappings.map(|(_, text)| text.clone()).collect::<Vec<_>>()
                })
            })
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    });
    released.sort();
    released.dedup();
    assert_eq!(
        released.len() as u64,
        LIMIT,
        "distinct pseudonyms under the order"
    );

    drop(vault);
    let vault = world.open();
    let again = release_of(&vault, &asked(dawn(), &order, "health", &texts))
        .unwrap()
        .items;
    for (item, text) in again.iter().zip(&texts) {
        let given = matches!(item, ReleasedItem::Mapping { .. });
        assert_eq!(
            given,
            released.contains(text),
            "what was counted stays open, what was not stays closed"
        );
    }
}

/// What is asked for counts, whatever the answer: unknown pseudonyms use an order up too.
#[test]
fn unknown_pseudonyms_count() {
    let world = World::new();
    let vault = world.open();
    let known = texts(&vault, 2);
    let order = order_at_most(dawn(), "health", 2);
    let writer =
        cloison::pseudonym::TextWriter::new(cloison::register::TextForm::Bech32m, "sante", 1);
    let unknown = writer.text(&cloison::pseudonym::Pseudonym::from_bytes([7; 16]));
    let ask = |texts: &[String]| -> Vec<Option<Code>> {
        let items = release_of(&vault, &asked(dawn(), &order, "health", texts))
            .unwrap()
            .items;
        items
            .iter()
            .map(|item| match item {
                ReleasedItem::Mapping { .. } => None,
                ReleasedItem::Refused { code } => Some(*code),
            })
            .collect()
    };
    assert_eq!(
        ask(&[unknown.clone(), known[0].clone()]),
        [Some(Code::NoMapping), None]
    );
    assert_eq!(
        ask(&[known[1].clone(), known[0].clone(), unknown]),
        [Some(Code::LimitReached), None, Some(Code::NoMapping)]
    );
}
