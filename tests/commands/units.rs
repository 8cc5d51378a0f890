//! The service units as they are shipped: installed by the lines of docs/operations.md on a machine
//! of namespaces, and run under every property that they state (`units/sandbox.py`), from the start
//! through a batch, a re-identification, epochs and a rotation to the stop. And what a server makes
//! sure of before it makes anything: descriptors, and folders to write in.
//!
//! It takes root, and a system that lets root make namespaces. Where there is neither,
//! `CLOISON_TEST_NO_UNITS=1` leaves out what needs them, and the tests say so.

mod install;
mod machine;
mod start;
