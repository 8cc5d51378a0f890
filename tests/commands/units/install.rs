//! What `init` made, as a service.

use serde_json::Value;

use super::machine::{IDENTITY, Machine, NODE, Service, VAULT, text};

/// A machine with a deployment of `init` on it, both services installed.
fn installed() -> Option<Machine> {
    let mut machine = Machine::new()?;
    machine.run("target/release/cloison init deployment");
    for service in [VAULT, NODE] {
        machine.install(service);
    }
    Some(machine)
}

/// The unit as it is shipped.
fn unit(service: Service) -> String {
    let path = format!("{}/ops/{}.service", env!("CARGO_MANIFEST_DIR"), service.0);
    std::fs::read_to_string(path).unwrap()
}

/// Bytes of memory that the machine has.
fn memory() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .unwrap();
    line.trim()
        .strip_suffix(" kB")
        .unwrap()
        .trim()
        .parse::<u64>()
        .unwrap()
        << 10
}

const TOKENIZE: &str = "cloison client tokenize --client deployment/clients/cnss-health.toml --sector health --scheme cnie \
                        --purpose billing";

/// From the start to the stop, each program under its own unit and its own user.
#[test]
fn what_init_made_does_all_its_work_under_the_units_as_shipped() {
    let Some(mut machine) = installed() else {
        return;
    };
    for service in [VAULT, NODE] {
        machine.start(service, None);
        machine.ready(service);
    }
    // A batch, large enough for the threads that step back.
    machine.run("seq -f 'AB%06.0f' 20000 > cards.txt");
    machine.run(&format!(
        "{TOKENIZE} < cards.txt > first.txt; test $(grep -c -v '^!' first.txt) = 20000"
    ));
    stepped_back(&mut machine);

    // A re-identification.
    machine.run(
        "cd deployment
        cloison order new --register register.toml --judicial --case RABAT/2026-17 --purpose investigation \
            --sector health --pseudonym \"$(head -n 1 ../first.txt)\" --officer officer --out orders/17.jws
        for who in judge-1 prosecutor-1; do
            cloison order sign --register register.toml --kid $who --key secrets/people/$who.pem orders/17.jws
        done",
    );
    let reidentify = "cd deployment; cloison reidentify --order orders/17.jws --key secrets/people/officer.pem \
                      --client clients/officer.toml \"$(head -n 1 ../first.txt)\"";
    assert!(machine.run(reidentify).contains("AB000001"));

    // A rotation, which writes a version into the vault's folder of secrets, and an epoch on that.
    machine.run(
        "cd deployment
        cloison secrets rotate --client clients/operator.toml
        cloison secrets confirm 2 --client clients/operator.toml
        cloison epoch advance --yes --sector health --from 1 --client clients/operator.toml",
    );
    assert_eq!(
        machine.run("ls /etc/cloison-vault/secrets/vault/sector"),
        "1.secret\n2.secret\n"
    );
    machine.run(&format!(
        "{TOKENIZE} < cards.txt > second.txt; ! cmp -s first.txt second.txt"
    ));

    // A stop and another start: everything is where it was.
    for service in [NODE, VAULT] {
        assert_eq!(machine.stop(service), 0);
    }
    for service in [VAULT, NODE] {
        machine.start(service, None);
        machine.ready(service);
    }
    machine.run(&format!("{TOKENIZE} < cards.txt | cmp - second.txt"));
    assert!(machine.run(reidentify).contains("AB000001"));
    silent(&mut machine);
    for service in [NODE, VAULT] {
        assert_eq!(machine.stop(service), 0);
        let state = machine.state(service);
        assert_eq!(
            (&state["running"], &state["starts"]),
            (&Value::Bool(false), &Value::from(1))
        );
    }
    machine.run(
        "cloison audit verify /var/lib/cloison-vault/vault --register deployment/register.toml",
    );
}

/// Threads of the vault have a niceness of their own.
fn stepped_back(machine: &mut Machine) {
    let pid = &machine.state(VAULT)["pid"];
    let nice = machine.run(&format!(
        "cut -d')' -f2- /proc/{pid}/task/*/stat | cut -d' ' -f18 | sort -u"
    ));
    assert!(
        nice.lines().any(|nice| nice == "10") && nice.lines().any(|nice| nice == "0"),
        "{nice}"
    );
}

