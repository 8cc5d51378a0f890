//! The doors: HTTP/1.1 and HTTP/2 over TLS 1.3 with client certificates, and a health listener on loopback.
//!
//! [`serve`] takes listeners, each an axum router behind an own small acceptor ([`connection`]), and runs them until it is
//! told to stop; then it lets requests under way finish. Handlers see the caller as a [`Peer`], read bodies with
//! [`body::read`] and refuse with a [`Problem`]; every answer has `cache-control: no-store`.
//!
//! What a hostile client can do is bounded before it is known who it is: handshakes at once and their time, connections
//! in all and by key, the size of a head, the time for a head and a body, the time that an answer may lie unread.

pub mod acts;
mod answer;
pub mod audit;
pub mod body;
pub mod connection;
pub mod control;
pub mod cosign;
pub mod data;
pub mod health;
pub mod inspections;
pub mod migrations;
pub mod node;
mod openapi;
pub mod problem;
pub mod rights;
pub mod secrets;
mod segments;
pub mod server;
mod stall;
pub mod tls;
pub mod witness;

pub use connection::{Limits, Peer};
pub use health::Readiness;
pub use problem::Problem;
pub use server::{Listener, serve, terminated};
