//! The operations of each listener: those that are listed here, and no other.

use std::collections::BTreeSet;

use super::validity::fits;
use crate::common::{Door, World};

/// Every operation: its listener, method, path and id. Clients are generated from these, so none
/// changes unnoticed.
const OPERATIONS: [(&str, &str, &str, &str); 83] = [
    (
        "data",
        "post",
        "/v1/sectors/{sector}/epochs/{epoch}/retire",
        "retire_epoch",
    ),
    (
        "data",
        "get",
        "/v1/sectors/{sector}/migrations",
        "list_migrations",
    ),
    (
        "data",
        "get",
        "/v1/sectors/{sector}/migrations/{order}",
        "fetch_pairs",
    ),
    (
        "data",
        "post",
        "/v1/sectors/{sector}/migrations/{order}",
        "acknowledge_pairs",
    ),
    (
        "data",
        "post",
        "/v1/sectors/{sector}/pseudonyms",
        "tokenize",
    ),
    ("control", "get", "/checkpoint", "checkpoint"),
    ("control", "get", "/log/{shard}/{path}", "resource"),
    ("control", "get", "/tile/{path}", "tile"),
    ("control", "post", "/v1/acts", "lodge_at_vault"),
    ("control", "post", "/v1/acts/exchange", "exchange"),
    ("control", "get", "/v1/audit/entries", "entries"),
    ("control", "get", "/v1/audit/log", "shards"),
    ("control", "post", "/v1/clock-mark", "lower_clock_mark"),
    ("control", "get", "/v1/inspections", "list_inspections"),
    ("control", "post", "/v1/inspections", "enter_inspection"),
    (
        "control",
        "post",
        "/v1/inspections/closings",
        "close_inspection",
    ),
    (
        "control",
        "get",
        "/v1/inspections/{id}/report",
        "inspection_report",
    ),
    ("control", "post", "/v1/journal", "follow_log"),
    ("control", "post", "/v1/journal/offers", "bring_log"),
    ("control", "post", "/v1/migrations/identifiers", "hand_back"),
    ("control", "post", "/v1/migrations/pages", "migration_page"),
    ("control", "get", "/v1/orders", "list_at_vault"),
    ("control", "post", "/v1/orders", "lodge_order_at_vault"),
    ("control", "post", "/v1/releases", "release_mappings"),
    ("control", "get", "/v1/resumes", "resume_proofs"),
    ("control", "post", "/v1/rights/erasures", "erase_at_vault"),
    ("control", "post", "/v1/rights/resolutions", "look_up"),
    ("control", "get", "/v1/secrets", "list_secrets"),
    ("control", "post", "/v1/secrets", "rotate_secret"),
    ("control", "post", "/v1/secrets/confirm", "confirm_secret"),
    ("control", "post", "/v1/secrets/retire", "retire_secret"),
    (
        "control",
        "get",
        "/v1/sectors/{sector}/epochs",
        "list_epochs",
    ),
    (
        "control",
        "post",
        "/v1/sectors/{sector}/epochs",
        "advance_epoch",
    ),
    ("control", "post", "/v1/segments", "segment_page"),
    ("control", "post", "/v1/segments/drop", "drop_at_vault"),
    (
        "control",
        "post",
        "/v1/segments/recipients",
        "take_recipients",
    ),
    ("control", "get", "/v1/backups", "list_backups"),
    ("control", "post", "/v1/backups", "create_backup"),
    ("control", "post", "/v1/backups/prune", "prune_backups"),
    ("control", "post", "/v1/backups/verify", "verify_backup"),
    ("control", "get", "/v1/register/history", "list_registers"),
    (
        "control",
        "get",
        "/v1/register/history/{version}",
        "read_register",
    ),
    ("control", "post", "/v1/register/reload", "reload_register"),
    ("control", "get", "/v1/suspensions", "list_suspensions"),
    ("control", "post", "/v1/suspensions", "bring_suspension"),
    ("control", "get", "/v1/restore", "restore_state"),
    ("control", "post", "/v1/restore", "confirm_restore"),
    ("node", "get", "/checkpoint", "checkpoint"),
    ("node", "get", "/log/{shard}/{path}", "resource"),
    ("node", "get", "/tile/{path}", "tile"),
    ("node", "post", "/v1/acts", "lodge_at_node"),
    ("node", "get", "/v1/audit/entries", "entries"),
    ("node", "get", "/v1/audit/log", "shards"),
    ("node", "post", "/v1/clock-mark", "lower_clock_mark"),
    ("node", "post", "/v1/drills", "drill"),
    ("node", "get", "/v1/inspections", "list_inspections"),
    ("node", "post", "/v1/inspections", "enter_inspection"),
    (
        "node",
        "post",
        "/v1/inspections/closings",
        "close_inspection",
    ),
    (
        "node",
        "get",
        "/v1/inspections/{id}/report",
        "inspection_report",
    ),
    ("node", "post", "/v1/journal", "follow_log"),
    ("node", "post", "/v1/migrations", "migrate"),
    ("node", "get", "/v1/orders", "list_at_node"),
    ("node", "post", "/v1/orders", "lodge_order_at_node"),
    ("node", "post", "/v1/reidentifications", "reidentify"),
    ("node", "post", "/v1/renewal", "renew"),
    ("node", "get", "/v1/resumes", "resumes"),
    ("node", "post", "/v1/resumes", "acknowledge_resume"),
    ("node", "post", "/v1/rights/erasures", "erase_at_node"),
    ("node", "get", "/v1/seal", "status"),
    ("node", "post", "/v1/seal", "seal"),
    ("node", "post", "/v1/segments/drop", "drop_at_node"),
    ("node", "post", "/v1/shares", "unseal"),
    ("node", "get", "/v1/backups", "list_backups"),
    ("node", "post", "/v1/backups", "create_backup"),
    ("node", "post", "/v1/backups/prune", "prune_backups"),
    ("node", "post", "/v1/backups/verify", "verify_backup"),
    ("node", "get", "/v1/register/history", "list_registers"),
    (
        "node",
        "get",
        "/v1/register/history/{version}",
        "read_register",
    ),
    ("node", "post", "/v1/register/reload", "reload_register"),
    ("node", "get", "/v1/suspensions", "list_suspensions"),
    ("node", "post", "/v1/suspensions", "bring_suspension"),
    ("node", "get", "/v1/restore", "restore_state"),
    ("node", "post", "/v1/restore", "confirm_restore"),
];

