//! The shared state, and the way of a request from routing to its answer.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body::Body as _;
use hyper::body::Incoming;
use tokio::sync::Semaphore;
use tracing::Instrument as _;

use super::failure::Failure;
use super::observe::Observer;
use super::realm::Realms;
use super::rewrite::SelfView;
use super::route::{Route, RouteError, route};
use super::uploads::Uploads;
use super::write::Writer;
use super::{blobs, discover, manifests, passthrough, proposal_a, proposal_b, proposal_c, referrers, tags_list};
use crate::body::Body;
use crate::config::{Config, ServerConfig, TagsConfig};
use crate::links::Resolver;
use crate::metrics::{Endpoint, Metrics};
use crate::oci::{Code, OciError};
use crate::upstream::{Caller, Upstream};

/// Manifest pushes at once.
const PUSHES: usize = 64;

/// Everything that answers requests.
pub struct Gateway {
    pub(super) upstream: Arc<Upstream>,
    pub(super) resolver: Arc<Resolver>,
    pub(super) server: ServerConfig,
    pub(super) tags: TagsConfig,
    /// Largest manifest, in bytes.
    pub(super) manifest_bytes: usize,
    /// How the upstream speaks of itself.
    pub(super) view: SelfView,
    pub(super) realms: Realms,
    pub(super) writer: Writer,
    /// Bounds the manifests that are held in memory on their way up.
    pub(super) pushes: Semaphore,
    pub(super) merge_referrers_tag: bool,
    /// Largest blob that is remembered, in bytes.
    pub(super) small_blob: u64,
    pub(super) uploads: Uploads,
    metrics: Arc<Metrics>,
}

impl Gateway {
    pub fn new(upstream: Arc<Upstream>, resolver: Arc<Resolver>, config: &Config, metrics: Arc<Metrics>) -> Self {
        Self {
            view: SelfView::new(upstream.url()),
            upstream,
            server: config.server.clone(),
            tags: config.tags.clone(),
            manifest_bytes: config.limits.manifest_bytes,
            realms: Realms::default(),
            writer: Writer::new((*resolver).clone(), &config.writing),
            pushes: Semaphore::new(PUSHES),
            merge_referrers_tag: config.writing.merge_referrers_tag,
            small_blob: config.cache.small_blob,
            uploads: Uploads::default(),
            resolver,
            metrics,
        }
    }

    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Answers a request, whatever happens.
    pub async fn handle(self: Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let found = self.route(&parts).await;
        let endpoint = found.as_ref().map_or(Endpoint::Refused, Route::endpoint);
        let observer = Observer::begin(&self.metrics, endpoint, &parts);
        let span = observer.span();
        let answered = AssertUnwindSafe(self.answer(found, parts, body)).catch_unwind();
        let response = answered.instrument(span).await.unwrap_or_else(|_| {
            self.metrics.panicked();
            panicked()
        });
        observer.watch(response)
    }

    async fn route(&self, request: &Parts) -> Result<Route, RouteError> {
        let found = route(&request.method, &request.uri);
        if found == Err(RouteError::NotFound) && self.is_token_request(request).await {
            return Ok(Route::Passthrough {
                endpoint: Endpoint::Token,
                repository: None,
            });
        }
        found
    }

    async fn answer(&self, found: Result<Route, RouteError>, request: Parts, body: Incoming) -> Response<Body> {
        let head = request.clone();
        let answer = match found {
            Ok(route) => self.dispatch(route, request, body).await,
            Err(error) => Err(error.into()),
        };
        answer.unwrap_or_else(|failure| self.fail(failure, &head))
    }

    /// The answer to a request that failed.
    pub(super) fn fail(&self, failure: Failure, request: &Parts) -> Response<Body> {
        tracing::debug!(%failure, "request failed");
        let relayed = matches!(failure, Failure::Refused(_));
        let mut response = failure.into_response();
        if relayed {
            self.adapt(response.headers_mut(), request);
        }
        if request.method == Method::HEAD {
            response = without_body(response);
        }
        response
    }

    async fn dispatch(&self, route: Route, request: Parts, body: Incoming) -> Result<Response<Body>, Failure> {
        let parts = &request;
        match route {
            Route::Referrers { repository, subject } => referrers::answer(self, parts, &repository, &subject).await,
            Route::ProposalA {
                shape,
                repository,
                subject,
            } => Ok(proposal_a::answer(self, parts, shape, &repository, &subject).await),
            Route::References { repository, reference } => {
                proposal_b::answer(self, parts, &repository, &reference).await
            }
            Route::V3Ping => Ok(proposal_c::ping(parts)),
            Route::V3 {
                question,
                repository,
                reference,
            } => proposal_c::answer(self, parts, question, &repository, &reference).await,
            Route::Discover { .. } => discover::answer(self, parts).await,
            Route::TagsList { repository } => tags_list::answer(self, parts, &repository).await,
            Route::Manifest { repository, reference } => {
                manifests::answer(self, request, body.into(), &repository, &reference).await
            }
            Route::Passthrough {
                endpoint: Endpoint::Blob | Endpoint::Upload,
                repository,
            } => blobs::forward(self, request, body.into(), repository.as_ref()).await,
            Route::Passthrough { .. } => passthrough::forward(self, request, body.into()).await,
        }
    }

    /// On whose behalf the upstream is asked.
    pub(super) fn caller(&self, request: &Parts) -> Caller {
        Caller::of(&request.headers)
    }
}

/// The answer to HEAD: the length of what GET would get.
fn without_body(response: Response<Body>) -> Response<Body> {
    let (mut head, body) = response.into_parts();
    if let Some(length) = body.size_hint().exact() {
        head.headers
            .entry(http::header::CONTENT_LENGTH)
            .or_insert_with(|| length.into());
    }
    Response::from_parts(head, Body::empty())
}

fn panicked() -> Response<Body> {
    let message = "refshim made a mistake while answering; its log has the details";
    Failure::from(OciError::new(StatusCode::INTERNAL_SERVER_ERROR, Code::Unknown, message)).into_response()
}
