//! The audit log: a tree that others compute the same, checks that find every forgery and say
//! where, and the doors that serve it.

#[path = "../common/actors.rs"]
mod actors;
mod acts;
mod agree;
mod canary;
#[path = "../common/mod.rs"]
mod common;
mod documents;
mod followers;
mod forge;
mod forged;
mod inspection;
mod large;
mod live;
mod places;
mod restored;
mod rights;
mod rollback;
mod seen;
mod shards;
mod witnesses;
