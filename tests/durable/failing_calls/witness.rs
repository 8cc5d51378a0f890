//! The witness's life: a start, checkpoints that it cosigns and remembers, an end.

use std::fs;
use std::time::{Duration, Instant};

use super::{KINDS, ScriptedLife, each_call};
use crate::common::witness::WitnessPlace;
use crate::common::{Setup, Side, World};
use crate::world::card;

/// How long a witness whose disk fails is waited for: it need not cosign.
const PATIENCE: Duration = Duration::from_secs(3);

struct WitnessLife {
    world: World,
    place: WitnessPlace,
    /// How many entries of the vault's log it has cosigned.
    cosigned: u64,
    /// Persons are numbered from here.
    next: u32,
}

impl WitnessLife {
    fn new() -> Self {
        let mut world = World::with(Setup {
            log: "info",
            start: false,
            ..Setup::default()
        });
        let place = WitnessPlace::prepare(&world);
        world.start(Side::Vault, &[]);
        world.start(Side::Node, &[]);
        let witness = place.start(&world, &["--first-start"]).unwrap();
        assert!(witness.stop().success());
        Self {
            world,
            place,
            cosigned: 0,
            next: 0,
        }
    }
}

impl ScriptedLife for WitnessLife {
    fn world(&mut self) -> &mut World {
        &mut self.world
    }

    fn live(&mut self) -> Option<i32> {
        let mut witness = match self.place.start(&self.world, &[]) {
            Ok(witness) => witness,
            Err(failed) => return failed.code,
        };
        for _ in 0..2 {
            let card = card(self.next);
            self.next += 1;
            self.world.health_pseudonyms(&[&card]);
            let (before, since) = (self.cosigned, Instant::now());
            while self.cosigned == before && witness.is_running() && since.elapsed() < PATIENCE {
                std::thread::sleep(Duration::from_millis(20));
                self.cosigned = self.place.cosigned(&self.world).max(before);
            }
        }
        witness.stop().code()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.world.path("logs/witness.log")).unwrap_or_default()
    }

    fn check_last(&mut self) -> Result<(), String> {
        let witness = self.place.start(&self.world, &[]);
        let witness = witness.map_err(|failed| failed.to_string())?;
        assert!(
            self.place.remembered(&self.world) >= self.cosigned,
            "a witness never forgets what it cosigned"
        );
        assert!(witness.stop().success());
        Ok(())
    }

    fn check_all(&mut self) {
        assert!(self.cosigned > 0, "it has cosigned");
    }
}

#[test]
fn a_witness_whose_calls_fail_forgets_nothing() {
    let mut life = WitnessLife::new();
    (0..KINDS.len()).for_each(|kind| each_call(&mut life, "witness", kind, 1));
}
