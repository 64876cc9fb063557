//! The cache that replicas share.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer};
use url::Url;

use super::secret::Secret;
use super::values;

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedisConfig {
    /// Without it, the cache is not shared.
    pub url: Option<RedisUrl>,
    /// The password, if it is not in the URL.
    pub password: Option<Secret>,
    /// File with the password, read for each new connection.
    pub password_file: Option<PathBuf>,
    /// PEM file of certificate authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Prefix of every key.
    #[serde(deserialize_with = "prefix")]
    pub prefix: String,
    /// Longest time for one read. Publishing a write may take twenty times as long.
    #[serde(deserialize_with = "timeout")]
    pub timeout: Duration,
    /// How long entries stay in Redis (lists: only as long as they can be served).
    #[serde(deserialize_with = "ttl")]
    pub ttl: Duration,
    /// Largest value that is stored in Redis, in bytes. Larger tag listings are stored in pieces.
    #[serde(deserialize_with = "values::byte_count")]
    pub max_value_bytes: usize,
}

impl Default for RedisConfig {
    fn default() -> Self {
        Self {
            url: None,
            password: None,
            password_file: None,
            ca_file: None,
            prefix: "refshim".to_owned(),
            timeout: Duration::from_millis(50),
            ttl: Duration::from_secs(24 * 3600),
            max_value_bytes: 1 << 20,
        }
    }
}

/// A URL with `redis://` or `rediss://` (TLS), optionally with user, password and database number.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl(Url);

impl RedisUrl {
    /// The whole URL, including its password.
    pub fn reveal(&self) -> &str {
        self.0.as_str()
    }

    pub fn is_tls(&self) -> bool {
        self.0.scheme() == "rediss"
    }

    pub(super) fn has_password(&self) -> bool {
        self.0.password().is_some()
    }
}

/// Prints the URL without user and password.
impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = self.0.host_str().unwrap_or_default();
        write!(f, "{}://{authority}:{}", self.0.scheme(), self.0.port().unwrap_or(6379))
    }
}

impl<'de> Deserialize<'de> for RedisUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = values::text(deserializer)?;
        // Never repeated in a message: it may hold a password.
        let wrong = "is not a URL of Redis: write it like redis://host:6379/0, or rediss://host:6379 for TLS";
        let url = Url::parse(&text).map_err(|_| serde::de::Error::custom(wrong))?;
        let database = url.path().trim_start_matches('/');
        let is_one = matches!(url.scheme(), "redis" | "rediss")
            && url.host_str().is_some_and(|host| !host.is_empty())
            && (database.is_empty() || database.parse::<u16>().is_ok())
            && url.query().is_none()
            && url.fragment().is_none();
        if is_one {
            Ok(Self(url))
        } else {
            Err(serde::de::Error::custom(wrong))
        }
    }
}

fn prefix<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = values::text(deserializer)?;
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.:/".contains(&b);
    if text.is_empty() || !text.bytes().all(is_plain) {
        return Err(serde::de::Error::custom(format!(
            "'{text}' is not a prefix for keys: write letters, digits, and any of - _ . : /"
        )));
    }
    Ok(text)
}

fn timeout<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    positive(deserializer, Duration::from_millis(1))
}

fn ttl<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    positive(deserializer, Duration::from_secs(1))
}

fn positive<'de, D: Deserializer<'de>>(deserializer: D, least: Duration) -> Result<Duration, D::Error> {
    let duration = values::duration(deserializer)?;
    if duration < least {
        let problem = format!("must be at least {}", humantime::format_duration(least));
        return Err(serde::de::Error::custom(problem));
    }
    Ok(duration)
}
