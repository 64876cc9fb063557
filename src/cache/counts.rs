//! Where what was looked up was found, by what it was.

use crate::metrics::{CounterFamily, label};

use super::key::Kind;

label! {
    /// What held it.
    pub enum Tier: "tier" {
        Memory = "memory",
        Redis = "redis",
        /// Nothing did.
        Miss = "miss",
    }
}

/// Lookups since start-up.
pub type LookupCounts = CounterFamily<(Kind, Tier)>;
