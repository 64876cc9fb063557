//! Requests that are the upstream's business: streamed both ways, never held.

use http::header::{LINK, LOCATION, WWW_AUTHENTICATE};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Request, Response, Uri};

use super::backend::Backend;
use super::error::ProxyError;
use super::peer::callers_origin;
use super::upstream_view::UpstreamView;
use super::{headers, realm};
use crate::http::body::Body;
use crate::registry::Caller;

/// Largest answer to the ping that is read for its challenge.
const PING_LIMIT: usize = 64 * 1024;

/// Passes a request on and its answer back.
pub(super) async fn forward(backend: &Backend, request: &Parts, body: Body) -> Result<Response<Body>, ProxyError> {
    let mut onward = Request::new(body);
    *onward.method_mut() = request.method.clone();
    *onward.uri_mut() = origin_form(&request.uri);
    *onward.headers_mut() = request.headers.clone();
    headers::clean_request(onward.headers_mut());
    let mut response = backend.upstream.forward(onward).await?;
    backend.adapt(response.headers_mut(), request);
    Ok(response)
}

/// The target without scheme and host, byte for byte.
fn origin_form(uri: &Uri) -> Uri {
    let path = uri.path_and_query().cloned();
    Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")))
}

impl Backend {
    /// Makes the headers of an upstream's answer to `request` right for the caller.
    pub(super) fn adapt(&self, headers: &mut HeaderMap, request: &Parts) {
        headers::clean_response(headers);
        let asked = request.uri.path();
        rewrite(headers, &LOCATION, |value| {
            self.view.location(value, asked).into_owned()
        });
        rewrite(headers, &LINK, |value| self.view.link(value, asked));
        if self.shared.server.rewrite_realm
            && headers.contains_key(WWW_AUTHENTICATE)
            && let Some(origin) = callers_origin(request, self.shared.server.public_url.as_ref())
        {
            let namespace = request
                .extensions
                .get::<UpstreamView>()
                .and_then(UpstreamView::namespace);
            self.realms.rewrite(headers, &self.view, &origin, namespace);
        }
    }

    /// Whether a request outside the API asks for a token where the upstream says that tokens are.
    pub(super) async fn is_token_request(&self, request: &Parts) -> bool {
        // With credentials of refshim's own nobody is shown a challenge, and asking would be on those.
        if !self.shared.server.rewrite_realm || self.upstream.has_own_credentials() {
            return false;
        }
        if self.realms.is_empty() {
            Box::pin(self.learn_realm()).await;
        }
        self.realms.holds(&request.method, request.uri.path())
    }

    /// A caller may have its challenge from another replica, or from before a restart.
    async fn learn_realm(&self) {
        let Some(attempt) = self.realms.attempt().await else {
            return;
        };
        let asked = self.upstream.get("/v2/", &Caller::anonymous(), PING_LIMIT).await;
        let answered = asked.is_ok();
        if let Ok(mut ping) = asked {
            // Only the path is of interest here; the origin is thrown away.
            self.realms
                .rewrite(&mut ping.headers, &self.view, realm::NO_ORIGIN, None);
        }
        // Only now: whoever waited finds what was learned.
        attempt.asked(answered);
    }
}

fn rewrite(headers: &mut HeaderMap, name: &http::HeaderName, change: impl Fn(&str) -> String) {
    let values: Vec<HeaderValue> = headers.get_all(name).iter().cloned().collect();
    if values.is_empty() {
        return;
    }
    headers.remove(name);
    for value in values {
        let changed = value
            .to_str()
            .ok()
            .and_then(|text| HeaderValue::try_from(change(text)).ok());
        headers.append(name, changed.unwrap_or(value));
    }
}
