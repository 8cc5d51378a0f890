//! Puts a changed register in force while a side runs: whole, or not at all.
//!
//! The side reads its configured files again. Signatures, pins, version, frozen facts and terms are
//! checked by the code that checks them at a start. Epochs of new sectors open in the commit of the
//! entry about it, and only then the register is in force: the new value takes the place of the one
//! before ([`InForce`]). After any fault the register before stays, and every fault is answered.
//!
//! The value is made beside the one in force, on a thread that serves no connection, and requests
//! go on meanwhile. Requests under way end under the register that they began with.

use std::sync::{Arc, Mutex};

use data_encoding::HEXLOWER;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::access::RegisterPermit;
use crate::audit::{AuditEvent, Grant, OpenedEpoch};
use crate::code::Code;
use crate::entity::{ChangedRegister, Entity, InForce, StartError, UnderRegister, WaitingActs};
use crate::journal::prune::LogPlace;
use crate::refusal::{Refusal, fault, not_logged};
use crate::register::{Register, RegisterOpenError};
use crate::store::RegisterRow;
use crate::system::lock::unpoisoned;

/// Reads a side's register and its signatures, and verifies them by the keys that are pinned here.
pub type RegisterReader = Box<dyn Fn() -> Result<Register, RegisterOpenError> + Send + Sync>;

/// How the log names who asked for a reload by SIGHUP.
pub const BY_SIGNAL: &str = "signal";
/// How it names a start that found a register in the file and did not wait for places.
pub const BY_START: &str = "start";

/// Puts changed registers in force, one after the other.
pub struct RegisterReload<T> {
    in_force: InForce<T>,
    read: RegisterReader,
    one_at_a_time: Mutex<()>,
    waiting: Mutex<Option<WaitingReload>>,
}

/// A register without fault that too few places hold.
struct WaitingReload {
    register: Arc<Register>,
    /// Who asked for it.
    actor: String,
    /// The last entry that was durable when it was left to places: the one about the register is
    /// not behind it.
    entry: LogPlace,
}

/// What a reload did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RegisterReloaded {
    /// False where the register was in force already, and nothing was done.
    pub changed: bool,
    /// The register that is in force now.
    pub register: RegisterName,
    /// The one that was in force before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<RegisterName>,
    /// Epochs that it opened, `SECTOR:EPOCH`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub opened: Vec<String>,
}

/// A register, by what its signatures are over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RegisterName {
    /// Its version.
    pub version: u64,
    /// SHA-256 of its text, hex.
    pub sha256: String,
}

impl RegisterName {
    /// The name of a register.
    pub fn of(register: &Register) -> Self {
        Self::new(register.version, &register.digest)
    }

    fn new(version: u64, digest: &[u8; 32]) -> Self {
        Self {
            version,
            sha256: HEXLOWER.encode(digest),
        }
    }
}

#[expect(
    private_bounds,
    reason = "vault and node alone can be made anew under another register"
)]
impl<T: UnderRegister> RegisterReload<T> {
    /// Changes what is `in_force`; `read` reads the configured files.
    pub fn new(in_force: InForce<T>, read: RegisterReader) -> Self {
        Self {
            in_force,
            read,
            one_at_a_time: Mutex::default(),
            waiting: Mutex::default(),
        }
    }

    /// The side whose register it changes.
    pub fn in_force(&self) -> &InForce<T> {
        &self.in_force
    }

    /// Reads the configured register and puts it in force, for a caller who may ask for that. What
    /// is signed decides, not the caller.
    ///
    /// # Errors
    /// [`Code::RegisterRefused`], with every fault; [`Code::Overloaded`];
    /// [`Code::AuditUnavailable`]; [`Code::Internal`]. The register before stays in force.
    /// [`Code::JournalUnavailable`]: until enough places hold the entry about the next one.
    pub fn reload(&self, permit: &RegisterPermit) -> Result<RegisterReloaded, Refusal> {
        self.reload_for(permit.actor.as_str())
    }

