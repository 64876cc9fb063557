//! Blobs that the sibling of a repository keeps (`links.repository`), for callers who ask for them in the repository: those that a manifest lists
//! to which a link leads.

use http::{Method, Response, StatusCode};

use super::transfer::transfer;
use crate::http::body::Body;
use crate::oci::{Digest, RepositoryName};
use crate::proxy::context::RequestContext;
use crate::proxy::error::ProxyError;
use crate::referrers::UnknownForm;
use crate::registry::{Sibling, UpstreamError};

/// A blob of which it is known that a link leads to it. `None` where the sibling does not give it: the registry's word about the repository itself
/// is next.
pub(super) async fn listed(
    context: &RequestContext<'_>,
    repository: &RepositoryName,
    digest: &Digest,
) -> Option<Response<Body>> {
    if !is_read(context) || context.backend.upstream.siblings().is_none() {
        return None;
    }
    let response = Box::pin(ask(context, repository, digest, UnknownForm::Leave)).await;
    let refused = |status: StatusCode| matches!(status.as_u16(), 401 | 403 | 404);
    response.ok().flatten().filter(|response| !refused(response.status()))
}

/// A blob that the registry says not to be in the repository. By a HEAD, clients ask whether they must push: nothing is searched for then.
pub(super) async fn found(
    context: &RequestContext<'_>,
    repository: &RepositoryName,
    digest: &Digest,
) -> Result<Option<Response<Body>>, ProxyError> {
    if context.head.method != Method::GET || context.backend.upstream.siblings().is_none() {
        return Ok(None);
    }
    Box::pin(ask(context, repository, digest, UnknownForm::Search)).await
}

async fn ask(
    context: &RequestContext<'_>,
    repository: &RepositoryName,
    digest: &Digest,
    unknown: UnknownForm,
) -> Result<Option<Response<Body>>, ProxyError> {
    let (resolver, caller) = (&context.backend.resolver, context.caller());
    let Some(sibling) = resolver.linked_blob(repository, digest, &caller, unknown).await? else {
        return Ok(None);
    };
    Ok(Some(given(context, &sibling, digest).await?))
}

async fn given(context: &RequestContext<'_>, sibling: &Sibling, digest: &Digest) -> Result<Response<Body>, ProxyError> {
    let path = format!("/v2/{}/blobs/{digest}", sibling.repository);
    let beside = context
        .in_sibling(sibling, &path)
        .map_err(|error| UpstreamError::Invalid(error.to_string()))?;
    Box::pin(transfer(&beside, Body::empty(), Some(&sibling.repository))).await
}

fn is_read(context: &RequestContext<'_>) -> bool {
    matches!(context.head.method, Method::GET | Method::HEAD)
}
