//! Custody, with real processes and a real token: shares and sealing, every kind of custody, the
//! memory that keys lie in.

mod ceremony;
mod commands;
mod documents;
mod kinds;
mod memory;
mod rotation;
mod sealing;
mod token;

use std::process::Output;

use crate::common::{Setup, World};

/// A deployment whose authority key is in five shares, three of which unseal it.
fn split(start: bool) -> World {
    World::with(Setup {
        custodians: Some((3, 5)),
        start,
        ..Setup::default()
    })
}

/// What a command said that did its work.
#[track_caller]
fn done(output: &Output) -> String {
    let (said, errors) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{errors}");
    assert!(!errors.contains("panicked"), "{errors}");
    said.into_owned()
}

/// What a command said that refused, and said what to do.
#[track_caller]
fn refused(output: &Output, why: &str) -> String {
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        matches!(output.status.code(), Some(1 | 2)),
        "{:?}: {errors}",
        output.status.code()
    );
    assert!(errors.contains(why), "{why:?} is not in: {errors}");
    // As text, or with `--json` as an object.
    let hints = errors.contains("hint: ") || errors.contains("\"hint\":");
    assert!(hints && !errors.contains("panicked"), "{errors}");
    assert!(output.stdout.is_empty());
    errors
}

/// A custodian brings his share, from the command line.
fn bring(world: &World, verb: &str, custodian: usize) -> Output {
    world.cloison(&[
        "authority",
        verb,
        "--client",
        &format!("clients/custodian-{custodian}.toml"),
        "--share",
        &format!("secrets/custodians/custodian-{custodian}.share"),
        "--identity",
        &format!("secrets/custodians/custodian-{custodian}.key"),
        "--json",
    ])
}

/// Three custodians unseal the node.
fn unseal(world: &World) {
    for custodian in [1, 3, 5] {
        done(&bring(world, "unseal", custodian));
    }
}
