//! Log lines on standard error, as text or JSON, and spans to an OpenTelemetry collector where one is configured.
//!
//! Nobody waits for the log: see [`log_queue`].
//!
//! Credentials never reach a log: `Caller` prints as `Caller(credentials)`, and no header is logged as a whole.

mod log_queue;
#[cfg_attr(not(feature = "otel"), path = "no_otel.rs")]
mod otel;
mod plain_text;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fs::File;
use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd as _;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::filter::{FilterExt as _, LevelFilter, Targets, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, fmt, registry, reload};

use crate::config::{LogConfig, LogFormat, TelemetryConfig};
use log_queue::LogQueue;
pub use otel::Traces;
use plain_text::{PlainFields, Utc};

/// How long the end of the process waits for lines that are not written yet.
const LAST_LINES: Duration = Duration::from_secs(1);
/// How long a panic waits, which may be the last that happens.
const LAST_WORDS: Duration = Duration::from_millis(100);

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
pub struct LogLevel(Box<dyn Fn(Targets) -> Result<(), reload::Error> + Send + Sync>);

impl LogLevel {
    fn of<S: 'static>(filter: reload::Handle<Targets, S>) -> Self {
        Self(Box::new(move |level| filter.reload(level)))
    }

    /// `level` is that of the configuration.
    pub fn set(&self, level: &str) -> Result<(), reload::Error> {
        (self.0)(chosen(level))
    }
}

/// What is logged at a level of the configuration, which refuses all that cannot be read here.
fn chosen(level: &str) -> Targets {
    level
        .parse()
        .unwrap_or_else(|_| Targets::new().with_default(LevelFilter::INFO))
}

/// What [`init`] set up.
pub struct Telemetry {
    /// Spans on their way to a collector; the caller ends with [`Traces::finish`].
    pub traces: Traces,
    /// The log's level.
    pub level: LogLevel,
    /// To be dropped last.
    pub log: LogGuard,
}

/// Writes the log lines that are left when it is dropped.
pub struct LogGuard(LogQueue);

impl Drop for LogGuard {
    fn drop(&mut self) {
        self.0.flush(LAST_LINES);
    }
}

/// Sets up the process's log, inside the tokio runtime; a second call does not change it. Lines that are lost because nobody reads them are
/// counted in `lost`.
pub fn init(log: &LogConfig, telemetry: &TelemetryConfig, lost: &Counter) -> Result<Telemetry, TelemetryError> {
    let traces = Traces::start(telemetry)?;
    let queue = standard_error().and_then(|output| LogQueue::start(output, lost.clone()));
    let queue = queue.map_err(|error| TelemetryError(format!("the log cannot be written: {error}")))?;
    let chosen = chosen(&log.level);
    let no_secrets = filter_fn(holds_no_secret);
    let (is_set, level) = match traces.layer() {
        // The collector's spans are others than those of the log. One filter, because each one has costs of its own with every span; without
        // a hint of its own it would hide that of the level.
        Some(spans) => {
            let (chosen, handle) = reload::Layer::new(chosen);
            let filter = chosen.and(no_secrets.with_max_level_hint(LevelFilter::TRACE));
            let lines = lines(log, &queue).with_filter(filter);
            let is_set = registry().with(lines).with(spans).try_init().is_ok();
            (is_set, LogLevel::of(handle))
        }
        // What the log does not show, nobody sees: that costs less than to keep with each span who does.
        None => {
            let (chosen, handle) = reload::Layer::new(chosen);
            let filtered = registry().with(chosen).with(no_secrets);
            let is_set = filtered.with(lines(log, &queue)).try_init().is_ok();
            (is_set, LogLevel::of(handle))
        }
    };
    // False only when there is a log already, as in tests.
    if is_set {
        log_panics(queue.clone());
    }
    otel::warn_of_vain_variables();
    Ok(Telemetry {
        traces,
        level,
        log: LogGuard(queue),
    })
}

/// Writes log lines to `queue`, in the form of the configuration.
fn lines<S>(log: &LogConfig, queue: &LogQueue) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let lines = fmt::layer().with_timer(Utc).with_writer(queue.clone());
    match log.format {
        LogFormat::Text if io::stderr().is_terminal() => lines.boxed(),
        LogFormat::Text => lines.with_ansi(false).fmt_fields(PlainFields).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    }
}

/// Standard error without its lock, which a write that nobody reads would hold against everybody else.
fn standard_error() -> io::Result<File> {
    Ok(File::from(io::stderr().as_fd().try_clone_to_owned()?))
}

/// Panics go to the log too: the usual hook would wait for whoever reads standard error.
fn log_panics(lines: LogQueue) {
    std::panic::set_hook(Box::new(move |panic| {
        let backtrace = Backtrace::capture();
        match backtrace.status() {
            BacktraceStatus::Captured => tracing::error!(%backtrace, "{panic}"),
            _ => tracing::error!("{panic}"),
        }
        lines.flush(LAST_WORDS);
    }));
}

/// False for debug lines of the AWS SDK, whatever the configured level: they repeat answers that hold credentials.
fn holds_no_secret(metadata: &Metadata<'_>) -> bool {
    !metadata.target().starts_with("aws_") || *metadata.level() <= Level::INFO
}