#[test]
fn each_listener_has_the_operations_that_are_listed_and_no_other() {
    let world = World::new();
    // Callers who may do nothing there: they are refused, but not with `not-found`.
    let listeners = [
        ("data", Door::Data, "auditor"),
        ("control", Door::Control, "cnss-health"),
        ("node", Door::Officers, "cnss-health"),
    ];
    for (listener, door, caller) in listeners {
        let api = world.get(caller, door, "/openapi.json").ok();
        let described: BTreeSet<(String, String, String)> = api["paths"]
            .as_object()
            .unwrap()
            .iter()
            .flat_map(|(path, item)| {
                let operations = item.as_object().unwrap().iter();
                operations.map(|(method, operation)| {
                    let id = operation["operationId"].as_str().unwrap().to_owned();
                    (method.clone(), path.clone(), id)
                })
            })
            .collect();
        let here = OPERATIONS
            .iter()
            .filter(|(at, ..)| *at == listener)
            .map(|(_, method, path, id)| (*method, *path, *id));
        // Every listener has this one, and every registered caller may ask it.
        let everywhere = ("get", "/v1/status", "server_status");
        let listed = here
            .chain([everywhere])
            .map(|(method, path, id)| (method.into(), path.into(), id.into()))
            .collect();
        let told = world.get(caller, door, "/v1/status").ok();
        let schema = &api["paths"]["/v1/status"]["get"]["responses"]["200"]["content"];
        fits(&api, &schema["application/json"]["schema"], &told)
            .unwrap_or_else(|why| panic!("status at {listener}: {why}"));
        assert_eq!(described, listed, "{listener}");
        for (_, method, path, id) in OPERATIONS {
            let is_described = api["paths"][path][method].is_object();
            let path = path.replace(['{', '}'], "");
            let reply = if method == "get" {
                world.get(caller, door, &path)
            } else {
                world.post_json(caller, door, &path, &serde_json::json!({}))
            };
            let is_there = !["not-found", "method-not-allowed"].contains(&reply.code().as_str());
            assert_eq!(
                is_there,
                is_described,
                "{id} at {listener}: {}",
                reply.code()
            );
        }
    }
}
