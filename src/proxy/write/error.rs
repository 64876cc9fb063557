//! Why a write is not acknowledged.

use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};

use crate::oci::{Code, Digest, OciError, Tag};
use crate::referrers::ResolveError;
use crate::registry::{Refusal, UpstreamError};

use super::tag_parameters::joined;

#[derive(Clone, Debug, thiserror::Error)]
pub enum WriteError {
    /// The upstream's own refusal, relayed as it is.
    #[error("the registry refuses (HTTP {})", .0.status)]
    Refused(Box<Refusal>),
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    #[error(transparent)]
    Oci(#[from] OciError),
    /// The error in it, where it is certain that nothing was written.
    #[error(transparent)]
    Untouched(Box<Self>),
}

impl From<Refusal> for WriteError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(Box::new(refusal))
    }
}

impl WriteError {
    /// 400 `MANIFEST_INVALID` with the reason.
    pub(super) fn invalid(reason: impl Into<String>) -> Self {
        Self::Oci(OciError::bad_request(Code::ManifestInvalid, reason))
    }

    /// 400: the registry takes the manifest in an envelope only, which has another ETag than the caller knows.
    pub(super) fn envelope_has_no_conditions() -> Self {
        let message = "the registry takes this manifest only in an envelope of refshim's, so that a condition on it (If-Match and the \
                       like) cannot be checked; repeat the request without conditions";
        Self::Oci(OciError::bad_request(Code::Unsupported, message)).untouched()
    }

    /// 400: what would be deleted is the original of the adopted form that the caller knows, and has another ETag.
    pub(super) fn adopted_form_has_no_conditions(original: &Digest) -> Self {
        let message = format!(
            "the registry has this manifest as {original} only, so that a condition on it (If-Match and the like) cannot be checked; \
             repeat the request without conditions"
        );
        Self::Oci(OciError::bad_request(Code::Unsupported, message)).untouched()
    }

    /// 412: a caller's list of referrers lacks what is stored.
    pub(super) fn lost_update(tag: &Tag) -> Self {
        let message = format!("the list of referrers at {tag} has entries that the pushed one lacks; read it again");
        let error = OciError::new(StatusCode::PRECONDITION_FAILED, Code::ManifestInvalid, message);
        Self::Oci(error).untouched()
    }

    /// What keeps a write from being made that rests on what the registry holds.
    pub(super) fn of_reading(error: ResolveError) -> Self {
        match error {
            ResolveError::Refused(refusal) => Self::Refused(refusal),
            ResolveError::Upstream(error) => Self::Upstream(error),
        }
    }

    /// The same error, known to come before any write.
    pub(super) fn untouched(self) -> Self {
        Self::Untouched(Box::new(self))
    }

    /// The manifest is stored, but `what` makes it findable, at `tag`, is not.
    pub(super) fn not_linked(what: &str, tag: &Tag, cause: Self) -> Self {
        match cause {
            // Its own words are better.
            Self::Oci(_) => cause,
            cause => cause.after_storing(|reason| {
                format!("the manifest is stored but its {what} {tag} is not, so push it again: {reason}")
            }),
        }
    }

    /// The manifest is stored, and under the tags `written`, but not under `missing`.
    pub(super) fn not_tagged(written: &[&Tag], missing: &[&Tag], cause: Self) -> Self {
        let written = match written {
            [] => String::new(),
            tags => format!(" and tagged {},", joined(tags)),
        };
        let missing = joined(missing);
        cause.after_storing(|reason| {
            format!("the manifest is stored{written} but not tagged {missing}, so push it again: {reason}")
        })
    }

    /// What a push fails with whose manifest is stored; `message` makes it of the reason.
    pub(super) fn after_storing(self, message: impl FnOnce(&str) -> String) -> Self {
        let (status, code) = match &self {
            Self::Untouched(cause) => return cause.as_ref().clone().after_storing(message),
            Self::Oci(error) => (error.status, error.code),
            Self::Refused(refusal) if refusal.status.is_client_error() => with_code(refusal.status),
            Self::Upstream(UpstreamError::Limited { status, .. }) => with_code(*status),
            Self::Refused(_) | Self::Upstream(_) => with_code(StatusCode::BAD_GATEWAY),
        };
        let retry_after = match &self {
            Self::Upstream(UpstreamError::Limited { retry_after, .. }) => *retry_after,
            Self::Refused(refusal) => seconds_in(&refusal.headers),
            Self::Oci(error) => error.retry_after,
            Self::Upstream(_) | Self::Untouched(_) => None,
        };
        let reason = match &self {
            Self::Refused(refusal) => String::from_utf8_lossy(&refusal.body).chars().take(300).collect(),
            other => other.to_string(),
        };
        Self::Oci(OciError {
            retry_after,
            ..OciError::new(status, code, message(&reason))
        })
    }
}

/// The code that goes with a `status`.
fn with_code(status: StatusCode) -> (StatusCode, Code) {
    let code = match status {
        StatusCode::UNAUTHORIZED => Code::Unauthorized,
        StatusCode::FORBIDDEN => Code::Denied,
        StatusCode::TOO_MANY_REQUESTS => Code::TooManyRequests,
        s if s.is_client_error() => Code::ManifestInvalid,
        _ => Code::Unavailable,
    };
    (status, code)
}

/// `Retry-After`, where it is a number.
fn seconds_in(headers: &HeaderMap) -> Option<u64> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()
}
