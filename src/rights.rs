//! Persons' rights (law 09-08, art. 7 to 9): who had a person's pseudonym resolved
//! ([`resolutions`]), and the erasure of a person's data in a sector ([`erase`]). Rights officers
//! of the register act for the persons concerned, in their own sectors only, and name persons by
//! that sector's pseudonyms.

pub mod erase;
pub mod request;
pub mod resolutions;
pub mod traces;

/// The context of an internal error in the log.
const FAILED: &str = "a right could not be seen to";
