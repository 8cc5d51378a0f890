//! Refusals as RFC 9457 problem details. The one place that gives a [`Code`] its HTTP status and
//! title.

use std::borrow::Cow;
use std::collections::BTreeMap;

use axum::Router;
use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder, response};

use crate::code::Code;
use crate::refusal::Refusal;

/// The media type of a problem.
pub const CONTENT: &str = "application/problem+json";

/// A refused request.
#[derive(Debug, Clone)]
pub struct Problem {
    code: Code,
    detail: Option<Cow<'static, str>>,
    retry_after: Option<u32>,
}

impl Problem {
    /// A problem without a detail: its code says everything.
    pub const fn new(code: Code) -> Self {
        Self {
            code,
            detail: None,
            retry_after: None,
        }
    }

    /// Adds a sentence for people. It never holds an identifier, a pseudonym, or anything else from
    /// the request that says something about a person.
    pub fn detail(mut self, sentence: impl Into<Cow<'static, str>>) -> Self {
        self.detail = Some(sentence.into());
        self
    }

    /// Sets after how many seconds the client may try again.
    pub const fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// Its code.
    pub const fn code(&self) -> Code {
        self.code
    }
}

impl From<Code> for Problem {
    fn from(code: Code) -> Self {
        Self::new(code)
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let detail = refusal.why().map(|why| Cow::Owned(why.to_owned()));
        Self {
            code: refusal.code(),
            detail,
            retry_after: refusal.retry_after(),
        }
    }
}

/// The JSON of a problem (RFC 9457 §3.1, with the extension member `code`).
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ProblemBody<'a> {
    /// `urn:cloison:problem:<code>`
    #[serde(rename = "type")]
    pub kind: Cow<'a, str>,
    /// What the code means, in a few words.
    pub title: Cow<'a, str>,
    /// The HTTP status.
    pub status: u16,
    /// The stable code: what a program branches on.
    pub code: Cow<'a, str>,
    /// A sentence about this very case, if there is more to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Cow<'a, str>>,
}

/// How any operation may be refused, for its description.
impl utoipa::IntoResponses for Problem {
    fn responses() -> BTreeMap<String, RefOr<response::Response>> {
        let refused = |why: &str| {
            let body = ContentBuilder::new()
                .schema(Some(Ref::from_schema_name("ProblemBody")))
                .build();
            ResponseBuilder::new()
                .description(why)
                .content(CONTENT, body)
                .build()
                .into()
        };
        let all = [
            ("4XX", "Refused; `code` says why"),
            ("5XX", "Not now; `code` says why"),
        ];
        all.into_iter()
            .map(|(status, why)| (status.to_owned(), refused(why)))
            .collect()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response<Body> {
        let (status, title) = facts(self.code);
        let body = ProblemBody {
            kind: format!("urn:cloison:problem:{}", self.code).into(),
            title: title.into(),
            status,
            code: self.code.as_str().into(),
            detail: self.detail,
        };
        // Texts and a number: nothing that could fail to serialize.
        let json = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = Response::new(Body::from(json));
        // A test holds that each status of the table is one.
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(CONTENT));
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        if status == StatusCode::UNAUTHORIZED {
            // RFC 9110 §15.5.2 demands a challenge; the answer to it is a certificate that the
            // register knows.
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Certificate"));
        }
        response
    }
}

/// Answers unknown paths and methods in the same form as every other refusal.
pub fn with_fallbacks(router: Router) -> Router {
    router
        .fallback(async || Problem::new(Code::NotFound))
        .method_not_allowed_fallback(async || Problem::new(Code::MethodNotAllowed))
}

/// What a code means, in a few words.
pub const fn title(code: Code) -> &'static str {
    facts(code).1
}

