//! What is remembered, for how long, and how much of it.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::redis::RedisConfig;
use super::values;
use crate::oci::RepositoryName;

/// Longest time for which an allowed credential may be remembered.
const MAX_ACCESS_FOR: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CacheConfig {
    /// Answers and tag lists are given without asking the upstream for this long.
    #[serde(deserialize_with = "values::duration")]
    pub fresh_for: Duration,
    /// After that, they are still given for this long while they are refreshed in the background.
    #[serde(deserialize_with = "values::duration")]
    pub stale_while_revalidate: Duration,
    /// When the upstream fails, they are given for this long.
    #[serde(deserialize_with = "values::duration")]
    pub stale_if_error: Duration,
    /// How long an allowed credential is remembered (at most 60 s).
    #[serde(deserialize_with = "access_for")]
    pub access_for: Duration,
    /// Bound of cached manifests and small blobs together, in bytes.
    #[serde(deserialize_with = "values::byte_size")]
    pub manifest_bytes: u64,
    /// Largest blob that is remembered, such as a signature, in bytes; they share the bound of manifests. 0 remembers none.
    #[serde(deserialize_with = "values::byte_size_or_none")]
    pub small_blob: u64,
    /// Bound of cached tag lists and answers together, in bytes.
    #[serde(deserialize_with = "values::byte_size")]
    pub list_bytes: u64,
    /// Repositories of the first upstream that are read at the start, before anybody asks.
    #[serde(deserialize_with = "repositories")]
    pub warm: BTreeSet<RepositoryName>,
    /// Shared by replicas.
    pub redis: RedisConfig,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self {
            fresh_for: Duration::from_secs(30),
            stale_while_revalidate: Duration::from_secs(300),
            stale_if_error: Duration::from_secs(3600),
            access_for: MAX_ACCESS_FOR,
            manifest_bytes: 64 << 20,
            small_blob: 1 << 20,
            list_bytes: 64 << 20,
            warm: BTreeSet::new(),
            redis: RedisConfig::default(),
        }
    }
}

fn access_for<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let duration = values::duration(deserializer)?;
    if duration > MAX_ACCESS_FOR {
        return Err(serde::de::Error::custom(
            "must be at most 60s, so that a revoked credential ends soon",
        ));
    }
    Ok(duration)
}

fn repositories<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeSet<RepositoryName>, D::Error> {
    let names = values::texts(deserializer)?;
    let parsed = names.iter().map(|name| RepositoryName::parse(name));
    parsed.collect::<Result<_, _>>().map_err(serde::de::Error::custom)
}
