//! The vault under another register: the same keys, index and store; sectors and quotas as that
//! register says.

use std::sync::{Arc, MutexGuard};

use super::frozen::SupersededFacts;
use super::sector::SectorLoader;
use super::{StartError, Vault, hold_migrated};
use crate::audit::OpenedEpoch;
use crate::entity::{Entity, RegisterRows, UnderRegister};
use crate::quota;
use crate::refusal::Refusal;
use crate::register::{QuotaShare, Register};
use crate::system::lock::unpoisoned;

/// Held while the register changes: no epoch is changed, and no fact is frozen that the next
/// register states otherwise.
pub(crate) struct VaultHold<'a> {
    facts: SupersededFacts<'a>,
    _epochs: MutexGuard<'a, ()>,
}

impl UnderRegister for Vault {
    type Hold<'a> = VaultHold<'a>;

    fn hold(&self, next: &Register) -> Result<VaultHold<'_>, Refusal> {
        let epochs = self.lock_epochs()?;
        let facts = self
            .frozen()
            .supersede(self.register(), next, self.committer())?;
        Ok(VaultHold {
            facts,
            _epochs: epochs,
        })
    }

    fn release(hold: VaultHold<'_>) {
        hold.facts.keep();
    }

    fn under(
        &self,
        entity: Arc<Entity>,
        rows: &mut RegisterRows,
    ) -> Result<(Self, Vec<OpenedEpoch>), Vec<StartError>> {
        let (register, store, now) = (entity.register(), entity.store(), entity.now());
        let roots = unpoisoned(self.roots().read());
        let loader = SectorLoader {
            store,
            roots: &roots,
            advance: &[],
            now,
            by_custody: self.sector_secrets().is_off_machine(),
            before: Some((self.register(), &self.sectors)),
        };
        let (sectors, opened) = loader.load(register, rows)?;
        hold_migrated(store, &sectors, self.index()).map_err(|error| vec![error.into()])?;
        let quotas = self.quotas.under(
            quota::of_organisations(register, QuotaShare::WHOLE),
            store,
            now,
        );
        let quotas = quotas.map_err(|error| vec![error.into()])?;
        let vault = Self {
            core: self.core.clone(),
            entity: entity.clone(),
            sectors,
            quotas,
        };
        Ok((vault, opened))
    }
}
