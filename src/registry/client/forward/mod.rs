//! Pass-through: a caller's request as it is, to the upstream, and the answer back. Streams both ways.

mod blob_redirect;

use futures_util::{StreamExt as _, stream};
use http::header::{CONTENT_LENGTH, EXPECT, FORWARDED, HOST, HeaderName, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::{Body as _, Frame};
use http_body_util::{BodyStream, StreamBody};

use crate::http::body::Body;
use crate::http::collect;
use crate::registry::caller::Caller;
use crate::registry::client::Upstream;
use crate::registry::counts::RequestKind;
use crate::registry::error::UpstreamError;
use crate::registry::retry::state_wait;
use crate::registry::transport::advice::expects_tls;
use crate::registry::transport::idle_timeout::IdleBody;

impl Upstream {
    /// Passes `request` on. Its URI is origin-form and stays byte-exact behind the upstream's own path prefix; hop-by-hop headers
    /// are gone already. A GET or HEAD without a body is tried again while no answer has begun. Where the configuration says
    /// so, a blob is fetched from where the upstream redirects to. Dropping the future or the body of the response cancels
    /// the request.
    pub async fn forward(&self, request: Request<Body>) -> Result<Response<Body>, UpstreamError> {
        self.forward_for(&Caller::anonymous(), request).await
    }

    /// The same on behalf of `caller`, who may be the account of `links.credentials`. Other callers' credentials are in the request.
    pub async fn forward_for(&self, caller: &Caller, request: Request<Body>) -> Result<Response<Body>, UpstreamError> {
        let (mut parts, body) = request.into_parts();
        parts.uri = self.origin().below(parts.uri.path_and_query())?;
        // ALPN decides what is spoken; how the caller spoke is no matter.
        parts.version = Version::HTTP_11;
        clean(&mut parts.headers);
        let idempotent = matches!(parts.method, Method::GET | Method::HEAD) && body.is_end_stream();
        if matches!(parts.method, Method::POST | Method::PUT | Method::PATCH) && body.is_end_stream() {
            // Over HTTP/2 an empty body needs no length; over HTTP/1.1 some servers insist (411).
            parts.headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        if !idempotent {
            let request = Request::from_parts(parts, body);
            let response = self
                .reader
                .transport()
                .send_for(caller, RequestKind::Forward, request)
                .await?;
            return relay_own(response).await;
        }
        let mut retry = self.reader.retry();
        loop {
            let mut again = Request::new(Body::empty());
            again.method_mut().clone_from(&parts.method);
            again.uri_mut().clone_from(&parts.uri);
            again.headers_mut().clone_from(&parts.headers);
            match self
                .reader
                .transport()
                .send_for(caller, RequestKind::Forward, again)
                .await
            {
                Err(error @ (UpstreamError::Connect(_) | UpstreamError::Broken(_))) => {
                    retry.after(error.into()).await?
                }
                Ok(response) if parts.uri.path().contains("/manifests/") => {
                    self.reader.saw_manifest(&parts.method, &response);
                    return relay_own(response).await;
                }
                Ok(response) if self.streams_blobs && blob_redirect::is_away(&parts, &response) => {
                    return Box::pin(self.fetch_stored(&parts, response)).await;
                }
                other => return relay_own(other?).await,
            }
        }
    }
}

/// The upstream gets its own `Host`, and nothing that would make it build URLs of the caller's view: those are rewritten here,
/// and Distribution believes `Forwarded` before all. `Expect` is met between the caller and refshim.
pub(super) fn clean(headers: &mut HeaderMap) {
    let forwarded = |name: &HeaderName| *name == FORWARDED || name.as_str().starts_with("x-forwarded-");
    let unwanted: Vec<HeaderName> = headers.keys().filter(|name| forwarded(name)).cloned().collect();
    for name in unwanted.iter().chain(&[HOST, EXPECT]) {
        headers.remove(name);
    }
}

fn relay_response(response: Response<IdleBody>) -> Response<Body> {
    let mut response = response.map(Body::stream);
    *response.version_mut() = Version::HTTP_11;
    response
}

/// Relays the registry's own answer. A 429 says in `Retry-After`, too, what its body begins with; a server that expects TLS is a
/// failure, which says what to change.
async fn relay_own(response: Response<IdleBody>) -> Result<Response<Body>, UpstreamError> {
    let is_read = match response.status() {
        StatusCode::BAD_REQUEST => true,
        StatusCode::TOO_MANY_REQUESTS => !response.headers().contains_key(RETRY_AFTER),
        _ => false,
    };
    if !is_read {
        return Ok(relay_response(response));
    }
    let (mut parts, mut body) = response.into_parts();
    parts.version = Version::HTTP_11;
    let Some(beginning) = collect::next_chunk(&mut body).await? else {
        return Ok(Response::from_parts(parts, Body::empty()));
    };
    if let Some(problem) = expects_tls(parts.status, &beginning) {
        return Err(problem);
    }
    state_wait(parts.status, &mut parts.headers, &beginning);
    let beginning = stream::iter([Ok(Frame::data(beginning))]);
    let whole = StreamBody::new(beginning.chain(BodyStream::new(body)));
    Ok(Response::from_parts(parts, Body::stream(whole)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_view_of_the_proxy_stays_here() {
        let mut headers = HeaderMap::new();
        for name in [
            "host",
            "forwarded",
            "x-forwarded-host",
            "X-Forwarded-Proto",
            "expect",
            "accept",
        ] {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), "x".parse().unwrap());
        }
        clean(&mut headers);
        assert_eq!(headers.keys().collect::<Vec<_>>(), ["accept"]);
    }
}
