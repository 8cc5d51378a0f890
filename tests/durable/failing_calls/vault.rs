//! The vault's life: a start, batches, an epoch with a secret of its own, an end.

use super::{ScriptedLife, each_call, refused};
use crate::common::{Setup, Side, World};
use crate::load::{Acknowledged, WAYS, check, send};
use crate::world::put_sector_secrets_on_the_disk;

struct VaultLife {
    world: World,
    /// In this life, and in those before.
    acknowledged: Acknowledged,
    all: Acknowledged,
    /// Persons are numbered from here.
    next: u32,
}

impl VaultLife {
    fn new() -> Self {
        let world = World::with(Setup {
            log: "info",
            start: false,
            ..Setup::default()
        });
        put_sector_secrets_on_the_disk(&world);
        let mut life = Self {
            world,
            acknowledged: Acknowledged::default(),
            all: Acknowledged::default(),
            next: 0,
        };
        life.world.start(Side::Vault, &[]);
        life.world.start(Side::Node, &[]);
        life.world.end(Side::Vault);
        life
    }

    /// Whether all of them were answered.
    fn batches(&mut self) -> bool {
        WAYS.iter().all(|way| {
            let persons: Vec<u32> = (self.next..self.next + 40).collect();
            self.next += 40;
            match send(&self.world.client(way.0), *way, &persons) {
                Ok(answered) => {
                    self.acknowledged.note(way.1, &persons, answered);
                    true
                }
                Err(error) => refused(&error),
            }
        })
    }

    fn advance(&self) -> bool {
        let operator = self.world.client("operator");
        let path = "/v1/sectors/tax/epochs";
        let advanced = operator.get_json::<serde_json::Value>(path).and_then(|listed| {
            let epochs = listed["epochs"].as_array().unwrap();
            let number = |epoch: &serde_json::Value| epoch["epoch"].clone();
            let overlapping = epochs.iter().find(|epoch| epoch["state"] == "overlap");
            let how = serde_json::json!({
                "from": number(epochs.last().unwrap()), "end_overlap": overlapping.map(number), "own_secret": true,
            });
            crate::common::advance(&operator, path, &how)
        });
        advanced.map_or_else(|error| refused(&error), |_| true)
    }
}

impl ScriptedLife for VaultLife {
    fn world(&mut self) -> &mut World {
        &mut self.world
    }

    fn live(&mut self) -> Option<i32> {
        let started = self.world.try_start(Side::Vault, &[]);
        if let Err(failed) = started {
            return failed.code;
        }
        // What follows a refused request is left out: the process may be gone, or end when it is
        // told to.
        let _ = self.batches() && self.advance() && self.batches();
        if self.world.is_running(Side::Vault) {
            self.world.signal(Side::Vault, libc::SIGTERM);
        }
        self.world.ended(Side::Vault).code()
    }

    fn log(&self) -> String {
        self.world.log(Side::Vault)
    }

    fn check_last(&mut self) -> Result<(), String> {
        let started = self.world.try_start(Side::Vault, &[]);
        started.map_err(|failed| failed.to_string())?;
        let life = std::mem::take(&mut self.acknowledged);
        check(&self.world, &life, 20);
        self.all.absorb(life);
        self.world.end(Side::Vault);
        Ok(())
    }

    fn check_all(&mut self) {
        self.world.start(Side::Vault, &[]);
        check(&self.world, &self.all, 200);
    }
}

fn each_call_of_the_vault(kind: usize) {
    each_call(&mut VaultLife::new(), "vault", kind, 3);
}

#[test]
fn a_failing_open_loses_nothing() {
    each_call_of_the_vault(0);
}

#[test]
fn a_failing_or_short_read_loses_nothing() {
    each_call_of_the_vault(1);
}

#[test]
fn a_failing_or_short_write_loses_nothing() {
    each_call_of_the_vault(2);
}

#[test]
fn a_failing_fsync_loses_nothing() {
    each_call_of_the_vault(3);
}

#[test]
fn a_failing_change_of_a_name_loses_nothing() {
    each_call_of_the_vault(4);
}
