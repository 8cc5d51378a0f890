//! What entries say of one another: the tree of sectors, references, values that must be unique.

use super::{GOOD, changed, faults, line, one, with, with_nth};

#[test]
fn the_tree() {
    // A cycle cannot be named rightly; it is reported as what it is, once.
    let text = with(
        "name = \"health\"\n",
        "name = \"health\"\nparent = \"health.chu-rabat.study-42\"\n",
    );
    let at = line(&text, "parent = \"health.chu-rabat.study-42\"", "parent");
    one(
        &text,
        at,
        "cycle: `health` → `health.chu-rabat.study-42` → `health.chu-rabat` → `health`",
        "no parent",
    );
    let text = with("name = \"tax\"\n", "name = \"tax\"\nparent = \"tax\"\n");
    one(
        &text,
        line(&text, "parent = \"tax\"", "parent"),
        "cycle: `tax` → `tax`",
        "no parent",
    );

    changed(
        "parent = \"health\"\n",
        "parent = \"helth\"\n",
        "unknown parent `helth`",
        "health",
    );
    let text = with("parent = \"health\"\n", "parent = \"tax\"\n");
    let at = line(&text, "name = \"health.chu-rabat\"", "name");
    one(
        &text,
        at,
        "`health.chu-rabat` is not named after its parent `tax`",
        "tax.chu-rabat",
    );
    let text = with("parent = \"health.chu-rabat\"\n", "parent = \"health\"\n");
    let at = line(&text, "name = \"health.chu-rabat.study-42\"", "name");
    one(
        &text,
        at,
        "not named after its parent",
        "name = \"health.study-42\"",
    );
    let text = with("parent = \"health\"\n", "");
    let at = line(&text, "name = \"health.chu-rabat\"", "name");
    one(
        &text,
        at,
        "a dot in its name and no parent",
        "parent = \"health\"",
    );

    for bad in [
        "Health", "he alth", "", "health.", ".health", "héalth", "a..b",
    ] {
        let text = with("name = \"mobility\"", &format!("name = \"{bad}\""));
        assert!(
            faults(&text)
                .iter()
                .any(|fault| fault.what.contains("is not a sector's name")),
            "{bad:?}"
        );
    }
}

