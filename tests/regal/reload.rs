//! A changed register comes into force while vault and node run: whole, or not at all.

use serde_json::{Value, json};

use super::common::{Door, QUORUM, Reply, Side, World, batch_path, request, texts};

/// A second hospital with a sub-sector of its own and one client, as blocks of the register.
fn hospital(certificate: &str) -> String {
    let uuid = "[[sector]]\nuuid = \"7b0d3c52-94d8-4a2e-9a4e-6f7a5f0a1c11\" ";
    let sector = super::join::SECTOR.replacen("[[sector]]", uuid, 1);
    format!(
        r#"
[[organisation]]
id = "chu-fes"
name = "Centre hospitalier universitaire Hassan II, Fès"
quota = {{ items-per-second = 20000, items-per-day = 2000000 }}

{sector}
[[client]]
id = "chu-fes"
organisation = "chu-fes"
certificate = "{certificate}"
sectors = ["health.chu-fes"]
operations = ["tokenize"]
purposes = ["care"]
"#
    )
}

/// Whether the long form is wanted (`ops/test-long`).
fn is_long() -> bool {
    std::env::var_os("CLOISON_TEST_LONG").is_some()
}

/// A request to tokenize one identifier, after which the connection stays open.
fn lasting_ask() -> String {
    let body =
        json!({"scheme": "cnie", "purpose": "billing", "identifiers": ["AB123456"]}).to_string();
    let asked = request(
        "POST",
        &batch_path("health"),
        &[("content-type", "application/json")],
        body.as_bytes(),
    );
    String::from_utf8(asked)
        .unwrap()
        .replace("connection: close", "connection: keep-alive")
}

fn joined(world: &World) {
    let key = world.certify("chu-fes", 2026, 2036);
    world.edit_register(|text| text + &hospital(&key));
}

fn reload(world: &World, caller: &str, door: Door) -> Reply {
    world.post_json(caller, door, "/v1/register/reload", &json!({}))
}

fn without_client(text: &str, id: &str) -> String {
    let from = text.find(&format!("[[client]]\nid = \"{id}\"")).unwrap();
    let until = from + 2 + text[from + 2..].find("\n[").unwrap() - 1;
    format!("{}{}", &text[..from], &text[until..])
}

#[test]
fn a_hospital_joins_without_a_restart() {
    let mut world = World::new();
    let before = world.health_pseudonyms(&["AB123456"]);
    joined(&world);
    let done = reload(&world, "operator", Door::Control).ok();
    assert_eq!(done["changed"], true);
    assert_eq!(done["register"]["version"], 2);
    assert_eq!(done["before"]["version"], 1);
    assert_eq!(done["opened"], json!(["health.chu-fes:1"]));
    let again = reload(&world, "operator", Door::Control).ok();
    assert_eq!(again["changed"], false, "nothing to do");

    let own = world.tokenize(
        "chu-fes",
        "health.chu-fes",
        "cnie",
        Some("care"),
        &["AB123456"],
    );
    assert!(own[0].starts_with("chuf1"));
    assert_eq!(world.health_pseudonyms(&["AB123456"]), before);

    // Until the node has it too, nothing is released, and both say why.
    let order = world.sign(&world.order("health.chu-fes", &own), QUORUM);
    let refused = world.reidentify(&order, "health.chu-fes", &own);
    assert!(refused.status >= 400);
    let done = reload(&world, "officer", Door::Officers).ok();
    assert_eq!(done["register"]["version"], 2);
    let order = world.sign(&world.order("health.chu-fes", &own), QUORUM);
    let opened = world.reidentify(&order, "health.chu-fes", &own).ok();
    assert_eq!(opened["items"][0]["value"], "AB123456");

    // The store kept both, and an auditor may see them.
    let history = world
        .get("auditor", Door::Control, "/v1/register/history")
        .ok();
    let versions: Vec<_> = history["registers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["version"].as_u64().unwrap())
        .collect();
    assert_eq!(versions, [1, 2]);
    let kept = world
        .get("auditor", Door::Control, "/v1/register/history/2")
        .ok();
    assert_eq!(kept["text"].as_str().unwrap(), world.read("register.toml"));
    assert_eq!(
        kept["signatures"].as_str().unwrap(),
        world.read("register.jws")
    );

    world.stop();
    let entries: Vec<Value> = world.entries(Side::Vault);
    let entry = entries
        .iter()
        .find(|entry| entry["event"] == "register")
        .unwrap();
    assert_eq!(
        (
            &entry["actor"],
            &entry["register_version"],
            &entry["before_version"]
        ),
        (&"operator".into(), &2.into(), &1.into())
    );
    assert_eq!(entry["opened"][0]["sector"], "health.chu-fes");
    assert_eq!(
        entries
            .iter()
            .filter(|entry| entry["event"] == "register")
            .count(),
        1,
        "a reload with nothing to do leaves no entry"
    );

    // And it goes on after a restart.
    world.start(Side::Vault, &[]);
    assert_eq!(
        world.tokenize(
            "chu-fes",
            "health.chu-fes",
            "cnie",
            Some("care"),
            &["AB123456"]
        ),
        own
    );
}

#[test]
fn a_client_taken_out_is_refused_on_its_open_connection() {
    let world = World::new();
    let asked = lasting_ask();
    let mut open = world.connect(Some("cnss-health"), Door::Data);
    open.write(asked.as_bytes()).unwrap();
    assert_eq!(texts(&open.read_one().unwrap().ok()["pseudonyms"]).len(), 1);
    world.edit_register(|text| without_client(&text, "cnss-health"));
    reload(&world, "operator", Door::Control).ok();
    open.write(asked.as_bytes()).unwrap();
    let refused = open.read_one().unwrap();
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (401, "unknown-client")
    );
}

