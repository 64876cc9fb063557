//! The access log: every answer is counted and logged once, when its body has gone out or the caller has hung up.
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

use crate::http::body::{Body, BoxError};
use crate::http::trace_context::{self, TraceContext};
use crate::metrics::{Endpoint, GaugeGuard, Metrics};
use crate::proxy::peer::Peer;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longer request IDs of callers (in bytes) are replaced.
const LONGEST_ID: usize = 64;

/// What the access log says of a request, from its beginning on.
pub(super) struct AccessEntry {
    metrics: Arc<Metrics>,
    endpoint: Endpoint,
    method: Method,
    target: Option<PathAndQuery>,
    peer: Peer,
    id: RequestId,
    trace: Option<TraceContext>,
    /// Ends with the body.
    span: tracing::Span,
    started: Instant,
    /// Raised until the body has gone out.
    _in_flight: GaugeGuard,
}

impl AccessEntry {
    /// Begins before the request is routed, so that the log has the target as the caller wrote it.
    pub(super) fn begin(metrics: &Arc<Metrics>, request: &Parts, peer: Peer) -> Self {
        Self {
            metrics: metrics.clone(),
            endpoint: Endpoint::Refused,
            method: request.method.clone(),
            target: request.uri.path_and_query().cloned(),
            peer,
            id: RequestId::of(request),
            trace: None,
            span: tracing::Span::none(),
            started: Instant::now(),
            _in_flight: metrics.request(),
        }
    }

    /// Begins the work on the request, which asks for `endpoint`: all that is done within the span is part of its trace.
    pub(super) fn begin_trace(&mut self, endpoint: Endpoint, request: &mut Parts) -> tracing::Span {
        self.endpoint = endpoint;
        let span = self.span();
        trace_context::adopt(&span, &mut request.headers);
        self.trace = TraceContext::of(&request.headers);
        self.span = span.clone();
        span
    }

    /// The trace that the request is part of, once that has begun.
    pub(super) fn trace(&self) -> Option<&TraceContext> {
        self.trace.as_ref()
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
    pub(super) fn finish(self, mut response: Response<Body>) -> Response<LoggedBody> {
        self.metrics
            .answered(self.endpoint, response.status(), self.started.elapsed());
        trace_context::answered(&self.span, response.status());
        response
            .headers_mut()
            .entry(REQUEST_ID)
            .or_insert_with(|| self.id.0.clone());
        let status = response.status();
        response.map(|inner| LoggedBody {
            sent: 0,
            whole: inner.is_end_stream(),
            inner,
            status,
            entry: self,
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

/// An answer's body, which writes the line of the access log when it is dropped.
pub struct LoggedBody {
    inner: Body,
    /// Bytes so far.
    sent: u64,
    /// Whether all of it went out.
    whole: bool,
    status: StatusCode,
    entry: AccessEntry,
}

impl HttpBody for LoggedBody {
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
            Poll::Ready(Some(Err(error))) => {
                tracing::info!(id = this.entry.id.as_str(), %error, "the answer's body broke off")
            }
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

impl Drop for LoggedBody {
    fn drop(&mut self) {
        let entry = &self.entry;
        entry.metrics.sent(entry.endpoint, self.sent);
        let milliseconds = u64::try_from(entry.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(
            target: "refshim::access",
            id = entry.id.as_str(),
            trace_id = entry.trace.as_ref().map(TraceContext::trace_id),
            peer = tracing::field::display(entry.peer.address),
            method = entry.method.as_str(),
            path = entry.target.as_ref().map_or("", PathAndQuery::path),
            endpoint = entry.endpoint.as_str(),
            status = self.status.as_u16(),
            milliseconds,
            bytes = self.sent,
            complete = self.whole,
            "answered"
        );
    }
}
