//! What refshim says while it runs: lines on standard error, text or JSON.
//!
//! Credentials never reach a log: `Caller` prints as `Caller(credentials)`, and no header is logged as a whole.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use crate::config::{LogConfig, LogFormat};

/// Sets up the process's log. A second call changes nothing.
pub fn init(config: &LogConfig) {
    // The level was checked with the configuration.
    let filter = EnvFilter::new(&config.level);
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // Fails only when there is a log already, as in tests.
    let _ = match config.format {
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}
