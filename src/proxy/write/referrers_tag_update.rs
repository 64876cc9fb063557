//! Changing what stands under one referrers tag: read, change, write, and read again.

use std::sync::Arc;

use http::StatusCode;

use crate::oci::media_type::OCI_IMAGE_INDEX;
use crate::oci::{Code, Digest, OciError, Reference, ReferrersTagIndex, RepositoryName, SubjectKey, Tag};
use crate::proxy::keyed_locks::KeyedLocks;
use crate::referrers::Resolver;
use crate::registry::{
    Answer, Caller, ConditionalReply, HeadOutcome, OptimisticPut, Refusal, RegistryResponse, Upstream, UpstreamError,
};

use super::error::WriteError;
use super::tag_additions::TagAdditions;

/// How often the tag is written again when somebody else keeps writing it.
const WRITES: usize = 8;

/// What stands under a referrers tag.
pub(super) enum StoredIndex {
    Nothing,
    List {
        index: ReferrersTagIndex,
        digest: Digest,
    },
    /// No list of referrers ([`ReferrersTagIndex::of_tag`]), but what somebody put there.
    Other,
}

/// What became of a change to a referrers tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Updated {
    /// It was so already.
    Unchanged,
    Written,
    /// Something else has the tag's name.
    Taken,
}

/// How much is done for a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effort {
    /// The tag is written once: a caller waits, and the link does not depend on it. At most four requests.
    Once,
    /// As often as it takes, and without entries that are gone where the registry refuses those.
    Persistent,
}

impl Effort {
    fn writes(self) -> usize {
        match self {
            Self::Once => 1,
            Self::Persistent => WRITES,
        }
    }
}

/// A referrers tag, and who reads or writes it.
#[derive(Clone)]
pub(super) struct TagToUpdate {
    pub repository: RepositoryName,
    pub subject: SubjectKey,
    pub tag: Tag,
    pub caller: Caller,
}

/// The referrers tags of one upstream.
pub(super) struct ReferrersTags {
    pub resolver: Resolver,
    pub upstream: Arc<Upstream>,
    /// Held alone by whoever writes a referrers tag.
    locks: KeyedLocks<(RepositoryName, Tag)>,
    pub additions: TagAdditions,
}

impl ReferrersTags {
    pub fn new(resolver: Resolver) -> Self {
        Self {
            upstream: resolver.upstream().clone(),
            resolver,
            locks: KeyedLocks::default(),
            additions: TagAdditions::default(),
        }
    }

    /// Read, change, write, read again, until what is there is what was meant. One after the other in this process, and among those that share a
    /// Redis.
    pub async fn update(
        &self,
        target: &TagToUpdate,
        effort: Effort,
        change: impl Fn(&mut ReferrersTagIndex),
    ) -> Result<Updated, WriteError> {
        let key = (target.repository.clone(), target.tag.clone());
        let _alone = self.locks.alone(key).await;
        let _among_replicas = self.resolver.lock_tag(&target.repository, &target.tag).await;
        let reference = Reference::Tag(target.tag.clone());
        let (repository, caller) = (&target.repository, &target.caller);
        let mut put = self
            .upstream
            .optimistic_put(repository, &reference, OCI_IMAGE_INDEX, caller);
        let mut updated = Updated::Unchanged;
        for written in 0..=effort.writes() {
            let (stored, digest) = match self.read(target).await? {
                StoredIndex::Nothing => (ReferrersTagIndex::default(), None),
                StoredIndex::List { index, digest } => (index, Some(digest)),
                // What was written, where that is no list in our eyes, or what somebody put there since.
                StoredIndex::Other if updated == Updated::Written => return Ok(updated),
                StoredIndex::Other => return Ok(Updated::Taken),
            };
            let mut wanted = stored.clone();
            change(&mut wanted);
            if wanted == stored && (digest.is_some() || wanted.digests().is_empty()) {
                return Ok(updated);
            }
            if written == effort.writes() {
                break;
            }
            self.write(target, effort, &mut put, digest.as_ref(), wanted).await?;
            updated = Updated::Written;
            self.resolver.wrote(repository, Some(&reference)).await;
        }
        let message = format!(
            "the referrers tag {} is being written by others all the time; push again",
            target.tag
        );
        let error = OciError::new(StatusCode::CONFLICT, Code::Unavailable, message);
        Err(WriteError::Oci(error))
    }

