//! All upstreams: a request is led to the one that it is for, answered there, and the answer turned back.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use tracing::Instrument as _;

use super::auth::ProxyAuth;
use super::backend::{Backend, SharedState};
use super::error::ProxyError;
use super::handlers::ui;
use super::head;
use super::observe::{Observed, Observer};
use super::peer::callers_origin;
use super::respond::without_body;
use super::route::{Route, RouteError};
use super::upstream_selector::UpstreamSelector;
use super::upstream_view::UpstreamView;
use crate::auth::Htpasswd;
use crate::config::Config;
use crate::http::body::Body;
use crate::metrics::{Endpoint, Metrics};
use crate::oci::{Code, OciError};
use crate::referrers::Resolver;

/// Everything that answers requests.
pub struct Gateway {
    selector: UpstreamSelector,
    /// In the order of the configuration, at least one.
    backends: Vec<Backend>,
    shared: Arc<SharedState>,
    auth: ProxyAuth,
    metrics: Arc<Metrics>,
}

/// Where a request is led.
struct RoutedRequest<'a> {
    backend: &'a Backend,
    view: UpstreamView,
    /// The caller's origin, where the way back leads over it.
    origin: Option<String>,
    route: Route,
}

impl Gateway {
    /// One resolver for each upstream of the configuration, in its order.
    pub fn new(resolvers: Vec<Arc<Resolver>>, config: &Config, metrics: Arc<Metrics>) -> Self {
        let shared = Arc::new(SharedState::new(config));
        let backends = resolvers.into_iter();
        Self {
            selector: UpstreamSelector::new(&config.upstreams),
            backends: backends
                .map(|resolver| Backend::new(resolver, config, shared.clone()))
                .collect(),
            shared,
            auth: ProxyAuth::default(),
            metrics,
        }
    }

    /// Only these users may use refshim's own credentials, and callers with a certificate.
    pub fn with_users(mut self, users: Option<Arc<Htpasswd>>) -> Self {
        self.auth = ProxyAuth::new(users);
        self
    }

    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Answers a request, whatever happens.
    pub async fn handle(self: Arc<Self>, request: Request<Incoming>) -> Response<Observed> {
        let (mut parts, body) = request.into_parts();
        let mut observer = Observer::begin(&self.metrics, &parts);
        let routed = AssertUnwindSafe(self.select_upstream(&mut parts)).catch_unwind().await;
        let chosen = routed.as_ref().ok().and_then(|routed| routed.as_ref().ok());
        observer.found(chosen.map_or(Endpoint::Refused, |chosen| chosen.route.endpoint()));
        let span = observer.start(&mut parts);
        let answered = match routed {
            Ok(routed) => {
                let answered = AssertUnwindSafe(self.answer(routed, &parts, body)).catch_unwind();
                answered.instrument(span).await
            }
            Err(panic) => Err(panic),
        };
        let response = answered.unwrap_or_else(|_| {
            self.metrics.panics.inc();
            panicked()
        });
        observer.watch(response)
    }

    /// Finds what the request is for. From then on nothing in it tells of other upstreams.
    async fn select_upstream(&self, request: &mut Parts) -> Result<RoutedRequest<'_>, RouteError> {
        head::check(request, &self.shared.limits)?;
        let (index, view) = self.selector.choose(request)?;
        let backend = &self.backends[index];
        let mut origin = None;
        if view != UpstreamView::Plain {
            origin = callers_origin(request, self.shared.server.public_url.as_ref());
            request.uri = view.inner(&request.uri);
            request.extensions.insert(view.clone());
        }
        Ok(RoutedRequest {
            route: backend.route(request).await?,
            backend,
            view,
            origin,
        })
    }

    async fn answer(
        &self,
        routed: Result<RoutedRequest<'_>, RouteError>,
        request: &Parts,
        body: Incoming,
    ) -> Response<Body> {
        let chosen = match routed {
            Ok(chosen) => chosen,
            Err(error) => return refused(error.into(), request),
        };
        if let Err(failure) = self.auth.admit(chosen.backend, request).await {
            return refused(failure, request);
        }
        let is_page = matches!(chosen.route, Route::Ui(_));
        let mut response = chosen.backend.answer(chosen.route, request, body).await;
        if chosen.backend.shared.server.ui && !is_page {
            ui::confine(response.headers_mut());
        }
        chosen.view.turn_back(response.headers_mut(), chosen.origin.as_deref());
        response
    }
}

fn refused(failure: ProxyError, request: &Parts) -> Response<Body> {
    let response = failure.into_response();
    match request.method {
        Method::HEAD => without_body(response),
        _ => response,
    }
}

fn panicked() -> Response<Body> {
    let message = "refshim made a mistake while answering; its log has the details";
    ProxyError::from(OciError::new(StatusCode::INTERNAL_SERVER_ERROR, Code::Unknown, message)).into_response()
}
