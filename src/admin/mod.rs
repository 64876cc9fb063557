//! The admin listener: an address of its own, which callers of the registry need not reach. Its endpoints, all `GET` or `HEAD`
//! but the last:
//!
//! | path | answer |
//! |---|---|
//! | `/healthz` | 200 while the process runs |
//! | `/readyz` | 200 while a registry answers and refshim is not shutting down, otherwise 503; the reasons for either |
//! | `/metrics` | counters as OpenMetrics or as Prometheus' text |
//! | `POST /events` | takes reports of writes that bypassed refshim |
//!
//! Anything else is 404.

mod events;
mod exposition;
mod listener;
mod metrics;
mod notifications;
mod ready;
mod reported_links;

/// For the fuzz targets.
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing {
    pub(crate) use super::notifications::Notifications;
}

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};

use crate::cache::Cache;
use crate::events::{EventPublisher, UpstreamEvents};
use crate::http::body::Body;
use crate::metrics::Metrics;
use crate::referrers::Resolver;
use crate::registry::Upstream;
use crate::tls::Acceptor;

use events::Events;
use exposition::Exposition;
pub use listener::run;
use metrics::Registries;
use ready::Readiness;
use reported_links::ReportedLinks;

const PLAIN: &str = "text/plain; charset=utf-8";

/// What the endpoints report on.
pub struct AdminSources {
    /// Of all upstreams.
    pub resolvers: Vec<Resolver>,
    /// Of the same, in the same order.
    pub events: Vec<UpstreamEvents>,
    pub metrics: Arc<Metrics>,
    pub publisher: Arc<EventPublisher>,
    pub cache: Arc<Cache>,
    /// `limits.connections`
    pub connections_limit: usize,
    /// Listeners that speak TLS, each by the name of its certificate.
    pub listeners: Vec<(&'static str, Arc<Acceptor>)>,
}

impl AdminSources {
    fn upstreams(&self) -> Vec<Arc<Upstream>> {
        self.resolvers
            .iter()
            .map(|resolver| resolver.upstream().clone())
            .collect()
    }
}

/// Answers requests to the admin listener.
pub struct Admin {
    readiness: Readiness,
    registries: Registries,
    events: Events,
}

impl Admin {
    /// `events_token` is what `POST /events` must bring; without one, everybody may.
    pub fn new(watched: AdminSources, events_token: Option<&str>) -> Self {
        let upstreams = watched.resolvers.iter().cloned().zip(watched.events.iter().cloned());
        let links = ReportedLinks::start(upstreams.collect());
        Self {
            events: Events::new(watched.resolvers.clone(), events_token, links),
            readiness: Readiness::new(watched.upstreams(), &watched.cache),
            registries: Registries::new(watched),
        }
    }

    /// From now on `/readyz` says 503, so that no new work is sent here.
    pub fn shut_down(&self) {
        self.readiness.shut_down();
    }

    /// Asks the upstreams ahead of any probe, and logs which of them are no use.
    pub async fn check_upstreams(&self) {
        self.readiness.check().await;
    }

    /// Answers one request.
    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        if request.uri().path() == "/events" {
            return self.events.answer(request).await;
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered here\n");
            response
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match request.uri().path() {
            "/healthz" => plain(StatusCode::OK, "ok\n"),
            "/readyz" => self.ready().await,
            "/metrics" => self.metrics(&request),
            _ => plain(
                StatusCode::NOT_FOUND,
                "not found; there are /healthz, /readyz, /metrics and /events\n",
            ),
        }
    }
}

impl Admin {
    async fn ready(&self) -> Response<Body> {
        let found = self.readiness.check().await;
        let status = match found.is_ready {
            true => StatusCode::OK,
            false => StatusCode::SERVICE_UNAVAILABLE,
        };
        plain(status, format!("{}\n", found.text))
    }

    fn metrics(&self, request: &Request<Body>) -> Response<Body> {
        let format = Exposition::of(request.headers());
        match self.registries.text() {
            Ok(text) => respond(StatusCode::OK, format.content_type(), format.print(text)),
            Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        }
    }
}

fn plain(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    respond(status, PLAIN, text)
}

fn respond(status: StatusCode, content_type: &'static str, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::from(text.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use crate::cache::Bounds;

    use super::*;

    impl AdminSources {
        pub(super) fn nothing() -> Self {
            let bounds = Bounds { manifests: 0, lists: 0 };
            Self {
                resolvers: Vec::new(),
                events: Vec::new(),
                metrics: Arc::default(),
                publisher: Arc::default(),
                cache: Arc::new(Cache::new(bounds)),
                connections_limit: 0,
                listeners: Vec::new(),
            }
        }
    }

    async fn ask(method: Method, path: &str) -> Response<Body> {
        let admin = Admin::new(AdminSources::nothing(), None);
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        admin.answer(request).await
    }

    #[tokio::test]
    async fn endpoints() {
        for path in ["/healthz", "/readyz", "/metrics", "/healthz?verbose"] {
            assert_eq!(ask(Method::GET, path).await.status(), StatusCode::OK, "{path}");
        }
        for path in ["/", "/v2/", "/healthz/", "/metrics/x"] {
            assert_eq!(ask(Method::GET, path).await.status(), StatusCode::NOT_FOUND, "{path}");
        }
        let refused = ask(Method::POST, "/healthz").await;
        assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(refused.headers()[ALLOW], "GET, HEAD");
    }

    #[tokio::test]
    async fn shutting_down_is_not_ready() {
        let admin = Admin::new(AdminSources::nothing(), None);
        admin.shut_down();
        let request = Request::builder().uri("/readyz").body(Body::empty()).unwrap();
        assert_eq!(admin.answer(request).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
}
