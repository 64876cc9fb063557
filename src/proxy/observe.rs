//! Every answer is counted and logged once, when its body has gone out or the caller has.
//!
//! Neither queries nor headers are logged: upload states and credentials travel in them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::Instant;

use super::peer::Peer;
use crate::body::{Body, BoxError};
use crate::metrics::{Endpoint, Gauge, Metrics};
use crate::trace::TraceContext;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longer ones of callers are not taken over.
const LONGEST_ID: usize = 64;

/// What is known of a request from its beginning.
pub(super) struct Observer {
    metrics: Arc<Metrics>,
    endpoint: Endpoint,
    method: Method,
    path: String,
    peer: Option<Peer>,
    id: String,
    trace: Option<TraceContext>,
    started: Instant,
    /// Raised until the body has gone out.
    _in_flight: Gauge,
}

impl Observer {
    /// Begins before the request is led anywhere, so that the log has what the caller asked.
    pub(super) fn begin(metrics: &Arc<Metrics>, request: &Parts) -> Self {
        Self {
            metrics: metrics.clone(),
            endpoint: Endpoint::Refused,
            method: request.method.clone(),
            path: request.uri.path().to_owned(),
            peer: request.extensions.get().copied(),
            id: callers_id(request).unwrap_or_else(|| format!("{:016x}", rand::random::<u64>())),
            trace: TraceContext::of(&request.headers),
            started: Instant::now(),
            _in_flight: metrics.request(),
        }
    }

    pub(super) fn found(&mut self, endpoint: Endpoint) {
        self.endpoint = endpoint;
    }

    /// Names the request in all that is logged while it is answered.
    pub(super) fn span(&self) -> tracing::Span {
        tracing::info_span!("request", id = self.id, endpoint = self.endpoint.as_str())
    }

    /// Counts the answer, and follows its body to the end.
    pub(super) fn watch(self, mut response: Response<Body>) -> Response<Body> {
        self.metrics
            .answered(self.endpoint, response.status(), self.started.elapsed());
        // Its characters are those of a header value.
        if let Ok(id) = HeaderValue::try_from(&self.id) {
            response.headers_mut().entry(REQUEST_ID).or_insert(id);
        }
        let status = response.status();
        response.map(|inner| {
            let whole = inner.is_end_stream();
            Body::stream(Observed {
                inner,
                sent: 0,
                whole,
                status,
                observer: self,
            })
        })
    }
}

/// What the caller calls the request, where that can be logged as it is.
fn callers_id(request: &Parts) -> Option<String> {
    let id = request.headers.get(REQUEST_ID)?.to_str().ok()?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let is_id = (1..=LONGEST_ID).contains(&id.len()) && id.bytes().all(is_plain);
    is_id.then(|| id.to_owned())
}

/// A body that reports when it is dropped.
struct Observed {
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
            Poll::Ready(Some(Err(error))) => tracing::info!(id = this.observer.id, %error, "the body broke"),
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
            id = observer.id,
            trace_id = observer.trace.as_ref().map(TraceContext::trace_id),
            peer = observer.peer.map(|peer| tracing::field::display(peer.address)),
            method = observer.method.as_str(),
            path = observer.path,
            endpoint = observer.endpoint.as_str(),
            status = self.status.as_u16(),
            milliseconds,
            bytes = self.sent,
            complete = self.whole,
            "answered"
        );
    }
}
