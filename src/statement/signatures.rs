//! Verifies signatures and counts each person once. Persons are counted by key: one key under two
//! `kid`s is one person.

use ed25519_dalek::VerifyingKey;

use crate::jws::UnverifiedJws;

/// A signature that does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadSignature {
    /// Its signer is known, but it does not verify under that signer's key.
    Forged(String),
    /// Its signer is unknown, so it cannot be verified.
    Unknown(String),
}

impl BadSignature {
    /// The `kid` that it names.
    pub fn kid(&self) -> &str {
        match self {
            BadSignature::Forged(kid) | BadSignature::Unknown(kid) => kid,
        }
    }
}

/// The result of verifying all signatures of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureCheck<P> {
    /// The record of each person who signed, in the order of their first signatures.
    pub persons: Vec<P>,
    /// The first forged signature; if none is forged, the first by an unknown signer.
    pub bad: Option<BadSignature>,
}

impl<P> SignatureCheck<P> {
    /// Verifies every signature. `signer` returns the signer's record and key for a `kid`.
    pub fn of<'k>(
        jws: &UnverifiedJws,
        signer: impl Fn(&str) -> Option<(P, &'k VerifyingKey)>,
    ) -> Self {
        let (mut persons, mut keys, mut forged, mut unknown) = (vec![], vec![], None, None);
        for kid in jws.signers() {
            match signer(kid) {
                None => {
                    unknown.get_or_insert_with(|| BadSignature::Unknown(kid.to_owned()));
                }
                Some((_, key)) if !jws.verify(kid, key) => {
                    forged.get_or_insert_with(|| BadSignature::Forged(kid.to_owned()));
                }
                Some((_, key)) if keys.contains(key) => {}
                Some((person, key)) => {
                    keys.push(*key);
                    persons.push(person);
                }
            }
        }
        Self {
            persons,
            bad: forged.or(unknown),
        }
    }

    /// The persons who signed, if every signature is good.
    ///
    /// # Errors
    /// The first bad signature.
    pub fn all_good(self) -> Result<Vec<P>, BadSignature> {
        match self.bad {
            None => Ok(self.persons),
            Some(bad) => Err(bad),
        }
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;

    use super::*;
    use crate::jws::{add_signature, draft, parse};

    const TYP: &str = "cloison-test+json";

    fn signed(by: &[(&str, u8)]) -> UnverifiedJws {
        let sign = |text: String, (kid, seed): &(&str, u8)| {
            add_signature(&text, TYP, kid, &SigningKey::from_bytes(&[*seed; 32])).unwrap()
        };
        parse(&by.iter().fold(draft(b"{}"), sign), TYP).unwrap()
    }

    fn signatures(by: &[(&str, u8)]) -> SignatureCheck<char> {
        let keys = [1, 2].map(|seed| SigningKey::from_bytes(&[seed; 32]).verifying_key());
        SignatureCheck::of(&signed(by), |kid| match kid {
            "one" => Some(('1', &keys[0])),
            "one-again" => Some(('1', &keys[0])),
            "two" => Some(('2', &keys[1])),
            _ => None,
        })
    }

    #[test]
    fn a_person_is_counted_by_key_and_not_by_kid() {
        assert_eq!(signatures(&[("one", 1), ("one-again", 1)]).persons, ['1']);
        assert_eq!(
            signatures(&[("two", 2), ("one", 1)]).all_good(),
            Ok(vec!['2', '1'])
        );
        assert_eq!(signatures(&[]).all_good(), Ok(vec![]));
    }

    #[test]
    fn a_forged_signature_is_told_from_an_unknown_one_and_before_it() {
        let unknown = Some(BadSignature::Unknown("three".into()));
        assert_eq!(
            signatures(&[("three", 3), ("one", 1)]),
            SignatureCheck {
                persons: vec!['1'],
                bad: unknown
            }
        );
        let forged = BadSignature::Forged("two".into());
        assert_eq!(
            signatures(&[("three", 3), ("two", 1)]).all_good(),
            Err(forged)
        );
    }
}
