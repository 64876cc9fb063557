//! Link tags that a listing lacks and the one before it had. Names move while pages are read: before a none rests on it, the
//! registry is asked for them by name.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::cache::RepositoryKey;
use crate::expiring_map::ExpiringMap;
use crate::oci::{SubjectKey, Tag, tag_scheme};
use crate::registry::{CredentialHash, Fingerprint, TagNames};

use super::listing_trials::PARTIAL_FOR;
use super::remembered_listing::RememberedListing;

/// Subjects of which something is remembered.
const SUBJECTS: u64 = 10_000;
/// Tags of one subject.
const TAGS: usize = 1000;

/// Credentials that were told of one tag that it is gone; others ask for it each time.
const TOLD: usize = 100;

/// The listing that had a tag last.
#[derive(Clone, Copy)]
pub(super) struct LastListing {
    pub names: Fingerprint,
    /// Whose credential it was read with, where this process did.
    pub listed_to: Option<CredentialHash>,
}

/// What is known of one tag.
struct VanishedTag {
    last_listing: LastListing,
    /// Credentials to which the registry said that it is gone: it may hide it from them alone.
    told_gone: Vec<CredentialHash>,
}

/// The tags of one subject.
type VanishedOfSubject = Arc<Mutex<BTreeMap<Tag, VanishedTag>>>;

pub(super) struct VanishedTags {
    vanished: ExpiringMap<(RepositoryKey, SubjectKey), VanishedOfSubject>,
}

impl Default for VanishedTags {
    fn default() -> Self {
        let vanished = ExpiringMap::builder(SUBJECTS).time_to_live(PARTIAL_FOR);
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
        before: &RememberedListing,
        now: &TagNames,
        is_deleted: impl Fn(&str) -> bool,
    ) {
        let mut now = now.iter().peekable();
        // Both are sorted.
        let mut is_listed = |name: &str| {
            while now.next_if(|listed| *listed < name).is_some() {}
            now.peek() == Some(&name)
        };
        for name in before.names().iter().filter(|name| !is_listed(name)) {
            let Some(link) = tag_scheme::parse(name).filter(|_| !is_deleted(name)) else {
                continue;
            };
            let Ok(tag) = Tag::parse(name) else { continue };
            let key = (repository_key.clone(), link.subject);
            let vanished = self.vanished.get(&key).unwrap_or_default();
            // The hour begins with the last tag of the subject.
            self.vanished.insert(key, vanished.clone());
            let mut vanished = vanished.lock().unwrap_or_else(PoisonError::into_inner);
            if vanished.len() < TAGS || vanished.contains_key(&tag) {
                let last_listing = LastListing {
                    names: before.fingerprint,
                    listed_to: before.listed_to,
                };
                let told_gone = Vec::new();
                vanished.insert(
                    tag,
                    VanishedTag {
                        last_listing,
                        told_gone,
                    },
                );
            }
        }
    }

    /// The subject's tags that `listed`, which may be an older listing, lacks still and that are not known to be gone to `credential`.
    pub fn of(
        &self,
        repository_key: &RepositoryKey,
        subject: &SubjectKey,
        listed: &TagNames,
        credential: CredentialHash,
    ) -> Vec<(Tag, LastListing)> {
        let Some(vanished) = self.vanished.get(&(repository_key.clone(), subject.clone())) else {
            return Vec::new();
        };
        let vanished = vanished.lock().unwrap_or_else(PoisonError::into_inner);
        let lacking = vanished
            .iter()
            .filter(|(tag, known)| !listed.contains(tag.as_str()) && !known.told_gone.contains(&credential));
        lacking.map(|(tag, known)| (tag.clone(), known.last_listing)).collect()
    }

    /// The registry says to `credential` that there is no such tag.
    pub fn gone(&self, repository_key: &RepositoryKey, subject: &SubjectKey, tag: &Tag, credential: CredentialHash) {
        if let Some(vanished) = self.vanished.get(&(repository_key.clone(), subject.clone())) {
            let mut vanished = vanished.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(known) = vanished.get_mut(tag).filter(|known| known.told_gone.len() < TOLD) {
                known.told_gone.push(credential);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::Cached as _;

    #[test]
    fn neither_an_older_listing_nor_what_another_is_told_ends_the_asking() {
        let (memory, repository_key) = (VanishedTags::default(), RepositoryKey::new("u", "r"));
        let name = format!("sha256-{}.sig", "1".repeat(64));
        let stored = format!(
            r#"{{"took_ms":1,"listing":{{"tags":["{name}"],"pages":[],"order":[],"longest":1,"followed_links":true}}}}"#
        );
        let before = RememberedListing::decode("", stored.into()).unwrap();
        let listed = before.names().clone();
        let subject = tag_scheme::parse(&name).unwrap().subject;
        let (one, another) = ([1; 16], [2; 16]);
        let asked_for = |listed: &TagNames, credential| memory.of(&repository_key, &subject, listed, credential).len();
        memory.note(&repository_key, &before, &TagNames::default(), |_| false);
        assert_eq!(asked_for(&listed, one), 0);
        assert_eq!(asked_for(&TagNames::default(), one), 1);
        memory.gone(&repository_key, &subject, &Tag::parse(&name).unwrap(), one);
        assert_eq!(asked_for(&TagNames::default(), one), 0);
        assert_eq!(asked_for(&TagNames::default(), another), 1);
    }
}
