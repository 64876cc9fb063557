//! How the subcommands read registries: on the login of the user, directly, without a running refshim.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use crate::cache::{Bounds, Cache};
use crate::config::{CacheConfig, Depth, EgressConfig, LimitsConfig, LinksConfig, UpstreamConfig, WithoutSubject};
use crate::referrers::Resolver;
use crate::registry::RequestAllowance;

use super::error::CliError;
use super::login::upstream_of_user;

/// How long everything that was read stays valid in work on a whole repository: longer than that takes.
const LONGEST_WORK: Duration = Duration::from_secs(24 * 60 * 60);

/// How registries are read.
pub(super) struct ReadSettings {
    pub(super) ca_file: Option<PathBuf>,
    pub(super) depth: Depth,
    /// How long what was read is used again without asking.
    pub(super) freshness: CacheConfig,
    /// How long the registry may take from the end of a request to the head of its response.
    pub(super) first_byte_timeout: Duration,
    /// Hosts on private addresses to which redirects are followed.
    pub(super) redirect_hosts: BTreeSet<String>,
    /// How artifacts are listed that name no subject.
    pub(super) without_subject: WithoutSubject,
    /// How many requests may be made.
    pub(super) allowance: RequestAllowance,
}

/// As in a proxy.
const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(30);

impl ReadSettings {
    pub(super) fn new(ca_file: Option<PathBuf>, depth: Depth, freshness: CacheConfig) -> Self {
        Self {
            ca_file,
            depth,
            freshness,
            first_byte_timeout: FIRST_BYTE_TIMEOUT,
            redirect_hosts: BTreeSet::new(),
            without_subject: LinksConfig::default().without_subject,
            allowance: RequestAllowance::default(),
        }
    }

    /// For work on all that a repository holds, which reads everything once.
    pub(super) fn whole(ca_file: Option<PathBuf>) -> Self {
        let freshness = CacheConfig {
            fresh_for: LONGEST_WORK,
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            ..CacheConfig::default()
        };
        Self::new(ca_file, Depth::Manifests, freshness)
    }

    /// What answers questions about a registry, which is not asked yet. `host` is the key of its credentials.
    pub(super) fn resolver(&self, registry: &Url, host: &str) -> Result<Resolver, CliError> {
        let config = UpstreamConfig {
            ca_file: self.ca_file.clone(),
            first_byte_timeout: self.first_byte_timeout,
            redirect_hosts: self.redirect_hosts.clone(),
            egress: EgressConfig::of_process()?,
            ..UpstreamConfig::new(registry.clone())
        };
        let limits = LimitsConfig::default();
        let upstream = upstream_of_user(&config, &limits, host, self.allowance.clone());
        let upstream = upstream.map_err(|error| CliError::usage(error.to_string()))?;
        let freshness = &self.freshness;
        let cache = Cache::new(Bounds {
            manifests: freshness.manifest_bytes,
            lists: freshness.list_bytes,
        });
        let links = LinksConfig {
            depth: self.depth,
            deep_refresh: freshness.fresh_for.max(LinksConfig::default().deep_refresh),
            // Whoever runs a command waits for it.
            patience: Duration::MAX,
            without_subject: self.without_subject,
            ..LinksConfig::default()
        };
        let (upstream, cache) = (Arc::new(upstream), Arc::new(cache));
        Ok(Resolver::new(upstream, cache, &links, freshness, &limits))
    }
}
