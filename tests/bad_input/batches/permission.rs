//! Sectors, purposes and operations that the register does not give the client.

use serde_json::json;

use crate::common::{Door, Side, World, batch_path};
use crate::watch::{Left, Watch};

#[test]
fn for_what_the_client_may_not_have() {
    let mut watch = Watch::new(World::new());
    let name = watch.secret("QZ7700013").to_owned();
    let batch = |scheme: &str, purpose: Option<&str>| {
        let mut batch = json!({"scheme": scheme, "identifiers": [name]});
        if let Some(purpose) = purpose {
            batch["purpose"] = purpose.into();
        }
        batch.to_string().into_bytes()
    };
    let known = batch("cnie", Some("billing"));

    // A sector that is somebody else's looks like one that does not exist, to the byte.
    let [others, none] = ["tax", "nowhere"].map(|sector| {
        let reply = watch.post(
            "cnss-health",
            Door::Data,
            &batch_path(sector),
            "application/json",
            &known,
        );
        watch.refused(
            (Side::Vault, "cnss-health", "tokenize"),
            &reply,
            404,
            "unknown-sector",
        );
        (
            reply
                .headers
                .into_iter()
                .filter(|(name, _)| name != "date")
                .collect::<Vec<_>>(),
            reply.body,
        )
    });
    assert_eq!(others, none);
    // A child of the client's sector is not the client's, nor are other spellings.
    let others = [
        "health.chu-rabat",
        "health.chu-rabat.study-42",
        "Health",
        "health.",
        "%68ealth%20",
        "health%00",
        &name,
    ];
    for sector in others {
        watch.refuse_json("cnss-health", sector, &known, 404, "unknown-sector");
    }
    watch.refuse_json(
        "chu-study",
        "health",
        &batch("cnie", Some("care")),
        404,
        "unknown-sector",
    );
    // What is no text at all cannot be a sector's name.
    watch.refuse_json("cnss-health", "%FF%FE", &known, 404, "unknown-sector");

    for scheme in ["", "CNIE", "nonsense", "cnie ", &name] {
        watch.refuse_json(
            "cnss-health",
            "health",
            &batch(scheme, Some("billing")),
            422,
            "unknown-scheme",
        );
    }
    watch.refuse_json(
        "dgi-tax",
        "tax",
        &batch("passport", Some("assessment")),
        422,
        "unknown-scheme",
    );

    for purpose in ["", "nonsense", "Billing", "care", "assessment", &name] {
        watch.refuse_json(
            "cnss-health",
            "health",
            &batch("cnie", Some(purpose)),
            422,
            "unknown-purpose",
        );
    }
    // The client has the purpose, and the sector has not.
    watch.refuse_json(
        "chu-study",
        "health.chu-rabat",
        &batch("cnie", Some("research")),
        422,
        "unknown-purpose",
    );
    // The sector separates purposes, and none is named.
    watch.refuse_json(
        "rsu-social",
        "social",
        &batch("cnie", None),
        422,
        "unknown-purpose",
    );

    let domain = |domain: serde_json::Value| {
        json!({"scheme": "cnie", "identifiers": [name], "domain": domain})
            .to_string()
            .into_bytes()
    };
    for closed in [
        json!({"epoch": 0}),
        json!({"epoch": 2}),
        json!({"epoch": 33}),
        json!({"period": "2026"}),
    ] {
        watch.refuse_json(
            "cnss-health",
            "health",
            &domain(closed),
            409,
            "domain-closed",
        );
    }
    watch.refuse_json(
        "cnss-health",
        "health",
        &domain(json!({"period": name})),
        409,
        "domain-closed",
    );
    watch.finish(Left::default());
}
