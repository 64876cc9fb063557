//! Every answer is counted and logged once, when its body has gone out or the caller has.
//!
//! Neither queries nor headers are logged: upload states and credentials travel in them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::Instant;

use super::peer::Peer;
use crate::http::body::{Body, BoxError};
use crate::http::trace_context::{self, TraceContext};
use crate::metrics::{Endpoint, GaugeGuard, Metrics};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longer ones of callers are not taken over.
const LONGEST_ID: usize = 64;

/// What is known of a request from its beginning.
pub(super) struct Observer {
    metrics: Arc<Metrics>,
    endpoint: Endpoint,
    method: Method,
    target: Option<PathAndQuery>,
    peer: Option<Peer>,
    id: RequestId,
    trace: Option<TraceContext>,
    /// Ends with the body.
    span: tracing::Span,
    started: Instant,
    /// Raised until the body has gone out.
    _in_flight: GaugeGuard,
}

impl Observer {
    /// Begins before the request is led anywhere, so that the log has what the caller asked.
    pub(super) fn begin(metrics: &Arc<Metrics>, request: &Parts) -> Self {
        Self {
            metrics: metrics.clone(),
            endpoint: Endpoint::Refused,
            method: request.method.clone(),
            target: request.uri.path_and_query().cloned(),
            peer: request.extensions.get().copied(),
            id: RequestId::of(request),
            trace: None,
            span: tracing::Span::none(),
            started: Instant::now(),
            _in_flight: metrics.request(),
        }
    }

    pub(super) fn found(&mut self, endpoint: Endpoint) {
        self.endpoint = endpoint;
    }

    /// Begins the work on the request: from here on, all that is done for it is part of its trace.
    pub(super) fn start(&mut self, request: &mut Parts) -> tracing::Span {
        let span = self.span();
        trace_context::adopt(&span, &mut request.headers);
        self.trace = TraceContext::of(&request.headers);
        self.span = span.clone();
        span
    }

    /// Names the request in all that is logged while it is answered.
    fn span(&self) -> tracing::Span {
        tracing::info_span!(
            "request",
            id = self.id.as_str(),
            endpoint = self.endpoint.as_str(),
            otel.kind = tracing::field::Empty
        )
    }

    /// Counts the answer, and follows its body to the end.
    pub(super) fn watch(self, mut response: Response<Body>) -> Response<Observed> {
        self.metrics
            .answered(self.endpoint, response.status(), self.started.elapsed());
        trace_context::answered(&self.span, response.status());
        response
            .headers_mut()
            .entry(REQUEST_ID)
            .or_insert_with(|| self.id.0.clone());
        let status = response.status();
        response.map(|inner| Observed {
            sent: 0,
            whole: inner.is_end_stream(),
            inner,
            status,
            observer: self,
        })
    }
}

/// Names a request in the log and in the answer. Its characters are those of a text and of a header value.
struct RequestId(HeaderValue);

impl RequestId {
    /// What the caller calls the request, where that can be logged as it is; otherwise 64 random bits in hexadecimal.
    fn of(request: &Parts) -> Self {
        let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let is_id = |id: &&HeaderValue| (1..=LONGEST_ID).contains(&id.len()) && id.as_bytes().iter().all(is_plain);
        let given = request.headers.get(REQUEST_ID).filter(is_id);
        given.map_or_else(Self::random, |id| Self(id.clone()))
    }

    fn random() -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let bits: u64 = rand::random();
        let text: [u8; 16] = std::array::from_fn(|place| DIGITS[(bits >> (60 - 4 * place)) as usize & 15]);
        Self(HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static("")))
    }

    fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

/// An answer's body, which reports when it is dropped.
pub struct Observed {
    inner: Body,
    /// Bytes so far.
    sent: u64,
    /// Whether all of it went out.
    whole: bool,
    status: StatusCode,
    observer: Observer,
}

impl HttpBody for Observed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.inner).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                this.sent += frame.data_ref().map_or(0, |data| data.len() as u64);
                this.whole = this.inner.is_end_stream();
            }
            Poll::Ready(None) => this.whole = true,
            Poll::Ready(Some(Err(error))) => tracing::info!(id = this.observer.id.as_str(), %error, "the body broke"),
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        let observer = &self.observer;
        observer.metrics.sent(observer.endpoint, self.sent);
        let milliseconds = u64::try_from(observer.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(
            target: "refshim::access",
            id = observer.id.as_str(),
            trace_id = observer.trace.as_ref().map(TraceContext::trace_id),
            peer = observer.peer.map(|peer| tracing::field::display(peer.address)),
            method = observer.method.as_str(),
            path = observer.target.as_ref().map_or("", PathAndQuery::path),
            endpoint = observer.endpoint.as_str(),
            status = self.status.as_u16(),
            milliseconds,
            bytes = self.sent,
            complete = self.whole,
            "answered"
        );
    }
}
