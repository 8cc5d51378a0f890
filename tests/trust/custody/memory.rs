//! What the kernel says of the memory of processes that hold keys, and what `cloison doctor` says
//! of it.
#![expect(unsafe_code, reason = "the user")]

use std::fs;

use serde_json::Value;

use super::done;
use crate::common::{Side, World, plain_get};

/// What may be seen of a process only while it may be dumped: its memory belongs to root otherwise,
/// and its maps are shut to its own user. Tests that run as root look through that, so they look at
/// what the kernel was told.
#[test]
fn a_vault_keeps_its_keys_out_of_swap_and_dumps() {
    let mut world = World::new();
    for side in [Side::Vault, Side::Node] {
        let pid = world.pid(side).unwrap();
        let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        let core = limits
            .lines()
            .find(|line| line.starts_with("Max core file size"))
            .unwrap();
        assert_eq!(
            core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(),
            ["0", "0"],
            "{core}"
        );
        // Regions of keys: left out of dumps (dd), empty in children (wf), locked (lo) where the
        // limit allows it.
        let maps = fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap();
        let flags = maps
            .lines()
            .filter_map(|line| line.strip_prefix("VmFlags:"));
        let regions: Vec<&str> = flags
            .filter(|flags| [" dd", " wf"].iter().all(|flag| flags.contains(flag)))
            .collect();
        assert!(!regions.is_empty(), "no region for keys");
        let metrics = plain_get(world.health(side), "/metrics").unwrap();
        let level = metrics
            .lines()
            .find_map(|line| line.strip_prefix("cloison_memory_protection "))
            .unwrap();
        let locked = regions.iter().all(|flags| flags.contains(" lo"));
        assert_eq!(
            level.parse::<u8>().unwrap() >= 1,
            locked,
            "{level} {regions:?}"
        );
        // The owner of what lies below /proc is root when the process may not be dumped.
        // SAFETY: no preconditions.
        if unsafe { libc::geteuid() } != 0 {
            use std::os::unix::fs::MetadataExt as _;
            assert_eq!(fs::metadata(format!("/proc/{pid}/maps")).unwrap().uid(), 0);
        }
    }
    let output = world.cloison(&[
        "doctor",
        "--config",
        "vault.toml",
        "--config",
        "node.toml",
        "--json",
    ]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let findings: Vec<Value> = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said}"));
    let of = |what: &str| {
        let found = findings
            .iter()
            .find(|finding| finding["what"].as_str().unwrap().contains(what));
        found
            .unwrap_or_else(|| panic!("{what} is not in {said}"))
            .clone()
    };
    assert_eq!(of("core files")["state"], "good");
    assert_eq!(of("other processes")["state"], "good");
    assert!(
        of("memory protection")["says"]
            .as_str()
            .unwrap()
            .contains("can be reached here")
    );
    for config in ["vault.toml: the process", "node.toml: the process"] {
        assert!(
            of(config)["says"]
                .as_str()
                .unwrap()
                .contains("runs at level"),
            "{said}"
        );
    }
    // Secrets in clear are said to be.
    assert_eq!(of("vault.toml: secrets")["state"], "poor");
    world.stop();
    let text =
        String::from_utf8_lossy(&world.cloison(&["doctor", "--config", "vault.toml"]).stdout)
            .into_owned();
    assert!(text.contains("does not answer on 127.0.0.1:"), "{text}");
    fs::set_permissions(
        world.path("secrets/vault/identity.secret"),
        std::os::unix::fs::PermissionsExt::from_mode(0o644),
    )
    .unwrap();
    let bad = world.cloison(&["doctor", "--config", "vault.toml"]);
    assert_eq!(bad.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&bad.stdout).contains("has mode 0644 and must have 0600"));
}

#[test]
fn doctor_needs_no_deployment() {
    let world = World::asleep();
    let output = world.cloison(&["doctor"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        said.contains("memory protection") && said.contains("of 2 can be reached here"),
        "{said}"
    );
    done(&world.cloison(&["doctor", "--help"]));
}