#[test]
fn twice_is_once_too_often() {
    let value = |after: &str, field: &str| {
        let from = GOOD.find(after).unwrap();
        let from = from + GOOD[from..].find(&format!("{field} = \"")).unwrap() + field.len() + 4;
        GOOD[from..].split('"').next().unwrap()
    };
    // In each: the second of two values becomes the first.
    let uuid = |nth: usize| {
        let (at, _) = GOOD.match_indices("\nuuid = \"").nth(nth).unwrap();
        &GOOD[at + 9..at + 9 + 36]
    };
    let key = |person: &str| value(&format!("id = \"{person}\""), "key");
    let certificate = |owner: &str| value(&format!("id = \"{owner}\""), "certificate");
    let node = |authority: &str| value(&format!("[[authority]]\nid = \"{authority}\""), "node");
    for (second, first, what) in [
        (
            uuid(4),
            uuid(0),
            "same sector uuid for sector `social` and for sector `health`",
        ),
        (
            key("prosecutor-chraibi"),
            key("judge-amrani"),
            "same key twice for an approver",
        ),
        (
            key("officer-daoudi"),
            key("judge-bennis"),
            "same key for an officer and for an approver",
        ),
        (
            key("officer-idrissi"),
            key("judge-bennis"),
            "same key for an officer and for an approver",
        ),
        (
            key("officer-el-fassi"),
            key("officer-daoudi"),
            "same key twice for an officer",
        ),
        (
            key("judge-amrani"),
            key("operator"),
            "same key for an approver and for an operator",
        ),
        (
            key("officer-daoudi"),
            key("operator"),
            "same key for an officer and for an operator",
        ),
        (
            certificate("dgi-tax"),
            certificate("cnss-health"),
            "same certificate twice for a client",
        ),
        (
            certificate("operator"),
            certificate("cnss-health"),
            "same certificate for an operator and for a client",
        ),
        (
            certificate("officer-daoudi"),
            certificate("operator"),
            "same certificate for an officer and for an operator",
        ),
        (
            node("court"),
            certificate("dgi-tax"),
            "same certificate for an authority's node and for a client",
        ),
        (
            node("anrf"),
            node("court"),
            "same certificate twice for an authority's node",
        ),
        (
            certificate("officer-idrissi"),
            node("anrf"),
            "same certificate for an officer and for an authority's node",
        ),
        (
            value("id = \"anrf-2025\"", "public"),
            value("id = \"court-2026\"", "public"),
            "same authority key twice",
        ),
    ] {
        let text = with(second, first);
        let (at, _) = text.match_indices(first).nth(1).unwrap();
        one(&text, text[..at].matches('\n').count() + 1, what, "another");
    }
    for (from, to, what) in [
        (
            "tag = \"impot\"",
            "tag = \"sante\"",
            "same sector tag for sector `tax` and for sector `health`",
        ),
        (
            "id = \"anrf-2026\"",
            "id = \"court-2026\"",
            "same authority key id",
        ),
        (
            "id = \"judge-bennis\"",
            "id = \"judge-amrani\"",
            "same id twice for an approver",
        ),
        (
            "id = \"officer-daoudi\"",
            "id = \"judge-amrani\"",
            "same id for an officer and for an approver",
        ),
        (
            "id = \"operator-standby\"",
            "id = \"operator\"",
            "same id twice for an operator",
        ),
        (
            "id = \"dgi-tax\"",
            "id = \"cnss-health\"",
            "same id twice for a client",
        ),
        ("id = \"hcp\"", "id = \"cnss\"", "same organisation id"),
        ("id = \"care\"", "id = \"billing\"", "same purpose id"),
        ("id = \"passport\"", "id = \"cnie\"", "same scheme id"),
        (
            "id = \"anrf\"",
            "id = \"court\"",
            "same id twice for an authority",
        ),
        (
            "id = \"dgi-tax\"",
            "id = \"court\"",
            "same id for an authority and for a client",
        ),
        ("name = \"social\"", "name = \"tax\"", "same sector name"),
    ] {
        let text = with(from, to);
        let (at, _) = text.match_indices(to).last().unwrap();
        let at = text[..at].matches('\n').count() + 1;
        let faults = faults(&text); // and whoever referred to the lost name says so too
        assert!(
            faults
                .iter()
                .any(|fault| fault.what.contains(what) && fault.line == at),
            "{what} on {at}: {faults:#?}"
        );
    }
    changed(
        "schemes = [\"cnie\", \"idcs\", \"passport\"]",
        "schemes = [\"cnie\", \"idcs\", \"cnie\"]",
        "same scheme twice",
        "another",
    );
    changed(
        "sectors = [\"tax\"]",
        "sectors = [\"tax\", \"tax\"]",
        "same sector twice",
        "another",
    );
}

#[test]
fn references_lead_somewhere() {
    for (from, to, what, instead) in [
        (
            "organisation = \"dgi\"",
            "organisation = \"dgj\"",
            "client `dgi-tax` names the unknown organisation `dgj`",
            "dgi",
        ),
        (
            "sectors = [\"tax\"]",
            "sectors = [\"taxes\"]\n",
            "unknown sector `taxes`",
            "tax",
        ),
        (
            "purposes = [\"billing\", \"care\"]",
            "purposes = [\"billing\", \"care\", \"cure\"]",
            "sector `health` names the unknown purpose `cure`",
            "care",
        ),
        (
            "schemes = [\"cnie\", \"idcs\", \"passport\"]",
            "schemes = [\"cnie\", \"nif\"]",
            "unknown scheme `nif`",
            "[[scheme]]",
        ),
    ] {
        let text = with(from, to);
        let faults = faults(&text);
        let at = line(&text, to.trim_end(), to.trim_end());
        let found = faults
            .iter()
            .find(|fault| fault.what.contains(what))
            .unwrap_or_else(|| panic!("{what}: {faults:#?}"));
        assert!(
            found.line == at && found.instead.contains(instead),
            "{found}"
        );
    }
    let text = with_nth("authorities = [\"court\"]", 0, "authorities = [\"kourt\"]");
    one(
        &text,
        line(&text, "kourt", "kourt"),
        "unknown authority `kourt`",
        "anrf, court",
    );
    let text = with(
        "purposes = [\"allowances\"]\n\n",
        "purposes = [\"allowances\", \"mobility\"]\n\n",
    );
    one(
        &text,
        line(&text, "id = \"cnss-social\"", "purposes"),
        "which none of its sectors declares",
        "one of its sectors",
    );
    let text = with(
        "purposes = [\"diabetes-cohort\", \"diabetes-quality\"]\n\n",
        "\n",
    );
    let at = line(&text, "id = \"chu-study\"", "id") - 1;
    one(
        &text,
        at,
        "has no purpose of sector `health.chu-rabat.study-42`",
        "diabetes-cohort",
    );
}
