//! Versions of the sector secret: rotated, needed, retired, and never taken up again.

use cloison::deployment::register_text::OPERATORS;
use cloison::epoch::statement::Destruction;
use serde_json::{Value, json};

use super::{done, refused};
use crate::common::{Door, Side, World};

const OPERATOR: [&str; 2] = ["--client", "clients/operator.toml"];

fn ask(world: &World, words: &[&str]) -> Value {
    let said = done(&world.cloison(&[&["secrets"], words, &["--json"], &OPERATOR].concat()));
    serde_json::from_str(&said).unwrap()
}

fn confirm(world: &World, version: u32) -> std::process::Output {
    let confirm = ["secrets", "confirm", &version.to_string(), "--json"];
    world.cloison(&[&confirm[..], &OPERATOR].concat())
}

/// What the command says that retires a version, with a statement that both operators signed.
fn retire(world: &World, version: u32) -> std::process::Output {
    let statement = world.sign_statement(
        &world.statement(Destruction::Secret { version }),
        &OPERATORS,
    );
    world.write("statement.jws", &statement);
    let version = version.to_string();
    let retire = [
        "secrets",
        "retire",
        &version,
        "--yes",
        "--statement",
        "statement.jws",
        "--json",
    ];
    world.cloison(&[&retire[..], &OPERATOR].concat())
}

fn retired(world: &World, version: u32) -> Value {
    serde_json::from_str(&done(&retire(world, version))).unwrap()
}

/// State and needs of each version.
fn versions(answer: &Value) -> Vec<(u64, String, Vec<String>)> {
    let list = answer["versions"].as_array().unwrap().iter();
    list.map(|version| {
        let needs = version["needed_by"].as_array().unwrap().iter();
        let needs = needs.map(|need| match (&need["sector"], &need["epoch"]) {
            (Value::String(sector), epoch) => {
                format!("{sector} {epoch} {}", need["why"].as_str().unwrap())
            }
            _ => need["why"].as_str().unwrap().to_owned(),
        });
        (
            version["version"].as_u64().unwrap(),
            version["state"].as_str().unwrap().to_owned(),
            needs.collect(),
        )
    })
    .collect()
}

fn persons(world: &World) -> Vec<String> {
    world.health_pseudonyms(&["AB123456"])
}

