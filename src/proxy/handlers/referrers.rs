//! OCI 1.1: `GET /v2/<name>/referrers/<digest>`.

use bytes::Bytes;
use http::{HeaderValue, Response};

use super::manifests::synthesised;
use crate::http::body::Body;
use crate::oci::{Digest, ReferrerList, RepositoryName};
use crate::proxy::context::RequestContext;
use crate::proxy::error::ProxyError;
use crate::proxy::respond::LocalResponse;
use crate::render::page::{MAX_BODY, PagedApi};
use crate::render::{Filter, Query, Window, next_link, oci11};

/// Checked when it is compiled rather than for every answer.
const CONTENT_TYPE: HeaderValue = HeaderValue::from_static(oci11::CONTENT_TYPE);
/// Lists up to this length are kept as they are printed.
const PRINTED_WHOLE: usize = 2000;

pub(in crate::proxy) async fn list_referrers(
    context: &RequestContext<'_>,
    repository: &RepositoryName,
    subject: &Digest,
) -> Result<Response<Body>, ProxyError> {
    let query = Query::parse(context.head.uri.query());
    let filter = Filter::from_query(&query);
    let window = Window::from_query(PagedApi::Oci11, subject, &filter, &query)?;
    let caller = context.caller();
    let resolved = context.backend.resolver.resolve(repository, subject, &caller).await?;
    let links = &resolved.links;
    let answer = match whole(links, &filter, &window) {
        Some((printed, is_new)) => {
            if is_new && !links.referrers.is_empty() {
                synthesised::remember(&context.backend.resolver, repository, subject, printed).await;
            }
            LocalResponse::known(CONTENT_TYPE, printed)
        }
        None => page(context, links, &query, &filter, &window),
    };
    Ok(answer.made_of(&resolved).respond(&context.head))
}

/// The whole list, the same for all who ask, where it fits on one page; and whether it was printed just now.
fn whole<'a>(links: &'a ReferrerList, filter: &Filter, window: &Window) -> Option<(&'a (Bytes, Digest), bool)> {
    if !filter.is_empty() || !window.is_first() || links.referrers.len() > PRINTED_WHOLE {
        return None;
    }
    let is_new = !links.printed.is_made();
    let printed = links.printed.once(|| oci11::print_whole(links));
    (printed.0.len() <= MAX_BODY).then_some((printed, is_new))
}

fn page(
    context: &RequestContext<'_>,
    links: &ReferrerList,
    query: &Query,
    filter: &Filter,
    window: &Window,
) -> LocalResponse {
    let page = oci11::print(links, filter, window);
    let next = page
        .next
        .map(|token| next_link("", context.head.uri.path(), query, &token));
    let answer = LocalResponse::new(oci11::CONTENT_TYPE, page.body).link(next);
    match filter.is_empty() {
        true => answer,
        false => answer.header(oci11::FILTERS_APPLIED_HEADER, oci11::FILTERS_APPLIED),
    }
}
