//! The doors: HTTP/1.1 and HTTP/2 over TLS 1.3 with client certificates, and a health listener on
//! loopback.
//!
//! [`serve`] takes listeners, each an axum router behind a small acceptor of its own
//! (`connection`), and runs them until it is told to stop; then it lets requests under way finish.
//! Handlers see the caller as a [`Peer`], read bodies with [`body::read`] and refuse with a
//! [`Problem`]; every answer has `cache-control: no-store`. [`mount`] lists the routes of each
//! listener and makes their description from the same list.
//!
//! The modules know one another in one direction (`tests/rules/house.rs`).
//!
//! A hostile client can take only a bounded share, and takes it from nobody else. Handshakes are
//! shared out by address (`handshakes`). Once the register knows the caller, connections, requests,
//! bodies as they arrive, threads, and answers until they are read are shared out by organisation
//! and certificate (`budget`, `admission`). Time bounds a handshake, a head, the pace of a body,
//! and an answer that lies unread.

pub mod acts;
mod admission;
mod answer;
mod api_routes;
pub mod audit;
pub mod backups;
pub mod body;
mod budget;
mod call;
mod clock;
mod connection;
mod control;
pub mod cosign;
mod counts;
pub mod data;
pub mod follow;
mod gate;
mod handshakes;
pub mod health;
mod identity;
pub mod identity_door;
mod in_force;
pub mod inspections;
mod limits;
mod losses;
pub mod migrations;
pub mod mount;
mod node;
pub mod node_door;
mod operations;
mod peer;
pub mod problem;
pub mod register;
mod request;
mod request_body;
pub mod rights;
pub mod secrets;
mod segments;
pub mod server;
mod socket;
pub mod status;
mod suspensions;
pub mod tls;
mod utis;
pub mod witness;

pub use admission::Lane;
pub use gate::{Callers, KeyCheck};
pub use health::Readiness;
pub use limits::Limits;
pub use peer::Peer;
pub use problem::Problem;
pub use request::KEY_UNTIL;
pub use server::{Listener, serve, termination};
