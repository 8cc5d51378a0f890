//! Statements: the signed texts. An order, an act upon one, an officer's request, an inspection and
//! its end, an erasure, a destruction, the report on an inspection.
//!
//! Each is a JSON payload signed as JWS General JSON ([`crate::jws`]). Each kind states which
//! members its payload has ([`Statement`]), and its check states who may sign it. This room holds
//! the rules that must not differ between the kinds:
//!
//! * [`UnverifiedStatement::read`] is the one way from a text to a payload: type, size, strict
//!   members.
//! * [`SignatureCheck::of`] is the one loop that verifies signatures. It counts **persons by key**:
//!   two signatures under one key are one person's, even with different `kid`s.
//! * [`UnverifiedStatement::verify`] makes a [`Signed`]: for this deployment, every signature good,
//!   enough persons.
//! * [`members`] reads ids, UUIDs, times, digests and references, each in its one canonical
//!   spelling.
//!
//! The register's signatures are read in two stages and counted here too
//! ([`crate::register::sign`]).

pub mod members;
mod signatures;

use std::borrow::Cow;

use ed25519_dalek::{SigningKey, VerifyingKey};
use serde::Serialize;

use crate::code::Code;
use crate::id::Id;
use crate::json::{JsonFault, JsonObject};
use crate::jws::{self, JwsError, UnverifiedJws};
use crate::refusal::Refusal;

pub use signatures::{BadSignature, SignatureCheck};

/// A kind of statement: the members of its payload, and how other texts are refused.
///
/// Serializing a statement writes the payload as it is signed, its members in the order of the
/// struct.
pub trait Statement: Serialize + Sized {
    /// The `typ` of its signatures, so that no statement passes for one of another kind.
    const TYP: &'static str;
    /// What refusals call it, such as `the act`.
    const NAME: &'static str;
    /// The code of these refusals.
    const CODE: Code;
    /// The longest text, in bytes.
    const MAX_TEXT: usize = jws::MAX_TEXT;

    /// Takes its members out of a payload. The caller refuses members that are left.
    ///
    /// # Errors
    /// [`StatementFault`], saying which member is wrong and never its value.
    fn take(members: &mut JsonObject) -> Result<Self, StatementFault>;

    /// The id of the deployment that it is for.
    fn deployment(&self) -> &Id;

    /// Reads a payload, strictly.
    ///
    /// # Errors
    /// [`Self::CODE`], saying which member is wrong.
    fn read(payload: &[u8]) -> Result<Self, Refusal> {
        let read = || {
            let mut members = JsonObject::parse(payload)?;
            let statement = Self::take(&mut members)?;
            members.end()?;
            Ok(statement)
        };
        read().map_err(|fault: StatementFault| fault.refusal::<Self>())
    }

    /// The payload as compact JSON: what is signed.
    ///
    /// # Errors
    /// [`Self::CODE`] if it does not read back.
    fn write(&self) -> Result<Vec<u8>, Refusal> {
        let payload = serde_json::to_vec(self)
            .map_err(|_| Self::refuse("a member cannot be written as JSON"))?;
        Self::read(&payload)?;
        Ok(payload)
    }

    /// The statement without a signature, to be signed with [`sign`].
    ///
    /// # Errors
    /// As [`Statement::write`].
    fn draft(&self) -> Result<String, Refusal> {
        Ok(jws::draft(&self.write()?))
    }

    /// A refusal with the code of this kind.
    fn refuse(why: impl Into<Cow<'static, str>>) -> Refusal {
        Refusal::new(Self::CODE, why)
    }
}

/// Why a text is not the statement that is expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatementFault {
    /// It is not of the strict form.
    Form(JwsError),
    /// A member breaks a rule, which the sentence states.
    Rule(Cow<'static, str>),
}

impl StatementFault {
    fn refusal<S: Statement>(self) -> Refusal {
        match self {
            StatementFault::Form(fault) => S::refuse(format!("{}: {fault}", S::NAME)),
            StatementFault::Rule(why) => S::refuse(why),
        }
    }
}

impl From<JsonFault> for StatementFault {
    fn from(fault: JsonFault) -> Self {
        match fault {
            JsonFault::Value { .. } => StatementFault::Rule(fault.to_string().into()),
            form => StatementFault::Form(form.into()),
        }
    }
}

impl From<JwsError> for StatementFault {
    fn from(error: JwsError) -> Self {
        StatementFault::Form(error)
    }
}

impl From<&'static str> for StatementFault {
    fn from(rule: &'static str) -> Self {
        StatementFault::Rule(rule.into())
    }
}

