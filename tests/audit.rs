//! The audit log: a tree that others compute the same, checks that find every forgery and say where, and the doors that serve
//! it.

#[path = "audit/actors.rs"]
mod actors;
#[path = "audit/agree.rs"]
mod agree;
#[path = "audit/canary.rs"]
mod canary;
mod common;
#[path = "audit/documents.rs"]
mod documents;
#[path = "audit/forge.rs"]
mod forge;
#[path = "audit/forged.rs"]
mod forged;
#[path = "audit/inspection.rs"]
mod inspection;
#[path = "audit/large.rs"]
mod large;
#[path = "audit/live.rs"]
mod live;
#[path = "audit/rights.rs"]
mod rights;
#[path = "audit/rollback.rs"]
mod rollback;
#[path = "audit/shards.rs"]
mod shards;
#[path = "audit/witnesses.rs"]
mod witnesses;
