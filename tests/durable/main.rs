//! What was acknowledged stays: random histories, parallel callers, kills, failing disks, damaged
//! files, overload.
//!
//! Everything here runs on the real store. The short form is part of the test command;
//! `ops/test-long` runs more of the same (see docs/testing.md).

#[path = "../common/mod.rs"]
mod common;
#[path = "../regal/people.rs"]
#[allow(dead_code)]
mod people;

mod backup;
mod bound;
mod clock;
mod concurrent;
mod copies;
mod crash_state;
mod damage;
mod deeds;
mod erase;
mod export;
mod failing_calls;
mod faults;
mod fixed_vault;
mod format;
mod kill;
mod load;
mod merge;
mod model;
mod named_kills;
mod overload;
mod powerloss;
mod restore;
mod retire;
mod rights;
mod sealed;
mod slow;
mod soak;
mod start;
mod store_contract;
mod stores;
mod world;
