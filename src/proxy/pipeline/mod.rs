//! The way of every request: [`Gateway::handle`] wraps it in the access log, [`Gateway::answer`] has its stages in their order.

mod access_log;
mod auth;
mod dispatch;
mod head;
mod logged_body;
mod request_id;
mod routing;
mod upstream_selector;

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;

use futures_util::FutureExt as _;
use http::request::Parts;
use http::{Request, Response};
use hyper::body::Incoming;
use tracing::Instrument as _;

use super::context::RequestContext;
use super::error::ProxyError;
use super::forwarded_for::forwarded_for;
use super::handlers::ui;
use super::peer::Peer;
use super::state::{Backend, SharedState};
use crate::auth::Htpasswd;
use crate::config::Config;
use crate::events::{EventPublisher, UpstreamEvents};
use crate::http::body::Body;
use crate::metrics::{Endpoint, Metrics};
use crate::referrers::Resolver;
use access_log::AccessEntry;
use auth::ProxyAuth;
use dispatch::{dispatch, within};
use logged_body::LoggedBody;
use routing::RoutedRequest;
use upstream_selector::UpstreamSelector;

/// Everything that answers requests.
pub struct Gateway {
    selector: UpstreamSelector,
    /// In the order of the configuration, at least one.
    backends: Vec<Arc<Backend>>,
    shared: Arc<SharedState>,
    auth: ProxyAuth,
    metrics: Arc<Metrics>,
}

impl Gateway {
    /// One resolver for each upstream of the configuration, in its order.
    pub fn new(
        resolvers: Vec<Resolver>,
        config: &Config,
        metrics: Arc<Metrics>,
        publisher: &Arc<EventPublisher>,
    ) -> Self {
        let shared = Arc::new(SharedState::new(config));
        let Ok(backends) = config.link_upstreams(|index, upstream, elsewhere| {
            let events = UpstreamEvents::new(publisher, upstream, config);
            let backend = Backend::new(resolvers[index].clone(), config, shared.clone(), events, elsewhere);
            Ok::<_, Infallible>(Arc::new(backend))
        });
        Self {
            selector: UpstreamSelector::new(&config.upstreams),
            backends,
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

    /// The counters of this gateway.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Does what is due later, as far as that takes no more than a few seconds. To be called at the end of the process.
    pub async fn finish(&self) {
        futures_util::future::join_all(self.backends.iter().map(|backend| backend.writer.finish())).await;
    }

    /// Answers a request, whatever happens. It is counted and logged when the body of its answer has gone out.
    pub async fn handle(&self, request: Request<Incoming>, peer: Peer) -> Response<LoggedBody> {
        let (head, body) = request.into_parts();
        let forwarded_for = forwarded_for(&head.headers, peer.address, &self.shared.server.trusted_proxies);
        let mut entry = AccessEntry::begin(&self.metrics, &head, peer.clone(), forwarded_for);
        let notes = entry.notes().clone();
        // Pinned where it is made, as its handler is: to move a future of this size costs more than all stages.
        let answer = AssertUnwindSafe(notes.scope(pin!(self.answer(head, body, peer, &mut entry))))
            .catch_unwind()
            .await;
        let response = answer.unwrap_or_else(|_| {
            self.metrics.panics.inc();
            ProxyError::panicked().into_response()
        });
        entry.finish(response)
    }

    /// The stages from a request's head to its answer, in their order. What fails in any of them is answered by
    /// [`ProxyError::answer`].
    async fn answer(&self, mut head: Parts, body: Incoming, peer: Peer, entry: &mut AccessEntry) -> Response<Body> {
        let method = head.method.clone();
        // 1. Which upstream it is for, and what it asks of that.
        let routed = self.route(&mut head).await;
        // 2. Its trace, of which all that follows is a part.
        let endpoint = routed.as_ref().map(|routed| routed.route.endpoint());
        let upstream = routed.as_ref().map(|routed| routed.backend.failures.clone()).ok();
        let span = entry.begin_trace(endpoint.unwrap_or(Endpoint::Refused), upstream, &mut head);
        let trace = entry.trace().cloned();
        let stages = async {
            let RoutedRequest { backend, view, route } = routed?;
            let context = RequestContext {
                head,
                peer,
                trace,
                view,
                backend,
                in_place_of_caller: None,
            };
            // 3. Whether the caller may use refshim's own credentials.
            self.auth.admit(&context).await?;
            // 4. The route's handler, which has a deadline unless it streams.
            let limit = route.is_short(&method).then_some(self.shared.limits.answer_timeout);
            // In a box, so that the stages around it stay small: hyper moves them several times.
            let answer = within(limit, Box::pin(dispatch(&context, route, body))).await;
            // 5. Memory for a large answer, until it has gone out.
            let answer = answer.and_then(|response| self.shared.response_budget.hold(response, None));
            let mut response = answer.unwrap_or_else(|failure| context.failed(failure));
            // 6. Headers as the caller must see them.
            if self.shared.server.ui {
                ui::confine(response.headers_mut());
            }
            context.view.turn_back(response.headers_mut(), || context.origin());
            Ok(response)
        };
        let answered: Result<_, ProxyError> = stages.instrument(span).await;
        answered.unwrap_or_else(|failure| failure.answer(&method))
    }
}
