//! The answer: written by the identity source, read by the vault.

use zeroize::Zeroizing;

use super::{ANSWER_LEN, HEAD, MAX_ID, RequestNonce, UtiRequest, UtisError, VERSION};
use crate::code::Code;
use crate::keys::{IdentityCheck, Key, Uti, lp};
use crate::refusal::Refusal;
use crate::seal::SealReader;

const ANSWERED: u8 = 0;
const REFUSED: u8 = 1;
/// Most bytes of a part that is refused, and more than those before the answers of one that is not.
const MAX_REFUSAL: usize = 1 + 2 + MAX_ID + 4;

/// Most bytes of the answer to parts that have so many answers.
fn max_answer(answers: impl Iterator<Item = usize>) -> usize {
    HEAD + answers
        .map(|answers| MAX_REFUSAL + answers * ANSWER_LEN)
        .sum::<usize>()
}

// --- written
// ----------------------------------------------------------------------------------------------------------

/// Writes an answer, one part after the other. Its buffer never grows, and is wiped.
pub struct AnswerWriter {
    bytes: Zeroizing<Vec<u8>>,
    /// Answers of the parts that are not written yet, the last one first.
    due: Vec<usize>,
}

impl AnswerWriter {
    /// The answer to a request.
    pub fn to(request: &UtiRequest<'_>) -> Self {
        let answers = request.parts.iter().map(super::UtiPart::answers);
        let mut bytes = Zeroizing::new(Vec::with_capacity(max_answer(answers.clone())));
        bytes.push(VERSION);
        bytes.extend_from_slice(&request.nonce);
        bytes.extend_from_slice(&(request.parts.len() as u16).to_be_bytes());
        Self {
            bytes,
            due: answers.rev().collect(),
        }
    }

    /// Answers the next part with UTIs, one for each of its values.
    ///
    /// # Panics
    /// When there are not as many, or the request has no more parts.
    pub fn utis(&mut self, utis: &[Uti]) {
        self.answered(utis.len());
        utis.iter()
            .for_each(|uti| self.bytes.extend_from_slice(uti.expose()));
    }

    /// Answers the next part with the person-handle key of its sector.
    ///
    /// # Panics
    /// When the request has no more parts.
    pub fn person_key(&mut self, key: &Key) {
        self.answered(1);
        self.bytes.extend_from_slice(key.expose());
    }

    /// Answers the next part, a probe.
    ///
    /// # Panics
    /// When the request has no more parts.
    pub fn check(&mut self, check: &IdentityCheck) {
        self.answered(1);
        self.bytes.extend_from_slice(&check.0);
    }

    /// Refuses the next part. Only code and time travel.
    ///
    /// # Panics
    /// When the request has no more parts.
    pub fn refused(&mut self, refusal: &Refusal) {
        self.due.pop().expect("a part of the request");
        self.bytes.push(REFUSED);
        lp(&mut self.bytes, refusal.code().as_str().as_bytes());
        let seconds = refusal.retry_after().unwrap_or(0);
        self.bytes.extend_from_slice(&seconds.to_be_bytes());
    }

    fn answered(&mut self, count: usize) {
        let due = self.due.pop().expect("a part of the request");
        assert_eq!(count, due, "one for each value");
        self.bytes.push(ANSWERED);
        self.bytes.extend_from_slice(&(count as u32).to_be_bytes());
    }

    /// The answer's bytes.
    ///
    /// # Panics
    /// When a part was not answered.
    pub fn finish(self) -> Zeroizing<Vec<u8>> {
        assert!(self.due.is_empty(), "every part is answered");
        self.bytes
    }
}

// --- read
// -------------------------------------------------------------------------------------------------------------

/// An answer as the vault reads it: whole, or not at all.
pub struct UtiAnswer<'a> {
    /// What became of each part, in the order of the request.
    pub parts: Vec<PartOutcome<'a>>,
}

/// What became of one part of a request.
pub enum PartOutcome<'a> {
    /// What was asked for.
    Answers(&'a [[u8; ANSWER_LEN]]),
    /// It was refused, and nothing was counted for it.
    Refused(Refusal),
}

impl<'a> UtiAnswer<'a> {
    /// Most bytes that answer parts of so many answers each ([`EncodedPart::answers`]).
    ///
    /// [`EncodedPart::answers`]: super::EncodedPart::answers
    pub fn most_bytes(answers: &[usize]) -> usize {
        max_answer(answers.iter().copied())
    }

