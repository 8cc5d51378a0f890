//! A register that lies in the file at a start, and that too few places hold.
//!
//! A register grants, so it is in force once places hold the entry about it, and a start cannot
//! wait for them: they may need this side to serve before they can hold anything. So the start goes
//! on under the register before, which the store keeps with its signatures, and the server puts the
//! other one in force by a reload ([`crate::reload`]), which waits.
//!
//! A change that only a start can make (keys of logs, the terms of an epoch, this side's own keys)
//! comes into force with the start.

use std::sync::Arc;

use jiff::Timestamp;

use super::change::{RegisterRows, accept_register};
use super::{EntityOpening, Role, StartError};
use crate::audit::Grant;
use crate::audit::log::{LogParts, each_unheld};
use crate::register::{Register, reopen};
use crate::store::{Store, StoreError};

/// The register that a start goes by, and the one that waits.
pub(super) struct StartRegisters {
    pub(super) in_force: Arc<Register>,
    /// What the start changes in the store.
    pub(super) rows: RegisterRows,
    pub(super) waiting: Option<WaitingRegister>,
}

/// A register that has no fault, and is not in force.
pub(crate) struct WaitingRegister {
    pub(crate) register: Arc<Register>,
    /// What it writes when it comes into force.
    rows: RegisterRows,
}

impl StartRegisters {
    /// Checks the register in the file, and decides by which one the start goes.
    ///
    /// # Errors
    /// All faults of the register in the file.
    pub(super) fn of(
        role: &Role,
        store: &Store,
        log: &LogParts,
        file: Register,
        now: Timestamp,
    ) -> Result<Self, Vec<StartError>> {
        let rows = accept_register(store, &file, now)?;
        let one = |error: StoreError| vec![error.into()];
        let file = Arc::new(file);
        let before = if log.places.needed > 0 {
            held(store, &file).map_err(one)?
        } else {
            None
        };
        let same_logs = |kept: &Register| {
            role.peers(kept) == role.peers(&file)
                && role.checkpoint_key(kept) == role.checkpoint_key(&file)
        };
        Ok(match before.filter(same_logs) {
            Some(before) => Self {
                in_force: Arc::new(before),
                rows: RegisterRows::default(),
                waiting: Some(WaitingRegister {
                    register: file,
                    rows,
                }),
            },
            None => Self {
                in_force: file,
                rows,
                waiting: None,
            },
        })
    }
}

impl EntityOpening {
    /// Puts the register that waits in force with this start: it makes a change that only a start
    /// can.
    pub(crate) fn wait_no_longer(&mut self) {
        if let Some(WaitingRegister { register, rows }) = self.waiting.take() {
            (self.register, self.rows) = (register, rows);
        }
    }
}

/// The last register that places hold, as far as the store knows, where it is another one than that
/// in the file.
fn held(store: &Store, file: &Register) -> Result<Option<Register>, StoreError> {
    let Some((last, _)) = store.register()? else {
        return Ok(None);
    };
    let mut unheld = vec![];
    each_unheld(store, |grant, _| {
        if let Grant::Register(version) = grant {
            unheld.push(version);
        }
    })?;
    let first = unheld.into_iter().min().unwrap_or(last + 1);
    let kept = store.past_registers()?;
    let kept = kept.into_iter().rfind(|row| row.version < first);
    let kept = kept.filter(|row| row.version != file.version);
    let pins = file.pins.as_deref();
    Ok(kept
        .zip(pins)
        .and_then(|(row, pins)| reopen(&row.text, &row.signatures, pins)))
}
