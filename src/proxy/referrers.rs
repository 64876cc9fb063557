//! OCI 1.1: `GET /v2/<name>/referrers/<digest>`.

use http::Response;
use http::request::Parts;

use super::answer::Answered;
use super::backend::Backend;
use super::failure::Failure;
use super::synthesised;
use crate::body::Body;
use crate::dialect::page::Api;
use crate::dialect::{Filter, Query, Window, next_link, oci11};
use crate::oci::{Digest, RepositoryName};

pub(super) async fn answer(
    backend: &Backend,
    request: &Parts,
    repository: &RepositoryName,
    subject: &Digest,
) -> Result<Response<Body>, Failure> {
    let query = Query::parse(request.uri.query());
    let filter = Filter::from_query(&query);
    let window = Window::from_query(Api::Oci11, subject, &filter, &query)?;
    let caller = backend.caller(request);
    let resolved = backend.resolver.resolve(repository, subject, &caller).await?;
    let page = oci11::print(&resolved.links, &filter, &window);
    if !resolved.links.referrers.is_empty() {
        synthesised::remember(backend, repository, &page.body).await;
    }
    let next = page.next.map(|token| next_link("", request.uri.path(), &query, &token));
    let mut answer = Answered::new(oci11::CONTENT_TYPE, page.body)
        .link(next)
        .stale(resolved.stale);
    if !filter.is_empty() {
        answer = answer.header(oci11::FILTERS_APPLIED_HEADER, oci11::FILTERS_APPLIED);
    }
    Ok(answer.respond(request))
}
