//! SIGHUP: what can be read again is read again, at once. A mistake in a file changes nothing, and nothing ends the process.

use std::path::PathBuf;
use std::sync::Arc;

use crate::auth::Htpasswd;
use crate::config::{Config, Overrides, load};
use crate::registry::Upstream;
use crate::telemetry::LogLevel;
use crate::tls::Acceptor;

/// Where the configuration came from.
pub(super) struct ConfigSource {
    pub(super) file: Option<PathBuf>,
    pub(super) overrides: Overrides,
}

/// What reads files again.
pub(super) struct Reload {
    pub(super) source: ConfigSource,
    /// As refshim runs with it.
    pub(super) config: Config,
    pub(super) log_level: LogLevel,
    pub(super) users: Option<Arc<Htpasswd>>,
    pub(super) acceptors: Vec<Arc<Acceptor>>,
    pub(super) upstreams: Vec<Arc<Upstream>>,
}

impl Reload {
    pub(super) fn run(&mut self) {
        tracing::info!("SIGHUP: reading certificates, users, credentials and the log's level again");
        self.acceptors.iter().for_each(|tls| tls.read_again());
        if let Some(users) = &self.users {
            users.read_again();
        }
        self.upstreams
            .iter()
            .for_each(|upstream| upstream.read_credentials_again());
        match load(self.source.file.as_deref(), &self.source.overrides) {
            Ok(now) => self.adopt(&now),
            Err(errors) => {
                for error in errors.0 {
                    tracing::warn!("the configuration cannot be used, and stays as it was: {error}");
                }
            }
        }
    }

    /// The log's level changes; everything else needs a restart, and is named.
    fn adopt(&mut self, now: &Config) {
        if now.log.level != self.config.log.level {
            match self.log_level.set(&now.log.level) {
                Ok(()) => tracing::info!(level = now.log.level, "the log's level is another now"),
                Err(error) => tracing::warn!("the log's level cannot be changed: {error}"),
            }
            self.config.log.level.clone_from(&now.log.level);
        }
        let changed = changed_sections(&self.config, now);
        if !changed.is_empty() {
            tracing::warn!("changes in {} take effect after a restart", changed.join(", "));
        }
    }
}

/// The sections that differ. Secrets in them print alike.
fn changed_sections(before: &Config, now: &Config) -> Vec<&'static str> {
    let print = |config: &Config| {
        [
            ("[server]", format!("{:?}", config.server)),
            ("[admin]", format!("{:?}", config.admin)),
            ("[log]", format!("{:?}", config.log)),
            ("[telemetry]", format!("{:?}", config.telemetry)),
            ("[[upstream]]", format!("{:?}", config.upstreams)),
            ("[links]", format!("{:?}", config.links)),
            ("[cache]", format!("{:?}", config.cache)),
            ("[tags]", format!("{:?}", config.tags)),
            ("[writing]", format!("{:?}", config.writing)),
            ("[events]", format!("{:?}", config.events)),
            ("[limits]", format!("{:?}", config.limits)),
        ]
    };
    let pairs = print(before).into_iter().zip(print(now));
    pairs
        .filter_map(|((section, before), (_, now))| (before != now).then_some(section))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_a_restart_is_named() {
        let before = Config::default();
        let mut now = before.clone();
        assert!(changed_sections(&before, &now).is_empty());
        now.server.ui = true;
        now.limits.connections += 1;
        assert_eq!(changed_sections(&before, &now), ["[server]", "[limits]"]);
    }
}
