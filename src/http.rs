//! The doors: HTTP/1.1 and HTTP/2 over TLS 1.3 with client certificates, and a health listener on
//! loopback.
//!
//! [`serve`] takes listeners, each an axum router behind an own small acceptor (`connection`), and
//! runs them until it is told to stop; then it lets requests under way finish. Handlers see the
//! caller as a [`Peer`], read bodies with [`body::read`] and refuse with a [`Problem`]; every
//! answer has `cache-control: no-store`. [`mount`] lists the routes of each listener and makes
//! their description from the same list.
//!
//! The modules know one another in one direction (`tests/house.rs`).
//!
//! What a hostile client can take is bounded, and what one takes is not taken from others:
//! handshakes by address (`handshakes`); once the register knows who it is, connections, requests,
//! bodies as they arrive, threads, and answers until they are read, by organisation and certificate
//! (`budget`, `admission`). Bounded in time are a handshake, a head, the pace of a body, an answer
//! that lies unread.

pub mod acts;
mod admission;
mod answer;
pub mod audit;
pub mod body;
mod budget;
mod clock;
mod connection;
mod control;
pub mod cosign;
mod counts;
pub mod data;
mod described;
mod handshakes;
pub mod health;
pub mod inspections;
mod lent;
mod limits;
pub mod migrations;
pub mod mount;
mod node;
pub mod node_door;
mod operations;
mod peer;
pub mod problem;
mod request;
pub mod rights;
pub mod secrets;
mod segments;
pub mod server;
mod socket;
pub mod tls;
pub mod witness;

pub use admission::Lane;
pub use health::Readiness;
pub use limits::Limits;
pub use peer::Peer;
pub use problem::Problem;
pub use server::{Callers, Listener, serve, terminated};
