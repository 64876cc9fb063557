//! The one place where failures become responses: a status and an OCI error body, or the upstream's own refusal.

use std::time::Duration;

use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, Response, StatusCode};

use super::failure::FailureReason;
use super::respond::without_body;
use super::route::RouteError;
use super::write::WriteError;
use crate::http::body::Body;
use crate::oci::{Code, OciError};
use crate::referrers::ResolveError;
use crate::registry::{Refusal, RegistryResponse, UpstreamError};
use crate::render::QueryError;

/// Seconds after which a question that found the queue full may be asked again.
const BUSY_FOR: u64 = 5;

/// Why a request is not answered as asked.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum ProxyError {
    /// The upstream's refusal of something that refshim asked; relayed byte for byte where it is about access.
    #[error("the registry refuses (HTTP {})", .0.status)]
    Refused(Box<Refusal>),
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    #[error(transparent)]
    Route(#[from] RouteError),
    #[error(transparent)]
    Query(#[from] QueryError),
    #[error(transparent)]
    Oci(#[from] OciError),
}

impl From<ResolveError> for ProxyError {
    fn from(error: ResolveError) -> Self {
        match error {
            ResolveError::Refused(refusal) => Self::Refused(refusal),
            ResolveError::Upstream(error) => Self::Upstream(error),
        }
    }
}

impl From<WriteError> for ProxyError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Refused(refusal) => Self::Refused(refusal),
            WriteError::Upstream(error) => Self::Upstream(error),
            WriteError::Oci(error) => Self::Oci(error),
            WriteError::Untouched(error) => Self::from(*error),
        }
    }
}

impl From<Refusal> for ProxyError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(Box::new(refusal))
    }
}

impl ProxyError {
    /// 404 `MANIFEST_UNKNOWN`.
    pub(super) fn manifest_unknown(reference: &crate::oci::Reference) -> Self {
        let message = format!("the registry has no manifest {reference} here");
        Self::Oci(OciError::not_found(Code::ManifestUnknown, message))
    }

    /// 503 for want of memory.
    pub(super) fn no_room() -> Self {
        Self::busy("too many large answers or manifests are on their way; try again in a moment")
    }

    /// 503: there is too much of something at once.
    pub(super) fn busy(message: &str) -> Self {
        Self::Oci(OciError {
            retry_after: Some(1),
            ..OciError::new(StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable, message)
        })
    }

    /// 504 for want of time.
    pub(super) fn late(limit: Duration) -> Self {
        let limit = humantime::format_duration(limit);
        let message = format!("there was no answer within {limit}; ask again");
        Self::Oci(OciError::new(StatusCode::GATEWAY_TIMEOUT, Code::Unavailable, message))
    }

    /// Whether the registry gave no answer of its own, so that what is known may be given instead.
    pub(super) fn is_outage(&self) -> bool {
        matches!(self, Self::Upstream(error) if error.is_outage())
    }

    /// 500: a handler panicked.
    pub(super) fn panicked() -> Self {
        let message = "refshim made a mistake while answering; its log has the details";
        Self::Oci(OciError::new(StatusCode::INTERNAL_SERVER_ERROR, Code::Unknown, message))
    }

    /// The answer to a request by `method`: to HEAD without a body.
    pub(super) fn answer(self, method: &Method) -> Response<Body> {
        let response = self.into_response();
        match *method {
            Method::HEAD => without_body(response),
            _ => response,
        }
    }

    /// The answer to a GET: a relayed refusal, or an OCI error body.
    pub(super) fn into_response(self) -> Response<Body> {
        let (error, upstream) = match self {
            Self::Refused(refusal) if is_relayed(&refusal) => return relay((*refusal).into()),
            Self::Refused(refusal) => (refused_otherwise(&refusal), None),
            Self::Upstream(error) => (upstream_error(&error), Some(error)),
            Self::Route(error) => (route_error(&error), None),
            Self::Query(error) => (
                OciError::bad_request(Code::PaginationNumberInvalid, error.to_string()),
                None,
            ),
            Self::Oci(error) => (error, None),
        };
        let mut response = print(&error);
        FailureReason::new(error.status, upstream.as_ref(), error.message).put(&mut response);
        response
    }
}

