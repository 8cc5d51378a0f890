//! `cloison status` and `cloison ready`: what each role is told, and what a script reads.

use serde_json::Value;

use crate::common::{Setup, Side, World};

fn world() -> World {
    World::with(Setup {
        log: "info",
        ..Setup::default()
    })
}

/// The status by a client file, and its exit code.
fn status(world: &World, client: &str) -> (Value, Option<i32>) {
    let file = format!("clients/{client}.toml");
    let output = world.cloison(&["status", "--client", &file, "--json"]);
    let json = serde_json::from_slice(&output.stdout);
    let json = json.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    (json, output.status.code())
}

#[test]
fn each_role_is_told_what_it_may_know() {
    let world = world();
    let (client, code) = status(&world, "cnss-health");
    assert_eq!(
        (code, &client["state"]),
        (Some(0), &Value::from("ok")),
        "{client:#}"
    );
    let server = &client["server"];
    assert_eq!(server["server"]["kind"], "vault");
    assert_eq!(server["caller"]["id"], "cnss-health");
    assert_eq!(server["caller"]["organisation"], "cnss");
    let sectors = server["sectors"].as_array().unwrap();
    assert_eq!(sectors.len(), 1, "only its own");
    assert_eq!(
        (&sectors[0]["sector"], &sectors[0]["epoch"]),
        (&"health".into(), &1.into())
    );
    assert_eq!(server["ready"], true);
    for kept in ["log", "notices", "out_of_step", "custody"] {
        assert!(server[kept].is_null(), "{kept} is not a client's business");
    }
    let before = server["quota"]["today"].as_u64().unwrap();
    world.health_pseudonyms(&["AB1", "AB2", "AB1"]);
    let (after, _) = status(&world, "cnss-health");
    assert_eq!(after["server"]["quota"]["today"], before - 3);

    let (operator, _) = status(&world, "operator");
    assert!(operator["server"]["sectors"].as_array().unwrap().len() > 3);
    assert!(operator["server"]["log"]["entries"].as_u64().is_some());
    assert_eq!(
        operator["server"]["out_of_step"].as_array().unwrap().len(),
        0
    );
    assert!(operator["server"]["quota"].is_null());

    let (officer, code) = status(&world, "officer");
    assert_eq!(code, Some(0), "{officer:#}");
    assert_eq!(officer["server"]["server"]["kind"], "node");
    assert_eq!(officer["server"]["custody"]["sealed"], false);
    assert_eq!(officer["server"]["caller"]["authority"], "court");
}

#[test]
fn what_is_left_of_the_quota_is_told_with_each_answer_and_depends_on_counts_only() {
    let world = world();
    let fields = |cards: &[&str]| {
        let reply = world.batch("cnss-health", "health", "cnie", Some("billing"), cards);
        let field = |name| reply.header(name).unwrap_or_default().to_owned();
        (field("ratelimit-policy"), field("ratelimit"))
    };
    let left = |limit: &str| {
        let (_, day) = limit.split_once("\"day\";r=").unwrap();
        day.split(';').next().unwrap().parse::<u64>().unwrap()
    };
    let (policy, first) = fields(&["AB1", "AB2"]);
    assert!(
        policy.starts_with("\"second\";q=") && policy.contains("qu=\"items\""),
        "{policy}"
    );
    // Known by now, and one that is no identifier: a count is a count.
    let (_, known) = fields(&["AB1", "AB2"]);
    let (_, bad) = fields(&["nonsense", "AB2"]);
    assert_eq!(
        (left(&first) - left(&known), left(&known) - left(&bad)),
        (2, 2)
    );
}

#[test]
fn a_server_that_is_away_is_critical_and_waited_for() {
    let mut world = world();
    let ready = [
        "ready",
        "--config",
        "vault.toml",
        "--config",
        "node.toml",
        "--client",
        "clients/officer.toml",
    ];
    let output = world.cloison(&ready);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let here = world.cloison(&["status", "--config", "node.toml"]);
    let said = String::from_utf8_lossy(&here.stdout).into_owned();
    assert_eq!(here.status.code(), Some(0), "{said}");
    assert!(
        said.starts_with("OK: ") && said.contains("the vault's is version"),
        "{said}"
    );

    world.end(Side::Vault);
    let (away, code) = status(&world, "cnss-health");
    assert_eq!((code, &away["state"]), (Some(2), &Value::from("critical")));
    let output = world.cloison(&["status", "--config", "vault.toml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        String::from_utf8_lossy(&output.stdout).starts_with("CRITICAL: ready: nothing answers")
    );
    let output = world.cloison(&ready);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("vault.toml: nothing answers on 127.0.0.1"),
        "{said}"
    );
    let output = world.cloison(&["status", "--client", "clients/none.toml"]);
    assert_eq!(output.status.code(), Some(3));

    // It waits while the server starts.
    let mut waiting = std::process::Command::new(env!("CARGO_BIN_EXE_cloison"));
    waiting.args(["ready", "--wait", "60s", "--config"]);
    let mut waiting = waiting.arg(world.path("vault.toml")).spawn().unwrap();
    world.start(Side::Vault, &[]);
    assert!(waiting.wait().unwrap().success());
}