#[test]
fn a_register_with_any_fault_leaves_the_one_before() {
    let world = World::new();
    let person = world.health_pseudonyms(&["AB123456"]);
    let good = world.read("register.toml");
    let signers = ["operations", "commission"];
    let raised = good.replace("\nversion = 1\n", "\nversion = 2\n");
    let refusal = |code: &str| {
        let reply = reload(&world, "operator", Door::Control);
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (409, "register-refused")
        );
        let detail = reply.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(&format!("\n{code}: ")), "{detail}");
        assert_eq!(world.health_pseudonyms(&["AB123456"]), person);
        detail
    };

    // A frozen fact, terms and a key of the log at once: all are answered.
    let frozen = raised.replace("tag = \"sante\"", "tag = \"soins\"");
    world.write_register(&frozen, &signers);
    refusal("register-frozen");
    let terms = raised.replacen("granularity = {}", "granularity = { purpose = true }", 1);
    world.write_register(&terms, &signers);
    let detail = refusal("register-terms");
    assert!(detail.contains("--advance health"), "{detail}");
    let other = good.replace("title = \"Settlement of claims\"", "title = \"Claims\"");
    world.write_register(&other, &signers);
    refusal("register-changed");
    world.write_register(&raised, &signers[..1]);
    refusal("register-signatures");
    world.write("register.toml", &good[..good.len() / 2]);
    refusal("register-signatures");
    std::fs::remove_file(world.path("register.toml")).unwrap();
    refusal("register-unreadable");
    std::fs::create_dir(world.path("register.toml")).unwrap();
    refusal("register-unreadable");
    std::fs::remove_dir(world.path("register.toml")).unwrap();

    // Nobody but an operator may ask.
    world.write_register(&raised, &signers);
    for (caller, door, status) in [
        ("cnss-health", Door::Control, 403),
        ("auditor", Door::Control, 403),
        ("node", Door::Control, 403),
    ] {
        assert_eq!(reload(&world, caller, door).status, status, "{caller}");
    }
    // Mended, it comes into force; and then the one before is older.
    reload(&world, "operator", Door::Control).ok();
    world.write_register(&good, &signers);
    refusal("register-older");
}

