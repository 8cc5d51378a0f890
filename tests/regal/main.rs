//! The regal side with real processes: the life of an order, the attacks of docs/threat-model.md,
//! kills at every step, delivery, rates, migrations.

#[path = "../common/mod.rs"]
mod common;

#[path = "../common/actors.rs"]
mod actors;
mod attacks;
mod believed;
mod copies;
mod delivery;
mod followers;
mod grants;
mod join;
mod journal;
mod kill;
mod life;
mod migrate;
mod parted;
mod people;
mod places;
mod proxy;
mod pruned;
mod rate;
mod reload;
mod renew;
mod restore;
mod review;
mod rows;
mod second;
mod step;
mod without;
mod witness_place;
