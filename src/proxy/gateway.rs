//! All upstreams: a request is led to the one that it is for, answered there, and the answer turned back.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use tracing::Instrument as _;

use super::answer::without_body;
use super::backend::{Backend, Shared};
use super::door::Door;
use super::failure::Failure;
use super::observe::{Observed, Observer};
use super::peer::callers_origin;
use super::route::{Route, RouteError};
use super::router::Router;
use super::way::Way;
use super::{head, pages};
use crate::body::Body;
use crate::config::Config;
use crate::credentials::Htpasswd;
use crate::links::Resolver;
use crate::metrics::{Endpoint, Metrics};
use crate::oci::{Code, OciError};

/// Everything that answers requests.
pub struct Gateway {
    router: Router,
    /// In the order of the configuration, at least one.
    backends: Vec<Backend>,
    shared: Arc<Shared>,
    door: Door,
    metrics: Arc<Metrics>,
}

/// Where a request is led.
struct Visit<'a> {
    backend: &'a Backend,
    way: Way,
    /// The caller's origin, where the way back leads over it.
    origin: Option<String>,
    route: Route,
}

impl Gateway {
    /// One resolver for each upstream of the configuration, in its order.
    pub fn new(resolvers: Vec<Arc<Resolver>>, config: &Config, metrics: Arc<Metrics>) -> Self {
        let shared = Arc::new(Shared::new(config));
        let backends = resolvers.into_iter();
        Self {
            router: Router::new(&config.upstreams),
            backends: backends
                .map(|resolver| Backend::new(resolver, config, shared.clone()))
                .collect(),
            shared,
            door: Door::default(),
            metrics,
        }
    }

    /// Only these users may use refshim's own credentials, and callers with a certificate.
    pub fn with_users(mut self, users: Option<Arc<Htpasswd>>) -> Self {
        self.door = Door::new(users);
        self
    }

    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Answers a request, whatever happens.
    pub async fn handle(self: Arc<Self>, request: Request<Incoming>) -> Response<Observed> {
        let (mut parts, body) = request.into_parts();
        let mut observer = Observer::begin(&self.metrics, &parts);
        let led = AssertUnwindSafe(self.lead(&mut parts)).catch_unwind().await;
        let visit = led.as_ref().ok().and_then(|led| led.as_ref().ok());
        observer.found(visit.map_or(Endpoint::Refused, |visit| visit.route.endpoint()));
        let span = observer.start(&mut parts);
        let answered = match led {
            Ok(led) => {
                let answered = AssertUnwindSafe(self.answer(led, &parts, body)).catch_unwind();
                answered.instrument(span).await
            }
            Err(panic) => Err(panic),
        };
        let response = answered.unwrap_or_else(|_| {
            self.metrics.panicked();
            panicked()
        });
        observer.watch(response)
    }

    /// Finds what the request is for. From then on nothing in it tells of other upstreams.
    async fn lead(&self, request: &mut Parts) -> Result<Visit<'_>, RouteError> {
        head::check(request, &self.shared.limits)?;
        let (index, way) = self.router.choose(request)?;
        let backend = &self.backends[index];
        let mut origin = None;
        if way != Way::Plain {
            origin = callers_origin(request, self.shared.server.public_url.as_ref());
            request.uri = way.inner(&request.uri);
            request.extensions.insert(way.clone());
        }
        Ok(Visit {
            route: backend.route(request).await?,
            backend,
            way,
            origin,
        })
    }

    async fn answer(&self, led: Result<Visit<'_>, RouteError>, request: &Parts, body: Incoming) -> Response<Body> {
        let visit = match led {
            Ok(visit) => visit,
            Err(error) => return refused(error.into(), request),
        };
        if let Err(failure) = self.door.admit(visit.backend, request).await {
            return refused(failure, request);
        }
        let is_page = matches!(visit.route, Route::Ui(_));
        let mut response = visit.backend.answer(visit.route, request, body).await;
        if visit.backend.shared.server.ui && !is_page {
            pages::confine(response.headers_mut());
        }
        visit.way.turn_back(response.headers_mut(), visit.origin.as_deref());
        response
    }
}

fn refused(failure: Failure, request: &Parts) -> Response<Body> {
    let response = failure.into_response();
    match request.method {
        Method::HEAD => without_body(response),
        _ => response,
    }
}

fn panicked() -> Response<Body> {
    let message = "refshim made a mistake while answering; its log has the details";
    Failure::from(OciError::new(StatusCode::INTERNAL_SERVER_ERROR, Code::Unknown, message)).into_response()
}
