//! Registries lag: a tag is listed, or a manifest named, a moment before the registry gives it. What should be there and is not
//! is asked for again after a second, however much that is: what one search may ask is bounded, and the next goes on from there. Until
//! it has been missing for longer than answers are fresh, nothing that rests on it is remembered.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::context::Scan;
use crate::oci::{Digest, Reference, Tag};

/// How long after it was missing something is asked for again.
pub(in crate::referrers) const LAG: Duration = Duration::from_secs(1);

impl Scan {
    /// For how long a tag that should be there has been missing.
    pub fn tag_missing_for(&self, tag: &Tag) -> Duration {
        self.missing_for(&Reference::Tag(tag.clone()))
    }

    /// For how long a manifest that should be there has been missing.
    pub fn manifest_missing_for(&self, digest: &Digest) -> Duration {
        self.missing_for(&Reference::Digest(digest.clone()))
    }

    fn missing_for(&self, what: &Reference) -> Duration {
        self.stores.tags.lags_since(&self.context.repository_key, what)
    }

    pub fn tag_is_there(&self, tag: &Tag) {
        let reference = Reference::Tag(tag.clone());
        self.stores.tags.has_come(&self.context.repository_key, &reference);
    }

    pub fn manifest_is_there(&self, digest: &Digest) {
        let reference = Reference::Digest(digest.clone());
        self.stores.tags.has_come(&self.context.repository_key, &reference);
    }

    /// Whether what has been missing for so long may still come.
    pub fn may_come(&self, missing_for: Duration) -> bool {
        missing_for < self.stores.fresh_for
    }

    /// Whether a manifest that should be there, that has been missing for so long, and of which the registry said so `ago`, need not be
    /// asked for once more in this search: it may come no more, or was missing twice in it with a moment in between.
    pub fn need_not_be_asked(&self, ago: Duration, missing_for: Duration) -> bool {
        !self.may_come(missing_for) || (ago < self.since && missing_for.saturating_sub(ago) >= LAG)
    }

    /// The answer is given, and not remembered.
    pub fn unsettle(&self) {
        self.is_unsettled.store(true, Ordering::Relaxed);
    }
}
