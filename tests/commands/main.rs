//! The command line as people and service managers use it: commands and their pages, examples,
//! service units.

#[path = "../common/actors.rs"]
mod actors;
mod ceremonies;
mod client;
#[path = "../common/mod.rs"]
mod common;
mod demo;
mod docs;
mod example;
mod files;
#[path = "../common/orders.rs"]
mod fixture;
mod holders;
mod init;
mod keys;
mod order_cli;
mod register_cli;
mod status;
mod units;
