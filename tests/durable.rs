//! What was acknowledged stays: random histories, parallel callers, kills, failing disks, damaged files, overload.
//!
//! Everything here runs on the real store. The short form is part of the test command; `ops/test-long` runs more of the same
//! (see docs/testing.md).

mod common;

mod durable {
    pub mod bound;
    pub mod clock;
    pub mod concurrent;
    pub mod copies;
    pub mod damage;
    pub mod erase;
    pub mod faults;
    pub mod format;
    pub mod kill;
    pub mod load;
    pub mod merge;
    pub mod model;
    pub mod overload;
    pub mod retire;
    pub mod rights;
    pub mod slow;
    pub mod start;
    pub mod store_contract;
    pub mod world;
}
