//! OCI 1.1: `GET /v2/<name>/referrers/<digest>`.

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Response};

use super::answer::Answered;
use super::backend::Backend;
use super::failure::Failure;
use super::synthesised;
use crate::body::Body;
use crate::dialect::page::{Api, MAX_BODY};
use crate::dialect::{Filter, Query, Window, next_link, oci11};
use crate::oci::{Digest, Links, RepositoryName};

/// Checked when it is compiled rather than for every answer.
const CONTENT_TYPE: HeaderValue = HeaderValue::from_static(oci11::CONTENT_TYPE);
/// Lists up to this length are kept as they are printed.
const PRINTED_WHOLE: usize = 2000;

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
    let links = &resolved.links;
    let answer = match whole(links, &filter, &window) {
        Some((printed, is_new)) => {
            if is_new && !links.referrers.is_empty() {
                synthesised::remember(backend, repository, subject, printed).await;
            }
            Answered::known(CONTENT_TYPE, printed)
        }
        None => page(request, links, &query, &filter, &window),
    };
    Ok(answer.made_of(&resolved).respond(request))
}

/// The whole list, the same for all who ask, where it fits on one page; and whether it was printed just now.
fn whole<'a>(links: &'a Links, filter: &Filter, window: &Window) -> Option<(&'a (Bytes, Digest), bool)> {
    if !filter.is_empty() || !window.is_first() || links.referrers.len() > PRINTED_WHOLE {
        return None;
    }
    let is_new = !links.printed.is_made();
    let printed = links.printed.once(|| oci11::print_whole(links));
    (printed.0.len() <= MAX_BODY).then_some((printed, is_new))
}

fn page(request: &Parts, links: &Links, query: &Query, filter: &Filter, window: &Window) -> Answered {
    let page = oci11::print(links, filter, window);
    let next = page.next.map(|token| next_link("", request.uri.path(), query, &token));
    let answer = Answered::new(oci11::CONTENT_TYPE, page.body).link(next);
    match filter.is_empty() {
        true => answer,
        false => answer.header(oci11::FILTERS_APPLIED_HEADER, oci11::FILTERS_APPLIED),
    }
}
