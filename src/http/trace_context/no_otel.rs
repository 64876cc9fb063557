//! In place of `otel` in builds without OpenTelemetry: a trace is passed on as it came.

use http::{HeaderMap, Request, StatusCode};
use tracing::Span;

pub fn adopt(_: &Span, _: &mut HeaderMap) {}

pub fn answered(_: &Span, _: StatusCode) {}

pub fn follow<B>(_: &Span, _: &mut Request<B>) {}
