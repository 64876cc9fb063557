//! Log lines on standard error, as text or JSON, and spans to an OpenTelemetry collector where one is configured.
//!
//! Credentials never reach a log: `Caller` prints as `Caller(credentials)`, and no header is logged as a whole.

#[cfg_attr(not(feature = "otel"), path = "no_otel.rs")]
mod otel;

use std::io::IsTerminal as _;

use tracing::{Level, Metadata};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, fmt, registry, reload};

use crate::config::{LogConfig, LogFormat, TelemetryConfig};
pub use otel::Traces;

/// Variables of the OpenTelemetry standard that name a collector.
const COLLECTOR_VARIABLES: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];

/// Those that are set.
fn collector_variables() -> impl Iterator<Item = &'static str> {
    let is_set = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    COLLECTOR_VARIABLES.into_iter().filter(is_set)
}

/// Why spans cannot be exported at all. A collector that is out of reach is no such error: its spans are lost.
#[derive(Debug, thiserror::Error)]
#[error("telemetry: {0}")]
pub struct TelemetryError(String);

/// Changes the level of the log while the process runs.
pub struct LogLevel(Box<dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync>);

impl LogLevel {
    /// `level` was checked with the configuration.
    pub fn set(&self, level: &str) -> Result<(), reload::Error> {
        (self.0)(EnvFilter::new(level))
    }
}

/// Sets up the process's log, inside the tokio runtime; a second call does not change it. The caller ends with [`Traces::finish`].
pub fn init(log: &LogConfig, telemetry: &TelemetryConfig) -> Result<(Traces, LogLevel), TelemetryError> {
    let traces = Traces::start(telemetry)?;
    // The level was checked with the configuration.
    let (chosen, handle) = reload::Layer::new(EnvFilter::new(&log.level));
    let level = LogLevel(Box::new(move |filter| handle.reload(filter)));
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = match log.format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let lines = lines.with_filter(filter_fn(holds_no_secret)).with_filter(chosen);
    // Fails only when there is a log already, as in tests.
    let _ = registry().with(lines).with(traces.layer()).try_init();
    otel::warn_of_vain_variables();
    Ok((traces, level))
}

/// False for debug lines of the AWS SDK, whatever the configured level: they repeat answers that hold credentials.
fn holds_no_secret(metadata: &Metadata<'_>) -> bool {
    !metadata.target().starts_with("aws_") || *metadata.level() <= Level::INFO
}
