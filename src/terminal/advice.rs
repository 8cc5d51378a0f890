//! What to do about a server's refusal, by its code.

use crate::code::Code;

/// What to do next about a refusal with this code. A new code has to say it here, so the match is
/// long.
pub(super) fn advice(code: Code) -> &'static str {
    use Code as C;
    match code {
        C::UnknownClient => {
            "have the register list this digest for the client, or use the right client file"
        }
        C::KeyEnded => {
            "have those who keep the register set a later `until`, or make a new key and hand in its digest"
        }
        C::Forbidden => {
            "use the client file of a role that may do this: the command's --help has an example, and `cloison register show` says what each client may"
        }
        C::UnknownSector => {
            "check the sector's spelling and that the register gives it to this client; `cloison register show`"
        }
        C::NotFound | C::MethodNotAllowed => {
            "use the client file of the role that this command is for (its --help has an example), and of the right side: this listener has no such operation for the key in it"
        }
        C::UnknownScheme => {
            "use a scheme that the register lists for the sector; `cloison register show`"
        }
        C::UnknownPurpose => {
            "name a purpose with --purpose that the register lists for the sector and this client"
        }
        C::QuotaExceeded | C::LogLimit | C::Overloaded | C::AuditUnavailable => {
            "try again a little later"
        }
        C::JournalUnavailable => {
            "see to the places of the log (`[audit]`; /readyz says `journal`): an act that waits takes effect as soon as enough of them hold it, and the same call asks again"
        }
        C::TooLarge => "send less at once: a smaller --batch",
        C::DomainClosed => "the named epoch or period is over: leave it out to use the present one",
        C::Irreversible => {
            "this sector keeps no mappings, so its pseudonyms cannot be re-identified"
        }
        C::OrderQuorum => "have an approver of another body sign it: `cloison order sign`",
        C::OrderNotYetValid => "wait until the order is valid; `cloison order show` says when",
        C::EpochUnconfirmed => {
            "two operators confirm the sector's epoch: `cloison statement new --confirm-epoch`, `cloison restore confirm`"
        }
        C::ErasuresMissing => {
            "lodge the lost erasures again (`cloison restore report --other-log` lists them), then `cloison statement new --erasures-lodged` and `cloison restore confirm`"
        }
        C::OrderBeforeRestore => {
            "have the authority issue and sign a new order: `cloison order new`"
        }
        C::OrderExpired => "ask for a new order: `cloison order new`",
        C::OrderMalformed
        | C::OrderSignature
        | C::OrderAudience
        | C::OrderAuthority
        | C::OrderConflict
        | C::OrderRule => "`cloison order check` names every rule that the order breaks",
        C::RequestInvalid => "check the officer's key and this machine's clock",
        C::OutOfScope => "the order does not cover this: `cloison order show`",
        C::LimitReached => "the order allows no more pseudonyms: ask for a new order",
        C::Suspended => {
            "ask those who hold the register keys why, and for a new entry with another key"
        }
        C::RegisterRefused => {
            "correct what each line says, have it signed, and reload again: docs/register.md"
        }
        C::UnknownRegister => "`cloison register history` lists those that were in force",
        C::RegisterMismatch => {
            "vault and node hold different registers: give both the same signed one"
        }
        C::WireVersion => {
            "upgrade the side that the detail names: the vault first, then the nodes (docs/install.md#upgrade)"
        }
        C::Sealed => "have the custodians unseal it: `cloison authority unseal`",
        C::ShareInvalid => {
            "bring the share file that was made for you, with your own client file, and check that it is not damaged"
        }
        C::ShareForeign => {
            "bring the share of the key that the node waits for: `cloison authority status` names it"
        }
        C::OrderRevoked => {
            "its authority has revoked it, for good: `cloison order list` says who and when"
        }
        C::OrderSuspended => {
            "its authority has suspended it: `cloison order list` says who and when"
        }
        C::UnknownOrder => {
            "check the id: `cloison order list` lists the orders that were seen there"
        }
        C::ActInvalid => "`cloison order revoke --help` and its neighbours say who may sign what",
        C::RequestReplayed => {
            "run the command again, or have a new file signed: each request is answered once"
        }
        C::ReleaseRate => {
            "try again when the hour is over, or have the register raise the authority's rate"
        }
        C::ActRate => "have another approver sign it, or bring it tomorrow",
        C::OutOfStep => "vault and node could not exchange their acts: see the log of both",
        C::NoMigrationKey => {
            "have `migrate` and a `migration-key` (`cloison client keygen`) entered for a client of the sector"
        }
        C::EpochOpen => {
            "advance the epoch first and wait until its overlap is over: `cloison epoch list`"
        }
        C::EpochRetired => {
            "its sector has retired it: its pseudonyms cannot be re-identified any more"
        }
        C::EpochNotCurrent => "`cloison epoch list` shows the sector's epoch: name it with --from",
        C::EpochOverlaps => {
            "wait until its overlap is over, or end it for good with --end-overlap EPOCH"
        }
        C::EpochUnmigrated => {
            "have them migrated (an order for continuity), or give them up for good with --unmigrated"
        }
        C::StatementRequired => {
            "`cloison statement new` makes one; operators sign it, and --statement brings it"
        }
        C::StatementInvalid => {
            "write and sign a new one: a statement for operators allows one act, for seven days (`cloison statement check`), one that suspends or lifts is brought within 24 hours"
        }
        C::NoDeliveryKey => "have a `sealing-key` (age1…) entered for the officer in the register",
        C::InspectionInvalid => "`cloison audit inspection new --help` says who signs what",
        C::InspectionRequired => {
            "the commission decides on one (`cloison audit inspection new`); `cloison audit verify` and `copy` need none"
        }
        C::UnknownInspection => {
            "check the id: `cloison audit inspection list` lists those that were entered there"
        }
        C::LookUpLimit => "try again tomorrow (UTC), or have another rights officer look them up",
        C::RightsInvalid => {
            "have two rights officers of the sector sign it: `cloison rights erase --help`"
        }
        C::UnknownSecret => "`cloison secrets versions` lists them",
        C::SecretNeeded => {
            "`cloison secrets versions` says by which epochs; the newest is needed until there is a newer one"
        }
        C::SecretUnconfirmed => {
            "back it up (`cloison secrets split`), confirm it (`cloison secrets confirm VERSION`), and ask again"
        }
        C::SecretReadOnly => {
            "make the version by hand (`systemd-creds`, or let the vault's user write to the folder) and restart the vault"
        }
        C::RecipientInvalid => {
            "use the same version and the same register on both sides, and see the vault's log"
        }
        C::BackupRunning => "`cloison backup list` shows it; try again when it has ended",
        C::BackupUnavailable => {
            "check `[backup]` in the server's configuration, its disk and its room: docs/operations.md#backups"
        }
        C::BackupDamaged => {
            "move the named file aside, because the next backup takes a file with its name and length as it is; then take another backup, and find out why: docs/operations.md#backups"
        }
        C::UnknownBackup => "`cloison backup list` lists them",
        C::UnknownResume => {
            "`cloison authority acknowledge-resume` without --entry lists the entries that there are"
        }
        C::PeerUnavailable => "see the log and /readyz of the other side (vault or node)",
        C::IdentityUnavailable => {
            "try again later; the vault's /readyz and log say which identity source does not answer, and why"
        }
        C::ProofInvalid => {
            "do not go on: verify the vault's log (`cloison audit verify`) and compare it with the checkpoints you have"
        }
        C::CosignatureMissing => {
            "the node cosigns the vault's log and the vault the node's: see both logs and /readyz"
        }
        C::ClockBehind => {
            "correct the server's clock; if it once ran ahead, docs/operations.md says what to do"
        }
        C::Internal => "see the server's log",
        C::MalformedBody | C::UnsupportedMediaType | C::BadParameter => {
            "use the same version on both sides; `/openapi.json` of the listener says what it takes"
        }
        C::RequestTimeout => "check the network, and send less at once",
        C::EmptyBatch => "send at least one line",
        C::BrowserRefused => {
            "call from a program that sends neither `Origin` nor `Sec-Fetch-Site`: a web page may not"
        }
        C::IdentifierEmpty
        | C::IdentifierTooLong
        | C::IdentifierNotText
        | C::IdentifierNotUtf8
        | C::IdentifierControl
        | C::IdentifierCharacter
        | C::IdentifierPattern
        | C::IdentifierCheckDigit => {
            "correct the identifier at its source; `cloison register show` says what the scheme takes"
        }
        C::PseudonymMalformed
        | C::PseudonymChecksum
        | C::PseudonymOtherSector
        | C::PseudonymUnknownEpoch => {
            "copy the pseudonym anew from the sector's own data, whole and in lower case"
        }
        C::NoMapping => "there is none any more, or never was: check the sector and its retention",
        C::MappingInvalid => {
            "see the node's log: a record did not open; have the store checked against its backup"
        }
    }
}
