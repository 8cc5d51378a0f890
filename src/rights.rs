//! People's rights (law 09-08, art. 7 to 9), as far as they are here: who resolved a person's
//! pseudonym ([`resolutions`]), and the destruction of what a sector's side keeps of a person
//! ([`erase`]). Rights officers of the register act for the persons concerned, in their own sectors
//! only, and name persons by that sector's pseudonyms.

pub mod erase;
pub mod request;
pub mod resolutions;
pub mod traces;

/// What the log says of a fault of ours here.
const FAILED: &str = "a right could not be seen to";
