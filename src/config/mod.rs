//! The checked configuration: past start-up nothing validates again. Values are passed down plainly.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::oci::Dialect;

/// Everything that `refshim serve` needs.
#[derive(Clone, Debug)]
pub struct Config {
    pub server: ServerConfig,
    pub admin: AdminConfig,
    pub log: LogConfig,
    /// At least one; the first is the default.
    pub upstreams: Vec<UpstreamConfig>,
    pub links: LinksConfig,
    pub cache: CacheConfig,
    pub tags: TagsConfig,
    pub writing: WritingConfig,
    pub limits: LimitsConfig,
}

#[derive(Clone, Debug)]
pub struct ServerConfig {
    pub listen: SocketAddr,
    /// How long in-flight transfers may go on after SIGTERM.
    pub shutdown_grace: Duration,
    /// Rewrite the realm of the upstream's challenges to the caller's view (opt-in).
    pub rewrite_realm: bool,
    /// Absolute links (Proposal A) are built with this origin instead of the request's `Host`, such as `https://refs.example.org`.
    pub public_url: Option<url::Url>,
}

#[derive(Clone, Debug)]
pub struct AdminConfig {
    pub listen: SocketAddr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Clone, Debug)]
pub struct LogConfig {
    pub format: LogFormat,
    /// A `tracing_subscriber::EnvFilter` directive, such as `info` or `refshim=debug`.
    pub level: String,
}

#[derive(Clone, Debug)]
pub struct UpstreamConfig {
    /// Names it in logs, metrics and cache keys. `default` when given by the flag.
    pub name: String,
    /// Scheme, authority and an optional path prefix in front of `/v2`.
    pub url: url::Url,
    /// Speak HTTP/2 without TLS (prior knowledge). With TLS, ALPN decides.
    pub http2_prior_knowledge: bool,
    /// Until a connection is there.
    pub connect_timeout: Duration,
    /// From the request sent to the response's head.
    pub first_byte_timeout: Duration,
    /// Between two reads of a body.
    pub idle_timeout: Duration,
    /// Attempts of an idempotent request beyond the first.
    pub retries: u32,
    /// Manifest reads of scans at once.
    pub scan_concurrency: usize,
    /// Hosts (names or IP addresses) on private addresses to which refshim's own reads may be redirected.
    pub redirect_hosts: BTreeSet<String>,
    /// PEM file of certificate authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
}

/// How far to look for links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Deep while a repository has at most `deep_limit` ordinary tags.
    Auto,
    Names,
    Manifests,
}

#[derive(Clone, Debug)]
pub struct LinksConfig {
    pub depth: Depth,
    /// Ordinary tags up to which `auto` reads deep.
    pub deep_limit: usize,
    /// How often a known ordinary tag is asked again.
    pub deep_refresh: Duration,
    /// The dialects that are read.
    pub sources: BTreeSet<Dialect>,
}

#[derive(Clone, Debug)]
pub struct CacheConfig {
    pub fresh_for: Duration,
    pub stale_while_revalidate: Duration,
    pub stale_if_error: Duration,
    /// How long an allowed credential is remembered (at most 60 s).
    pub access_for: Duration,
    /// Bound of cached manifests, in bytes.
    pub manifest_bytes: u64,
    /// Bound of cached tag lists and answers together, in bytes.
    pub list_bytes: u64,
}

/// What `tags/list` leaves out.
#[derive(Clone, Debug, Default)]
pub struct TagsConfig {
    pub hide_proposal_d: bool,
    pub hide_cosign: bool,
    pub hide_referrers_tag: bool,
}

#[derive(Clone, Debug)]
pub struct WritingConfig {
    /// Keep the OCI 1.1 referrers tag too, for clients that bypass the proxy.
    pub maintain_fallback_tag: bool,
    /// Answer a referrers tag with the synthesised list even where the upstream holds one.
    pub merge_referrers_tag: bool,
}

#[derive(Clone, Debug)]
pub struct LimitsConfig {
    /// Largest manifest, in bytes.
    pub manifest_bytes: usize,
    /// Largest tag listing (all pages), in bytes.
    pub tag_list_bytes: usize,
    /// Connections of callers at once.
    pub connections: usize,
}
