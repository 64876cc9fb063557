//! Limits on the memory, connections and time that callers may use.

use std::time::Duration;

use serde::Deserialize;

use super::values;

/// The section `[limits]`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Largest manifest, in bytes.
    #[serde(deserialize_with = "values::byte_count")]
    pub manifest_bytes: usize,
    /// Largest tag listing, and largest list of the registry's own referrers API, in bytes; all pages together.
    #[serde(deserialize_with = "values::byte_count")]
    pub tag_list_bytes: usize,
    /// Most memory for large answers on their way to callers, in bytes. Pushed manifests may take the same amount again.
    #[serde(deserialize_with = "values::byte_count")]
    pub held_bytes: usize,
    /// Most connections from callers; further ones wait in the kernel's queue.
    #[serde(deserialize_with = "values::at_least_one")]
    pub connections: usize,
    /// Most connections from one IP address; further ones are closed. Default: no limit, because callers may share a load balancer's address.
    #[serde(deserialize_with = "values::some_at_least_one")]
    pub connections_per_address: Option<usize>,
    /// Most concurrent requests on one HTTP/2 connection.
    #[serde(deserialize_with = "values::at_least_one_of_32_bits")]
    pub streams: u32,
    /// Largest request target (path and query), in bytes.
    #[serde(deserialize_with = "values::byte_count")]
    pub target_bytes: usize,
    /// Most header lines in one request.
    #[serde(deserialize_with = "values::at_least_one")]
    pub header_count: usize,
    /// Most bytes of the names and values of all header lines of one request together.
    #[serde(deserialize_with = "values::byte_count")]
    pub header_bytes: usize,
    /// Longest time from a new connection to the end of its first request's head.
    #[serde(deserialize_with = "values::duration")]
    pub header_timeout: Duration,
    /// Longest time from a response to the end of the next request's head; over HTTP/2, longest time without a request.
    #[serde(deserialize_with = "values::duration")]
    pub idle_timeout: Duration,
    /// Longest time from a request to its answer, where refshim makes the answer itself or passes on a manifest.
    #[serde(deserialize_with = "values::duration")]
    pub answer_timeout: Duration,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            // The size that the distribution-spec asks registries to accept at least.
            manifest_bytes: 4 << 20,
            tag_list_bytes: 64 << 20,
            held_bytes: 256 << 20,
            connections: 4096,
            connections_per_address: None,
            streams: 100,
            target_bytes: 8 << 10,
            header_count: 64,
            // Tokens of several KiB are common, and some callers send two.
            header_bytes: 32 << 10,
            header_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(60),
            // Longer than a search for referrers may take, so that its own error, which says what went wrong, comes first.
            answer_timeout: Duration::from_secs(150),
        }
    }
}
