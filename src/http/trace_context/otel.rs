//! Connects spans to OpenTelemetry traces: the span of a request continues its caller's trace, or begins a new one.

use http::{HeaderMap, Request, StatusCode};
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{Status, TraceContextExt as _};
use opentelemetry_http::{HeaderExtractor, HeaderInjector};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use super::TRACEPARENT;

/// The span field that holds the kind of a span.
const KIND: &str = "otel.kind";

/// Makes `span` a child of the trace in `headers`, and replaces the trace context in `headers` by that of `span`, so that requests made for
/// this one become its children. Does nothing without a collector.
pub fn adopt(span: &Span, headers: &mut HeaderMap) {
    let caller = TraceContextPropagator::new().extract(&HeaderExtractor(headers));
    // Fails without a collector; nothing has to be set then.
    if span.set_parent(caller).is_ok() {
        span.record(KIND, "server");
        write(span, headers);
    }
}

/// Records the status with which the request of `span` was answered.
pub fn answered(span: &Span, status: StatusCode) {
    span.set_attribute("http.response.status_code", i64::from(status.as_u16()));
    if status.is_server_error() {
        span.set_status(Status::error(""));
    }
}

/// Makes a request to the registry a child of `span`.
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
