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
    /// A problem that its code says all about.
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

    /// Says after how many seconds to come back.
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
            status: status.as_u16(),
            code: self.code.as_str().into(),
            detail: self.detail,
        };
        // Texts and a number: nothing that could fail to serialize.
        let json = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = Response::new(Body::from(json));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(CONTENT));
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        if status == StatusCode::UNAUTHORIZED {
            // RFC 9110 §15.5.2 wants a challenge; what would help is a certificate that the
            // register knows.
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Certificate"));
        }
        response
    }
}

/// Answers what the router does not know, in the same form as everything else.
pub fn with_fallbacks(router: Router) -> Router {
    router
        .fallback(async || Problem::new(Code::NotFound))
        .method_not_allowed_fallback(async || Problem::new(Code::MethodNotAllowed))
}

/// Status and title of a code.
pub const fn facts(code: Code) -> (StatusCode, &'static str) {
    use StatusCode as S;
    match code {
        Code::MalformedBody => (S::BAD_REQUEST, "The body is not what this operation takes"),
        Code::UnsupportedMediaType => (
            S::UNSUPPORTED_MEDIA_TYPE,
            "This operation does not take that content type",
        ),
        Code::TooLarge => (S::PAYLOAD_TOO_LARGE, "The request is too large"),
        Code::RequestTimeout => (S::REQUEST_TIMEOUT, "The body did not arrive in time"),
        Code::EmptyBatch => (S::UNPROCESSABLE_ENTITY, "The batch is empty"),
        Code::BadParameter => (
            S::BAD_REQUEST,
            "A query parameter is unknown or has no such value",
        ),
        Code::NotFound => (S::NOT_FOUND, "There is nothing here"),
        Code::MethodNotAllowed => (S::METHOD_NOT_ALLOWED, "This method is not for this path"),

        Code::UnknownClient => (
            S::UNAUTHORIZED,
            "The register does not know this certificate's key",
        ),
        Code::Forbidden => (S::FORBIDDEN, "This client may not do this"),
        Code::BrowserRefused => (S::FORBIDDEN, "Nothing here is for web pages"),
        Code::UnknownSector => (S::NOT_FOUND, "There is no such sector for this client"),
        Code::UnknownScheme => (S::UNPROCESSABLE_ENTITY, "The sector takes no such scheme"),
        Code::UnknownPurpose => (
            S::UNPROCESSABLE_ENTITY,
            "The purpose is missing or not declared for this sector and client",
        ),
        Code::QuotaExceeded => (
            S::TOO_MANY_REQUESTS,
            "The organisation's quota of items is used up",
        ),
        Code::DomainClosed => (S::CONFLICT, "The epoch or period is not open"),
        Code::Irreversible => (S::CONFLICT, "The sector stores no mappings"),
        Code::EpochOpen => (S::CONFLICT, "The epoch is not closed"),
        Code::EpochRetired => (S::GONE, "The epoch was retired, and its mappings are gone"),
        Code::EpochNotCurrent => (S::CONFLICT, "The sector stands at another epoch"),
        Code::EpochOverlaps => (S::CONFLICT, "The epoch before still overlaps"),
        Code::EpochUnmigrated => (S::CONFLICT, "Mappings of the epoch were never migrated"),

        Code::IdentifierEmpty => (S::UNPROCESSABLE_ENTITY, "The identifier is empty"),
        Code::IdentifierTooLong => (S::UNPROCESSABLE_ENTITY, "The identifier is too long"),
        Code::IdentifierNotText => (S::UNPROCESSABLE_ENTITY, "The identifier is not a string"),
        Code::IdentifierNotUtf8 => (S::UNPROCESSABLE_ENTITY, "The identifier is not UTF-8"),
        Code::IdentifierControl => (
            S::UNPROCESSABLE_ENTITY,
            "The identifier has a control character",
        ),
        Code::IdentifierCharacter => (
            S::UNPROCESSABLE_ENTITY,
            "The identifier has a character that no identifier has",
        ),
        Code::IdentifierPattern => (
            S::UNPROCESSABLE_ENTITY,
            "The identifier does not have its scheme's form",
        ),
        Code::IdentifierCheckDigit => (
            S::UNPROCESSABLE_ENTITY,
            "The identifier's check digit is wrong",
        ),

        Code::PseudonymMalformed => (
            S::UNPROCESSABLE_ENTITY,
            "This is not a pseudonym of the sector",
        ),
        Code::PseudonymChecksum => (S::UNPROCESSABLE_ENTITY, "The pseudonym's checksum is wrong"),
        Code::PseudonymOtherSector => {
            (S::UNPROCESSABLE_ENTITY, "The pseudonym is another sector's")
        }
        Code::PseudonymUnknownEpoch => (
            S::UNPROCESSABLE_ENTITY,
            "The pseudonym is of an epoch that the sector does not have",
        ),
        Code::NoMapping => (S::NOT_FOUND, "There is no mapping for this pseudonym"),
        Code::MappingInvalid => (S::INTERNAL_SERVER_ERROR, "The mapping does not open"),

        Code::OrderMalformed => (S::BAD_REQUEST, "This is not an order"),
        Code::OrderSignature => (S::FORBIDDEN, "A signature of the order is not valid"),
        Code::OrderQuorum => (
            S::FORBIDDEN,
            "The order lacks signatures, or a second body's",
        ),
        Code::OrderAudience => (S::FORBIDDEN, "The order is for another deployment"),
        Code::OrderAuthority => (S::FORBIDDEN, "The authority is not competent here"),
        Code::OrderNotYetValid => (S::FORBIDDEN, "The order is not valid yet"),
        Code::OrderExpired => (S::FORBIDDEN, "The order is no longer valid"),
        Code::OrderConflict => (S::CONFLICT, "Another order was seen under this id"),
        Code::OrderRule => (S::FORBIDDEN, "The order breaks a rule of the register"),
        Code::RequestInvalid => (S::FORBIDDEN, "The officer's request is not valid"),
        Code::OutOfScope => (S::FORBIDDEN, "The order does not cover this"),
        Code::LimitReached => (S::FORBIDDEN, "The order's limit is reached"),
        Code::RegisterMismatch => (S::CONFLICT, "Vault and node hold different registers"),
        Code::OrderRevoked => (S::FORBIDDEN, "The order was revoked"),
        Code::OrderSuspended => (S::FORBIDDEN, "The order is suspended"),
        Code::UnknownOrder => (S::NOT_FOUND, "No order of that id was seen here"),
        Code::ActInvalid => (S::FORBIDDEN, "This is not a valid act upon an order"),
        Code::RequestReplayed => (S::CONFLICT, "This request was answered already"),
        Code::ReleaseRate => (
            S::TOO_MANY_REQUESTS,
            "The authority's releases within an hour are used up",
        ),
        Code::ActRate => (
            S::TOO_MANY_REQUESTS,
            "A signer has brought as many acts upon orders as one may in a day",
        ),
        Code::OutOfStep => (
            S::CONFLICT,
            "Vault and node do not have each other's acts upon orders",
        ),
        Code::NoDeliveryKey => (
            S::CONFLICT,
            "The register has no key to seal an answer to this officer",
        ),
        Code::NoMigrationKey => (
            S::CONFLICT,
            "The register has no key to seal the pairs of a migration to",
        ),

        Code::Sealed => (
            S::SERVICE_UNAVAILABLE,
            "The node is sealed and opens nothing",
        ),
        Code::ShareInvalid => (
            S::FORBIDDEN,
            "The share is not the one that was made for this custodian",
        ),
        Code::ShareForeign => (S::CONFLICT, "The share is of another set"),

        Code::InspectionInvalid => (
            S::FORBIDDEN,
            "This is not a decision on an inspection that can be taken here",
        ),
        Code::InspectionRequired => (S::FORBIDDEN, "No inspection opens this to this auditor now"),
        Code::UnknownInspection => (S::NOT_FOUND, "No inspection of that id was entered here"),
        Code::LookUpLimit => (
            S::TOO_MANY_REQUESTS,
            "The rights officer's look-ups of the day are used up",
        ),
        Code::RightsInvalid => (
            S::FORBIDDEN,
            "This is not what two rights officers of the sector signed",
        ),
        Code::StatementRequired => (
            S::FORBIDDEN,
            "This destroys, and takes a statement that others signed",
        ),
        Code::StatementInvalid => (
            S::FORBIDDEN,
            "This is not a statement that operators signed for exactly this",
        ),
        Code::UnknownSecret => (
            S::NOT_FOUND,
            "There is no such version of the sector secret",
        ),
        Code::SecretNeeded => (
            S::CONFLICT,
            "This version of the sector secret is still needed",
        ),
        Code::SecretReadOnly => (
            S::CONFLICT,
            "The vault cannot write where its sector secrets lie",
        ),
        Code::RecipientInvalid => (S::FORBIDDEN, "This is no recipient of that segment"),

        Code::Overloaded => (S::SERVICE_UNAVAILABLE, "Too much work is waiting"),
        Code::AuditUnavailable => (
            S::SERVICE_UNAVAILABLE,
            "Nothing can be logged now, so nothing is done",
        ),
        Code::PeerUnavailable => (S::BAD_GATEWAY, "The other entity does not answer rightly"),
        Code::ProofInvalid => (
            S::BAD_GATEWAY,
            "The other entity does not prove that it logged this",
        ),
        Code::CosignatureMissing => (
            S::SERVICE_UNAVAILABLE,
            "The other entity has not cosigned the log of late",
        ),
        Code::ClockBehind => (
            S::SERVICE_UNAVAILABLE,
            "The clock is behind what was already seen",
        ),
        Code::Internal => (S::INTERNAL_SERVER_ERROR, "A fault of ours"),
    }
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

    #[test]
    fn every_code_is_a_refusal_with_a_title_of_its_own() {
        let mut titles = std::collections::HashSet::new();
        for code in Code::ALL {
            let (status, title) = facts(*code);
            assert!(
                status.is_client_error() || status.is_server_error(),
                "{code}"
            );
            assert!(titles.insert(title), "{code}");
        }
    }
}
