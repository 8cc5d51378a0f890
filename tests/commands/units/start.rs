//! What a server makes sure of before it opens anything.
#![expect(unsafe_code, reason = "limits of a child and signals to it")]

use std::net::TcpStream;
use std::process::Command;

use crate::common::{Door, QUORUM, Setup, Side, World};

/// Starts the vault with that many open files at most; its exit code and what it said, where it
/// refuses.
fn with_files(world: &World, files: u32) -> (Option<i32>, String) {
    let script = format!("ulimit -n {files}; exec \"$0\" serve --config vault.toml");
    let mut command = Command::new("sh");
    command
        .args(["-c", &script, env!("CARGO_BIN_EXE_cloison")])
        .current_dir(world.path(""));
    let output = command.output().unwrap();
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

#[test]
fn too_few_descriptors_for_all_connections_are_refused_at_the_start() {
    let world = World::asleep();
    let (code, said) = with_files(&world, 256);
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("this process may open 256 files and could need "),
        "{said}"
    );
    assert!(
        said.contains("LimitNOFILE=") && said.contains("[limits] connections"),
        "{said}"
    );
    assert!(
        !world.path("data/vault/CURRENT").exists(),
        "nothing was made"
    );
}

/// Idle connections up to every bound: a release, batches and what the store opens for them go on.
#[test]
fn idle_connections_leave_the_store_its_descriptors() {
    let mut world = World::with(Setup {
        log: "info",
        start: false,
        ..Setup::default()
    });
    world.write(
        "vault.toml",
        &format!("{}\n[limits]\nconnections = 60\n", world.read("vault.toml")),
    );
    world.start(Side::Vault, &[]);
    world.start(Side::Node, &[]);
    let open = |world: &mut World| {
        let pid = world.pid(Side::Vault).unwrap();
        std::fs::read_dir(format!("/proc/{pid}/fd"))
            .unwrap()
            .count()
    };
    let at_rest = open(&mut world);
    // Some are closed at once, as more than one certificate may have.
    let half_a_head = |(name, door)| {
        let mut stream = world.connect(Some(name), door);
        let _ = stream.write(b"GET /openapi.json HTTP/1.1\r\n");
        stream
    };
    let doors = [("dgi-tax", Door::Data), ("operator", Door::Control)];
    let secured: Vec<_> = (0..50).flat_map(|_| doors.map(half_a_head)).collect();
    let silent: Vec<_> = [Door::Data, Door::Control]
        .iter()
        .flat_map(|door| {
            std::iter::repeat_with(|| TcpStream::connect(world.address(*door))).take(150)
        })
        .chain(std::iter::repeat_with(|| TcpStream::connect(world.health(Side::Vault))).take(300))
        .collect();
    std::thread::sleep(std::time::Duration::from_millis(300));
    let (now, most) = (open(&mut world), at_rest + 2 * (60 + 128) + 32 + 16);
    assert!(
        now <= most,
        "{now} descriptors, and at most {most} are granted"
    );
    drop(silent);
    let health = world.health_pseudonyms(&["AB1"]);
    let order = world.sign(&world.order("health", &health), QUORUM);
    assert_eq!(
        world.reidentify(&order, "health", &health).ok()["items"][0]["value"],
        "AB1"
    );
    drop(secured);
    world.stop();
}

/// Sets how many files a running process may have open from now on; those that are open stay. What
/// it was before.
fn limit_files(pid: u32, most: u64) -> u64 {
    let mut before = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `before` outlives the call, and nothing is to be set.
    let known = unsafe {
        libc::prlimit(
            pid as libc::pid_t,
            libc::RLIMIT_NOFILE,
            std::ptr::null(),
            &raw mut before,
        )
    };
    let limit = libc::rlimit {
        rlim_cur: most,
        ..before
    };
    // SAFETY: `limit` outlives the call, and no old limits are asked for.
    let set = unsafe {
        libc::prlimit(
            pid as libc::pid_t,
            libc::RLIMIT_NOFILE,
            &raw const limit,
            std::ptr::null_mut(),
        )
    };
    assert_eq!((known, set), (0, 0), "{}", std::io::Error::last_os_error());
    before.rlim_cur
}

/// Where no file can be opened any more, what needs none is done, what needs one is refused, and
/// the process lives on.
#[test]
fn a_file_that_cannot_be_opened_is_no_lost_write() {
    let mut world = World::with(Setup {
        log: "info",
        start: false,
        ..Setup::default()
    });
    world.start(Side::Vault, &[]);
    let (sector, operator) = (world.client("cnss-health"), world.client("operator"));
    let batch = |card: &str| {
        let body =
            serde_json::json!({"scheme": "cnie", "identifiers": [card], "purpose": "billing"});
        sector.post_json::<serde_json::Value>("/v1/sectors/health/pseudonyms", &body)
    };
    let rotate = || operator.post_json::<serde_json::Value>("/v1/secrets", &serde_json::json!({}));
    // Both have a connection from here on.
    batch("AB1").unwrap();
    rotate().unwrap();
    let pid = world.vault_pid();
    let before = limit_files(pid, 3);
    batch("AB2").unwrap();
    assert!(
        rotate().is_err(),
        "a version that could not be written is none"
    );
    batch("AB3").unwrap();
    limit_files(pid, before);
    rotate().unwrap();
    assert!(world.is_running(Side::Vault));
    world.stop();
    assert_eq!(world.mappings(), 3);
}

