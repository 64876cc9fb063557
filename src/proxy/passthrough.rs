//! Requests that are the upstream's business: streamed both ways, never held.

use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Request, Response, Uri};

use super::context::RequestContext;
use super::error::ProxyError;
use super::headers;
use crate::http::body::Body;

/// Passes the request on as it came, and its answer back.
pub(super) async fn forward(context: &RequestContext<'_>, body: Body) -> Result<Response<Body>, ProxyError> {
    forward_as(context, &context.head, body).await
}

/// Passes `head` on in place of the request's own, and the answer back.
pub(super) async fn forward_as(
    context: &RequestContext<'_>,
    head: &Parts,
    body: Body,
) -> Result<Response<Body>, ProxyError> {
    let mut onward = Request::new(body);
    *onward.method_mut() = head.method.clone();
    *onward.uri_mut() = origin_form(&head.uri);
    *onward.headers_mut() = head.headers.clone();
    headers::clean_request(onward.headers_mut());
    let mut response = context.backend.upstream.forward(onward).await?;
    context.adapt(response.headers_mut());
    Ok(response)
}

/// The target without scheme and host, byte for byte.
fn origin_form(uri: &Uri) -> Uri {
    let path = uri.path_and_query().cloned();
    Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")))
}