    /// The same for this process itself: [`BY_SIGNAL`] or [`BY_START`].
    ///
    /// # Errors
    /// As [`RegisterReload::reload`].
    pub fn reload_by(&self, cause: &'static str) -> Result<RegisterReloaded, Refusal> {
        self.reload_for(cause)
    }

    fn reload_for(&self, actor: &str) -> Result<RegisterReloaded, Refusal> {
        let _one_at_a_time = unpoisoned(self.one_at_a_time.lock());
        let register = Arc::new((self.read)().map_err(|error| unreadable(&error))?);
        self.put_or_leave(register, actor)
    }

    /// Puts a register in force, or leaves it to places. Call it with the lock.
    fn put_or_leave(
        &self,
        register: Arc<Register>,
        actor: &str,
    ) -> Result<RegisterReloaded, Refusal> {
        let done = self.put(register.clone(), actor);
        let is_withheld = |refusal: &Refusal| refusal.code() == Code::JournalUnavailable;
        if done.as_ref().err().is_some_and(is_withheld) {
            let side = self.in_force.get();
            let entity: &Entity = side.as_ref().as_ref();
            let waiting = entity.log().last_entry().map(|entry| WaitingReload {
                register,
                actor: actor.to_owned(),
                entry,
            });
            *unpoisoned(self.waiting.lock()) = waiting;
            entity.leave_to_places();
        }
        done
    }

    fn put(&self, register: Arc<Register>, actor: &str) -> Result<RegisterReloaded, Refusal> {
        let side = self.in_force.get();
        let present = side.as_ref().as_ref().register().clone();
        if (register.version, register.digest) == (present.version, present.digest) {
            return Ok(RegisterReloaded {
                changed: false,
                register: RegisterName::of(&present),
                before: None,
                opened: vec![],
            });
        }
        side.as_ref().as_ref().committer().admit()?;
        let hold = side.hold(&register)?;
        let suspensions = side.as_ref().as_ref().lock_suspensions();
        let entity: &Entity = side.as_ref().as_ref();
        let ChangedRegister {
            entity: next,
            mut rows,
        } = entity.change_register(register.clone()).map_err(refuse)?;
        let (next, opened) = side.under(next, &mut rows).map_err(refuse)?;
        let named = opened.iter().map(named_epoch).collect();
        let event = AuditEvent::Register {
            actor: actor.to_owned(),
            register_version: register.version,
            register_digest: HEXLOWER.encode(&register.digest),
            before_version: present.version,
            before_digest: HEXLOWER.encode(&present.digest),
            opened,
        };
        if !rows.is_empty() {
            entity
                .committer()
                .record(entity.now(), event, vec![], vec![rows.change()])
                .map_err(not_logged("the register before stays in force"))?;
        }
        // A suspension must not wait for places with this.
        drop(suspensions);
        let held = entity.wait_for_grant()?;
        // First the register, so that nobody is let in whom only the one before names.
        self.in_force.swap(next, &held);
        *unpoisoned(self.waiting.lock()) = None;
        entity.end_suspensions(&register);
        T::release(hold);
        tracing::info!(
            version = register.version,
            before = present.version,
            actor,
            "another register is in force"
        );
        Ok(RegisterReloaded {
            changed: true,
            register: RegisterName::of(&register),
            before: Some(RegisterName::of(&present)),
            opened: named,
        })
    }
}

/// The register that waits.
impl<T: UnderRegister> WaitingActs for RegisterReload<T> {
    fn awaited(&self) -> Option<LogPlace> {
        let waiting = unpoisoned(self.waiting.lock());
        waiting.as_ref().map(|waiting| waiting.entry)
    }

    fn put_in_force(&self) {
        let _one_at_a_time = unpoisoned(self.one_at_a_time.lock());
        let side = self.in_force.get();
        let log = side.as_ref().as_ref().log();
        let is_held = |waiting: &mut WaitingReload| log.holds(waiting.entry).is_some();
        let held = unpoisoned(self.waiting.lock()).take_if(is_held);
        let Some(WaitingReload {
            register, actor, ..
        }) = held
        else {
            return;
        };
        let version = register.version;
        if let Err(refusal) = self.put_or_leave(register, &actor)
            && refusal.code() != Code::JournalUnavailable
        {
            let code = refusal.code();
            tracing::error!(version, %code, why = %refusal, "the register that waited for places is not in force");
        }
    }
}

