//! Small blobs, such as signatures and bundles, are remembered: a warm verification costs the upstream next to nothing.

use http::header::{CONTENT_ENCODING, RANGE};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use http_body::Body as _;

use super::answer::Answered;
use super::backend::Backend;
use super::tee::Tee;
use crate::body::Body;
use crate::oci::{Digest, RepositoryName};

const CONTENT_TYPE: &str = "application/octet-stream";

/// The blob, where it is remembered and the caller may read it.
pub(super) async fn remembered(
    backend: &Backend,
    request: &Parts,
    repository: &RepositoryName,
    digest: &Digest,
) -> Option<Response<Body>> {
    if !is_plain_read(request) {
        return None;
    }
    let caller = backend.caller(request);
    let bytes = backend.resolver.remembered_blob(repository, digest, &caller).await?;
    Some(Answered::manifest(CONTENT_TYPE, digest, bytes).respond(request))
}

/// Learns from an answer: whether the caller may read, and a small blob's content while it streams by.
pub(super) async fn learn(
    backend: &Backend,
    request: &Parts,
    repository: &RepositoryName,
    digest: Digest,
    response: Response<Body>,
) -> Response<Body> {
    let resolver = &backend.resolver;
    let caller = backend.caller(request);
    match (&request.method, response.status()) {
        (&Method::DELETE, status) if may_be_deleted(status, || resolver.is_allowed(repository, &caller)) => {
            resolver.forget_blob(repository, &digest).await;
        }
        (&Method::GET | &Method::HEAD, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
            backend.was_refused(request, repository, &caller).await;
        }
        (&Method::GET | &Method::HEAD, StatusCode::OK) => backend.was_read(request, repository, &caller).await,
        _ => {}
    }
    let small = response
        .body()
        .size_hint()
        .exact()
        .is_some_and(|length| length <= backend.shared.small_blob);
    let encoded = response.headers().contains_key(CONTENT_ENCODING);
    let whole = request.method == Method::GET && is_plain_read(request) && response.status() == StatusCode::OK;
    if !whole || !small || encoded {
        return response;
    }
    let (resolver, repository) = (resolver.clone(), repository.clone());
    let limit = usize::try_from(backend.shared.small_blob).unwrap_or(usize::MAX);
    response.map(|body| {
        Body::stream(Tee::new(body, limit, move |bytes| {
            tokio::spawn(async move {
                if digest.matches(&bytes) == Some(true) {
                    resolver.remember_blob(&repository, &digest, bytes).await;
                }
            });
        }))
    })
}

/// Whether a deletion that was answered so may have deleted something. Whoever may not even read takes nothing from those who do.
fn may_be_deleted(status: StatusCode, is_allowed: impl FnOnce() -> bool) -> bool {
    match status.as_u16() {
        401 | 403 | 404 | 405 | 429 => false,
        500.. => is_allowed(),
        _ => true,
    }
}

fn is_plain_read(request: &Parts) -> bool {
    matches!(request.method, Method::GET | Method::HEAD) && !request.headers.contains_key(RANGE)
}
