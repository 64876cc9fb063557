//! Small blobs, such as signatures and bundles, are remembered: a warm verification costs the upstream next to nothing.

use bytes::Bytes;
use http::header::RANGE;
use http::request::Parts;
use http::{Method, Response, StatusCode};
use http_body::Body as _;

use crate::http::body::Body;
use crate::http::tee::Tee;
use crate::metrics::{CacheUse, note_cache_use};
use crate::oci::{Digest, RepositoryName};
use crate::proxy::content_reads::ContentRead;
use crate::proxy::context::RequestContext;
use crate::proxy::error::ProxyError;
use crate::proxy::{memory, passthrough, read_access};
use crate::referrers::Known;
use crate::registry::is_encoded;

/// What is remembered of the blob that a GET asks for, for a caller who may read it. A HEAD always goes to the registry: by HEADs
/// clients learn what they must push.
pub(super) async fn known(
    context: &RequestContext<'_>,
    repository: &RepositoryName,
    digest: &Digest,
) -> Option<Known<Bytes>> {
    if !is_plain_get(&context.head) {
        return None;
    }
    note_cache_use(CacheUse::Miss);
    let caller = context.caller();
    context.backend.resolver.known_blob(repository, digest, &caller).await
}

/// What is remembered of the blob once another caller has read it, or this caller's own read of it.
pub(super) async fn known_or_begun(
    context: &RequestContext<'_>,
    repository: &RepositoryName,
    digest: &Digest,
) -> (Option<Known<Bytes>>, Option<ContentRead>) {
    let head = &context.head;
    if !is_plain_get(head) || !read_access::is_known_by_authorization(head) {
        return (None, None);
    }
    let read = context.backend.reads.begin(repository, digest, &context.caller()).await;
    // Also where nobody else reads: somebody may have just ended.
    (known(context, repository, digest).await, read)
}

/// An answer about a blob, and where it comes from.
pub(super) enum BlobAnswer {
    Registry(Response<Body>),
    Memory(Response<Body>),
}

/// Asks the registry for a blob; where that does not answer, or says that what is known is the same still, gives what is known.
pub(super) async fn ask(
    context: &RequestContext<'_>,
    body: Body,
    (repository, digest): (&RepositoryName, &Digest),
    known: &Known<Bytes>,
) -> Result<BlobAnswer, ProxyError> {
    let head = &context.head;
    let question = memory::conditional(head, Some(known));
    let response = match passthrough::forward_as(context, question.request, body).await {
        Ok(response) => response,
        Err(failure) if failure.is_outage() => {
            return Ok(BlobAnswer::Memory(memory::serve_stale_blob(known, digest, head)));
        }
        Err(failure) => return Err(failure),
    };
    Ok(match response.status() {
        StatusCode::NOT_MODIFIED if question.is_conditional => {
            let resolver = &context.backend.resolver;
            resolver.confirm_blob(repository, digest).await;
            if read_access::is_known_by_authorization(head) {
                resolver.allow_blobs(repository, &context.caller());
            }
            BlobAnswer::Memory(memory::serve_same_blob(known, digest, response.headers(), head))
        }
        status if memory::is_outage(status) => BlobAnswer::Memory(memory::serve_stale_blob(known, digest, head)),
        _ => BlobAnswer::Registry(response),
    })
}

/// Learns from the registry's answer: whether the blob is there, and a small one's content while it streams by, which ends a `read` of it.
pub(super) async fn learn(
    context: &RequestContext<'_>,
    repository: &RepositoryName,
    digest: Digest,
    response: Response<Body>,
    read: Option<ContentRead>,
) -> Response<Body> {
    let read = read.map(ContentRead::answered);
    let resolver = &context.backend.resolver;
    let caller = context.caller();
    let status = response.status();
    if is_given(&context.head, status) && read_access::is_known_by_authorization(&context.head) {
        resolver.allow_blobs(repository, &caller);
    }
    match (&context.head.method, status) {
        (&Method::DELETE, status) if may_be_deleted(status, || resolver.is_allowed(repository, &caller)) => {
            resolver.forget_blob(repository, &digest).await;
        }
        (&Method::HEAD, StatusCode::OK) | (&Method::GET, StatusCode::NOT_MODIFIED) => {
            resolver.confirm_blob(repository, &digest).await;
        }
        (&Method::GET | &Method::HEAD, status) => {
            if is_withheld(&response) && read_access::is_known_by_authorization(&context.head) {
                resolver.withheld_blob(repository, &digest, &caller).await;
            }
            if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
                read_access::was_refused(context, repository, &caller).await;
            }
        }
        _ => {}
    }
    let small = response
        .body()
        .size_hint()
        .exact()
        .is_some_and(|length| length <= context.backend.shared.small_blob);
    let whole = is_plain_get(&context.head) && status == StatusCode::OK;
    if !whole || !small || is_encoded(response.headers()) {
        return response;
    }
    let (resolver, repository) = (resolver.clone(), repository.clone());
    let limit = usize::try_from(context.backend.shared.small_blob).unwrap_or(usize::MAX);
    let headers = memory::sent_with_content(response.headers(), &context.head);
    response.map(|body| {
        Body::stream(Tee::new(body, limit, move |bytes| {
            tokio::spawn(async move {
                if digest.matches(&bytes) == Some(true) {
                    resolver.remember_blob(&repository, &digest, bytes, headers).await;
                }
                drop(read);
            });
        }))
    })
}

/// Whether the registry itself gives the blob. Where it sends callers elsewhere, nobody here knows what they get there.
fn is_given(request: &Parts, status: StatusCode) -> bool {
    request.method == Method::GET && matches!(status.as_u16(), 200 | 206 | 304)
}

/// Whether the registry says that it does not give the blob.
fn is_withheld(response: &Response<Body>) -> bool {
    match response.status() {
        StatusCode::NOT_FOUND => memory::states_absence(response),
        StatusCode::RANGE_NOT_SATISFIABLE => false,
        status => status.is_client_error() && !memory::is_outage(status),
    }
}

/// Whether a deletion that was answered so may have deleted something. Whoever may not even read takes nothing from those who do.
fn may_be_deleted(status: StatusCode, is_allowed: impl FnOnce() -> bool) -> bool {
    match status.as_u16() {
        401 | 403 | 404 | 405 | 429 => false,
        500.. => is_allowed(),
        _ => true,
    }
}

fn is_plain_get(request: &Parts) -> bool {
    request.method == Method::GET && !request.headers.contains_key(RANGE)
}
