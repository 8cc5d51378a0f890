//! A disk that fails at the k-th call: whatever the call, the process says what happened and goes on
//! or ends as the table of exit codes says, nothing that was acknowledged is lost, and the next start
//! is good. `ops/faults.c` makes the calls fail.

use std::fs;

use cloison::client::ClientError;

use super::load::{Acknowledged, WAYS, check, send};
use super::world::long;
use crate::common::seeded::{SeededRandom, seed};
use crate::common::shim::shim;
use crate::common::{Setup, Side, World};

/// How a call fails: the number in `errno`, and whether all later ones of its kind do, too.
#[derive(Debug, Clone, Copy)]
struct Fault {
    error: i32,
    stays: bool,
}

/// Kinds of calls, and how each may fail; 0 is a short one.
const KINDS: [(&str, &[i32]); 5] = [
    ("open", &[libc::EMFILE, libc::EIO, libc::EROFS]),
    ("read", &[libc::EIO, 0]),
    ("write", &[libc::ENOSPC, libc::EIO, 0]),
    ("fsync", &[libc::EIO, libc::ENOSPC]),
    ("rename", &[libc::EIO, libc::ENOSPC, libc::EROFS]),
];

/// The exit codes of docs/operations.md that a failing disk may lead to.
const EXITS: [Option<i32>; 4] = [Some(0), Some(1), Some(70), Some(75)];

struct Trial {
    world: World,
    /// In this life, and in those before.
    acknowledged: Acknowledged,
    all: Acknowledged,
    /// Persons are numbered from here.
    next: u32,
}

impl Trial {
    fn new() -> Self {
        let world = World::with(Setup {
            log: "info",
            start: false,
            ..Setup::default()
        });
        // What is made and destroyed with epochs lies on the disk that fails.
        fs::rename(
            world.path("secrets/vault/sector"),
            world.path("data/vault.sector"),
        )
        .unwrap();
        world.replace("vault.toml", "secrets/vault/sector", "data/vault.sector");
        let mut trial = Self {
            world,
            acknowledged: Acknowledged::default(),
            all: Acknowledged::default(),
            next: 0,
        };
        trial.world.start(Side::Vault, &[]);
        trial.world.start(Side::Node, &[]);
        trial.world.end(Side::Vault);
        trial
    }

    /// How many calls of a kind a life makes.
    fn count(&mut self, call: &str) -> usize {
        self.live(&[("FAULT_CALL", call)]);
        let said = fs::read(self.world.path("said")).unwrap_or_default();
        said.len()
    }

    /// The life whose `number`-th call fails, and the start after it.
    fn fail(&mut self, call: &str, number: usize, fault: Fault) {
        let (at, error) = (number.to_string(), fault.error.to_string());
        let mut how = vec![
            ("FAULT_CALL", call),
            ("FAULT_AT", &at),
            ("FAULT_ERROR", &error),
        ];
        if fault.stays {
            how.push(("FAULT_STAYS", "1"));
        }
        let before = self.world.log(Side::Vault).len();
        let code = self.live(&how);
        let said = self.world.log(Side::Vault)[before..].to_owned();
        let path = fs::read_to_string(self.world.path("said")).unwrap_or_default();
        let what = format!("{call} {number} ({path}), {fault:?}: exit code {code:?}\n{said}");
        assert!(EXITS.contains(&code), "{what}");
        assert!(!said.contains("panicked"), "{what}");
        assert!(
            code == Some(0) || said.contains("rror"),
            "it says why it ended: {what}"
        );
        if let Err(failed) = self.world.try_start(Side::Vault, &[]) {
            panic!("the next start is not good: {failed}\nafter {what}");
        }
        let life = std::mem::take(&mut self.acknowledged);
        check(&self.world, &life, 20);
        self.all.absorb(life);
        self.world.end(Side::Vault);
    }

    /// A start, batches, an epoch with a secret of its own, an end; the exit code.
    fn live(&mut self, how: &[(&str, &str)]) -> Option<i32> {
        let said = self.world.path("said");
        let _ = fs::remove_file(&said);
        let text = |path: std::path::PathBuf| path.display().to_string();
        let mut env = vec![
            ("LD_PRELOAD".to_owned(), text(shim("faults"))),
            (
                "FAULT_ROOT".to_owned(),
                text(self.world.path("data").canonicalize().unwrap()),
            ),
            ("FAULT_SAID".to_owned(), text(said)),
        ];
        env.extend(
            how.iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        );
        self.world.env = env;
        let started = self.world.try_start(Side::Vault, &[]);
        self.world.env.clear();
        if let Err(failed) = started {
            return failed.code;
        }
        // What follows a refused request is left out: the process may be gone, or end when it is told to.
        let _ = self.batches() && self.advance() && self.batches();
        if self.world.is_running(Side::Vault) {
            self.world.signal(Side::Vault, libc::SIGTERM);
        }
        self.world.ended(Side::Vault).code()
    }

    /// Whether all of them were answered.
    fn batches(&mut self) -> bool {
        WAYS.iter().all(|way| {
            let persons: Vec<u32> = (self.next..self.next + 40).collect();
            self.next += 40;
            match send(&self.world.client(way.0), *way, &persons) {
                Ok(answered) => {
                    self.acknowledged.note(way.1, &persons, answered);
                    true
                }
                Err(error) => refused(&error),
            }
        })
    }

    fn advance(&self) -> bool {
        let operator = self.world.client("operator");
        let path = "/v1/sectors/tax/epochs";
        let advanced = operator.get_json::<serde_json::Value>(path).and_then(|listed| {
            let epochs = listed["epochs"].as_array().unwrap();
            let number = |epoch: &serde_json::Value| epoch["epoch"].clone();
            let overlapping = epochs.iter().find(|epoch| epoch["state"] == "overlap");
            let how = serde_json::json!({
                "from": number(epochs.last().unwrap()), "end_overlap": overlapping.map(number), "own_secret": true,
            });
            crate::common::advance(&operator, path, &how)
        });
        advanced.map_or_else(|error| refused(&error), |_| true)
    }
}

/// A refusal has a code; otherwise the process is gone.
fn refused(error: &ClientError) -> bool {
    let is_told = matches!(error, ClientError::Connection { .. }) || error.code().is_some();
    assert!(is_told, "{error}");
    false
}

fn each_call(kind: usize) {
    let (call, errors) = KINDS[kind];
    let mut random = SeededRandom::new(seed(&format!("failing {call}")));
    let mut trial = Trial::new();
    let count = trial.count(call);
    eprintln!("failing {call}: {count} calls in a life");
    assert!(count > 0);
    let faults = errors.iter().flat_map(|error| {
        [false, true].map(|stays| Fault {
            error: *error,
            stays,
        })
    });
    if long() {
        for fault in faults {
            (1..=count).for_each(|number| trial.fail(call, number, fault));
        }
    } else {
        let faults: Vec<_> = faults.collect();
        for _ in 0..3 {
            let fault = faults[random.below(faults.len())];
            trial.fail(call, 1 + random.below(count), fault);
        }
    }
    trial.world.start(Side::Vault, &[]);
    check(&trial.world, &trial.all, 200);
}

#[test]
fn a_failing_open_loses_nothing() {
    each_call(0);
}

#[test]
fn a_failing_or_short_read_loses_nothing() {
    each_call(1);
}

#[test]
fn a_failing_or_short_write_loses_nothing() {
    each_call(2);
}

#[test]
fn a_failing_fsync_loses_nothing() {
    each_call(3);
}

#[test]
fn a_failing_change_of_a_name_loses_nothing() {
    each_call(4);
}