/// A statement as a text holds it. No signature is verified, so nothing may act on it.
#[derive(Debug)]
pub struct UnverifiedStatement<S> {
    says: S,
    jws: UnverifiedJws,
}

impl<S: Statement> UnverifiedStatement<S> {
    /// Reads a text, strictly.
    ///
    /// # Errors
    /// [`Statement::CODE`] if it is too long, not of the strict form, or of another kind.
    pub fn read(text: &str) -> Result<Self, Refusal> {
        let jws = envelope::<S>(text)?;
        Ok(Self {
            says: S::read(jws.payload())?,
            jws,
        })
    }

    /// An unsigned statement, well formed or not, as if it had been read from a text; `None` if no
    /// text can hold it.
    pub fn unsigned(says: S) -> Option<Self> {
        let payload = serde_json::to_vec(&says).ok()?;
        Some(Self {
            jws: jws::parse(&jws::draft(&payload), S::TYP).ok()?,
            says,
        })
    }

    /// Its payload.
    pub fn says(&self) -> &S {
        &self.says
    }

    /// Its payload, for a caller that has verified it.
    pub fn into_says(self) -> S {
        self.says
    }

    /// SHA-256 of its payload. It identifies the statement, because signatures may be added.
    pub fn digest(&self) -> [u8; 32] {
        self.jws.digest()
    }

    /// The `kid`s under its signatures, all different, in the text's order.
    pub fn claimed_signers(&self) -> impl Iterator<Item = &str> {
        self.jws.signers()
    }

    /// Refuses a statement that is for another deployment.
    ///
    /// # Errors
    /// [`Statement::CODE`].
    pub fn is_for(&self, deployment: &Id) -> Result<(), Refusal> {
        if self.says.deployment() == deployment {
            Ok(())
        } else {
            Err(S::refuse(format!("{} is for another deployment", S::NAME)))
        }
    }

    /// Verifies every signature. `signer` returns the signer's record and key for a `kid`.
    pub fn signatures<'k, P>(
        &self,
        signer: impl Fn(&str) -> Option<(P, &'k VerifyingKey)>,
    ) -> SignatureCheck<P> {
        SignatureCheck::of(&self.jws, signer)
    }

    /// The statement with the persons who signed it, if every signature is good.
    ///
    /// # Errors
    /// The first bad signature.
    pub fn signed<P>(self, signatures: SignatureCheck<P>) -> Result<Signed<S, P>, BadSignature> {
        let persons = signatures.all_good()?;
        Ok(Signed {
            digest: self.jws.digest(),
            text: self.jws.to_text(),
            says: self.says,
            persons,
            only_here: (),
        })
    }

    /// Verifies that it is for this deployment and that at least `need` persons signed it. `signer`
    /// is as for [`UnverifiedStatement::signatures`]; `office` says in words what every signer must
    /// be, such as `an operator with a key`. One bad signature makes the statement invalid, even if
    /// the others would suffice.
    ///
    /// # Errors
    /// [`Statement::CODE`], saying what does not fit.
    pub fn verify<'k, P>(
        self,
        deployment: &Id,
        need: usize,
        office: &str,
        signer: impl Fn(&str) -> Option<(P, &'k VerifyingKey)>,
    ) -> Result<Signed<S, P>, Refusal> {
        self.is_for(deployment)?;
        let signatures = self.signatures(signer);
        let bad = |_| {
            S::refuse(format!(
                "a signature does not verify, or its signer is not {office}"
            ))
        };
        let signed = self.signed(signatures).map_err(bad)?;
        let have = signed.persons.len();
        if have < need {
            return Err(S::refuse(format!(
                "{have} of {need} signatures are there: every signer must be {office}"
            )));
        }
        Ok(signed)
    }
}

/// A statement whose signatures are all good. Only this room can make one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::manual_non_exhaustive,
    reason = "no other room of this crate makes one, either"
)]
pub struct Signed<S, P> {
    /// Its payload.
    pub says: S,
    /// SHA-256 of its payload, 32 bytes.
    pub digest: [u8; 32],
    /// The text in its one canonical spelling, to be stored and sent on.
    pub text: String,
    /// The record of each person who signed, in the order of their first signatures.
    pub persons: Vec<P>,
    only_here: (),
}

fn envelope<S: Statement>(text: &str) -> Result<UnverifiedJws, Refusal> {
    if text.len() > S::MAX_TEXT {
        return Err(S::refuse(format!(
            "{} is longer than {} KiB",
            S::NAME,
            S::MAX_TEXT >> 10
        )));
    }
    jws::parse(text, S::TYP).map_err(|error| StatementFault::from(error).refusal::<S>())
}