#[test]
fn a_version_is_rotated_in_and_out() {
    let mut world = World::asleep();
    world.edit_register(|text| text.replace("epoch-overlap-days = 30", "epoch-overlap-days = 0"));
    world.start(Side::Vault, &[]);
    let before = persons(&world);
    let rotated = versions(&ask(&world, &["rotate"]));
    assert_eq!(rotated[1], (2, "unconfirmed".into(), vec![]));
    assert!(rotated[0].2.contains(&"next-epochs-else".to_owned()));
    // No epoch names it before an operator has said that it lies elsewhere, too.
    let advance = |world: &World| {
        let how = json!({"from": 1, "end_overlap": null, "own_secret": false});
        world.post_json("operator", Door::Control, "/v1/sectors/health/epochs", &how)
    };
    assert_eq!(advance(&world).code(), "secret-unconfirmed");
    refused(&confirm(&world, 9), "unknown-secret");
    world.end(Side::Vault);
    world.start(Side::Vault, &[]);
    assert_eq!(
        advance(&world).code(),
        "secret-unconfirmed",
        "nor after a start"
    );
    done(&confirm(&world, 2));
    done(&confirm(&world, 2));
    let rotated = versions(&ask(&world, &["versions"]));
    assert_eq!(rotated[1], (2, "here".into(), vec!["next-epochs".into()]));
    assert!(
        rotated[0].2.contains(&"health 1 current".to_owned()),
        "{rotated:?}"
    );
    assert_eq!(persons(&world), before, "nothing has changed");

    // Sectors that keep mappings, and one that does not.
    let sectors: Vec<String> = world.register().sectors.keys().cloned().collect();
    for sector in &sectors {
        world.advance(sector, false);
    }
    assert_ne!(persons(&world), before, "a new epoch, on the new version");
    let listed = versions(&ask(&world, &["versions"]));
    assert_eq!(
        listed[0],
        (1, "here".into(), vec!["health 1 mappings".into()]),
        "{listed:?}"
    );
    assert_eq!(listed[1].2.len(), sectors.len() + 1);
    let said = refused(&retire(&world, 1), "secret-needed");
    assert!(said.contains("epoch 1 of health (mappings)"), "{said}");
    refused(&retire(&world, 2), "the next epochs");
    refused(&retire(&world, 9), "unknown-secret");
    let reply = world.post_json(
        "cnss-health",
        Door::Control,
        "/v1/secrets/retire",
        &json!({"version": 1}),
    );
    assert_eq!(reply.code(), "forbidden");

    // A study's own version, and a rotated one that no epoch ever took.
    let study = sectors
        .iter()
        .find(|sector| sector.contains("study"))
        .unwrap();
    world.advance(study, true);
    let listed = versions(&ask(&world, &["rotate"]));
    assert_eq!((listed[2].0, listed[3].0), (3, 4));
    done(&confirm(&world, 4));
    world.advance(study, false);
    assert_eq!(
        versions(&ask(&world, &["versions"]))[2],
        (3, "here".into(), vec![]),
        "closed, and keeps no mapping"
    );
    let dry = ask(&world, &["retire", "3", "--dry-run"]);
    assert_eq!(
        (&dry["retired"], &dry["destroyed"]),
        (&json!(false), &json!(false))
    );
    let file = world.path("secrets/vault/sector/3.secret");
    let copy = std::fs::read(&file).unwrap();
    let done = retired(&world, 3);
    assert_eq!(
        (&done["retired"], &done["destroyed"]),
        (&json!(true), &json!(true)),
        "{done}"
    );
    assert!(!file.exists());
    assert_eq!(
        ask(&world, &["retire", "3", "--yes"])["destroyed"],
        true,
        "again is as good, and takes no statement"
    );
    world.end(Side::Vault);
    let entries = world.entries(Side::Vault);
    let of = |event: &str| -> Vec<u64> {
        let entries = entries.iter().filter(|entry| entry["event"] == event);
        entries
            .map(|entry| entry["version"].as_u64().unwrap())
            .collect()
    };
    assert_eq!(
        (of("secret-rotate"), of("secret-retire")),
        (vec![2, 3, 4], vec![3])
    );
    assert_eq!(of("secret-confirm"), [2, 3, 4]);

    // What somebody puts back is not taken up, but destroyed; and no number comes back.
    cloison::keys::file::write_private(&file, &copy).unwrap();
    world.start(Side::Vault, &[]);
    assert!(!file.exists());
    assert_eq!(versions(&ask(&world, &["versions"]))[2].1, "retired");
    assert_eq!(versions(&ask(&world, &["rotate"])).last().unwrap().0, 5);
    let again = persons(&world);
    world.end(Side::Vault);
    world.start(Side::Vault, &[]);
    assert_eq!(persons(&world), again);
}

/// The newest version may be retired in favour of none: never. A number that was rotated in and
/// retired unused is not given again.
#[test]
fn the_last_one_stays_and_numbers_do_not_come_back() {
    let mut world = World::asleep();
    world.start(Side::Vault, &[]);
    ask(&world, &["rotate"]);
    ask(&world, &["rotate"]);
    done(&confirm(&world, 3));
    assert_eq!(retired(&world, 2)["destroyed"], true);
    refused(&retire(&world, 3), "the next epochs");
    let said = done(&world.cloison(&[&["secrets", "versions"], &OPERATOR[..]].concat()));
    assert!(
        said.contains("retired     nothing") && said.contains("the next epochs"),
        "{said}"
    );
    world.end(Side::Vault);
    world.start(Side::Vault, &[]);
    assert_eq!(versions(&ask(&world, &["rotate"])).last().unwrap().0, 4);
    // Nor that of a confirmed one whose file was lost before an epoch named it.
    done(&confirm(&world, 4));
    world.end(Side::Vault);
    std::fs::remove_file(world.path("secrets/vault/sector/4.secret")).unwrap();
    world.start(Side::Vault, &[]);
    let (number, state, _) = versions(&ask(&world, &["rotate"])).pop().unwrap();
    assert_eq!((number, state.as_str()), (5, "unconfirmed"));
}
