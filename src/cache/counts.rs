//! Where what was looked up was found, by what it was.

use std::sync::atomic::{AtomicU64, Ordering};

use super::key::Kind;

/// What held it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    Memory,
    Redis,
    /// Nothing did.
    Miss,
}

impl Tier {
    pub const ALL: [Self; 3] = [Self::Memory, Self::Redis, Self::Miss];

    /// As a metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Redis => "redis",
            Self::Miss => "miss",
        }
    }
}

/// Counters since start-up.
#[derive(Debug, Default)]
pub struct LookupCounts {
    counts: [[AtomicU64; Tier::ALL.len()]; Kind::ALL.len()],
}

impl LookupCounts {
    pub(super) fn add(&self, kind: Kind, tier: Tier) {
        self.counts[kind as usize][tier as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub fn get(&self, kind: Kind, tier: Tier) -> u64 {
        self.counts[kind as usize][tier as usize].load(Ordering::Relaxed)
    }

    /// Every pair that there is, for metrics.
    pub fn iter(&self) -> impl Iterator<Item = (Kind, Tier, u64)> {
        Kind::ALL
            .into_iter()
            .flat_map(move |kind| Tier::ALL.map(|tier| (kind, tier, self.get(kind, tier))))
    }
}