    pub async fn read(&self, target: &TagToUpdate) -> Result<StoredIndex, WriteError> {
        let reference = Reference::Tag(target.tag.clone());
        let answer = self.upstream.manifest(&target.repository, &reference, &target.caller);
        match answer.await? {
            Answer::Found(raw) => Ok(
                match ReferrersTagIndex::of_tag(&target.subject, &raw.media_type, &raw.bytes) {
                    Some(index) => StoredIndex::List {
                        index,
                        digest: raw.digest,
                    },
                    None => StoredIndex::Other,
                },
            ),
            Answer::Absent => Ok(StoredIndex::Nothing),
            Answer::Refused(refusal) => Err(refusal.into()),
        }
    }

    /// Writes, unless somebody else did since `stored` was read. Whether it took is for the next read to say.
    async fn write(
        &self,
        target: &TagToUpdate,
        effort: Effort,
        put: &mut OptimisticPut<'_>,
        stored: Option<&Digest>,
        wanted: ReferrersTagIndex,
    ) -> Result<(), WriteError> {
        let head = self.upstream.head_only(put.repository, put.reference, put.caller);
        let (now, etag) = match head.await? {
            HeadOutcome::Found(head) => (Some(head.digest), head.etag),
            // Nothing but the GET a moment ago says what is there: without an ETag, and what is read next shows whether it was so.
            HeadOutcome::NotFound | HeadOutcome::Unclear => (stored.cloned(), None),
        };
        if now.as_ref() != stored {
            return Ok(());
        }
        let read = stored.map(|digest| (digest, etag.as_ref()));
        let ConditionalReply::Answered(mut reply) = put.put(read, wanted.print()).await? else {
            return Ok(());
        };
        // Some registries refuse an index that lists what is gone.
        if effort == Effort::Persistent && may_be_about_entries(&reply) {
            let kept = self.existing(target, wanted.digests()).await?;
            let mut pruned = wanted.clone();
            for gone in wanted.digests().iter().filter(|digest| !kept.contains(digest)) {
                pruned.remove(gone);
            }
            if pruned != wanted {
                let ConditionalReply::Answered(again) = put.put(read, pruned.print()).await? else {
                    return Ok(());
                };
                reply = again;
            }
        }
        if !reply.status.is_success() {
            return Err(Refusal::from(reply).into());
        }
        self.resolver.tag_written(&target.repository, &target.tag, None).await;
        Ok(())
    }

    /// Those of `digests` that the registry has. Only what it says itself to be absent is left out.
    pub async fn existing(&self, target: &TagToUpdate, digests: Vec<Digest>) -> Result<Vec<Digest>, WriteError> {
        let mut existing = Vec::new();
        for digest in digests {
            let reference = Reference::Digest(digest.clone());
            let asked = self
                .upstream
                .head_manifest(&target.repository, &reference, &target.caller);
            match asked.await {
                Ok(Answer::Found(_)) => existing.push(digest),
                Ok(Answer::Absent) => {}
                Ok(Answer::Refused(refusal)) => return Err(refusal.into()),
                // Distribution 2.8 finds the blob in an envelope and fails to read it as a manifest.
                Err(UpstreamError::Failed(StatusCode::INTERNAL_SERVER_ERROR))
                    if self.is_enveloped(target, &digest).await? => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(existing)
    }

    async fn is_enveloped(&self, target: &TagToUpdate, digest: &Digest) -> Result<bool, UpstreamError> {
        let original = self.resolver.enveloped(&target.repository, digest, &target.caller);
        Ok(original.await?.is_some())
    }
}

/// Whether a refusal of an index can be about what it lists: not where it is about the caller, the tag or the pace.
pub(super) fn may_be_about_entries(reply: &RegistryResponse) -> bool {
    let is_about_the_tag = || reply.error().is_some_and(|stated| stated.has("TAG_INVALID"));
    matches!(
        reply.status,
        StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND | StatusCode::UNPROCESSABLE_ENTITY
    ) && !is_about_the_tag()
}
