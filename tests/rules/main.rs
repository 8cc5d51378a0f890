//! Rules that hold without a process: the order of the house, the trusted core, the forms of
//! orders, registers and signatures, the published vectors.

#[path = "../common/orders.rs"]
mod fixture;
mod fuzz;
mod house;
mod jose;
mod order;
#[path = "../fuzz/parsers.rs"]
mod parsers;
mod register;
mod register_signatures;
mod trusted_core;
mod vectors;
mod walks;
