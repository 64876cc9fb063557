//! What belongs to one upstream, and the way of a request that is for it from routing to its answer.

use std::sync::Arc;

use http::request::Parts;
use http::{Method, Response};
use hyper::body::Incoming;

use super::error::ProxyError;
use super::handlers::blobs::transfer;
use super::handlers::blobs::upload::Uploads;
use super::handlers::manifests::read;
use super::handlers::{discovery, proposal_a, proposal_b, proposal_c, referrers, tags, ui};
use super::passthrough;
use super::realm::Realms;
use super::respond::without_body;
use super::response_budget::{Reservation, ResponseBudget};
use super::rewrite::SelfView;
use super::route::{Route, RouteError, is_read, route};
use super::write::Writer;
use crate::config::{Config, LimitsConfig, ServerConfig, TagsConfig};
use crate::http::body::Body;
use crate::http::request_budget::RequestBudget;
use crate::metrics::Endpoint;
use crate::referrers::Resolver;
use crate::registry::{Caller, Upstream};

/// What all upstreams have in common.
pub(super) struct SharedState {
    pub server: ServerConfig,
    pub tags: TagsConfig,
    pub limits: LimitsConfig,
    /// Bounds the large answers that are held in memory on their way down.
    pub response_budget: ResponseBudget,
    /// Bounds the manifests that are held in memory on their way up.
    pub request_budget: RequestBudget,
    pub merge_referrers_tag: bool,
    /// Largest blob that is remembered, in bytes.
    pub small_blob: u64,
}

impl SharedState {
    pub fn new(config: &Config) -> Self {
        Self {
            server: config.server.clone(),
            tags: config.tags.clone(),
            limits: config.limits,
            response_budget: ResponseBudget::new(config.limits.held_bytes),
            request_budget: RequestBudget::new(config.limits.held_bytes, config.limits.manifest_bytes),
            merge_referrers_tag: config.writing.merge_referrers_tag,
            small_blob: config.cache.small_blob,
        }
    }
}

/// One upstream, and everything that answers for it. Requests come here without what chose it (see [`super::upstream_view`]).
pub(super) struct Backend {
    pub upstream: Arc<Upstream>,
    pub resolver: Arc<Resolver>,
    /// How the upstream speaks of itself.
    pub view: SelfView,
    pub realms: Realms,
    pub writer: Arc<Writer>,
    pub uploads: Uploads,
    pub shared: Arc<SharedState>,
}

impl Backend {
    pub fn new(resolver: Arc<Resolver>, config: &Config, shared: Arc<SharedState>) -> Self {
        let upstream = resolver.upstream().clone();
        Self {
            view: SelfView::new(upstream.url()),
            upstream,
            realms: Realms::default(),
            writer: Arc::new(Writer::new((*resolver).clone(), &config.writing)),
            uploads: Uploads::default(),
            resolver,
            shared,
        }
    }

    pub async fn route(&self, request: &Parts) -> Result<Route, RouteError> {
        if self.shared.server.ui
            && let Some(page) = ui::route(request.uri.path())
        {
            return match is_read(&request.method) {
                true => Ok(Route::Ui(page)),
                false => Err(RouteError::ReadOnly),
            };
        }
        let found = route(&request.method, &request.uri);
        if found == Err(RouteError::NotFound) && self.is_token_request(request).await {
            return Ok(Route::Passthrough {
                endpoint: Endpoint::Token,
                repository: None,
            });
        }
        found
    }

    pub async fn answer(&self, route: Route, request: &Parts, body: Incoming) -> Response<Body> {
        let answer = self.in_time(route, request, body).await;
        answer
            .and_then(|response| self.held(response))
            .unwrap_or_else(|failure| self.fail(failure, request))
    }

    async fn in_time(&self, route: Route, request: &Parts, body: Incoming) -> Result<Response<Body>, ProxyError> {
        let limit = self.shared.limits.answer_timeout;
        let short = route.is_short(&request.method);
        let answer = self.dispatch(route, request, body);
        match short {
            true => tokio::time::timeout(limit, answer)
                .await
                .map_err(|_| ProxyError::late(limit))?,
            false => answer.await,
        }
    }

    /// Counts the memory that the answer takes until it has gone out.
    fn held(&self, mut response: Response<Body>) -> Result<Response<Body>, ProxyError> {
        let reserved = response.extensions_mut().remove::<Arc<Reservation>>();
        let reserved = reserved.and_then(Arc::into_inner);
        self.shared.response_budget.hold(response, reserved)
    }

    /// The answer to a request that failed.
    pub fn fail(&self, failure: ProxyError, request: &Parts) -> Response<Body> {
        tracing::debug!(%failure, "request failed");
        let relayed = matches!(failure, ProxyError::Refused(_));
        let mut response = failure.into_response();
        if relayed {
            self.adapt(response.headers_mut(), request);
        }
        if request.method == Method::HEAD {
            response = without_body(response);
        }
        response
    }

    /// What is asked most is answered in place. The rest is boxed: each connection holds room for the largest of these
    /// futures, and moves it, for every request.
    async fn dispatch(&self, route: Route, request: &Parts, body: Incoming) -> Result<Response<Body>, ProxyError> {
        match route {
            Route::Referrers { repository, subject } => {
                referrers::list_referrers(self, request, &repository, &subject).await
            }
            Route::ProposalA {
                shape,
                repository,
                subject,
            } => Ok(Box::pin(proposal_a::list_proposal_a(self, request, shape, &repository, &subject)).await),
            Route::References { repository, reference } => {
                Box::pin(proposal_b::list_proposal_b(self, request, &repository, &reference)).await
            }
            Route::V3Ping => Ok(proposal_c::ping(request)),
            Route::V3 {
                question,
                repository,
                reference,
            } => {
                Box::pin(proposal_c::answer_proposal_c(
                    self,
                    request,
                    question,
                    &repository,
                    &reference,
                ))
                .await
            }
            Route::Discover { .. } => Box::pin(discovery::discover_extensions(self, request)).await,
            Route::TagsList { repository } => Box::pin(tags::list_tags(self, request, &repository)).await,
            Route::Manifest { repository, reference } => {
                read::handle_manifest(self, request, body.into(), &repository, &reference).await
            }
            Route::Ui(page) => Ok(Box::pin(ui::show_page(self, request, page)).await),
            Route::Passthrough {
                endpoint: Endpoint::Blob | Endpoint::Upload,
                repository,
            } => transfer::forward(self, request, body.into(), repository.as_ref()).await,
            Route::Passthrough { .. } => passthrough::forward(self, request, body.into()).await,
        }
    }

    /// On whose behalf the upstream is asked.
    pub fn caller(&self, request: &Parts) -> Caller {
        if self.upstream.has_own_credentials() {
            // Whoever came this far may use them; what they brought was for refshim alone.
            return Caller::of_trace(&request.headers);
        }
        Caller::of(&request.headers)
    }
}
