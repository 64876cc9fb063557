//! One look at a referrers tag: whether it lists what it should, and what is missing put back where the registry has it still.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::oci::{Descriptor, Digest, Reference, RepositoryName};
use crate::proxy::keyed_locks::KeyedLocks;
use crate::referrers::ResolveCounts;
use crate::registry::{Answer, Refusal, UpstreamError};

use super::error::WriteError;
use super::referrers_tag_update::{Effort, ReferrersTags, StoredIndex, TagToUpdate, Updated};

pub(super) struct EntryCheck {
    pub tags: Arc<ReferrersTags>,
    /// Held alone while links are put back, so that no manifest is deleted between the look at it and the writing.
    pub deletions: Arc<KeyedLocks<(RepositoryName, Digest)>>,
}

/// What a look came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LookOutcome {
    /// All are listed that the registry has.
    Listed {
        put_back: BTreeSet<Digest>,
        /// Those that the registry does not have any more.
        gone: BTreeSet<Digest>,
    },
    /// The tag is something else.
    Taken,
    /// The registry does not let the tag be written.
    Refused,
    /// Nobody can say, or others keep writing it.
    Failed,
}

impl EntryCheck {
    pub fn counts(&self) -> &ResolveCounts {
        self.tags.resolver.counts()
    }

    pub async fn look(&self, tag: &TagToUpdate, digests: impl Iterator<Item = &Digest>) -> LookOutcome {
        // In order: two looks that wait for the same manifests do not wait for each other.
        let digests: BTreeSet<&Digest> = digests.collect();
        match self.try_look(tag, &digests).await {
            Ok(found) => {
                if found == LookOutcome::Taken {
                    warn_taken(tag);
                }
                found
            }
            Err(WriteError::Refused(refusal)) if is_final(&refusal) => {
                warn_refused(tag, &refusal);
                LookOutcome::Refused
            }
            Err(error) => {
                tracing::warn!(repository = %tag.repository, tag = %tag.tag, %error, "a referrers tag could not be looked after");
                LookOutcome::Failed
            }
        }
    }

    async fn try_look(&self, tag: &TagToUpdate, digests: &BTreeSet<&Digest>) -> Result<LookOutcome, WriteError> {
        let stored = match self.tags.read(tag).await? {
            StoredIndex::Nothing => None,
            StoredIndex::List { index, .. } => Some(index),
            StoredIndex::Other => return Ok(LookOutcome::Taken),
        };
        let is_missing = |digest: &Digest| stored.as_ref().is_none_or(|index| !index.holds(digest));
        let (mut held, mut missing, mut gone) = (Vec::new(), Vec::new(), BTreeSet::new());
        for digest in digests.iter().filter(|digest| is_missing(digest)) {
            let key = (tag.repository.clone(), Digest::clone(digest));
            held.push(self.deletions.alone(key).await);
            match self.entry(tag, digest).await? {
                Some(entry) => missing.push(entry),
                None => _ = gone.insert(Digest::clone(digest)),
            }
        }
        if missing.is_empty() {
            let put_back = BTreeSet::new();
            return Ok(LookOutcome::Listed { put_back, gone });
        }
        let updated = self.tags.update(tag, Effort::Persistent, |index| {
            missing.iter().for_each(|entry| index.add(entry));
        });
        match updated.await? {
            Updated::Taken => Ok(LookOutcome::Taken),
            Updated::Unchanged | Updated::Written => {
                let put_back = missing.into_iter().map(|entry| entry.digest).collect();
                Ok(LookOutcome::Listed { put_back, gone })
            }
        }
    }

    /// The entry of a manifest, where the registry has it: it may have been deleted.
    async fn entry(&self, tag: &TagToUpdate, digest: &Digest) -> Result<Option<Descriptor>, WriteError> {
        let reference = Reference::Digest(digest.clone());
        let asked = self.tags.upstream.manifest(&tag.repository, &reference, &tag.caller);
        let raw = match asked.await? {
            Answer::Found(raw) => raw,
            Answer::Absent => return Ok(None),
            Answer::Refused(refusal) => return Err(refusal.into()),
        };
        let size = raw.bytes.len() as u64;
        let manifest = raw.parse().map_err(|error| UpstreamError::Content(error.to_string()))?;
        Ok(Some(manifest.descriptor(raw.digest, size)))
    }
}

/// Whether to try again is of no use: the registry has understood, and does not want to.
fn is_final(refusal: &Refusal) -> bool {
    matches!(
        refusal.status.as_u16(),
        400 | 401 | 403 | 404 | 405 | 409 | 412 | 413 | 422
    )
}

pub(super) fn warn_taken(tag: &TagToUpdate) {
    tracing::warn!(
        repository = %tag.repository, tag = %tag.tag,
        "the referrers tag holds something that is no list of referrers and is left as it is; clients that bypass refshim do not find what is pushed"
    );
}

fn warn_refused(tag: &TagToUpdate, refusal: &Refusal) {
    let body: String = String::from_utf8_lossy(&refusal.body).chars().take(300).collect();
    tracing::warn!(
        repository = %tag.repository, tag = %tag.tag, status = %refusal.status, %body,
        "the registry does not let the referrers tag be written (a locked tag keeps the list of its first writing); clients that bypass refshim do not find what is pushed"
    );
}
