//! The load generator: deployments, processes and requests for `cloison bench`, which measures, and
//! `cloison demo`, which shows.

pub mod bench;
pub mod demo;
mod local;
mod orders;
