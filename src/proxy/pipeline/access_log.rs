//! The access log: every request is counted and logged once, when the body of its answer has gone out, or the caller has hung up.
//!
//! Of what the caller sends, method, path, host and user agent are logged. Upload states and credentials travel in the query and in
//! other headers, which are not.

use std::net::IpAddr;
use std::sync::Arc;

use http::header::{HOST, USER_AGENT};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderValue, Response, StatusCode};
use tokio::time::Instant;

use super::logged_body::LoggedBody;
use super::request_id::{REQUEST_ID, RequestId};
use crate::http::body::Body;
use crate::http::trace_context::{self, TraceContext};
use crate::metrics::{CacheUse, Endpoint, GaugeGuard, Metrics, RequestNotes, SignedPull};
use crate::proxy::failure::FailureReason;
use crate::proxy::peer::Peer;
use crate::proxy::upstream_failures::UpstreamFailures;

/// Longer hosts and user agents (in bytes) are cut.
const LONGEST_TEXT: usize = 200;

/// What the access log says of a request, from its beginning on. The line is written when this is dropped.
pub(super) struct AccessEntry {
    metrics: Arc<Metrics>,
    endpoint: Endpoint,
    method: http::Method,
    target: Option<PathAndQuery>,
    peer: Peer,
    /// The caller, as a trusted proxy in front of refshim names it.
    forwarded_for: Option<IpAddr>,
    host: Option<HeaderValue>,
    user_agent: Option<HeaderValue>,
    id: RequestId,
    trace: Option<TraceContext>,
    /// Ends with the body.
    span: tracing::Span,
    started: Instant,
    upstream: Option<Arc<UpstreamFailures>>,
    /// What others note of the request.
    notes: RequestNotes,
    /// `None` while there is no answer.
    answer: Option<AnswerProgress>,
    /// Raised until the body has gone out.
    _in_flight: GaugeGuard,
}

/// An answer on its way.
struct AnswerProgress {
    status: StatusCode,
    /// Why it is a failure.
    reason: Option<FailureReason>,
    /// Bytes of its body so far.
    sent: u64,
    /// Whether all of them went out.
    complete: bool,
}

impl AccessEntry {
    /// Begins before the request is routed, so that the log has the target as the caller wrote it.
    pub(super) fn begin(metrics: &Arc<Metrics>, request: &Parts, peer: Peer, forwarded_for: Option<IpAddr>) -> Self {
        Self {
            metrics: metrics.clone(),
            endpoint: Endpoint::Refused,
            method: request.method.clone(),
            target: request.uri.path_and_query().cloned(),
            peer,
            forwarded_for,
            host: host(request),
            user_agent: request.headers.get(USER_AGENT).cloned(),
            id: RequestId::of(request),
            trace: None,
            span: tracing::Span::none(),
            started: Instant::now(),
            upstream: None,
            notes: RequestNotes::default(),
            answer: None,
            _in_flight: metrics.request(),
        }
    }

    /// Begins the work on the request, which asks `upstream` for `endpoint`: all that is done within the span is part of its trace.
    pub(super) fn begin_trace(
        &mut self,
        endpoint: Endpoint,
        upstream: Option<Arc<UpstreamFailures>>,
        request: &mut Parts,
    ) -> tracing::Span {
        self.endpoint = endpoint;
        self.upstream = upstream;
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

    /// What the work on the request notes of itself.
    pub(super) fn notes(&self) -> &RequestNotes {
        &self.notes
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
    pub(super) fn finish(mut self, mut response: Response<Body>) -> Response<LoggedBody> {
        let status = response.status();
        self.metrics.answered(self.endpoint, status, self.started.elapsed());
        trace_context::answered(&self.span, status);
        let reason = FailureReason::of(&mut response);
        if let Some(signed) = self.notes.signed_pull() {
            self.metrics.pulls.get(signed).inc();
        }
        if let Some(upstream) = &self.upstream {
            upstream.answered(reason.as_ref(), &self.notes);
        }
        self.answer = Some(AnswerProgress {
            status,
            reason,
            sent: 0,
            complete: false,
        });
        response
            .headers_mut()
            .entry(REQUEST_ID)
            .or_insert_with(|| self.id.value().clone());
        response.map(|inner| LoggedBody::new(inner, self))
    }

    /// So many bytes of the answer's body went out.
    pub(super) fn sent(&mut self, bytes: u64) {
        if let Some(answer) = &mut self.answer {
            answer.sent += bytes;
        }
    }

    /// Whether all of the answer's body went out, as far as is known.
    pub(super) fn is_complete(&mut self, complete: bool) {
        if let Some(answer) = &mut self.answer {
            answer.complete = complete;
        }
    }

    /// The answer's body broke off.
    pub(super) fn broke_off(&self, error: &dyn std::fmt::Display) {
        tracing::info!(id = self.id.as_str(), %error, "the answer's body broke off");
    }
}

impl Drop for AccessEntry {
    fn drop(&mut self) {
        let message = match &self.answer {
            Some(answer) => {
                self.metrics.sent(self.endpoint, answer.sent);
                "answered"
            }
            None => {
                self.metrics.abandoned.get(self.endpoint).inc();
                "abandoned by its caller before there was an answer"
            }
        };
        let answer = self.answer.as_ref();
        tracing::info!(
            target: "refshim::access",
            message,
            id = self.id.as_str(),
            trace_id = self.trace.as_ref().map(TraceContext::trace_id),
            peer = tracing::field::display(self.peer.address_text()),
            forwarded_for = self.forwarded_for.map(tracing::field::display),
            host = self.host.as_ref().map(logged),
            user_agent = self.user_agent.as_ref().map(logged),
            upstream = self.upstream.as_ref().map(|upstream| upstream.name()),
            method = self.method.as_str(),
            path = self.target.as_ref().map_or("", PathAndQuery::path),
            endpoint = self.endpoint.as_str(),
            status = answer.map(|answer| answer.status.as_u16()),
            reason = answer.and_then(|answer| Some(answer.reason.as_ref()?.message())),
            cache = self.notes.cache().map(CacheUse::as_str),
            signed = self.notes.signed_pull().map(SignedPull::as_str),
            milliseconds = milliseconds(self.started.elapsed()),
            upstream_requests = self.notes.upstream_requests(),
            upstream_milliseconds = milliseconds(self.notes.upstream_time()),
            bytes = answer.map(|answer| answer.sent),
            complete = answer.map(|answer| answer.complete),
        );
    }
}

/// The name by which the caller addressed refshim.
fn host(request: &Parts) -> Option<HeaderValue> {
    match request.headers.get(HOST) {
        Some(host) => Some(host.clone()),
        // HTTP/2 has it in the target.
        None => HeaderValue::from_str(request.uri.authority()?.as_str()).ok(),
    }
}

/// A header as text of bounded length. One that is no text is left empty.
fn logged(value: &HeaderValue) -> &str {
    // All of it is ASCII.
    let text = value.to_str().unwrap_or_default();
    &text[..text.len().min(LONGEST_TEXT)]
}

fn milliseconds(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
