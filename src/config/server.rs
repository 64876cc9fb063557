//! Where refshim listens, and what it says while it runs.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::tls::TlsConfig;
use super::values;

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerConfig {
    #[serde(deserialize_with = "values::socket_address")]
    pub listen: SocketAddr,
    /// How long in-flight transfers may go on after SIGTERM.
    #[serde(deserialize_with = "values::duration")]
    pub shutdown_grace: Duration,
    /// Rewrite the realm of the upstream's challenges to the caller's view (opt-in).
    pub rewrite_realm: bool,
    /// Serve pages for people below `/ui/` (opt-in).
    pub ui: bool,
    /// Absolute links (Proposal A) are built with this origin instead of the request's `Host`, such as `https://refs.example.org`.
    #[serde(deserialize_with = "values::origin")]
    pub public_url: Option<url::Url>,
    pub tls: TlsConfig,
    pub auth: AuthConfig,
    /// Whoever can connect may use refshim's own credentials.
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
            tls: TlsConfig::default(),
            auth: AuthConfig::default(),
            allow_anonymous: false,
        }
    }
}

/// Who may use refshim's own credentials. A client certificate ([`TlsConfig::client_ca_file`]) is as good as a password.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthConfig {
    /// Users and the bcrypt hashes of their passwords, as `htpasswd -B` writes them.
    pub htpasswd_file: Option<PathBuf>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdminConfig {
    #[serde(deserialize_with = "values::socket_address")]
    pub listen: SocketAddr,
    /// Holds the bearer token that `POST /events` must bring; read at the start. Without, everybody may post.
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
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
    /// A `tracing_subscriber::EnvFilter` directive, such as `info` or `refshim=debug`.
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
