//! The regal side with real processes: the life of an order, the attacks of docs/threat-model.md, kills at every step,
//! delivery, rates, migrations.

mod common;

#[allow(dead_code)]
#[path = "audit/actors.rs"]
mod actors;
#[path = "regal/attacks.rs"]
mod attacks;
#[path = "regal/believed.rs"]
mod believed;
#[path = "regal/copies.rs"]
mod copies;
#[path = "regal/delivery.rs"]
mod delivery;
#[path = "regal/kill.rs"]
mod kill;
#[path = "regal/life.rs"]
mod life;
#[path = "regal/migrate.rs"]
mod migrate;
#[path = "regal/people.rs"]
mod people;
#[path = "regal/proxy.rs"]
mod proxy;
#[path = "regal/rate.rs"]
mod rate;
#[path = "regal/renew.rs"]
mod renew;
#[path = "regal/review.rs"]
mod review;
#[path = "regal/rows.rs"]
mod rows;
#[path = "regal/second.rs"]
mod second;
#[path = "regal/step.rs"]
mod step;
