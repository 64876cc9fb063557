//! One read of refshim's own, and the redirects that it follows.

use http::header::{CONTENT_ENCODING, LOCATION};
use http::{HeaderValue, Method, Response, StatusCode, Uri};

use crate::registry::caller::Caller;
use crate::registry::classify::is_redirect;
use crate::registry::counts::RequestKind;
use crate::registry::error::UpstreamError;
use crate::registry::origin::{Origin, resolve};
use crate::registry::transport::idle_timeout::IdleBody;

/// Redirects that a read follows; more are a loop.
pub(in crate::registry) const MOST_HOPS: usize = 5;

/// Which redirects are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::registry) enum Redirects {
    /// On the upstream's own origin; others are the answer.
    Own,
    /// Only from one place of the referrers API to another, on other hosts as with [`Redirects::Elsewhere`]: GHCR sends whoever
    /// asks for referrers to a page of its web site.
    OwnApi,
    /// To other hosts too, without credentials, under the policy.
    Elsewhere,
}

/// A read.
#[derive(Debug)]
pub(in crate::registry) struct ReadRequest<'a> {
    pub(in crate::registry) kind: RequestKind,
    pub(in crate::registry) method: Method,
    pub(in crate::registry) uri: Uri,
    pub(in crate::registry) accept: &'static str,
    pub(in crate::registry) redirects: Redirects,
    pub(in crate::registry) caller: &'a Caller,
}

impl ReadRequest<'_> {
    /// A manifest or blob that is too large is a fault of that content alone, anything else one of the registry.
    pub(super) fn too_large(&self, limit: usize) -> UpstreamError {
        let reason = format!("it is larger than {limit} bytes");
        match self.kind {
            RequestKind::Manifest | RequestKind::Blob => UpstreamError::Content(reason),
            _ => UpstreamError::Invalid(reason),
        }
    }

    /// Lists are read as text. Content that is checked against a digest may be stored encoded, which is no matter of transport.
    pub(super) fn check_encoding(&self, response: &Response<IdleBody>) -> Result<(), UpstreamError> {
        let is_list = matches!(self.kind, RequestKind::Tags | RequestKind::Referrers);
        let encoding = response.headers().get(CONTENT_ENCODING).map(HeaderValue::as_bytes);
        match encoding {
            Some(encoding) if is_list && !encoding.eq_ignore_ascii_case(b"identity") => {
                let encoding = String::from_utf8_lossy(&encoding[..encoding.len().min(20)]).into_owned();
                let path = self.uri.path();
                let reason = format!("a list encoded as '{encoding}', which was not asked for, for {path}");
                Err(UpstreamError::Invalid(reason))
            }
            _ => Ok(()),
        }
    }

    /// Whether a status of another host may say what the upstream's own would: behind a front that only redirects
    /// (registry.k8s.io), that host is the registry. Of storage, which holds blobs, a 404 says that a link there was wrong, and a
    /// refusal elsewhere is none of the caller's credentials.
    pub(super) fn may_be_judged_at(&self, status: StatusCode) -> bool {
        match self.kind {
            RequestKind::Manifest | RequestKind::ManifestHead => status == StatusCode::NOT_FOUND,
            // `n` and `last` may be refused.
            RequestKind::Tags => matches!(status.as_u16(), 400 | 404 | 405),
            RequestKind::Referrers => matches!(status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED),
            _ => false,
        }
    }

    /// Where to go instead of `uri`, which answered with `response`; `None` when that is the answer.
    pub(super) fn redirect(&self, response: &Response<IdleBody>, uri: &Uri, origin: &Origin) -> Option<Uri> {
        if !is_redirect(response.status()) {
            return None;
        }
        let location = response.headers().get(LOCATION)?.to_str().ok()?;
        let target = resolve(uri, location)?;
        let follows = match (self.redirects, origin.holds(&target)) {
            (Redirects::Own | Redirects::Elsewhere, true) => true,
            (Redirects::OwnApi, true) => origin.is_api(&target),
            (Redirects::Own, false) => false,
            (Redirects::OwnApi, false) => is_referrers_path(target.path()),
            (Redirects::Elsewhere, false) => true,
        };
        follows.then_some(target)
    }

    /// Whether searches learn from it how the upstream is doing. Blobs are often kept elsewhere.
    pub(super) fn tells(&self) -> bool {
        self.caller.searches() && self.kind != RequestKind::Blob
    }
}

/// Whether a path on another host is that of a referrers API.
fn is_referrers_path(path: &str) -> bool {
    path.starts_with("/v2/") && path.contains("/referrers/")
}
