//! Promise: a trace shows what refshim did in it: the collector gets a span for the request and one for every question to the registry.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "it/support/mod.rs"]
mod support;

use bytes::Bytes;
use http::Response;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use support::{CountingProxy, Refshim, Registry, Service};

const TRACE_ID: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLERS_SPAN: &str = "b7ad6b7169203331";

async fn collector() -> Service {
    Service::start(|_| Response::new(Bytes::new())).await
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the collector got, each span with the name of its service.
fn spans(collector: &Service) -> Vec<(String, Span)> {
    let requests = collector.requests();
    let exports = requests.iter().map(|request| {
        assert_eq!(request.uri().path(), "/v1/traces");
        ExportTraceServiceRequest::decode(request.body().clone()).expect("OTLP")
    });
    let mut found = Vec::new();
    for resource in exports.flat_map(|export| export.resource_spans) {
        let attributes = resource.resource.unwrap_or_default().attributes;
        let name = attributes.into_iter().find(|attribute| attribute.key == "service.name");
        let name = format!("{:?}", name.expect("a service").value);
        let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
        found.extend(spans.map(|span| (name.clone(), span)));
    }
    found
}

#[tokio::test]
async fn spans_continue_the_caller_s_trace_and_arrive_before_the_end() {
    let (registry, collector) = (Registry::v3().await, collector().await);
    let image = registry.endpoint().push_image("app", "v1", "one").await;
    let link = CountingProxy::in_front_of(&registry.url()).await;
    let mut proxy = Refshim::builder(link.url())
        .env("REFSHIM_TELEMETRY__OTLP_ENDPOINT", collector.url())
        .start()
        .await;
    let parent = format!("00-{TRACE_ID}-{CALLERS_SPAN}-01");
    let path = format!("/v2/app/referrers/{}", image.digest);
    proxy
        .endpoint()
        .get_with(&path, &[("traceparent", &parent)])
        .await
        .expect_status(200);
    let asked = link.requests();
    proxy.endpoint().get("/v2/").await.expect_status(200);
    proxy.terminate();
    assert!(proxy.ended().await.success());

    let spans = spans(&collector);
    assert!(
        spans.iter().all(|(service, _)| service.contains("refshim")),
        "{spans:?}"
    );
    let named = |name: &str, trace: bool| -> Vec<&Span> {
        let spans = spans.iter().map(|(_, span)| span);
        let spans = spans.filter(|span| span.name == name && (hex(&span.trace_id) == TRACE_ID) == trace);
        spans.collect()
    };
    let requests = named("request", true);
    assert_eq!(requests.len(), 1, "{spans:?}");
    assert_eq!(hex(&requests[0].parent_span_id), CALLERS_SPAN);
    let questions = named("ask", true);
    assert_eq!(questions.len(), asked.len(), "one for each question");
    for seen in &asked {
        let parent = seen.headers["traceparent"].to_str().unwrap();
        let known = questions.iter().any(|span| parent.contains(&hex(&span.span_id)));
        assert!(
            parent.contains(TRACE_ID) && known,
            "{parent}: the registry's own spans hang below the question"
        );
    }
    assert_eq!(
        named("request", false).len(),
        1,
        "a trace of its own where the caller has none"
    );
    let last = link.requests().pop().unwrap();
    let own = hex(&named("request", false)[0].trace_id);
    assert!(last.headers["traceparent"].to_str().unwrap().contains(&own));
}

#[tokio::test]
async fn a_collector_that_is_gone_harms_nobody() {
    let registry = Registry::v2().await;
    let mut proxy = Refshim::builder(&registry.url())
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
        .start()
        .await;
    proxy.endpoint().get("/v2/").await.expect_status(200);
    proxy.terminate();
    assert!(proxy.ended().await.success());
}
