//! The one place where requests leave for the network: timed, traced and counted, through the client that belongs to their host.

pub(in crate::registry) mod advice;
pub(in crate::registry) mod clients;
pub(in crate::registry) mod collect;
mod exchange;
pub(in crate::registry) mod idle_timeout;

use std::sync::Arc;
use std::time::SystemTime;

use http::{HeaderValue, Method, Request, Response, Uri};
use http_body::Body as _;
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::config::{NamedProxy, UpstreamConfig};
use crate::http::body::Body;
use crate::http::client::HttpClient;
use crate::http::redirect_policy::RedirectPolicy;
use crate::http::sharing::Sharing;
use crate::http::trace_context;
use crate::http::via;
use crate::metrics::RequestNotes;
use crate::registry::counts::{RequestCounts, RequestKind, RequestOutcome};
use crate::registry::error::{SetupError, UpstreamError};
use crate::registry::origin::Origin;
use crate::registry::request_allowance::RequestAllowance;
use clients::{Clients, NEVER, TokenHosts};
use exchange::{Timeouts, Unanswered, exchange};
use idle_timeout::IdleBody;

/// Of requests that are refshim's own.
pub(in crate::registry) const OWN_USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("refshim/", env!("CARGO_PKG_VERSION")));

/// Of those that only find out whether the registry is there, which its operators may want to tell from others.
const PING_USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("refshim/", env!("CARGO_PKG_VERSION"), " (ping)"));

/// What a request of refshim's own calls its sender.
pub(in crate::registry) fn user_agent(kind: RequestKind) -> HeaderValue {
    match kind {
        RequestKind::Ping => PING_USER_AGENT,
        _ => OWN_USER_AGENT,
    }
}

/// Requests that are sent again because the pool's connection was closed under them, one after the other.
const MOST_STALE: usize = 5;

/// The connections of one upstream, and where they lead.
pub(in crate::registry) struct Transport {
    /// The upstream's, for spans and logs.
    name: String,
    origin: Origin,
    clients: Clients,
    /// Which other hosts may be asked.
    policy: Arc<RedirectPolicy>,
    timeouts: Timeouts,
    counts: RequestCounts,
    allowance: RequestAllowance,
}

impl Transport {
    /// Reads certificates and authorities; connects to nothing.
    pub(in crate::registry) fn new(
        config: &UpstreamConfig,
        token_hosts: TokenHosts,
        allowance: RequestAllowance,
    ) -> Result<Self, SetupError> {
        let origin = Origin::of(&config.url).ok_or_else(|| SetupError::Url {
            name: config.name.clone(),
            url: config.url.to_string(),
        })?;
        let policy = Arc::new(RedirectPolicy::new(origin.host(), &config.redirect_hosts));
        Ok(Self {
            name: config.name.clone(),
            clients: Clients::new(config, &origin, &policy, token_hosts)?,
            origin,
            policy,
            timeouts: Timeouts {
                connect: config.connect_timeout.min(NEVER),
                first_byte: config.first_byte_timeout.min(NEVER),
                idle: config.idle_timeout.min(NEVER),
            },
            counts: RequestCounts::default(),
            allowance,
        })
    }

    pub(in crate::registry) fn name(&self) -> &str {
        &self.name
    }

    pub(in crate::registry) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// What was sent since start-up.
    pub(in crate::registry) fn counts(&self) -> &RequestCounts {
        &self.counts
    }

    /// The proxy on the way to `uri`.
    pub(in crate::registry) fn proxy_of(&self, uri: &Uri) -> Option<&NamedProxy> {
        self.clients.proxies.proxy_of(uri)
    }

    /// When the certificate that refshim shows the registry ends, or one between that and an authority.
    pub(in crate::registry) fn certificate_expires(&self) -> Option<SystemTime> {
        self.clients.certificate_expires
    }

    /// Sends a request whose URI is on the upstream's own origin.
    pub(in crate::registry) fn send_to_registry(
        &self,
        kind: RequestKind,
        request: Request<Body>,
    ) -> impl Future<Output = Result<Response<IdleBody>, UpstreamError>> {
        self.send(kind, &self.clients.registry, request)
    }

    /// Sends a request to another host, where the redirect policy allows it. It must hold no credentials of a caller's.
    pub(in crate::registry) async fn send_elsewhere(
        &self,
        kind: RequestKind,
        request: Request<Body>,
    ) -> Result<Response<IdleBody>, UpstreamError> {
        self.admit(&request)?;
        self.send(kind, &self.clients.elsewhere, request).await
    }