/// Reads a text without verifying signatures: to show it, or if it was verified before.
///
/// # Errors
/// As [`UnverifiedStatement::read`].
pub fn read_unverified<S: Statement>(text: &str) -> Result<S, Refusal> {
    Ok(UnverifiedStatement::read(text)?.says)
}

/// SHA-256 of the payload of a statement. The payload's members are not checked.
///
/// # Errors
/// [`Statement::CODE`] if the text is too long, not of the strict form, or of another kind.
pub fn digest_of<S: Statement>(text: &str) -> Result<[u8; 32], Refusal> {
    Ok(envelope::<S>(text)?.digest())
}

/// The text of a statement with one more signature, by `kid`.
///
/// # Errors
/// [`Statement::CODE`] if the text is not a statement of this kind, `kid` is not an id, or `kid`
/// signed it already.
pub fn sign<S: Statement>(text: &str, kid: &str, key: &SigningKey) -> Result<String, Refusal> {
    UnverifiedStatement::<S>::read(text)?;
    jws::add_signature(text, S::TYP, kid, key)
        .map_err(|error| StatementFault::from(error).refusal::<S>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize)]
    struct Sample {
        aud: Id,
    }

    impl Statement for Sample {
        const TYP: &'static str = "cloison-sample+json";
        const NAME: &'static str = "the sample";
        const CODE: Code = Code::StatementInvalid;
        const MAX_TEXT: usize = 1 << 10;

        fn take(members: &mut JsonObject) -> Result<Self, StatementFault> {
            Ok(Self {
                aud: members.id("aud")?,
            })
        }

        fn deployment(&self) -> &Id {
            &self.aud
        }
    }

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    /// Verifies a sample with signatures of `signers`. Each has its own key, but `twin` has that of
    /// `one`.
    fn verify(signers: &[&str], deployment: &str) -> Result<Vec<String>, Refusal> {
        let keys = [("one", 1), ("twin", 1), ("two", 2)].map(|(kid, seed)| (kid, key(seed)));
        let publics = keys
            .each_ref()
            .map(|(kid, key)| (*kid, key.verifying_key()));
        let draft = Sample {
            aud: Id::parse("demo").unwrap(),
        }
        .draft()
        .unwrap();
        let text = signers.iter().fold(draft, |text, kid| {
            let known = keys
                .iter()
                .find(|(known, _)| known == kid)
                .map(|(_, key)| key.clone());
            sign::<Sample>(&text, kid, &known.unwrap_or_else(|| key(9))).unwrap()
        });
        let signer = |kid: &str| {
            publics
                .iter()
                .find(|(known, _)| *known == kid)
                .map(|(kid, key)| (kid.to_string(), key))
        };
        let sample = UnverifiedStatement::<Sample>::read(&text)?;
        Ok(sample
            .verify(&Id::parse(deployment).unwrap(), 2, "a signer", signer)?
            .persons)
    }

    #[test]
    fn enough_persons_sign_for_one_deployment_and_nobody_unknown_beside_them() {
        assert_eq!(verify(&["two", "one"], "demo").unwrap(), ["two", "one"]);
        for (signers, deployment) in [
            (&["one", "two"][..], "other"),
            (&["one"], "demo"),
            (&["one", "twin"], "demo"),
            (&["one", "two", "x"], "demo"),
        ] {
            assert_eq!(
                verify(signers, deployment).unwrap_err().code(),
                Code::StatementInvalid,
                "{signers:?}"
            );
        }
    }

    #[test]
    fn a_text_is_short_and_of_its_kind_and_says_nothing_more() {
        let refused = |text: &str| {
            UnverifiedStatement::<Sample>::read(text)
                .unwrap_err()
                .to_string()
        };
        let good = jws::draft(br#"{"aud":"demo"}"#);
        assert_eq!(
            read_unverified::<Sample>(&good).unwrap().aud.as_str(),
            "demo"
        );
        assert!(refused(&(good.clone() + &" ".repeat(1 << 10))).contains("longer than 1 KiB"));
        assert!(refused(&jws::draft(br#"{"aud":"demo","more":1}"#)).contains("has no place there"));
        assert!(refused(&jws::draft(br#"{"aud":"De mo"}"#)).contains("`aud`"));
        let other = jws::add_signature(&good, "cloison-other+json", "one", &key(1)).unwrap();
        assert!(refused(&other).contains("`typ`"));
    }
}
