//! What a request carries along, from the pipeline to the handlers.

use http::header::{AUTHORIZATION, LINK, LOCATION, WWW_AUTHENTICATE};
use http::request::Parts;
use http::uri::InvalidUri;
use http::{HeaderMap, Response, Uri};

use super::error::ProxyError;
use super::headers;
use super::peer::{Peer, callers_origin};
use super::state::Backend;
use super::upstream_view::UpstreamView;
use crate::http::body::Body;
use crate::http::trace_context::TraceContext;
use crate::registry::{Caller, Sibling};

/// A request that was routed and admitted.
pub(super) struct RequestContext<'a> {
    /// Method, target and headers. What named the upstream is taken off the target.
    pub head: Parts,
    pub peer: Peer,
    /// The trace that the request is part of.
    pub trace: Option<TraceContext>,
    /// What in the request named the upstream.
    pub view: UpstreamView,
    /// The upstream that the request is for.
    pub backend: &'a Backend,
    /// Who asks in the caller's place, in the sibling of the repository that the caller asked about.
    pub in_place_of_caller: Option<Caller>,
}

impl RequestContext<'_> {
    /// On whose behalf the upstream is asked.
    pub fn caller(&self) -> Caller {
        if let Some(other) = &self.in_place_of_caller {
            return other.clone();
        }
        if self.backend.upstream.has_own_credentials() {
            // Whoever was admitted may use them; the caller's own `Authorization` was for refshim alone.
            return Caller::without_authorization(&self.head.headers, self.trace.clone());
        }
        Caller::of(&self.head.headers, self.trace.clone())
    }

    /// The same request with another head.
    pub fn with_head(&self, head: Parts) -> RequestContext<'_> {
        RequestContext {
            head,
            peer: self.peer.clone(),
            trace: self.trace.clone(),
            view: self.view.clone(),
            backend: self.backend,
            in_place_of_caller: self.in_place_of_caller.clone(),
        }
    }

    /// The same request for `path` in a sibling repository, with the rights by which that is asked.
    pub fn in_sibling(&self, sibling: &Sibling, path: &str) -> Result<RequestContext<'_>, InvalidUri> {
        let mut head = self.head.clone();
        head.uri = Uri::try_from(path)?;
        if sibling.is_of_account() {
            head.headers.remove(AUTHORIZATION);
        }
        if sibling.elsewhere.is_some() {
            headers::make_impersonal(&mut head.headers);
        }
        Ok(RequestContext {
            backend: self.backend.of_siblings(),
            in_place_of_caller: Some(sibling.caller.clone()),
            ..self.with_head(head)
        })
    }

    /// The origin by which the caller reaches refshim, such as `http://127.0.0.1:5100`; `None` where the request does not tell.
    pub fn origin(&self) -> Option<String> {
        let public_url = self.backend.shared.server.public_url.as_ref();
        callers_origin(&self.head, &self.peer, public_url)
    }

    /// Makes the headers of an upstream's answer right for the caller: addresses of the upstream become addresses of refshim.
    pub fn adapt(&self, headers: &mut HeaderMap) {
        headers::clean_response(headers);
        let (backend, asked) = (self.backend, self.head.uri.path());
        headers::rewrite(headers, &LOCATION, |value| {
            Some(backend.self_view.location(value, asked).into_owned())
        });
        headers::rewrite(headers, &LINK, |value| Some(backend.self_view.link(value, asked)));
        if backend.shared.server.rewrite_realm
            && headers.contains_key(WWW_AUTHENTICATE)
            && let Some(origin) = self.origin()
        {
            let namespace = self.view.namespace();
            backend.realms.rewrite(headers, &backend.self_view, &origin, namespace);
        }
    }

    /// The answer to this request when a handler failed. A refusal of the upstream's is relayed with its headers adapted.
    pub fn failed(&self, failure: ProxyError) -> Response<Body> {
        tracing::debug!(%failure, "request failed");
        let is_relayed = matches!(failure, ProxyError::Refused(_));
        let mut response = failure.answer(&self.head.method);
        if is_relayed {
            self.adapt(response.headers_mut());
        }
        response
    }
}