    /// Sends a request to a token endpoint on another host: any one for [`TokenHosts::Any`], else one that the policy allows.
    pub(in crate::registry) async fn send_to_token_endpoint(
        &self,
        token_hosts: TokenHosts,
        request: Request<Body>,
    ) -> Result<Response<IdleBody>, UpstreamError> {
        if token_hosts == TokenHosts::ByPolicy {
            self.admit(&request)?;
        }
        self.send(RequestKind::Token, &self.clients.token_endpoints, request)
            .await
    }

    /// Fails unless the policy lets the host of `request` be asked.
    fn admit(&self, request: &Request<Body>) -> Result<(), UpstreamError> {
        let checked = self.policy.check(request.uri());
        checked.map_err(|forbidden| UpstreamError::Invalid(forbidden.to_string()))
    }

    /// Sends `request` through `client`. Without a body, and but for deletions and ends of uploads, it is sent again where the
    /// server closed the connection just as it was used again: it has seen nothing of it.
    async fn send(
        &self,
        kind: RequestKind,
        client: &HttpClient,
        mut request: Request<Body>,
    ) -> Result<Response<IdleBody>, UpstreamError> {
        via::add(request.headers_mut());
        for _ in 0..MOST_STALE {
            let Some(again) = copy_without_body(&request) else {
                break;
            };
            match self.send_once(kind, client, request).await {
                Err(unanswered) if unanswered.on_stale_connection => request = again,
                other => return other.map_err(|unanswered| unanswered.error),
            }
        }
        let sent = self.send_once(kind, client, request).await;
        sent.map_err(|unanswered| unanswered.error)
    }

    async fn send_once(
        &self,
        kind: RequestKind,
        client: &HttpClient,
        mut request: Request<Body>,
    ) -> Result<Response<IdleBody>, Unanswered> {
        self.allowance.take().await?;
        let mut counted = Counted {
            counts: &self.counts,
            kind,
            outcome: RequestOutcome::Abandoned,
            begun: Instant::now(),
            notes: RequestNotes::current(),
        };
        let method = request.method().clone();
        let span = tracing::debug_span!(
            "ask",
            upstream = self.name,
            kind = kind.as_str(),
            otel.kind = tracing::field::Empty
        );
        trace_context::follow(&span, &mut request);
        let result = exchange(client, sharing(kind, &request), request, self.timeouts)
            .instrument(span)
            .await;
        let elapsed = counted.begun.elapsed();
        match &result {
            Ok(response) => {
                let status = response.status();
                counted.outcome = RequestOutcome::of(status);
                tracing::debug!(upstream = self.name, kind = kind.as_str(), %method, %status, ?elapsed, "asked");
            }
            Err(Unanswered { error, .. }) => {
                counted.outcome = RequestOutcome::Broken;
                tracing::debug!(upstream = self.name, kind = kind.as_str(), %method, %error, ?elapsed, "no response");
            }
        }
        Ok(result?.map(|body| IdleBody::new(body, self.timeouts.idle)))
    }
}

/// What is passed on goes at the pace of whoever sends or receives it. refshim's own reads end as fast as the registry answers.
fn sharing(kind: RequestKind, request: &Request<Body>) -> Sharing {
    let is_passed_on = matches!(kind, RequestKind::Forward | RequestKind::Blob) && request.method() != Method::HEAD;
    match is_passed_on || !request.body().is_end_stream() {
        true => Sharing::Nothing,
        false => Sharing::Connection,
    }
}

/// The same request, where it has no body. A deletion, or the end of an upload, that was made after all would be answered 404 the
/// second time.
fn copy_without_body(request: &Request<Body>) -> Option<Request<Body>> {
    if matches!(*request.method(), Method::DELETE | Method::PUT) {
        return None;
    }
    let mut copy = Request::new(request.body().is_end_stream().then(Body::empty)?);
    copy.method_mut().clone_from(request.method());
    copy.uri_mut().clone_from(request.uri());
    copy.headers_mut().clone_from(request.headers());
    Some(copy)
}

/// Counts a request when it is over, also when the caller hung up in its midst.
struct Counted<'a> {
    counts: &'a RequestCounts,
    kind: RequestKind,
    outcome: RequestOutcome,
    begun: Instant,
    /// Of the caller's request that it is made for.
    notes: Option<RequestNotes>,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        let time = self.begun.elapsed();
        self.counts.count(self.kind, self.outcome, time);
        if let Some(notes) = &self.notes {
            notes.upstream_request(time);
        }
    }
}
