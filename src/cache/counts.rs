//! Counts lookups by the kind of entry and the tier that held it.

use crate::metrics::{CounterFamily, label};

use super::entry_id::Kind;

label! {
    /// The tier that held the entry.
    pub enum Tier: "tier" {
        /// This process's memory.
        Memory = "memory",
        /// The cache that replicas share.
        Redis = "redis",
        /// The directory in which a restarted process finds it again.
        Disk = "disk",
        /// No tier did.
        Miss = "miss",
    }
}

/// Lookups since start-up.
pub type LookupCounts = CounterFamily<(Kind, Tier)>;
