//! What resolving and writing did since start-up: how questions were answered, what scans met, and what became of entries in referrers tags.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;

use crate::metrics::{CacheUse, CounterFamily, Label, label, note_cache_use};
use crate::oci::{LinkSource, ReferrerList};

label! {
    /// How a question for referrers was answered.
    pub enum AnsweredFrom: "from" {
        /// From a fresh answer: the upstream was not asked.
        Fresh = "fresh",
        /// From an older one, which is refreshed behind it.
        Refreshing = "refreshing",
        /// From a scan, one's own or somebody else's.
        Scan = "scan",
        /// From an old one, because the upstream fails.
        Stale = "stale",
        /// Not at all: refused, or an error.
        Nothing = "nothing",
    }
}

label! {
    /// What became of an entry that a push brings into a referrers tag.
    pub enum TagEntryOutcome: "outcome" {
        /// It was listed before the push was acknowledged.
        Listed = "listed",
        /// It was missing when it was looked for later, and was put back.
        PutBack = "put-back",
        /// The registry refuses to write the tag: it is locked, or the caller may not.
        Refused = "refused",
        /// The tag holds something that is no list of referrers.
        Taken = "taken",
        /// The registry failed, or others kept writing the tag, until refshim gave up.
        Failed = "failed",
        /// Too many are looked after: nobody looks whether it stays.
        NotWatched = "not-watched",
    }
}

impl Label for LinkSource {
    const NAME: &'static str = "dialect";
    const VALUES: &'static [Self] = &Self::ALL;

    fn value(self) -> &'static str {
        self.as_str()
    }

    fn index(self) -> usize {
        self as usize
    }
}

/// Counters of one upstream's resolver. Clones share them.
#[derive(Clone, Debug)]
pub struct ResolveCounts {
    pub answers: CounterFamily<AnsweredFrom>,
    /// Links in the answers of scans, once for each dialect in which they were found.
    pub links: CounterFamily<LinkSource>,
    /// Scans that came to an end, failed ones included.
    pub scans: Counter,
    pub failed_scans: Counter,
    /// Manifests that were left out because their content cannot be believed.
    pub skipped_manifests: Counter,
    /// Ordinary tags behind which not everything was read.
    pub depth_cuts: Counter,
    /// Scans that read link tags only: what they did not find may stand behind an ordinary tag.
    pub scans_by_names: Counter,
    pub tag_entries: CounterFamily<TagEntryOutcome>,
    /// Entries of referrers tags that are looked for once more.
    pub watched_tag_entries: Gauge,
}

impl Default for ResolveCounts {
    fn default() -> Self {
        Self {
            answers: CounterFamily::from_zero(),
            links: CounterFamily::from_zero(),
            scans: Counter::default(),
            failed_scans: Counter::default(),
            skipped_manifests: Counter::default(),
            depth_cuts: Counter::default(),
            scans_by_names: Counter::default(),
            tag_entries: CounterFamily::from_zero(),
            watched_tag_entries: Gauge::default(),
        }
    }
}

impl ResolveCounts {
    /// Counts a question for referrers.
    pub(super) fn answered(&self, from: AnsweredFrom) {
        self.answers.get(from).inc();
        note_cache_use(match from {
            AnsweredFrom::Fresh => CacheUse::Fresh,
            AnsweredFrom::Refreshing => CacheUse::Refreshing,
            AnsweredFrom::Stale => CacheUse::Stale,
            AnsweredFrom::Scan | AnsweredFrom::Nothing => CacheUse::Miss,
        });
    }

    /// Counts a scan and what it found; `None` where it failed.
    pub(super) fn scanned(&self, links: Option<&ReferrerList>) {
        self.scans.inc();
        let Some(links) = links else {
            self.failed_scans.inc();
            return;
        };
        for source in links.referrers.iter().flat_map(|referrer| &referrer.sources) {
            self.links.get(*source).inc();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dialects_stand_where_their_counters_are() {
        for (place, source) in LinkSource::ALL.into_iter().enumerate() {
            assert_eq!(source as usize, place);
        }
    }
}
