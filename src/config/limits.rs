//! What may be held in memory.

use serde::Deserialize;

use super::values;

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Largest manifest, in bytes.
    #[serde(deserialize_with = "values::byte_count")]
    pub manifest_bytes: usize,
    /// Largest tag listing (all pages), in bytes.
    #[serde(deserialize_with = "values::byte_count")]
    pub tag_list_bytes: usize,
    /// Connections of callers at once.
    #[serde(deserialize_with = "values::at_least_one")]
    pub connections: usize,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            // What the distribution-spec asks registries to accept at least.
            manifest_bytes: 4 << 20,
            tag_list_bytes: 64 << 20,
            connections: 4096,
        }
    }
}
