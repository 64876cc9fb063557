//! Requests that are the upstream's business: streamed both ways, never held.

use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Request, Response, Uri};

use super::context::RequestContext;
use super::error::ProxyError;
use super::failure::FailureReason;
use super::headers;
use crate::http::body::Body;

/// Passes the request on as it came, and its answer back.
pub(super) async fn forward(context: &RequestContext<'_>, body: Body) -> Result<Response<Body>, ProxyError> {
    let head = &context.head;
    pass(context, (head.method.clone(), &head.uri, head.headers.clone()), body).await
}

/// Passes `head` on in place of the request's own, and the answer back.
pub(super) async fn forward_as(
    context: &RequestContext<'_>,
    head: Parts,
    body: Body,
) -> Result<Response<Body>, ProxyError> {
    pass(context, (head.method, &head.uri, head.headers), body).await
}

async fn pass(
    context: &RequestContext<'_>,
    (method, uri, headers): (Method, &Uri, HeaderMap),
    body: Body,
) -> Result<Response<Body>, ProxyError> {
    let mut onward = Request::new(body);
    *onward.method_mut() = method;
    *onward.uri_mut() = origin_form(uri);
    *onward.headers_mut() = headers;
    headers::clean_request(onward.headers_mut());
    let upstream = &context.backend.upstream;
    let mut response = match &context.in_place_of_caller {
        None => upstream.forward(onward).await?,
        Some(other) => upstream.forward_for(other, onward).await?,
    };
    context.adapt(response.headers_mut());
    FailureReason::note_registrys_own(&mut response);
    Ok(response)
}

/// The target without scheme and host, byte for byte.
fn origin_form(uri: &Uri) -> Uri {
    let path = uri.path_and_query().cloned();
    Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")))
}
