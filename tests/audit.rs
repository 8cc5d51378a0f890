//! The audit log: a tree that others compute the same, checks that find every forgery and say where, and the doors that serve
//! it.

#[path = "audit/agree.rs"]
mod agree;
mod common;
#[path = "audit/forge.rs"]
mod forge;
#[path = "audit/forged.rs"]
mod forged;
#[path = "audit/large.rs"]
mod large;
#[path = "audit/live.rs"]
mod live;
#[path = "audit/shards.rs"]
mod shards;
#[path = "audit/witnesses.rs"]
mod witnesses;
