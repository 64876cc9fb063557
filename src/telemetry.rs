//! What refshim says while it runs: lines on standard error, text or JSON.
//!
//! Credentials never reach a log: `Caller` prints as `Caller(credentials)`, and no header is logged as a whole.

use std::io::IsTerminal as _;

use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, fmt, registry};

use crate::config::{LogConfig, LogFormat};

/// Sets up the process's log. A second call changes nothing.
pub fn init(config: &LogConfig) {
    // The level was checked with the configuration.
    let chosen = EnvFilter::new(&config.level);
    let most = chosen.max_level_hint().unwrap_or(LevelFilter::TRACE);
    let secrets = filter_fn(holds_no_secret).with_max_level_hint(most);
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = match config.format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    // Fails only when there is a log already, as in tests.
    let _ = registry().with(chosen).with(secrets).with(lines).try_init();
}

/// Whatever the level: when the AWS SDK explains itself, it repeats answers with credentials in them.
fn holds_no_secret(metadata: &Metadata<'_>) -> bool {
    !metadata.target().starts_with("aws_") || *metadata.level() <= Level::INFO
}
