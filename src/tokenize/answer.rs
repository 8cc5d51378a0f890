//! The answer to a batch, before it is written as JSON or text.

use crate::audit::Domain;
use crate::code::Code;
use crate::pseudonym::{Pseudonym, TextWriter};
use crate::quota::QuotaLeft;

/// The pseudonyms of a batch. To be shown only once the job that came with them is durable.
pub struct TokenizedBatch {
    /// Sector name.
    pub sector: String,
    /// The domain of the pseudonyms.
    pub domain: Domain,
    /// Pseudonyms of the accepted identifiers, in order.
    pub pseudonyms: Vec<Pseudonym>,
    /// How the sector writes them.
    pub writer: TextWriter,
    /// The previous epoch's pseudonyms, if the client asked for them and the overlap lasts.
    pub previous: Option<PreviousPseudonyms>,
    /// Rejected identifiers in order: place in the request, and why.
    pub errors: Vec<(u32, Code)>,
    /// What the organisation may still send.
    pub left: QuotaLeft,
}

/// The previous epoch's pseudonyms of the same identifiers.
pub struct PreviousPseudonyms {
    /// The domain.
    pub domain: Domain,
    /// Pseudonyms, in the order of the accepted identifiers.
    pub pseudonyms: Vec<Pseudonym>,
    /// How that epoch writes them.
    pub writer: TextWriter,
}

impl TokenizedBatch {
    /// Visits the items of the request in order: each one's place among the accepted ones, or why
    /// it was rejected.
    pub fn each(&self, mut item: impl FnMut(Result<usize, Code>)) {
        let mut errors = self.errors.iter().peekable();
        let mut place = 0;
        for at in 0..(self.pseudonyms.len() + self.errors.len()) {
            match errors.next_if(|(error_at, _)| *error_at as usize == at) {
                Some((_, code)) => item(Err(*code)),
                None => {
                    item(Ok(place));
                    place += 1;
                }
            }
        }
    }
}