#[test]
fn a_second_place_whose_folder_is_away_may_come_back() {
    let mut world = World::asleep();
    world.replace("vault.toml", "data/vault.place", "other-disk/vault.place");
    let failed = world.try_start(Side::Vault, &[]).unwrap_err();
    assert_eq!(failed.code, Some(75), "{failed}");
    assert!(
        failed
            .said
            .contains("[audit] second: nothing can be written in"),
        "{failed}"
    );
    assert!(
        !world.path("data/vault/CURRENT").exists(),
        "nothing was made"
    );
    std::fs::create_dir(world.path("other-disk")).unwrap();
    world.start(Side::Vault, &[]);
    world.stop();
}

/// A disk that is not mounted leaves a folder without a store, as before the first start.
#[test]
fn a_store_is_made_only_at_a_first_start_that_was_prepared() {
    let mut world = World::asleep();
    for (side, name) in [(Side::Vault, "vault"), (Side::Node, "node")] {
        let note = world.path(&format!("data/{name}.first-start"));
        assert!(note.exists(), "`init` leaves it");
        world.start(side, &[]);
        assert!(!note.exists(), "the first start removes it");
        world.end(side);
        // The store's disk away, the second place there: not even on purpose.
        let (data, away) = (world.path("data"), world.path("away"));
        std::fs::rename(data.join(name), &away).unwrap();
        std::fs::create_dir(data.join(name)).unwrap();
        for (more, words) in [
            (&[][..], "no first start was prepared"),
            (&["--first-start"], "holds the last checkpoint"),
        ] {
            let failed = world.try_start(side, more).unwrap_err();
            assert_eq!(failed.code, Some(75), "{failed}");
            assert!(
                failed.said.contains("there is no store at ") && failed.said.contains(words),
                "{failed}"
            );
            assert_eq!(
                data.join(name).read_dir().unwrap().count(),
                0,
                "nothing was made"
            );
        }
        // The second place's disk away, too.
        std::fs::rename(
            data.join(format!("{name}.checkpoint")),
            world.path("checkpoint"),
        )
        .unwrap();
        assert_eq!(world.try_start(side, &[]).unwrap_err().code, Some(75));
        std::fs::remove_dir(data.join(name)).unwrap();
        std::fs::rename(&away, data.join(name)).unwrap();
        let failed = world.try_start(side, &[]).unwrap_err();
        assert_eq!(failed.code, Some(75), "the second place alone: {failed}");
        std::fs::rename(
            world.path("checkpoint"),
            data.join(format!("{name}.checkpoint")),
        )
        .unwrap();
        // A note that is left beside a store goes; the option is for one start.
        std::fs::write(&note, "").unwrap();
        world.start(side, &[]);
        assert!(!note.exists());
        world.end(side);
        assert_eq!(
            world.try_start(side, &["--first-start"]).unwrap_err().code,
            Some(2)
        );
    }
}

/// Starts another vault on the store, with ports of its own; its exit code and what it said.
fn beside(world: &World) -> (Option<i32>, String) {
    let [data, control, health] = crate::common::free_ports();
    let mut text = world.read("vault.toml");
    for (address, port) in [
        (world.address(Door::Data), data),
        (world.address(Door::Control), control),
        (world.health(Side::Vault), health),
    ] {
        text = crate::common::swap(&text, &address.to_string(), &format!("127.0.0.1:{port}"));
    }
    world.write("beside.toml", &text);
    let refused = world.cloison(&["serve", "--config", "beside.toml"]);
    (
        refused.status.code(),
        String::from_utf8_lossy(&refused.stderr).into_owned(),
    )
}

#[test]
fn a_store_that_another_process_still_has_may_become_free() {
    let mut world = World::asleep();
    world.start(Side::Vault, &[]);
    let (code, said) = beside(&world);
    assert_eq!(code, Some(75), "{said}");
    assert!(
        said.contains("is in use by another process") && !said.contains("nothing was changed"),
        "{said}"
    );
    world.stop();
}

/// A write-ahead log that is listed and gone, as one is for an instant whenever the process that
/// has the store removes it.
#[test]
fn a_store_in_use_is_called_so_while_its_files_come_and_go() {
    let mut world = World::asleep();
    world.start(Side::Vault, &[]);
    let pid = libc::pid_t::try_from(world.vault_pid()).unwrap();
    let signal = |signal| {
        // SAFETY: the child was not waited for yet, so the id is still its own.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
    };
    let files = std::fs::read_dir(world.path("data/vault"))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let logs: Vec<_> = files
        .filter(|file| file.extension().is_some_and(|end| end == "log"))
        .collect();
    assert!(!logs.is_empty());
    signal(libc::SIGSTOP);
    logs.iter()
        .for_each(|log| std::fs::rename(log, log.with_extension("away")).unwrap());
    let (code, said) = beside(&world);
    logs.iter()
        .for_each(|log| std::fs::rename(log.with_extension("away"), log).unwrap());
    signal(libc::SIGCONT);
    assert_eq!(code, Some(75), "{said}");
    assert!(said.contains("is in use by another process"), "{said}");
    world.stop();
}
