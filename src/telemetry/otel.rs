//! Spans to an OpenTelemetry collector, as OTLP over HTTP.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::Handle;
use tracing::{Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;

use super::{TelemetryError, collector_variables};
use crate::config::TelemetryConfig;

/// For the collector's answer to one export.
const DEADLINE: Duration = Duration::from_secs(10);
/// For the spans that are left when refshim ends.
const FLUSH: Duration = Duration::from_secs(5);
/// The largest answer of a collector that is read, in bytes.
const MAX_ANSWER: usize = 1 << 20;
const NAME_VARIABLE: &str = "OTEL_SERVICE_NAME";

/// Spans on their way to a collector.
#[derive(Default)]
pub struct Traces {
    provider: Option<SdkTracerProvider>,
}

impl Traces {
    /// Exports nothing where no collector is configured. Called inside the tokio runtime that sends the spans.
    pub fn start(config: &TelemetryConfig) -> Result<Self, TelemetryError> {
        if config.otlp_endpoint.is_none() && collector_variables().next().is_none() {
            return Ok(Self::default());
        }
        let builder = SpanExporter::builder()
            .with_http()
            .with_http_client(Http::new()?)
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(DEADLINE);
        let builder = match &config.otlp_endpoint {
            Some(url) => builder.with_endpoint(format!("{}/v1/traces", url.as_str().trim_end_matches('/'))),
            None => builder,
        };
        let exporter = builder.build().map_err(|error| TelemetryError(error.to_string()))?;
        let resource = match std::env::var_os(NAME_VARIABLE) {
            Some(_) => Resource::builder(),
            None => Resource::builder().with_service_name("refshim"),
        };
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter);
        Ok(Self {
            provider: Some(provider.with_resource(resource.build()).build()),
        })
    }

    /// Exports the spans of `tracing`, whatever the log's level. `None` without a collector.
    pub fn layer<S>(&self) -> Option<impl Layer<S> + use<S>>
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        let tracer = self.provider.as_ref()?.tracer("refshim");
        let layer = tracing_opentelemetry::layer().with_tracer(tracer);
        let layer = layer
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false);
        Some(layer.with_filter(Targets::new().with_target("refshim", Level::DEBUG)))
    }

    /// Sends the spans that are left, for at most [`FLUSH`].
    pub async fn finish(self) {
        let Some(provider) = self.provider else { return };
        let flushed = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(FLUSH)).await;
        if let Ok(Err(error)) = flushed {
            tracing::warn!(%error, "the last spans did not reach the collector");
        }
    }
}

/// In builds without OpenTelemetry, variables that name a collector are in vain; here none is.
pub(super) fn warn_of_vain_variables() {}

/// Sends inside the tokio runtime: the SDK calls it on a thread of its own, outside.
#[derive(Debug)]
struct Http {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    runtime: Handle,
}

impl Http {
    fn new() -> Result<Self, TelemetryError> {
        let provider = rustls::crypto::ring::default_provider();
        let tls = HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(provider)
            .map_err(|error| TelemetryError(error.to_string()))?;
        let connector = tls.https_or_http().enable_http1().build();
        Ok(Self {
            client: Client::builder(TokioExecutor::new()).build(connector),
            runtime: Handle::current(),
        })
    }
}

impl HttpClient for Http {
    fn send_bytes<'life, 'sending>(
        &'life self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'sending>>
    where
        'life: 'sending,
        Self: 'sending,
    {
        let asked = self.client.request(request.map(Full::new));
        let answer = async move {
            let (head, body) = asked.await?.into_parts();
            #[expect(clippy::disallowed_methods, reason = "the body is limited")]
            let body = Limited::new(body, MAX_ANSWER).collect().await?.to_bytes();
            Ok(Response::from_parts(head, body))
        };
        let sending = self
            .runtime
            .spawn(async { tokio::time::timeout(DEADLINE, answer).await? });
        Box::pin(async move { sending.await? })
    }
}
