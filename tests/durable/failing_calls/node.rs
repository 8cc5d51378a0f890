//! The node's life: a start, orders used up and revoked, an end. The vault's disk is good.

use super::{KINDS, ScriptedLife, each_call, refused};
use crate::common::{Setup, Side, World, swap};
use crate::deeds::{Deeds, Doers};
use crate::world::card;

struct NodeLife {
    world: World,
    pseudonyms: Vec<String>,
    /// In this life, and in those before.
    deeds: Deeds,
    all: Deeds,
}

impl NodeLife {
    fn new() -> Self {
        let rate = "max-hours = 720\nreleases-per-hour = 100000000";
        let mut world = World::with(Setup {
            register: Box::new(|text| swap(&text, "max-hours = 720", rate)),
            log: "info",
            ..Setup::default()
        });
        let cards: Vec<_> = (0..8).map(card).collect();
        let cards: Vec<_> = cards.iter().map(String::as_str).collect();
        let pseudonyms = world.health_pseudonyms(&cards);
        world.end(Side::Node);
        Self {
            world,
            pseudonyms,
            deeds: Deeds::default(),
            all: Deeds::default(),
        }
    }
}

impl ScriptedLife for NodeLife {
    fn world(&mut self) -> &mut World {
        &mut self.world
    }

    fn live(&mut self) -> Option<i32> {
        if let Err(failed) = self.world.try_start(Side::Node, &[]) {
            return failed.code;
        }
        let [officer, bringer] = [0, 1].map(|_| self.world.client("officer"));
        let doers = Doers { officer, bringer };
        for (n, pair) in self.pseudonyms.chunks_exact(2).enumerate() {
            match Deeds::one(&self.world, &doers, pair, n % 2 == 1) {
                Ok(deed) => self.deeds.absorb(deed),
                Err(error) => {
                    refused(&error);
                    break;
                }
            }
        }
        if self.world.is_running(Side::Node) {
            self.world.signal(Side::Node, libc::SIGTERM);
        }
        self.world.ended(Side::Node).code()
    }

    fn log(&self) -> String {
        self.world.log(Side::Node)
    }

    fn check_last(&mut self) -> Result<(), String> {
        let started = self.world.try_start(Side::Node, &[]);
        started.map_err(|failed| failed.to_string())?;
        let deeds = std::mem::take(&mut self.deeds);
        deeds.check(&self.world);
        self.all.absorb(deeds);
        self.world.end(Side::Node);
        Ok(())
    }

    fn check_all(&mut self) {
        self.world.start(Side::Node, &[]);
        self.all.check(&self.world);
        self.world.end(Side::Node);
    }
}

#[test]
fn a_node_whose_calls_fail_loses_nothing() {
    let mut life = NodeLife::new();
    (0..KINDS.len()).for_each(|kind| each_call(&mut life, "node", kind, 1));
}