/// Writes [`facts`] as a table, which the compiler holds to have a row for every code.
macro_rules! problems {
    ($($code:ident $status:literal $title:literal,)*) => {
        /// Status and title of a code.
        const fn facts(code: Code) -> (u16, &'static str) {
            match code { $(Code::$code => ($status, $title),)* }
        }
    };
}

problems! {
    MalformedBody         400 "The body does not have the form that this operation takes",
    UnsupportedMediaType  415 "This operation does not take that content type",
    TooLarge              413 "The request is too large",
    RequestTimeout        408 "The body did not arrive in time",
    EmptyBatch            422 "The batch is empty",
    BadParameter          400 "A query parameter is unknown, or its value is not valid",
    NotFound              404 "There is no such path",
    MethodNotAllowed      405 "This path does not take this method",


    UnknownClient         401 "The register does not know this certificate's key",
    KeyEnded              401 "The register's entry for this certificate's key has ended",
    Suspended             403 "The register's entry for this caller is suspended",
    Forbidden             403 "This client may not do this",
    BrowserRefused        403 "This server does not serve web pages",
    UnknownSector         404 "There is no such sector for this client",
    UnknownScheme         422 "The sector does not take this scheme",
    UnknownPurpose        422 "The purpose is missing or not declared for this sector and client",
    LogLimit              429 "No more of this log is taken today",
    QuotaExceeded         429 "The organisation's quota of items is used up",
    DomainClosed          409 "The epoch or period is not open",
    Irreversible          409 "The sector stores no mappings",
    EpochOpen             409 "The epoch is not closed",
    EpochRetired          410 "The epoch was retired, and its mappings are gone",
    EpochNotCurrent       409 "The sector is at another epoch",
    EpochOverlaps         409 "The previous epoch still overlaps",
    EpochUnmigrated       409 "Mappings of the epoch were never migrated",
    EpochUnconfirmed      503 "The vault was restored, and the sector's epoch is not confirmed yet",


    IdentifierEmpty       422 "The identifier is empty",
    IdentifierTooLong     422 "The identifier is too long",
    IdentifierNotText     422 "The identifier is not a string",
    IdentifierNotUtf8     422 "The identifier is not UTF-8",
    IdentifierControl     422 "The identifier has a control character",
    IdentifierCharacter   422 "The identifier has a character that no identifier has",
    IdentifierPattern     422 "The identifier does not have its scheme's form",
    IdentifierCheckDigit  422 "The identifier's check digit is wrong",


    PseudonymMalformed    422 "This is not a pseudonym of the sector",
    PseudonymChecksum     422 "The pseudonym's checksum is wrong",
    PseudonymOtherSector  422 "The pseudonym is another sector's",
    PseudonymUnknownEpoch 422 "The pseudonym is of an epoch that the sector does not have",
    NoMapping             404 "There is no mapping for this pseudonym",
    MappingInvalid        409 "The mapping does not open",


    OrderMalformed        400 "This is not an order",
    OrderSignature        403 "A signature of the order is not valid",
    OrderQuorum           403 "The order lacks signatures, or one from a second body",
    OrderAudience         403 "The order is for another deployment",
    OrderAuthority        403 "The authority is not competent here",
    OrderNotYetValid      403 "The order is not valid yet",
    OrderExpired          403 "The order is no longer valid",
    OrderConflict         409 "Another order was seen under this id",
    OrderRule             403 "The order breaks a rule of the register",
    RequestInvalid        403 "The officer's request is not valid",
    OutOfScope            403 "The order does not cover this",
    LimitReached          403 "The order's limit is reached",
    RegisterRefused       409 "The register that lies there cannot come into force",
    UnknownRegister       404 "No such register was in force here, or it was not kept",
    RegisterMismatch      409 "Vault and node hold different registers",
    WireVersion           409 "Vault and node are of versions that do not understand one another",
    OrderRevoked          403 "The order was revoked",
    OrderSuspended        403 "The order is suspended",
    OrderBeforeRestore    403 "The order was issued before a restore that lost what came after its backup",
    UnknownOrder          404 "No order of that id was seen here",
    ActInvalid            403 "This is not a valid act upon an order",
    RequestReplayed       409 "This request was answered already",
    ReleaseRate           429 "The authority's releases within an hour are used up",
    ActRate               429 "A signer's acts upon orders of the day are used up",
    OutOfStep             409 "Vault and node do not have each other's acts upon orders",
    NoDeliveryKey         409 "The register has no key to seal an answer to this officer",
    NoMigrationKey        409 "The register has no key to which pairs of a migration could be sealed",


    Sealed                503 "The node is sealed and opens nothing",
    ShareInvalid          403 "The share is not the one that was made for this custodian",
    ShareForeign          409 "The share is of another set",


    InspectionInvalid     403 "This is not a valid decision on an inspection",
    InspectionRequired    403 "No inspection opens this to this auditor now",
    UnknownInspection     404 "No inspection of that id was entered here",
    LookUpLimit           429 "The rights officer's look-ups of the day are used up",
    RightsInvalid         403 "This is not a request that two rights officers of the sector signed",
    StatementRequired     403 "This destroys data and needs a statement that operators signed",
    StatementInvalid      403 "The statement does not allow exactly this",
    UnknownSecret         404 "There is no such version of the sector secret",
    SecretNeeded          409 "This version of the sector secret is still needed",
    SecretUnconfirmed     409 "This version of the sector secret is not confirmed",
    SecretReadOnly        409 "The vault cannot write to the folder of its sector secrets",
    RecipientInvalid      403 "The segment has no such recipient",

    BackupRunning         409 "Another backup is being taken, verified or pruned",
    BackupUnavailable     503 "No backup can be taken or read now",
    BackupDamaged         409 "A backup is not good",
    UnknownBackup         404 "There is no such backup",

    Overloaded            503 "Too much work is waiting",
    AuditUnavailable      503 "Nothing can be logged now, so the request was not carried out",
    ErasuresMissing       503 "This side was restored, and lost erasures were not lodged again yet",
    JournalUnavailable    503 "Too few places off this machine hold the act yet",
    IdentityUnavailable   503 "No identity source answers",
    PeerUnavailable       502 "The other entity gave no valid answer",
    UnknownResume         404 "The vault's log shows no such entry",
    ProofInvalid          502 "The other entity did not prove that it logged this",
    CosignatureMissing    503 "The other entity has not cosigned the log recently",
    ClockBehind           503 "The clock is behind a time that was already seen",
    Internal              500 "Internal error",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_rfc_9457() {
        let response = Problem::new(Code::Overloaded)
            .detail("at most 7")
            .retry_after(3)
            .into_response();
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        assert_eq!(response.headers()[RETRY_AFTER], "3");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let body = runtime
            .block_on(axum::body::to_bytes(response.into_body(), 1000))
            .unwrap();
        let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let wanted = serde_json::json!({"type": "urn:cloison:problem:overloaded", "title": "Too much work is waiting",
            "status": 503, "code": "overloaded", "detail": "at most 7"});
        assert_eq!(json, wanted);
    }

    /// What a caller can bring about is not a fault of the server.
    #[test]
    fn only_a_fault_of_ours_and_of_the_other_entity_is_5xx_and_not_503() {
        let faults = [Code::Internal, Code::PeerUnavailable, Code::ProofInvalid];
        for code in Code::ALL {
            let (status, _) = facts(*code);
            assert_eq!(
                status >= 500 && status != 503,
                faults.contains(code),
                "{code}"
            );
        }
    }

    #[test]
    fn every_code_is_a_refusal_with_a_title_of_its_own() {
        let mut titles = std::collections::HashSet::new();
        for code in Code::ALL {
            let (status, title) = facts(*code);
            assert!((400..600).contains(&status), "{code}");
            assert!(titles.insert(title), "{code}");
        }
    }
}
