//! What to do about a server's refusal, by its code.

use crate::code::Code;

/// What to do next about a refusal with this code.
pub(super) fn advice(code: Code) -> &'static str {
    let known = ADVICE.iter().find(|(codes, _)| codes.contains(&code));
    known.map_or("see `--help` for what the command takes", |(_, advice)| {
        advice
    })
}

/// Advice for each code that has any of its own.
const ADVICE: &[(&[Code], &str)] = &[
    (
        &[Code::UnknownClient],
        "have the register list this digest for the client, or use the right client file",
    ),
    (
        &[Code::KeyEnded],
        "have those who keep the register set a later `until`, or make a new key and hand in its digest",
    ),
    (
        &[Code::Forbidden],
        "use the client file of a role that may do this; `cloison register show` says \
            what each client may",
    ),
    (
        &[Code::UnknownSector],
        "check the sector's spelling and that the register gives it to this client; \
            `cloison register show`",
    ),
    (
        &[Code::NotFound, Code::MethodNotAllowed],
        "check `url` in the client file: this listener has no such operation, or none \
            for this certificate",
    ),
    (
        &[Code::UnknownScheme],
        "use a scheme that the register lists for the sector; `cloison register show`",
    ),
    (
        &[Code::UnknownPurpose],
        "name a purpose with --purpose that the register lists for the sector and this \
            client",
    ),
    (
        &[
            Code::QuotaExceeded,
            Code::Overloaded,
            Code::AuditUnavailable,
        ],
        "try again a little later",
    ),
    (&[Code::TooLarge], "send less at once: a smaller --batch"),
    (
        &[Code::DomainClosed],
        "the named epoch or period is over: leave it out to use the present one",
    ),
    (
        &[Code::Irreversible],
        "this sector keeps no mappings, so its pseudonyms cannot be re-identified",
    ),
    (
        &[Code::OrderQuorum],
        "have an approver of another body sign it: `cloison order sign`",
    ),
    (
        &[Code::OrderNotYetValid],
        "wait until the order is valid; `cloison order show` says when",
    ),
    (
        &[Code::OrderExpired],
        "ask for a new order: `cloison order new`",
    ),
    (
        &[
            Code::OrderMalformed,
            Code::OrderSignature,
            Code::OrderAudience,
            Code::OrderAuthority,
            Code::OrderConflict,
            Code::OrderRule,
        ],
        "`cloison order check` names every rule that the order breaks",
    ),
    (
        &[Code::RequestInvalid],
        "check the officer's key and this machine's clock",
    ),
    (
        &[Code::OutOfScope],
        "the order does not cover this: `cloison order show`",
    ),
    (
        &[Code::LimitReached],
        "the order allows no more pseudonyms: ask for a new order",
    ),
    (
        &[Code::RegisterMismatch],
        "vault and node hold different registers: give both the same signed one",
    ),
    (
        &[Code::Sealed],
        "have the custodians unseal it: `cloison authority unseal`",
    ),
    (
        &[Code::ShareInvalid],
        "bring the share file that was made for you, with your own client file, and check \
            that it is not damaged",
    ),
    (
        &[Code::ShareForeign],
        "bring the share of the key that the node waits for: `cloison authority status` \
            names it",
    ),
    (
        &[Code::OrderRevoked],
        "its authority has revoked it, for good: `cloison order list` says who and when",
    ),
    (
        &[Code::OrderSuspended],
        "its authority has suspended it: `cloison order list` says who and when",
    ),
    (
        &[Code::UnknownOrder],
        "check the id: `cloison order list` lists the orders that were seen there",
    ),
    (
        &[Code::ActInvalid],
        "`cloison order revoke --help` and its neighbours say who may sign what",
    ),
    (
        &[Code::RequestReplayed],
        "run the command again, or have a new file signed: each request is answered once",
    ),
    (
        &[Code::ReleaseRate],
        "try again when the hour is over, or have the register raise the authority's rate",
    ),
    (
        &[Code::ActRate],
        "have another approver sign it, or bring it tomorrow",
    ),
    (
        &[Code::OutOfStep],
        "vault and node could not exchange their acts: see the log of both",
    ),
    (
        &[Code::NoMigrationKey],
        "have `migrate` and a `migration-key` (`cloison client keygen`) entered for a \
            client of the sector",
    ),
    (
        &[Code::EpochOpen],
        "advance the epoch first and wait until its overlap is over: `cloison epoch list`",
    ),
    (
        &[Code::EpochRetired],
        "its sector has retired it: its pseudonyms cannot be re-identified any more",
    ),
    (
        &[Code::EpochNotCurrent],
        "`cloison epoch list` shows the sector's epoch: name it with --from",
    ),
    (
        &[Code::EpochOverlaps],
        "wait until its overlap is over, or end it for good with --end-overlap EPOCH",
    ),
    (
        &[Code::EpochUnmigrated],
        "have them migrated (an order for continuity), or give them up for good with \
            --unmigrated",
    ),
    (
        &[Code::StatementRequired],
        "`cloison statement new` makes one; operators sign it, and --statement brings it",
    ),
    (
        &[Code::StatementInvalid],
        "`cloison statement check` says what is wrong; each allows one act, for seven days",
    ),
    (
        &[Code::NoDeliveryKey],
        "have a `sealing-key` (age1…) entered for the officer in the register",
    ),
    (
        &[Code::InspectionInvalid],
        "`cloison audit inspection new --help` says who signs what",
    ),
    (
        &[Code::InspectionRequired],
        "the commission decides on one (`cloison audit inspection new`); `cloison audit \
            verify` and `copy` need none",
    ),
    (
        &[Code::UnknownInspection],
        "check the id: `cloison audit inspection list` lists those that were entered there",
    ),
    (
        &[Code::LookUpLimit],
        "try again tomorrow (UTC), or have another rights officer look them up",
    ),
    (
        &[Code::RightsInvalid],
        "have two rights officers of the sector sign it: `cloison rights erase --help`",
    ),
    (
        &[Code::UnknownSecret],
        "`cloison secrets versions` lists them",
    ),
    (
        &[Code::SecretNeeded],
        "`cloison secrets versions` says by which epochs; the newest is needed until \
            there is a newer one",
    ),
    (
        &[Code::SecretReadOnly],
        "make the version by hand (`systemd-creds`, or let the vault's user write to \
            the folder) and restart the vault",
    ),
    (
        &[Code::RecipientInvalid],
        "use the same version and the same register on both sides, and see the vault's log",
    ),
    (
        &[Code::PeerUnavailable],
        "see the log and /readyz of the other side (vault or node)",
    ),
    (
        &[Code::ProofInvalid],
        "do not go on: verify the vault's log (`cloison audit verify`) and compare it \
            with the checkpoints you have",
    ),
    (
        &[Code::CosignatureMissing],
        "the node cosigns the vault's log and the vault the node's: see both logs and \
            /readyz",
    ),
    (
        &[Code::ClockBehind],
        "correct the server's clock; if it once ran ahead, docs/operations.md says what to \
            do",
    ),
    (&[Code::Internal], "see the server's log"),
];