fn named_epoch(opened: &OpenedEpoch) -> String {
    format!("{}:{}", opened.sector, opened.epoch)
}

/// The refusal of a register that cannot be read, is not validly signed or has faults.
fn unreadable(error: &RegisterOpenError) -> Refusal {
    let code = match error {
        RegisterOpenError::Read { .. } => "register-unreadable",
        RegisterOpenError::Signatures { .. } => "register-signatures",
        RegisterOpenError::Faults { .. } => "register-faults",
    };
    refused(&[format!("{code}: {error}")])
}

/// The refusal of a register with faults: a line for each, which begins with its stable code.
fn refuse(faults: Vec<StartError>) -> Refusal {
    if let Some(broken) = faults.iter().find(|fault| fault.code() == "internal") {
        return fault("the register could not be changed")(broken);
    }
    let line = |fault: &StartError| match fault {
        StartError::TermsChanged(sector) => format!(
            "{}: the register changes granularity, text form or reversibility of sector {sector}, which needs a new epoch; \
             restart once with --advance {sector}",
            fault.code()
        ),
        fault => format!("{}: {fault}", fault.code()),
    };
    let lines: Vec<_> = faults.iter().map(line).collect();
    refused(&lines)
}

fn refused(lines: &[String]) -> Refusal {
    Refusal::new(
        Code::RegisterRefused,
        format!("the register before stays in force\n{}", lines.join("\n")),
    )
}

/// A register that was in force, without its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PastRegister {
    /// Its version.
    pub version: u64,
    /// SHA-256 of its text, hex.
    pub sha256: String,
    /// From when on it was in force, RFC 3339.
    pub since: String,
}

/// A register that was in force, with its files as they were read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PastRegisterFiles {
    /// Which one.
    pub register: PastRegister,
    /// `register.toml`
    pub text: String,
    /// `register.jws`
    pub signatures: String,
}

impl PastRegister {
    fn of(row: &RegisterRow) -> Self {
        let RegisterName { version, sha256 } = RegisterName::new(row.version, &row.digest);
        let since = Timestamp::from_second(row.since).unwrap_or_default();
        Self {
            version,
            sha256,
            since: since.to_string(),
        }
    }
}

/// Every register that was in force here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RegisterHistory {
    /// The latest last.
    pub registers: Vec<PastRegister>,
    /// Those that are stored and come into force as soon as enough places hold them, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<String>,
}

/// Lists every register that was in force here.
///
/// # Errors
/// [`Code::Internal`].
pub fn history(entity: &Entity, _: &RegisterPermit) -> Result<RegisterHistory, Refusal> {
    let rows = entity.store().past_registers().map_err(fault(UNREAD))?;
    let was_in_force = |row: &&RegisterRow| !entity.log().withholds(&Grant::Register(row.version));
    Ok(RegisterHistory {
        registers: (rows.iter().filter(was_in_force))
            .map(PastRegister::of)
            .collect(),
        waiting: entity.waiting(|grant| matches!(grant, Grant::Register(_))),
    })
}

/// The register of that version, as it was read.
///
/// # Errors
/// [`Code::UnknownRegister`] where none of that version was in force, or none was kept;
/// [`Code::Internal`].
pub fn past(
    entity: &Entity,
    _: &RegisterPermit,
    version: &str,
) -> Result<PastRegisterFiles, Refusal> {
    let unknown = || {
        let why = "no register of that version was in force here, or it was not kept: `cloison register history` lists them";
        Refusal::new(Code::UnknownRegister, why)
    };
    let version = version.parse().map_err(|_| unknown())?;
    let row = entity.store().past_register(version);
    let row = row.map_err(fault(UNREAD))?.ok_or_else(unknown)?;
    Ok(PastRegisterFiles {
        register: PastRegister::of(&row),
        text: row.text,
        signatures: row.signatures,
    })
}

const UNREAD: &str = "the registers that were in force could not be read";