#[test]
fn a_vault_killed_during_a_reload_has_one_register_or_the_other() {
    let mut world = World::new();
    world.health_pseudonyms(&["AB123456"]);
    joined(&world);
    let waits: &[u64] = if is_long() {
        &[0, 1, 2, 4, 6, 8, 10, 12, 15, 20]
    } else {
        &[0, 2, 6, 12]
    };
    let kills = if is_long() { 50 } else { waits.len() };
    for (wait, version) in waits.iter().copied().cycle().take(kills).zip(2..) {
        let operator = world.client("operator");
        let asking = std::thread::spawn(move || operator.reload_register().is_ok());
        std::thread::sleep(std::time::Duration::from_millis(wait));
        world.kill(Side::Vault);
        asking.join().unwrap();
        // A start takes what lies there, whether the reload was in time or not.
        world.start(Side::Vault, &[]);
        let history = world
            .get("operator", Door::Control, "/v1/register/history")
            .ok();
        let versions: Vec<_> = history["registers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["version"].as_u64().unwrap())
            .collect();
        assert_eq!(versions, (1..=version).collect::<Vec<_>>());
        let own = world.tokenize(
            "chu-fes",
            "health.chu-fes",
            "cnie",
            Some("care"),
            &["AB123456"],
        );
        assert!(own[0].starts_with("chuf1"));
        world.stop();
        let entries = world.entries(Side::Vault);
        let opened = entries
            .iter()
            .filter_map(|entry| entry["opened"].as_array())
            .flatten()
            .filter(|opened| opened["sector"] == "health.chu-fes");
        assert_eq!(opened.count(), 1, "the sector's epoch opened once");
        // A register that came into force while the process ran has its entry before the start's.
        let first = entries
            .iter()
            .find(|entry| entry["register_version"] == version)
            .unwrap();
        assert!(["register", "start"].contains(&first["event"].as_str().unwrap()));
        world.start(Side::Vault, &[]);
        world.edit_register(|text| text);
    }
}

/// A register with so many more sectors and clients.
fn large(text: String, sectors: usize, clients: usize) -> String {
    let block = hospital(&"0".repeat(64));
    let sector = &block[block.find("[[sector]]").unwrap()..block.find("[[client]]").unwrap()];
    let letters = |n: usize| -> String {
        (0..4)
            .map(|place| char::from(b'a' + (n / 26_usize.pow(place) % 26) as u8))
            .collect()
    };
    let mut text = text + &block[..block.find("[[sector]]").unwrap()];
    for n in 0..sectors {
        text += &sector
            .replace(
                "7b0d3c52-94d8-4a2e-9a4e-6f7a5f0a1c11",
                &super::common::uuid4().to_string(),
            )
            .replace("health.chu-fes", &format!("health.h{n}"))
            .replace("\"chuf\"", &format!("\"h{}\"", letters(n)));
    }
    for n in 0..clients {
        text += &format!(
            "\n[[client]]\nid = \"c{n}\"\norganisation = \"chu-fes\"\ncertificate = \"{:064x}\"\nsectors = [\"health.h{}\"]\noperations = [\"tokenize\"]\npurposes = [\"care\"]\n",
            n + 1,
            n % sectors
        );
    }
    text
}

#[test]
fn a_large_register_comes_into_force_under_load() {
    let (sectors, clients) = if is_long() {
        (1_000, 10_000)
    } else {
        (20, 100)
    };
    let world = World::with(super::common::Setup {
        log: "info",
        ..super::common::Setup::default()
    });
    let asked = lasting_ask();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let began = std::time::Instant::now();
    let (reloaded, times) = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut open = world.connect(Some("cnss-health"), Door::Data);
                    let mut times = vec![];
                    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                        let sent = began.elapsed();
                        open.write(asked.as_bytes()).unwrap();
                        assert_eq!(open.read_one().unwrap().status, 200);
                        times.push((sent, began.elapsed().checked_sub(sent).unwrap()));
                    }
                    times
                })
            })
            .collect();
        world.edit_register(|text| large(text, sectors, clients));
        std::thread::sleep(std::time::Duration::from_secs(if is_long() {
            5
        } else {
            1
        }));
        let from = began.elapsed();
        let done = reload(&world, "operator", Door::Control).ok();
        let until = began.elapsed();
        assert_eq!(done["opened"].as_array().unwrap().len(), sectors);
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        let times: Vec<_> = asking
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect();
        ((from, until), times)
    });
    let slowest = |during: bool| {
        let is_during = |sent: &std::time::Duration| (reloaded.0..reloaded.1).contains(sent);
        let times = times.iter().filter(|(sent, _)| is_during(sent) == during);
        let mut took: Vec<_> = times.map(|(_, took)| *took).collect();
        took.sort();
        (
            took.len(),
            took.get(took.len() / 2).copied(),
            took.last().copied(),
        )
    };
    println!(
        "{sectors} sectors and {clients} clients in force in {:?}; requests (number, median, slowest): before {:?}, meanwhile {:?}",
        reloaded.1.checked_sub(reloaded.0).unwrap(),
        slowest(false),
        slowest(true)
    );
}