/// 401 and 403, and ECR Public's 400 for an expired token.
fn is_relayed(refusal: &Refusal) -> bool {
    let is_of_token = || refusal.error().is_some_and(|stated| stated.states_refusal());
    refusal.is_about_access() || refusal.status == StatusCode::BAD_REQUEST && is_of_token()
}

/// 502. The caller asked nothing wrong, so the upstream's 4xx is not handed on: clients take 400 or 404 for "no referrers".
fn refused_otherwise(refusal: &Refusal) -> OciError {
    let codes = refusal.error().map(|stated| format!(" {stated}")).unwrap_or_default();
    let message = format!(
        "the registry refuses what refshim asks it for this answer (HTTP {}{codes})",
        refusal.status.as_u16()
    );
    OciError::new(StatusCode::BAD_GATEWAY, Code::Unavailable, message)
}

pub(super) fn relay(answer: RegistryResponse) -> Response<Body> {
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    response
}

fn upstream_error(error: &UpstreamError) -> OciError {
    let message = error.to_string();
    match error {
        UpstreamError::Limited { status, retry_after } => {
            let code = if *status == StatusCode::TOO_MANY_REQUESTS {
                Code::TooManyRequests
            } else {
                Code::Unavailable
            };
            OciError {
                retry_after: *retry_after,
                ..OciError::new(*status, code, message)
            }
        }
        UpstreamError::Paused { cause, seconds } => OciError {
            message,
            retry_after: Some(*seconds),
            ..upstream_error(cause)
        },
        UpstreamError::Busy => OciError {
            retry_after: Some(BUSY_FOR),
            ..OciError::new(StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable, message)
        },
        UpstreamError::StillListing { seconds, .. } | UpstreamError::StillSearching { seconds } => OciError {
            retry_after: Some(*seconds),
            ..OciError::new(StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable, message)
        },
        UpstreamError::Unfinished { .. } => OciError {
            retry_after: Some(1),
            ..OciError::new(StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable, message)
        },
        UpstreamError::Failed(status @ StatusCode::LOOP_DETECTED) => OciError::new(*status, Code::Unsupported, message),
        // Bodies that are passed on are uploads; manifests are read before they go anywhere.
        UpstreamError::CallersBody(_) => OciError::bad_request(Code::BlobUploadInvalid, message),
        UpstreamError::Timeout(_) => OciError::new(StatusCode::GATEWAY_TIMEOUT, Code::Unavailable, message),
        _ => OciError::new(StatusCode::BAD_GATEWAY, Code::Unavailable, message),
    }
}

fn route_error(error: &RouteError) -> OciError {
    let message = error.to_string();
    match error {
        RouteError::NotFound => OciError::not_found(Code::Unsupported, message),
        RouteError::ReadOnly => OciError::new(StatusCode::METHOD_NOT_ALLOWED, Code::Unsupported, message),
        RouteError::Namespace(_) => OciError::not_found(Code::NameUnknown, message),
        RouteError::Method | RouteError::TransferCoding => {
            OciError::new(StatusCode::NOT_IMPLEMENTED, Code::Unsupported, message)
        }
        RouteError::Loop => OciError::new(StatusCode::LOOP_DETECTED, Code::Unsupported, message),
        RouteError::Host => OciError::bad_request(Code::Unsupported, message),
        RouteError::TwoNamespaces | RouteError::Path | RouteError::Name(_) => {
            OciError::bad_request(Code::NameInvalid, message)
        }
        RouteError::TargetBytes(_) => OciError::new(StatusCode::URI_TOO_LONG, Code::Unsupported, message),
        RouteError::HeaderCount(_) | RouteError::HeaderBytes(_) => {
            let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            OciError::new(status, Code::Unsupported, message)
        }
        RouteError::Digest(_) => OciError::bad_request(Code::DigestInvalid, message),
        RouteError::Tag(_) => OciError::bad_request(Code::TagInvalid, message),
    }
}

fn print(error: &OciError) -> Response<Body> {
    let mut response = Response::new(Body::from(error.body()));
    *response.status_mut() = error.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(seconds) = error.retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if error.status == StatusCode::UNAUTHORIZED {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"refshim\""));
    }
    if error.status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}

#[cfg(test)]
#[path = "error_tests.rs"]
mod tests;
