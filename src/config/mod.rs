//! The configuration, which is checked once at start-up: other modules get plain values and validate nothing again.
//!
//! [`load`] merges a TOML file, environment variables and flags (flags take precedence over the environment, and that over the file) and reports all
//! errors together. Each section is a struct of its own; `config.example.toml` shows its `Default`.
//!
//! A new key needs its field, doc comment and `Default` in the file of its section, and a line in `config.example.toml` (a test holds
//! both together). What it requires of other keys goes into `check`, a file that it names into `files`, a flag into `load` and
//! `cli::serve`. Environment variables need nothing.

mod addresses;
mod cache;
mod check;
mod credentials;
mod egress;
mod env;
mod error;
mod events;
mod files;
mod limits;
mod lines;
mod links;
mod links_repositories;
mod listener_security;
mod load;
mod metrics;
mod misfit;
mod redis;
mod repository_patterns;
mod routing;
mod secret;
mod server;
mod tags;
mod telemetry;
mod tls;
mod unknown_key;
mod upstream;
mod values;
mod webhook_secret;
mod writing;

use serde::Deserialize;

pub use addresses::listen_address;
pub use cache::CacheConfig;
pub use credentials::{CredentialsConfig, CredentialsKind};
pub use egress::{EgressConfig, NamedProxy, ProxyChoice};
pub use error::ConfigErrors;
pub use events::{EventType, EventsConfig, WebhookConfig};
pub use limits::LimitsConfig;
pub use links::{Depth, LinksConfig, WithoutSubject};
pub use load::{Overrides, load, load_with};
pub use metrics::MetricsConfig;
pub use server::{AdminConfig, LogConfig, LogFormat, ServerConfig};
pub use tags::{HIDDEN_TAGS, TagsConfig};
pub use telemetry::TelemetryConfig;
pub use tls::{TlsConfig, TlsVersion};
pub use upstream::{Blobs, ListingKind, UpstreamConfig};
pub use values::registry_url;
pub use webhook_secret::WebhookSecret;
pub use writing::{WritingConfig, WrittenLinks};

/// Everything that `refshim serve` needs.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The listener for callers.
    pub server: ServerConfig,
    /// The admin listener.
    pub admin: AdminConfig,
    /// Format and level of the log.
    pub log: LogConfig,
    /// What is counted beside what always is.
    pub metrics: MetricsConfig,
    /// The collector of traces.
    pub telemetry: TelemetryConfig,
    /// The `[[upstream]]` tables of the file, at least one. The first serves requests that name no other.
    #[serde(rename = "upstream")]
    pub upstreams: Vec<UpstreamConfig>,
    /// Where and in which dialects to look for links.
    pub links: LinksConfig,
    /// What is cached, for how long and in how much memory.
    pub cache: CacheConfig,
    /// Which link tags `tags/list` shows.
    pub tags: TagsConfig,
    /// How links are written down.
    pub writing: WritingConfig,
    /// Who is told of links that come and go.
    pub events: EventsConfig,
    /// Limits on what callers may use.
    pub limits: LimitsConfig,
}
