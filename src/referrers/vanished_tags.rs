//! Link tags that a listing lacks and the one before it had. Names move while pages are read: before a none rests on it, the
//! registry is asked for them by name.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use moka::sync::Cache;

use crate::cache::RepositoryKey;
use crate::oci::{SubjectKey, Tag, tag_scheme};
use crate::registry::TagNames;

use super::listing_trials::PARTIAL_FOR;

/// Subjects of which something is remembered.
const SUBJECTS: u64 = 10_000;
/// Tags of one subject.
const TAGS: usize = 1000;

/// The tags of one subject.
type VanishedOfSubject = Arc<Mutex<BTreeSet<Tag>>>;

pub(super) struct VanishedTags {
    vanished: Cache<(RepositoryKey, SubjectKey), VanishedOfSubject>,
}

impl Default for VanishedTags {
    fn default() -> Self {
        let vanished = Cache::builder().max_capacity(SUBJECTS).time_to_live(PARTIAL_FOR);
        Self {
            vanished: vanished.build(),
        }
    }
}

impl VanishedTags {
    /// A listing brought `now` where the last one brought `before`. Nobody need be asked for what `is_deleted`.
    pub fn note(
        &self,
        repository_key: &RepositoryKey,
        before: &TagNames,
        now: &TagNames,
        is_deleted: impl Fn(&str) -> bool,
    ) {
        for name in before.iter().filter(|name| !now.contains(name)) {
            let Some(link) = tag_scheme::parse(name).filter(|_| !is_deleted(name)) else {
                continue;
            };
            let Ok(tag) = Tag::parse(name) else { continue };
            let vanished = self
                .vanished
                .get_with((repository_key.clone(), link.subject), Arc::default);
            let mut vanished = vanished.lock().unwrap_or_else(PoisonError::into_inner);
            if vanished.len() < TAGS {
                vanished.insert(tag);
            }
        }
    }

    /// The subject's tags that `listed` lacks still. What it has is forgotten.
    pub fn of(&self, repository_key: &RepositoryKey, subject: &SubjectKey, listed: &TagNames) -> Vec<Tag> {
        let Some(vanished) = self.vanished.get(&(repository_key.clone(), subject.clone())) else {
            return Vec::new();
        };
        let mut vanished = vanished.lock().unwrap_or_else(PoisonError::into_inner);
        vanished.retain(|tag| !listed.contains(tag.as_str()));
        vanished.iter().cloned().collect()
    }

    /// The registry says that there is no such tag.
    pub fn gone(&self, repository_key: &RepositoryKey, subject: &SubjectKey, tag: &Tag) {
        if let Some(vanished) = self.vanished.get(&(repository_key.clone(), subject.clone())) {
            let mut vanished = vanished.lock().unwrap_or_else(PoisonError::into_inner);
            vanished.remove(tag);
        }
    }
}
