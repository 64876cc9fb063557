//! What callers may take up: memory, connections, time.

use std::time::Duration;

use serde::Deserialize;

use super::values;

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Largest manifest, in bytes.
    #[serde(deserialize_with = "values::byte_count")]
    pub manifest_bytes: usize,
    /// Largest tag listing (all pages), in bytes.
    #[serde(deserialize_with = "values::byte_count")]
    pub tag_list_bytes: usize,
    /// Large answers that are held in memory for callers at once, in bytes; pushed manifests may take as much again.
    #[serde(deserialize_with = "values::byte_count")]
    pub held_bytes: usize,
    /// Connections of callers at once; more wait in the kernel's queue.
    #[serde(deserialize_with = "values::at_least_one")]
    pub connections: usize,
    /// Of one address; more are closed at once. `None`: no limit, because callers may share a load balancer's address.
    #[serde(deserialize_with = "values::some_at_least_one")]
    pub connections_per_address: Option<usize>,
    /// Requests at once on one HTTP/2 connection.
    #[serde(deserialize_with = "values::at_least_one_of_32_bits")]
    pub streams: u32,
    /// Largest request target (path and query), in bytes.
    #[serde(deserialize_with = "values::byte_count")]
    pub target_bytes: usize,
    /// Header lines of one request.
    #[serde(deserialize_with = "values::at_least_one")]
    pub header_count: usize,
    /// Names and values of all header lines of one request together, in bytes.
    #[serde(deserialize_with = "values::byte_count")]
    pub header_bytes: usize,
    /// From a new connection to the end of its first request's head.
    #[serde(deserialize_with = "values::duration")]
    pub header_timeout: Duration,
    /// From an answer to the end of the next request's head; over HTTP/2, without a new request.
    #[serde(deserialize_with = "values::duration")]
    pub idle_timeout: Duration,
    /// Until there is an answer that refshim makes itself, or a manifest.
    #[serde(deserialize_with = "values::duration")]
    pub answer_timeout: Duration,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            // What the distribution-spec asks registries to accept at least.
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
            // Longer than a search for links may take: it knows better what went wrong.
            answer_timeout: Duration::from_secs(150),
        }
    }
}
