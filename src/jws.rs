//! Strict JWS General JSON (RFC 7515 §7.2.1): the form of orders, officers' requests and the
//! register's signatures.
//!
//! One payload, many Ed25519 signatures (RFC 8037, RFC 9864), so that any JOSE library can make or
//! check one. Where the RFC leaves a choice, this room accepts one form and refuses the others:
//! exactly the members `payload` and `signatures`, in each signature exactly `protected` and
//! `signature` (no unprotected `header`, not even an empty one), in each protected header exactly
//! `alg`, `kid` and `typ` (so no `crit`, `b64`, `jwk`, `x5c`, …), base64url in its one canonical
//! spelling, and no signer twice. Algorithm confusion is impossible, because the key's type decides
//! and the header may only agree.
//!
//! [`parse`] proves nothing about the signatures: it returns an [`UnverifiedJws`].
//! [`crate::statement`] verifies them and counts the persons behind them before anything acts on
//! the payload.

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};

use crate::json::{JsonFault, JsonObject};

/// The longest text that is read, in bytes.
pub const MAX_TEXT: usize = 1 << 20;
/// The most signatures in one text.
pub const MAX_SIGNATURES: usize = 32;
/// The longest protected header, in bytes of base64url.
const MAX_PROTECTED: usize = 512;

