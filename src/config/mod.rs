//! The configuration, which is checked once at start-up: other modules get plain values and validate nothing again.
//!
//! [`load`] merges a TOML file, environment variables and flags (flags take precedence over the environment, and that over the file) and reports all
//! errors together. Each section is a struct of its own; `config.example.toml` shows its `Default`.

mod cache;
mod check;
mod credentials;
mod env;
mod error;
mod files;
mod limits;
mod links;
mod listener_security;
mod load;
mod redis;
mod routing;
mod secret;
mod server;
mod tags;
mod telemetry;
mod tls;
mod upstream;
mod values;

use serde::Deserialize;

pub use cache::CacheConfig;
pub use credentials::{CredentialsConfig, CredentialsKind};
pub use error::ConfigErrors;
pub use limits::LimitsConfig;
pub use links::{Depth, LinksConfig};
pub use load::{Overrides, load, load_with};
pub use server::{AdminConfig, LogConfig, LogFormat, ServerConfig};
pub use tags::{HIDDEN_TAGS, TagsConfig, WritingConfig};
pub use telemetry::TelemetryConfig;
pub use tls::{TlsConfig, TlsVersion};
pub use upstream::{Blobs, ListingKind, UpstreamConfig};
pub use values::registry_url;

/// Everything that `refshim serve` needs.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub server: ServerConfig,
    pub admin: AdminConfig,
    pub log: LogConfig,
    pub telemetry: TelemetryConfig,
    /// The `[[upstream]]` tables of the file, at least one. The first serves requests that name no other.
    #[serde(rename = "upstream")]
    pub upstreams: Vec<UpstreamConfig>,
    pub links: LinksConfig,
    pub cache: CacheConfig,
    pub tags: TagsConfig,
    pub writing: WritingConfig,
    pub limits: LimitsConfig,
}
