//! A disk that fails at the k-th call: whatever the call, the process says what happened and goes
//! on or ends as the table of exit codes says, nothing that was acknowledged is lost, and the next
//! start is good. `ops/faults.c` makes the calls fail, of the vault, the node and a witness.

mod node;
mod vault;
mod witness;

use std::fs;

use cloison::client::ClientError;

use super::world::{long, rounds};
use crate::common::World;
use crate::common::seeded::{SeededRandom, seed};
use crate::common::shim::shim;

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

/// A process whose scripted life is led on a disk that fails.
trait ScriptedLife {
    fn world(&mut self) -> &mut World;

    /// Leads the life from its start to its end: the exit code. What was answered is kept.
    fn live(&mut self) -> Option<i32>;

    /// Everything that the process wrote so far.
    fn log(&self) -> String;

    /// Starts it on a disk that is good again, and checks what was answered in the last life.
    ///
    /// # Errors
    /// Why it does not start.
    fn check_last(&mut self) -> Result<(), String>;

    /// Checks what was answered in all lives.
    fn check_all(&mut self);
}

/// Leads the life with this in the shim's environment.
fn live(life: &mut impl ScriptedLife, how: &[(&str, &str)]) -> Option<i32> {
    let world = life.world();
    let said = world.path("said");
    let _ = fs::remove_file(&said);
    let text = |path: std::path::PathBuf| path.display().to_string();
    world.env = vec![
        ("LD_PRELOAD".to_owned(), text(shim("faults"))),
        (
            "SHIM_ROOT".to_owned(),
            text(world.path("data").canonicalize().unwrap()),
        ),
        ("FAULT_SAID".to_owned(), text(said)),
    ];
    let how = how
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    world.env.extend(how);
    let code = life.live();
    life.world().env.clear();
    code
}

/// How many calls of a kind a life makes.
fn count(life: &mut impl ScriptedLife, call: &str) -> usize {
    live(life, &[("FAULT_CALL", call)]);
    let said = fs::read(life.world().path("said")).unwrap_or_default();
    let checked = life.check_last();
    assert_eq!(checked, Ok(()), "nothing failed");
    said.len()
}

/// The life whose `number`-th call fails, and the start after it.
fn fail(life: &mut impl ScriptedLife, call: &str, number: usize, fault: Fault) {
    let (at, error) = (number.to_string(), fault.error.to_string());
    let mut how = vec![
        ("FAULT_CALL", call),
        ("FAULT_AT", &at),
        ("FAULT_ERROR", &error),
    ];
    if fault.stays {
        how.push(("FAULT_STAYS", "1"));
    }
    let before = life.log().len();
    let code = live(life, &how);
    let said = life.log()[before..].to_owned();
    let path = fs::read_to_string(life.world().path("said")).unwrap_or_default();
    let what = format!("{call} {number} ({path}), {fault:?}: exit code {code:?}\n{said}");
    assert!(EXITS.contains(&code), "{what}");
    assert!(!said.contains("panicked"), "{what}");
    assert!(
        code == Some(0) || said.contains("rror"),
        "it says why it ended: {what}"
    );
    if let Err(failed) = life.check_last() {
        panic!("the next start is not good: {failed}\nafter {what}");
    }
}

/// A refusal has a code; otherwise the process is gone.
fn refused(error: &ClientError) -> bool {
    let is_told = matches!(error, ClientError::Connection { .. }) || error.code().is_some();
    assert!(is_told, "{error}");
    false
}

/// Has calls of a kind fail: some that a seed chooses, or in the long form every one in every way.
fn each_call(life: &mut impl ScriptedLife, name: &str, kind: usize, sample: u32) {
    let (call, errors) = KINDS[kind];
    let name = format!("failing {call} of the {name}");
    let mut random = SeededRandom::new(seed(&name));
    let count = count(life, call);
    assert!(count > 0, "{name}");
    let ways = errors.iter().flat_map(|error| {
        [false, true].map(|stays| Fault {
            error: *error,
            stays,
        })
    });
    let faults: Vec<_> = ways.collect();
    let tried = rounds(sample, u32::MAX) as usize;
    let tried = if long() && tried >= count * faults.len() {
        for fault in &faults {
            (1..=count).for_each(|number| fail(life, call, number, *fault));
        }
        count * faults.len()
    } else {
        for _ in 0..tried {
            let fault = faults[random.below(faults.len())];
            fail(life, call, 1 + random.below(count), fault);
        }
        tried
    };
    eprintln!("{name}: {count} calls in a life, {tried} lives, nothing lost");
    life.check_all();
}
