//! Proposal A and ORAS: a page of `{"referrers": […]}`.

use http::request::Parts;
use http::{HeaderName, HeaderValue, Response};

use crate::http::body::Body;
use crate::oci::{Digest, RepositoryName};
use crate::proxy::backend::Backend;
use crate::proxy::error::ProxyError;
use crate::proxy::peer::callers_origin;
use crate::proxy::respond::LocalResponse;
use crate::render::proposal_a::{self, Shape};
use crate::render::{Filter, Query, Window, next_link};

/// Every answer, errors too, says which version of the API spoke.
pub(in crate::proxy) async fn list_proposal_a(
    backend: &Backend,
    request: &Parts,
    shape: Shape,
    repository: &RepositoryName,
    subject: &Digest,
) -> Response<Body> {
    let answer = list(backend, request, shape, repository, subject).await;
    let mut response = answer.unwrap_or_else(|failure| backend.fail(failure, request));
    let (name, value) = shape.version_header();
    response
        .headers_mut()
        .insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    response
}

async fn list(
    backend: &Backend,
    request: &Parts,
    shape: Shape,
    repository: &RepositoryName,
    subject: &Digest,
) -> Result<Response<Body>, ProxyError> {
    let query = Query::parse(request.uri.query());
    let filter = Filter::from_query(&query);
    let window = Window::from_query(shape.api(), subject, &filter, &query)?;
    let caller = backend.caller(request);
    let resolved = backend.resolver.resolve(repository, subject, &caller).await?;
    let page = proposal_a::print(shape, &resolved.links, &filter, &window);
    let next = page.next.map(|token| {
        // The proposal wants an absolute URL; without a host to build it from, a path is what is left.
        let origin = callers_origin(request, backend.shared.server.public_url.as_ref()).unwrap_or_default();
        next_link(&origin, request.uri.path(), &query, &token)
    });
    let answer = LocalResponse::new(proposal_a::CONTENT_TYPE, page.body)
        .link(next)
        .made_of(&resolved);
    Ok(answer.respond(request))
}