    /// Reads the answer to the request of this nonce, whose parts wait for so many answers each.
    ///
    /// # Errors
    /// [`UtisError`]: nothing of the answer may be used then.
    pub fn read(
        bytes: &'a [u8],
        nonce: &RequestNonce,
        answers: &[usize],
    ) -> Result<Self, UtisError> {
        let mut reader = SealReader(bytes);
        let version = reader.u8()?;
        if version != VERSION {
            return Err(UtisError::Version(version));
        }
        let other = reader.array::<16>()? != *nonce
            || usize::from(u16::from_be_bytes(reader.array()?)) != answers.len();
        if other {
            return Err(UtisError::OtherRequest);
        }
        let parts = answers
            .iter()
            .map(|count| PartOutcome::read(&mut reader, *count))
            .collect::<Result<_, _>>()?;
        reader.end()?;
        Ok(Self { parts })
    }
}

impl<'a> PartOutcome<'a> {
    /// Appends the answers to a part with values: a UTI for each, in order.
    ///
    /// # Errors
    /// The part's refusal; nothing is appended then.
    pub fn append_utis(&self, utis: &mut Vec<Uti>) -> Result<(), Refusal> {
        match self {
            Self::Answers(answers) => utis.extend(answers.iter().map(Uti::from_wire)),
            Self::Refused(refusal) => return Err(refusal.clone()),
        }
        Ok(())
    }

    fn read(reader: &mut SealReader<'a>, answers: usize) -> Result<Self, UtisError> {
        match reader.u8()? {
            ANSWERED => {
                if reader.u32()? as usize != answers {
                    return Err(UtisError::OtherRequest);
                }
                let bytes = reader.take(answers * ANSWER_LEN)?;
                Ok(Self::Answers(bytes.as_chunks().0))
            }
            REFUSED => {
                let code = Code::parse(reader.text()?).ok_or(UtisError::Form)?;
                let refusal = Refusal::from(code);
                Ok(Self::Refused(match reader.u32()? {
                    0 => refusal,
                    seconds => refusal.come_back_in(seconds),
                }))
            }
            _ => Err(UtisError::Form),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::utis::{EncodedPart, request_head};

    const NONCE: RequestNonce = [9; 16];

    /// The answer to a probe, to a person key that is refused, and to another probe.
    fn answer() -> (Vec<u8>, [usize; 3]) {
        let mut body = request_head(&NONCE, 3).to_vec();
        for part in [
            EncodedPart::probe(),
            EncodedPart::person_key(uuid::Uuid::from_bytes([7; 16])),
            EncodedPart::probe(),
        ] {
            body.extend_from_slice(part.bytes());
        }
        let request = UtiRequest::read(&body).unwrap();
        let mut writer = AnswerWriter::to(&request);
        let room = writer.bytes.capacity();
        writer.check(&IdentityCheck([1; 32]));
        writer.refused(&Refusal::from(Code::QuotaExceeded).come_back_in(7));
        writer.check(&IdentityCheck([2; 32]));
        let bytes = writer.finish();
        assert_eq!(bytes.capacity(), room, "it never grows");
        (bytes.to_vec(), [1, 1, 1])
    }

    #[test]
    fn an_answer_is_read_as_it_was_written() {
        let (bytes, answers) = answer();
        assert!(bytes.len() <= UtiAnswer::most_bytes(&answers));
        let answer = UtiAnswer::read(&bytes, &NONCE, &answers).unwrap();
        let [one, refused, two] = &answer.parts[..] else {
            panic!("three parts");
        };
        assert!(matches!(one, PartOutcome::Answers([bytes]) if *bytes == [1; 32]));
        assert!(matches!(two, PartOutcome::Answers([bytes]) if *bytes == [2; 32]));
        let PartOutcome::Refused(refusal) = refused else {
            panic!("the second is refused");
        };
        assert_eq!(refusal.code(), Code::QuotaExceeded);
        assert_eq!(refusal.retry_after(), Some(7));
    }

    #[test]
    fn an_answer_that_is_short_long_or_to_another_request_is_refused_whole() {
        let (bytes, answers) = answer();
        let read = |bytes: &[u8], nonce: RequestNonce, answers: &[usize]| {
            UtiAnswer::read(bytes, &nonce, answers).err()
        };
        for end in 0..bytes.len() {
            assert!(read(&bytes[..end], NONCE, &answers).is_some());
        }
        let longer = [&bytes[..], b"\0"].concat();
        assert_eq!(read(&longer, NONCE, &answers), Some(UtisError::Form));
        let other = Some(UtisError::OtherRequest);
        assert_eq!(read(&bytes, [8; 16], &answers), other);
        assert_eq!(read(&bytes, NONCE, &[1, 1]), other);
        assert_eq!(read(&bytes, NONCE, &[2, 1, 1]), other);
    }
}
