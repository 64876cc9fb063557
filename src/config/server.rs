//! The listeners for callers and for administration, and the log.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;

use super::addresses;
use super::tls::TlsConfig;
use super::values;

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerConfig {
    #[serde(deserialize_with = "addresses::socket_address")]
    pub listen: SocketAddr,
    /// How long transfers may still take after SIGTERM.
    #[serde(deserialize_with = "values::duration")]
    pub shutdown_grace: Duration,
    /// Rewrite the realm of the registry's challenges, so that clients request tokens through refshim.
    pub rewrite_realm: bool,
    /// Serve web pages at `/ui/`.
    pub ui: bool,
    /// Origin for absolute links in answers (Proposal A), such as `https://refs.example.org`. Default: from the request's `Host`.
    #[serde(deserialize_with = "values::origin")]
    pub public_url: Option<url::Url>,
    /// Networks of proxies in front of refshim whose `X-Forwarded-For` is logged. Nobody else's is believed.
    #[serde(deserialize_with = "addresses::networks")]
    pub trusted_proxies: Vec<IpNet>,
    pub tls: TlsConfig,
    pub auth: AuthConfig,
    /// Whether everybody who can connect may use refshim's own credentials.
    pub allow_anonymous: bool,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 5100)),
            shutdown_grace: Duration::from_secs(30),
            rewrite_realm: false,
            ui: false,
            public_url: None,
            trusted_proxies: Vec::new(),
            tls: TlsConfig::default(),
            auth: AuthConfig::default(),
            allow_anonymous: false,
        }
    }
}

/// Who may use refshim's own credentials. A client certificate ([`TlsConfig::client_ca_file`]) is accepted instead of a password.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthConfig {
    /// File with users and the bcrypt hashes of their passwords, as `htpasswd -B` writes it.
    pub htpasswd_file: Option<PathBuf>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdminConfig {
    #[serde(deserialize_with = "addresses::socket_address")]
    pub listen: SocketAddr,
    /// File with the bearer token that `POST /events` must carry, read at start-up. Without it, everybody may post.
    pub events_token_file: Option<PathBuf>,
    pub tls: TlsConfig,
}

impl Default for AdminConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 5101)),
            events_token_file: None,
            tls: TlsConfig::default(),
        }
    }
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

impl LogFormat {
    pub(super) const NAMES: [(&'static str, Self); 2] = [("text", Self::Text), ("json", Self::Json)];
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    #[serde(deserialize_with = "log_format")]
    pub format: LogFormat,
    /// `tracing_subscriber::filter::Targets` directives, such as `info` or `refshim=debug`.
    #[serde(deserialize_with = "values::log_level")]
    pub level: String,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            level: "info".to_owned(),
        }
    }
}

fn log_format<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<LogFormat, D::Error> {
    values::choice(deserializer, &LogFormat::NAMES)
}