/// Nothing that the system refused, and the figures that it is not to hide.
fn silent(machine: &mut Machine) {
    for service in [VAULT, NODE] {
        let log = machine.log(service);
        let refused = [
            "cannot step back",
            "cannot be locked whole",
            "not permitted",
            "Permission denied",
        ];
        assert!(refused.iter().all(|words| !log.contains(words)), "{log}");
        // Where the host has less to give, the machine says so in the log.
        let all_locked = !log.contains("the sandbox: LimitMEMLOCK");
        let wanted = if service.0 == NODE.0 && all_locked {
            2
        } else {
            1
        };
        assert_eq!(
            machine.metric(service, "cloison_memory_protection"),
            wanted,
            "{log}"
        );
    }
    let bound = machine.metric(VAULT, "cloison_index_bound_bytes");
    // Three quarters of a half; a control group of the host's may leave less.
    assert!(bound <= memory() / 8 * 3 && bound > 64 << 20, "{bound}");
    let log = machine.log(VAULT);
    let told = log
        .split("memory that the index of mappings may take mib=")
        .nth(1)
        .unwrap_or_else(|| panic!("{log}"));
    let told: u64 = told.split_whitespace().next().unwrap().parse().unwrap();
    assert!(
        (told * 3 / 4).abs_diff(bound >> 20) <= told / 100,
        "{told} MiB, and {bound} bytes for the tables"
    );
}

/// The split form, as the documentation says it: the vault waits for its source, and has no
/// identity secret.
#[test]
fn a_vault_and_its_identity_source_work_under_their_units_as_shipped() {
    let Some(mut machine) = Machine::new() else {
        return;
    };
    machine.run("target/release/cloison init deployment --identity-host localhost");
    for service in [VAULT, IDENTITY] {
        machine.install(service);
    }
    machine.run(
        "cp -p deployment/tls/identity.pem /etc/cloison-vault/tls/ && chown cloison-vault: /etc/cloison-vault/tls/identity.pem
        test ! -e /etc/cloison-vault/secrets/vault/identity.secret",
    );
    for service in [VAULT, IDENTITY] {
        machine.start(service, None);
    }
    for service in [IDENTITY, VAULT] {
        machine.ready(service);
    }
    machine.run(&format!(
        "printf 'AB123456\\n' | {TOKENIZE} > first.txt; grep -q ^sante first.txt"
    ));
    let status = machine.run("cloison status --client deployment/clients/operator.toml || true");
    assert!(
        status.contains("the identity secret lies with an identity source"),
        "{status}"
    );
    for service in [VAULT, IDENTITY] {
        assert_eq!(machine.stop(service), 0);
    }
    for service in [IDENTITY, VAULT] {
        machine.start(service, None);
        machine.ready(service);
    }
    machine.run(&format!(
        "printf 'AB123456\\n' | {TOKENIZE} | cmp - first.txt"
    ));
    for service in [VAULT, IDENTITY] {
        assert_eq!(machine.stop(service), 0);
    }
}

/// The sandbox is one: what a unit forbids is refused.
#[test]
fn what_the_units_forbid_is_refused() {
    let Some(mut machine) = installed() else {
        return;
    };
    let verify = "systemd-analyze --no-pager verify cloison-vault.service cloison-authority.service 2>&1; \
         cp ops/cloison-identity.service . && systemd-analyze --no-pager verify ./cloison-identity.service 2>&1";
    assert_eq!(machine.run(verify), "", "systemd itself knows every line");
    for service in [VAULT, NODE] {
        let name = service.0;
        for (script, refused) in [
            (format!("touch /etc/{name}/new"), "Read-only file system"),
            ("touch /usr/new".to_owned(), "Read-only file system"),
            ("cat /home/somebody/letter".to_owned(), "Permission denied"),
            ("ls /root".to_owned(), "Permission denied"),
            ("cat /proc/meminfo".to_owned(), "No such file"),
            ("cat /proc/1/status".to_owned(), "No such file"),
            ("unshare --user true".to_owned(), "not permitted"),
            ("chrt --fifo 1 true".to_owned(), "not permitted"),
            (
                "chmod u+s /tmp/x; touch /tmp/x; chmod u+s /tmp/x".to_owned(),
                "not permitted",
            ),
            (
                "setarch --addr-no-randomize true".to_owned(),
                "not permitted",
            ),
            ("ls /dev/kmsg".to_owned(), "No such file"),
            (
                "perl -MSocket -e 'socket(my $s, AF_UNIX, SOCK_STREAM, 0) or die $!'".to_owned(),
                "Address family",
            ),
            ("ulimit -c 1".to_owned(), "cannot modify limit"),
        ] {
            let said = machine.within(service, &script);
            assert!(said.contains(refused), "{name}: {script}: {said}");
        }
        let said = machine.within(
            service,
            &format!("touch /var/lib/{name}/new && echo $? && grep -c ^Cap.*0000000000000000 /proc/self/status"),
        );
        assert!(
            said.ends_with("0\n5\n"),
            "its own folder is writable, and it has no capability: {said}"
        );
    }
    let said = machine.within(
        VAULT,
        "touch /etc/cloison-vault/secrets/vault/sector/new && nice -n 5 true && echo done",
    );
    assert!(said.ends_with("done\n"), "{said}");
}

