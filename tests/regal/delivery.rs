//! Answers sealed to the officer's own key.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use super::common::{Door, QUORUM, Side, files, swap};
use super::people::{persons, quiet};

#[test]
fn a_sealed_answer_opens_with_the_officers_key_alone() {
    let mut world = quiet();
    let asked = persons(&world, 20);
    let order = world.sign(&world.order("health", &asked), QUORUM);
    world.write("order.jws", &order);
    world.write("list.txt", &asked.join("\n"));
    let ask = |world: &super::common::World, out: &str| {
        let list = world.read("list.txt");
        world.cloison_with(
            &[
                "reidentify",
                "--order",
                "order.jws",
                "--key",
                "secrets/people/officer.pem",
                "--client",
                "clients/officer.toml",
                "--to",
                "officer-key",
                "--out",
                out,
            ],
            list.as_bytes(),
        )
    };
    // Without a key in the register nothing is asked of the vault, and nothing counted.
    let output = ask(&world, "answers.age");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no-delivery-key"));

    let output = world.cloison(&["delivery", "keygen", "--json", "officer.age"]);
    let made: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        std::fs::metadata(world.path("officer.age"))
            .unwrap()
            .permissions()
            .mode()
            & 0o777,
        0o600
    );
    let key = made["sealing-key"].as_str().unwrap().to_owned();
    world.stop();
    world.edit_register(|text| {
        swap(
            &text,
            "id = \"officer\"\nname",
            &format!("id = \"officer\"\nsealing-key = \"{key}\"\nname"),
        )
    });
    world.start(Side::Vault, &[]);
    world.start(Side::Node, &[]);
    assert!(
        super::people::at_vault_all(&world).is_empty(),
        "nothing was released yet"
    );

    let output = ask(&world, "answers.age");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("20 of 20") && !said.contains("AB0"), "{said}");
    let sealed = world.read("answers.age");
    assert!(sealed.starts_with("-----BEGIN AGE ENCRYPTED FILE-----"));
    let output = world.cloison(&["delivery", "open", "--key", "officer.age", "answers.age"]);
    let opened: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        opened["items"][7],
        json!({
            "pseudonym": asked[7], "scheme": "cnie", "value": "AB000007", "first_seen": opened["items"][7]["first_seen"],
        })
    );
    // Never over an existing file, and with no other key.
    assert_eq!(ask(&world, "answers.age").status.code(), Some(1));
    world.cloison(&["delivery", "keygen", "other.age"]);
    let output = world.cloison(&["delivery", "open", "--key", "other.age", "answers.age"]);
    assert!(output.status.code() == Some(1) && output.stdout.is_empty());

    // The answer that left the node holds no identifier in clear, nor does anything that it keeps.
    let body = json!({
        "order": order, "request": world.request(&order, "health", &asked), "sector": "health", "pseudonyms": asked,
        "to": "officer-key",
    });
    let reply = world.post_json("officer", Door::Officers, "/v1/reidentifications", &body);
    assert_eq!(reply.status, 200);
    assert!(!reply.text().contains("AB0000"));
    world.stop();
    for file in files(&world.path("data/node"))
        .into_iter()
        .chain([world.path("logs/node.log")])
    {
        let bytes = std::fs::read(&file).unwrap();
        let found = bytes.windows(6).any(|window| window == b"AB0000")
            || bytes.windows(7).any(|w| w == b"sante1r");
        assert!(!found, "{}", file.display());
    }
}
