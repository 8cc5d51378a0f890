//! The register: what a good one says, and what is said about every bad one.

use cloison::register::{self, Fault};

const GOOD: &str = include_str!("data/register.toml");

fn faults(text: &str) -> Vec<Fault> {
    register::parse(text).map(drop).unwrap_err()
}

#[test]
fn the_example_is_good() {
    let register = register::parse(GOOD)
        .unwrap_or_else(|faults| panic!("{}", faults.iter().map(|f| f.to_string() + "\n").collect::<String>()));
    println!("{register:#?}");
    let _ = faults;
}
