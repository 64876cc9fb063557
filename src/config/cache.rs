//! What refshim caches, for how long, and in how much memory.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::redis::RedisConfig;
use super::values;
use crate::oci::RepositoryName;

/// Longest `access_for`: the time for which a withdrawn credential may still read cached content.
const MAX_ACCESS_FOR: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CacheConfig {
    /// How long cached answers and tag lists are served without asking the registry.
    #[serde(deserialize_with = "values::duration")]
    pub fresh_for: Duration,
    /// How much longer cached answers are served while they are refreshed in the background.
    #[serde(deserialize_with = "values::duration")]
    pub stale_while_revalidate: Duration,
    /// How old a cached answer may be that is served while the registry fails.
    #[serde(deserialize_with = "values::duration")]
    pub stale_if_error: Duration,
    /// How long a credential to which the registry gave a manifest of a repository may read cached content of it (at most 60 s).
    #[serde(deserialize_with = "access_for")]
    pub access_for: Duration,
    /// Most memory for cached manifests and small blobs together, in bytes.
    #[serde(deserialize_with = "values::byte_size")]
    pub manifest_bytes: u64,
    /// Largest blob that is cached, such as a signature, in bytes; 0 caches none.
    #[serde(deserialize_with = "values::byte_size_or_none")]
    pub small_blob: u64,
    /// Most memory for cached lists of referrers and tags and everything else that is remembered of a repository, in bytes.
    #[serde(deserialize_with = "values::byte_size")]
    pub list_bytes: u64,
    /// Repositories of the first upstream whose links are read at start-up.
    #[serde(deserialize_with = "repositories")]
    pub warm: BTreeSet<RepositoryName>,
    /// Directory from which a restarted process reads what it had cached. Without it, the cache is in memory only.
    pub dir: Option<PathBuf>,
    /// Most bytes on disk.
    #[serde(deserialize_with = "disk_bytes")]
    pub disk_bytes: u64,
    /// The cache that replicas share.
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
            dir: None,
            disk_bytes: 512 << 20,
            redis: RedisConfig::default(),
        }
    }
}

fn access_for<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let duration = values::duration(deserializer)?;
    if duration > MAX_ACCESS_FOR {
        return Err(serde::de::Error::custom(
            "must be at most 60s, so that a revoked credential soon loses access",
        ));
    }
    Ok(duration)
}

/// In less than that a large repository's listing finds no room.
const LEAST_DISK_BYTES: u64 = 64 << 20;

fn disk_bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let bytes = values::byte_size(deserializer)?;
    if bytes < LEAST_DISK_BYTES {
        return Err(serde::de::Error::custom("must be at least 64MiB"));
    }
    Ok(bytes)
}

fn repositories<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeSet<RepositoryName>, D::Error> {
    let names = values::texts(deserializer)?;
    let parsed = names.iter().map(|name| RepositoryName::parse(name));
    parsed.collect::<Result<_, _>>().map_err(serde::de::Error::custom)
}
