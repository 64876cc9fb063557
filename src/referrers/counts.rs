//! What resolving did since start-up: how questions were answered, and what scans met.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::oci::{LinkSource, ReferrerList};

/// How a question for referrers was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnsweredFrom {
    /// From a fresh answer: the upstream was not asked.
    Fresh,
    /// From an older one, which is refreshed behind it.
    Refreshing,
    /// From a scan, one's own or somebody else's.
    Scan,
    /// From an old one, because the upstream fails.
    Stale,
    /// Not at all: refused, or an error.
    Nothing,
}

impl AnsweredFrom {
    pub const ALL: [Self; 5] = [Self::Fresh, Self::Refreshing, Self::Scan, Self::Stale, Self::Nothing];

    /// As a metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Refreshing => "refreshing",
            Self::Scan => "scan",
            Self::Stale => "stale",
            Self::Nothing => "nothing",
        }
    }
}

/// Counters of one upstream's resolver.
#[derive(Debug, Default)]
pub struct ResolveCounts {
    answers: [AtomicU64; AnsweredFrom::ALL.len()],
    links: [AtomicU64; LinkSource::ALL.len()],
    scans: AtomicU64,
    failed_scans: AtomicU64,
    skipped: AtomicU64,
    depth_cuts: AtomicU64,
    by_names: AtomicU64,
}

impl ResolveCounts {
    pub(super) fn answered(&self, from: AnsweredFrom) {
        add(&self.answers[from as usize]);
    }

    pub(super) fn scanned(&self, links: Option<&ReferrerList>) {
        add(&self.scans);
        let Some(links) = links else {
            return add(&self.failed_scans);
        };
        for source in links.referrers.iter().flat_map(|referrer| &referrer.sources) {
            add(&self.links[*source as usize]);
        }
    }

    pub(super) fn skipped(&self) {
        add(&self.skipped);
    }

    pub(super) fn depth_cut(&self) {
        add(&self.depth_cuts);
    }

    pub(super) fn read_by_names(&self) {
        add(&self.by_names);
    }

    pub fn answers(&self, from: AnsweredFrom) -> u64 {
        get(&self.answers[from as usize])
    }

    /// Links in the answers of scans, once for each dialect in which they were found.
    pub fn links(&self, source: LinkSource) -> u64 {
        get(&self.links[source as usize])
    }

    /// Scans that came to an end, failed ones included.
    pub fn scans(&self) -> u64 {
        get(&self.scans)
    }

    pub fn failed_scans(&self) -> u64 {
        get(&self.failed_scans)
    }

    /// Manifests that were left out because their content cannot be believed.
    pub fn skipped_manifests(&self) -> u64 {
        get(&self.skipped)
    }

    /// Ordinary tags behind which not everything was read.
    pub fn depth_cuts(&self) -> u64 {
        get(&self.depth_cuts)
    }

    /// Scans that read link tags only: what they did not find may stand behind an ordinary tag.
    pub fn scans_by_names(&self) -> u64 {
        get(&self.by_names)
    }
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_stand_where_their_counters_are() {
        for (position, from) in AnsweredFrom::ALL.into_iter().enumerate() {
            assert_eq!(from as usize, position);
        }
        for (position, source) in LinkSource::ALL.into_iter().enumerate() {
            assert_eq!(source as usize, position);
        }
    }
}
