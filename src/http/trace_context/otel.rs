//! The trace as OpenTelemetry sees it: the span of a request continues its caller's trace, or begins one.

use http::{HeaderMap, Request, StatusCode};
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{Status, TraceContextExt as _};
use opentelemetry_http::{HeaderExtractor, HeaderInjector};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use super::TRACEPARENT;

/// A field of spans that says what kind they are.
const KIND: &str = "otel.kind";

/// Makes `span` part of the trace that `headers` name, and `headers` part of the span's: whatever is asked on behalf of this request
/// comes after it. Without a collector nothing happens.
pub fn adopt(span: &Span, headers: &mut HeaderMap) {
    let caller = TraceContextPropagator::new().extract(&HeaderExtractor(headers));
    // Fails where no collector listens: there is nothing to set then.
    if span.set_parent(caller).is_ok() {
        span.record(KIND, "server");
        write(span, headers);
    }
}

/// The request of `span` was answered.
pub fn answered(span: &Span, status: StatusCode) {
    span.set_attribute("http.response.status_code", i64::from(status.as_u16()));
    if status.is_server_error() {
        span.set_status(Status::error(""));
    }
}

/// Makes a request that goes on behalf of a traced one come after `span`.
pub fn follow<B>(span: &Span, request: &mut Request<B>) {
    if request.headers().contains_key(TRACEPARENT) {
        span.record(KIND, "client");
        write(span, request.headers_mut());
    }
}

fn write(span: &Span, headers: &mut HeaderMap) {
    let context = span.context();
    if context.span().span_context().is_valid() {
        TraceContextPropagator::new().inject_context(&context, &mut HeaderInjector(headers));
    }
}