/// Why a text is not a JWS of the strict form. No variant holds a piece of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JwsError {
    /// Longer than [`MAX_TEXT`], or than a text of its type may be.
    #[error("longer than a text of its type may be (1 MiB, where nothing else is said)")]
    TooLarge,
    /// The text, its payload or a protected header is not the strict JSON that is expected there.
    #[error(transparent)]
    Json(#[from] JsonFault),
    /// Not base64url without padding in its one canonical spelling (RFC 7515 §2).
    #[error("member `{0}` is not canonical base64url without padding")]
    Base64(&'static str),
    /// `alg` is neither `EdDSA` nor `Ed25519`.
    #[error("`alg` must be EdDSA or Ed25519")]
    Algorithm,
    /// `typ` is of another kind.
    #[error("`typ` is not the expected one")]
    Type,
    /// `kid` is not an id.
    #[error("`kid` is not 1 to 64 of a-z, 0-9 and '-'")]
    KeyId,
    /// The signature does not have 64 bytes.
    #[error("a signature has 64 bytes")]
    SignatureLength,
    /// Two signatures by one `kid`.
    #[error("two signatures by one `kid`")]
    DuplicateSigner,
    /// More than [`MAX_SIGNATURES`].
    #[error("more than 32 signatures")]
    TooManySignatures,
}

/// A text of the strict form whose signatures are not verified.
pub struct UnverifiedJws {
    /// The payload as the text holds it, which is what signatures cover.
    encoded: String,
    payload: Vec<u8>,
    signatures: Vec<SignatureEntry>,
}

struct SignatureEntry {
    protected: String,
    kid: String,
    signature: [u8; 64],
}

impl fmt::Debug for UnverifiedJws {
    /// Shows who signed, but not the payload, because an order's payload may list pseudonyms.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnverifiedJws")
            .field("signers", &self.signers().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// Reads a JWS of type `typ`. It may have no signature at all: that is a draft.
///
/// The payload is JSON without duplicate members, too; read it with [`JsonObject::parse`].
///
/// # Errors
/// [`JwsError`] for everything that is not exactly the strict form.
pub fn parse(text: &str, typ: &str) -> Result<UnverifiedJws, JwsError> {
    parse_within(text, typ, MAX_TEXT)
}

/// The same for a kind of text that may be longer than [`MAX_TEXT`]: `longest` bytes.
///
/// # Errors
/// As [`parse`].
pub fn parse_within(text: &str, typ: &str, longest: usize) -> Result<UnverifiedJws, JwsError> {
    if text.len() > longest {
        return Err(JwsError::TooLarge);
    }
    let mut members = JsonObject::parse(text.as_bytes())?;
    let encoded = members.text("payload")?;
    let entries = members.objects("signatures")?;
    members.end()?;
    let payload = decode(&encoded, "payload")?;
    JsonObject::parse(&payload)?;
    if entries.len() > MAX_SIGNATURES {
        return Err(JwsError::TooManySignatures);
    }
    let mut signatures: Vec<SignatureEntry> = Vec::with_capacity(entries.len());
    for entry in entries {
        let entry = parse_entry(entry, typ)?;
        if signatures.iter().any(|earlier| earlier.kid == entry.kid) {
            return Err(JwsError::DuplicateSigner);
        }
        signatures.push(entry);
    }
    Ok(UnverifiedJws {
        encoded,
        payload,
        signatures,
    })
}

fn parse_entry(mut entry: JsonObject, typ: &str) -> Result<SignatureEntry, JwsError> {
    let protected = entry.text("protected")?;
    let signature = entry.text("signature")?;
    entry.end()?;
    if protected.len() > MAX_PROTECTED {
        return Err(JwsError::TooLarge);
    }
    let mut header = JsonObject::parse(&decode(&protected, "protected")?)?;
    let (alg, kid, said) = (
        header.text("alg")?,
        header.text("kid")?,
        header.text("typ")?,
    );
    header.end()?;
    if alg != "EdDSA" && alg != "Ed25519" {
        return Err(JwsError::Algorithm);
    }
    if said != typ {
        return Err(JwsError::Type);
    }
    if !is_key_id(&kid) {
        return Err(JwsError::KeyId);
    }
    let signature = decode(&signature, "signature")?
        .try_into()
        .map_err(|_| JwsError::SignatureLength)?;
    Ok(SignatureEntry {
        protected,
        kid,
        signature,
    })
}

fn is_key_id(kid: &str) -> bool {
    (1..=64).contains(&kid.len())
        && kid
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// `data_encoding` refuses padding, other alphabets, white space and trailing bits that are not
/// zero.
fn decode(text: &str, name: &'static str) -> Result<Vec<u8>, JwsError> {
    BASE64URL_NOPAD
        .decode(text.as_bytes())
        .map_err(|_| JwsError::Base64(name))
}

impl UnverifiedJws {
    /// The payload's bytes: one JSON object without duplicate members.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// SHA-256 of the payload's bytes. It identifies a statement, because signatures may be added.
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(&self.payload).into()
    }

    /// The `kid` of each signature, all different, in the text's order.
    pub fn signers(&self) -> impl Iterator<Item = &str> {
        self.signatures.iter().map(|entry| entry.kid.as_str())
    }

    /// Whether there is a signature by `kid` and it verifies under `key`, by the strict rules:
    /// neither a key nor a nonce point of small order, no second spelling of a signature.
    pub fn verify(&self, kid: &str, key: &VerifyingKey) -> bool {
        let Some(entry) = self.signatures.iter().find(|entry| entry.kid == kid) else {
            return false;
        };
        let input = signing_input(&entry.protected, &self.encoded);
        key.verify_strict(&input, &Signature::from_bytes(&entry.signature))
            .is_ok()
    }

    /// The text in its one canonical spelling, to be stored without white space and escapes.
    pub fn to_text(&self) -> String {
        // base64url needs no escape inside a JSON string.
        let entries: Vec<String> = (self.signatures.iter())
            .map(|entry| {
                let signature = BASE64URL_NOPAD.encode(&entry.signature);
                format!(
                    r#"{{"protected":"{}","signature":"{signature}"}}"#,
                    entry.protected
                )
            })
            .collect();
        format!(
            r#"{{"payload":"{}","signatures":[{}]}}"#,
            self.encoded,
            entries.join(",")
        )
    }
}

/// RFC 7515 §5.1, step 5: the ASCII bytes of `protected.payload`, both in base64url.
fn signing_input(protected: &str, payload: &str) -> Vec<u8> {
    [protected.as_bytes(), b".", payload.as_bytes()].concat()
}

/// An unsigned text over `payload`, to be signed with [`add_signature`].
pub fn draft(payload: &[u8]) -> String {
    UnverifiedJws {
        encoded: BASE64URL_NOPAD.encode(payload),
        payload: payload.to_vec(),
        signatures: Vec::new(),
    }
    .to_text()
}

/// The text with one more signature, by `kid`.
///
/// # Errors
/// [`JwsError`] if the text is not of the strict form and type, `kid` is not an id, or `kid` signed
/// it already.
pub fn add_signature(
    text: &str,
    typ: &str,
    kid: &str,
    key: &SigningKey,
) -> Result<String, JwsError> {
    add_signature_within(text, (typ, MAX_TEXT), kid, key)
}

/// The same for a type of text that may be longer than [`MAX_TEXT`]: so many bytes.
///
/// # Errors
/// As [`add_signature`].
pub fn add_signature_within(
    text: &str,
    (typ, longest): (&str, usize),
    kid: &str,
    key: &SigningKey,
) -> Result<String, JwsError> {
    let mut jws = parse_within(text, typ, longest)?;
    if !is_key_id(kid) {
        return Err(JwsError::KeyId);
    }
    if jws.signers().any(|signer| signer == kid) {
        return Err(JwsError::DuplicateSigner);
    }
    // `typ` is one of our own constants and `kid` an id: neither needs an escape.
    let header = format!(r#"{{"alg":"EdDSA","kid":"{kid}","typ":"{typ}"}}"#);
    let protected = BASE64URL_NOPAD.encode(header.as_bytes());
    let signature = key
        .sign(&signing_input(&protected, &jws.encoded))
        .to_bytes();
    jws.signatures.push(SignatureEntry {
        protected,
        kid: kid.to_owned(),
        signature,
    });
    let text = jws.to_text();
    // The result must read back.
    parse_within(&text, typ, longest)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYP: &str = "cloison-test+json";

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    fn signed() -> String {
        let text = add_signature(&draft(br#"{"a":"b"}"#), TYP, "one", &key(1)).unwrap();
        add_signature(&text, TYP, "two", &key(2)).unwrap()
    }

    /// A text with one signature, valid over the given header.
    fn with_header(header: &str) -> String {
        let (protected, payload) = (
            BASE64URL_NOPAD.encode(header.as_bytes()),
            BASE64URL_NOPAD.encode(b"{}"),
        );
        let signature =
            BASE64URL_NOPAD.encode(&key(1).sign(&signing_input(&protected, &payload)).to_bytes());
        format!(
            r#"{{"payload":"{payload}","signatures":[{{"protected":"{protected}","signature":"{signature}"}}]}}"#
        )
    }

    fn refusal(text: &str) -> JwsError {
        parse(text, TYP).expect_err("must be refused")
    }

    #[test]
    fn signed_texts_verify_under_the_right_key_only() {
        let jws = parse(&signed(), TYP).unwrap();
        assert_eq!(jws.signers().collect::<Vec<_>>(), ["one", "two"]);
        assert_eq!(jws.payload(), br#"{"a":"b"}"#);
        assert!(jws.verify("one", &key(1).verifying_key()));
        assert!(jws.verify("two", &key(2).verifying_key()));
        assert!(!jws.verify("one", &key(2).verifying_key()));
        assert!(!jws.verify("three", &key(1).verifying_key()));
        assert_eq!(
            add_signature(&signed(), TYP, "one", &key(3)),
            Err(JwsError::DuplicateSigner)
        );
    }

    fn assert_refused(headers: &[(&str, JwsError)]) {
        for (header, error) in headers {
            assert_eq!(refusal(&with_header(header)), *error, "{header}");
        }
    }

    #[test]
    fn a_header_has_exactly_three_members() {
        let good = r#"{"alg":"Ed25519","kid":"one","typ":"cloison-test+json"}"#;
        assert!(parse(&with_header(good), TYP).is_ok());
        assert_refused(&[
            (
                r#"{"alg":"EdDSA","kid":"one"}"#,
                JwsError::Json(JsonFault::Member {
                    name: "typ",
                    fault: "is missing",
                }),
            ),
            (
                r#"{"alg":"EdDSA","typ":"cloison-test+json"}"#,
                JwsError::Json(JsonFault::Member {
                    name: "kid",
                    fault: "is missing",
                }),
            ),
            (
                r#"{"alg":"EdDSA","kid":"one","typ":"cloison-test+json","crit":[]}"#,
                JwsError::Json(JsonFault::UnknownMember),
            ),
            (
                r#"{"alg":"EdDSA","kid":"one","typ":"cloison-test+json","jwk":{}}"#,
                JwsError::Json(JsonFault::UnknownMember),
            ),
            (
                r#"{"alg":"EdDSA","kid":"one","kid":"one","typ":"cloison-test+json"}"#,
                JwsError::Json(JsonFault::Text("a member appears twice")),
            ),
            (
                r#"["EdDSA","one","cloison-test+json"]"#,
                JwsError::Json(JsonFault::Text("no JSON object")),
            ),
        ]);
        let long = format!(
            r#"{{"alg":"EdDSA","kid":"one","typ":"{}"}}"#,
            "x".repeat(400)
        );
        assert_eq!(refusal(&with_header(&long)), JwsError::TooLarge);
    }

    #[test]
    fn a_header_names_ed25519_a_key_and_the_type() {
        assert_refused(&[
            (
                r#"{"alg":"none","kid":"one","typ":"cloison-test+json"}"#,
                JwsError::Algorithm,
            ),
            (
                r#"{"alg":"HS256","kid":"one","typ":"cloison-test+json"}"#,
                JwsError::Algorithm,
            ),
            (
                r#"{"alg":"eddsa","kid":"one","typ":"cloison-test+json"}"#,
                JwsError::Algorithm,
            ),
            (
                r#"{"alg":"Ed448","kid":"one","typ":"cloison-test+json"}"#,
                JwsError::Algorithm,
            ),
            (r#"{"alg":"EdDSA","kid":"one","typ":"JWT"}"#, JwsError::Type),
            (
                r#"{"alg":"EdDSA","kid":"One","typ":"cloison-test+json"}"#,
                JwsError::KeyId,
            ),
            (
                r#"{"alg":"EdDSA","kid":"","typ":"cloison-test+json"}"#,
                JwsError::KeyId,
            ),
        ]);
    }

    #[test]
    fn other_shapes_are_refused() {
        let good = signed();
        let compact = good.replace(r#""signatures":["#, r#""header":{},"signatures":["#);
        assert_eq!(refusal(&compact), JwsError::Json(JsonFault::UnknownMember));
        assert_eq!(
            refusal(&good.replacen(r#"{"protected""#, r#"{"header":{},"protected""#, 1)),
            JwsError::Json(JsonFault::UnknownMember)
        );
        assert_eq!(
            refusal(&good.replacen(r#"{"payload""#, r#"{"payload":"e30","payload""#, 1)),
            JwsError::Json(JsonFault::Text("a member appears twice"))
        );
        assert_eq!(refusal("a.b.c"), JwsError::Json(JsonFault::Text("no JSON")));
        assert_eq!(
            refusal(r#"["e30",[]]"#),
            JwsError::Json(JsonFault::Text("no JSON object"))
        );
        assert_eq!(
            refusal(r#"{"payload":"e30"}"#),
            JwsError::Json(JsonFault::Member {
                name: "signatures",
                fault: "is missing"
            })
        );
        assert_eq!(
            refusal(r#"{"payload":"e30","protected":"e30","signature":""}"#),
            JwsError::Json(JsonFault::Member {
                name: "signatures",
                fault: "is missing"
            })
        );
        assert_eq!(
            refusal(r#"{"payload":"e30=","signatures":[]}"#),
            JwsError::Base64("payload")
        );
        // `e31` has the same first two bytes as `e30` and a bit that is not used.
        assert_eq!(
            refusal(r#"{"payload":"e31","signatures":[]}"#),
            JwsError::Base64("payload")
        );
        assert_eq!(
            refusal(r#"{"payload":" e30","signatures":[]}"#),
            JwsError::Base64("payload")
        );
        assert_eq!(
            refusal(r#"{"payload":"","signatures":[]}"#),
            JwsError::Json(JsonFault::Text("no JSON"))
        );
        assert_eq!(
            refusal(&draft(br#"{"a":{"b":1,"b":1}}"#)),
            JwsError::Json(JsonFault::Text("a member appears twice"))
        );
        assert_eq!(
            refusal(&draft(b"[]")),
            JwsError::Json(JsonFault::Text("no JSON object"))
        );
        assert_eq!(refusal(&" ".repeat(MAX_TEXT + 1)), JwsError::TooLarge);
        let entry = &good[good.find(r#"{"protected""#).unwrap()..good.find("},{").unwrap() + 1];
        assert_eq!(
            refusal(&good.replacen("[{", &format!("[{entry},{{"), 1)),
            JwsError::DuplicateSigner
        );
    }

    #[test]
    fn an_unsigned_draft_is_parseable_and_proves_nothing() {
        let jws = parse(&draft(b"{}"), TYP).unwrap();
        assert_eq!(jws.signers().count(), 0);
        assert!(!jws.verify("one", &key(1).verifying_key()));
    }

    #[test]
    fn a_key_of_small_order_verifies_nothing() {
        // The neutral element as key, neutral R and s = 0 satisfy the plain equation for every
        // message.
        let mut point = [0; 32];
        point[0] = 1;
        let weak = VerifyingKey::from_bytes(&point).unwrap();
        let mut jws = parse(&signed(), TYP).unwrap();
        jws.signatures[0].signature = [0; 64];
        jws.signatures[0].signature[0] = 1;
        assert!(!jws.verify("one", &weak));
    }
}