/// A property that this test does not apply is an error, and not passed over.
#[test]
fn a_property_that_nobody_applies_fails() {
    let Some(mut machine) = installed() else {
        return;
    };
    let odd = unit(VAULT).replace("[Service]\n", "[Service]\nProtectEverything=true\n");
    let answer = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        machine.start(VAULT, Some(&odd));
    }));
    let said = *answer.unwrap_err().downcast::<String>().unwrap();
    assert!(said.contains("does not apply ProtectEverything"), "{said}");
}

/// A second place that the unit does not let it write: the start ends with a code that nobody tries
/// again, says which folder it is, and has made nothing.
#[test]
fn a_folder_that_the_unit_keeps_shut_ends_the_start_before_a_store_is_made() {
    let Some(mut machine) = installed() else {
        return;
    };
    for (service, file, store) in [(VAULT, "vault.toml", "vault"), (NODE, "node.toml", "node")] {
        let folder = format!("/etc/{}", service.0);
        machine.run(&format!(
            "sed -i 's:^second = .*:second = \"elsewhere/last.checkpoint\":' {folder}/{file}"
        ));
        machine.run(&format!(
            "install -d -m 0700 -o {} {folder}/elsewhere",
            service.0
        ));
        machine.start(service, None);
        let state = ended(&mut machine, service);
        assert_eq!(
            (&state["code"], &state["starts"]),
            (&Value::from(1), &Value::from(1))
        );
        let log = text(&state["log"]);
        assert!(
            log.contains("[audit] second: nothing can be written in") && log.contains("Read-only"),
            "{log}"
        );
        assert!(log.contains("nothing was made"), "{log}");
        let note = format!("{store}.first-start\n");
        assert_eq!(machine.run(&format!("ls -A /var/lib/{}", service.0)), note);
    }
}

/// Waits until a service has ended for good.
fn ended(machine: &mut Machine, service: Service) -> Value {
    let began = std::time::Instant::now();
    loop {
        let state = machine.state(service);
        if state["running"] == false {
            return state;
        }
        assert!(began.elapsed().as_secs() < 60, "{}", text(&state["log"]));
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

/// What may pass by itself is tried again: here another process has the ports, and then has them no
/// more.
#[test]
fn a_start_that_may_succeed_later_is_tried_again() {
    let Some(mut machine) = installed() else {
        return;
    };
    machine.run("setsid cloison serve --config deployment/vault.toml > by-hand.log 2>&1 & echo $! > by-hand.pid");
    machine.run(
        "timeout 60 bash -c \"until grep -q 'the vault serves' by-hand.log; do sleep 0.1; done\"",
    );
    machine.start(VAULT, None);
    let began = std::time::Instant::now();
    while machine.state(VAULT)["starts"].as_u64().unwrap() < 2 {
        assert!(began.elapsed().as_secs() < 60, "{}", machine.log(VAULT));
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert!(
        machine
            .log(VAULT)
            .contains("the health listener cannot have 127.0.0.1:7445"),
        "{}",
        machine.log(VAULT)
    );
    machine.run("kill $(cat by-hand.pid)");
    while !machine.log(VAULT).contains("the vault serves") {
        assert!(began.elapsed().as_secs() < 120, "{}", machine.log(VAULT));
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!(machine.stop(VAULT), 0);
}

/// Where a filter forbids what threads need to step back, the log says so, and batches are answered
/// all the same.
#[test]
fn a_filter_that_forbids_stepping_back_is_said() {
    let Some(mut machine) = installed() else {
        return;
    };
    let strict = unit(VAULT).replace("SystemCallFilter=sched_setattr setpriority\n", "");
    machine.start(VAULT, Some(&strict));
    machine.ready(VAULT);
    machine.run(&format!("seq -f 'AB%06.0f' 20000 | {TOKENIZE} > first.txt"));
    let log = machine.log(VAULT);
    assert_eq!(
        log.matches("threads that work on batches cannot step back")
            .count(),
        1,
        "{log}"
    );
    assert_eq!(machine.stop(VAULT), 0);
}
