//! Proposal A and ORAS: a page of `{"referrers": […]}`.

use http::{HeaderName, HeaderValue, Response};

use crate::http::body::Body;
use crate::oci::{Digest, RepositoryName};
use crate::proxy::context::RequestContext;
use crate::proxy::error::ProxyError;
use crate::proxy::respond::LocalResponse;
use crate::render::proposal_a::{self, Shape};
use crate::render::{Filter, Query, Window, next_link};

/// Every answer, errors too, says which version of the API spoke.
pub(in crate::proxy) async fn list_proposal_a(
    context: &RequestContext<'_>,
    shape: Shape,
    repository: &RepositoryName,
    subject: &Digest,
) -> Response<Body> {
    let answer = list(context, shape, repository, subject).await;
    let mut response = answer.unwrap_or_else(|failure| context.failed(failure));
    let (name, value) = shape.version_header();
    response
        .headers_mut()
        .insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    response
}

async fn list(
    context: &RequestContext<'_>,
    shape: Shape,
    repository: &RepositoryName,
    subject: &Digest,
) -> Result<Response<Body>, ProxyError> {
    let query = Query::parse(context.head.uri.query());
    let filter = Filter::from_query(&query);
    let window = Window::from_query(shape.api(), subject, &filter, &query)?;
    let caller = context.caller();
    let resolved = context.backend.resolver.resolve(repository, subject, &caller).await?;
    let page = proposal_a::print(shape, &resolved.links, &filter, &window);
    let next = page.next.map(|token| {
        // The proposal wants an absolute URL; without a host to build it from, a path is what is left.
        let origin = context.origin().unwrap_or_default();
        next_link(&origin, context.head.uri.path(), &query, &token)
    });
    let answer = LocalResponse::new(proposal_a::CONTENT_TYPE, page.body)
        .link(next)
        .made_of(&resolved);
    Ok(answer.respond(&context.head))
}
