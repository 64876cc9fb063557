//! Changing what stands under one referrers tag: read, change, write, and read again.

use http::StatusCode;

use crate::oci::media_type::OCI_IMAGE_INDEX;
use crate::oci::{Code, Digest, OciError, Reference, ReferrersTagIndex, RepositoryName, SubjectKey, Tag};
use crate::registry::{Answer, Caller, ConditionalReply, HeadOutcome, OptimisticPut, Refusal};

use super::Writer;
use super::error::WriteError;

/// How often the tag is tried again when somebody else keeps writing it.
const ATTEMPTS: usize = 8;

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
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Updated {
    /// It was so already.
    Unchanged,
    Written,
    /// Something else has the tag's name.
    Taken,
}

/// A referrers tag, and who reads or writes it.
pub(super) struct TagToUpdate<'a> {
    pub repository: &'a RepositoryName,
    pub subject: SubjectKey,
    pub tag: Tag,
    pub caller: &'a Caller,
}

impl Writer {
    /// Read, change, write, read again, until what is there is what was meant.
    pub(super) async fn update(
        &self,
        target: &TagToUpdate<'_>,
        change: impl Fn(&mut ReferrersTagIndex),
    ) -> Result<Updated, WriteError> {
        let key = (target.repository.clone(), target.tag.clone());
        let _alone = self.referrers_tags.alone(key).await;
        let reference = Reference::Tag(target.tag.clone());
        let (repository, caller) = (target.repository, target.caller);
        let mut put = self
            .upstream
            .optimistic_put(repository, &reference, OCI_IMAGE_INDEX, caller);
        let mut updated = Updated::Unchanged;
        for _ in 0..ATTEMPTS {
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
            self.write(target, &mut put, digest.as_ref(), wanted).await?;
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

    pub(super) async fn read(&self, target: &TagToUpdate<'_>) -> Result<StoredIndex, WriteError> {
        let reference = Reference::Tag(target.tag.clone());
        let answer = self.upstream.manifest(target.repository, &reference, target.caller);
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
        target: &TagToUpdate<'_>,
        put: &mut OptimisticPut<'_>,
        stored: Option<&Digest>,
        wanted: ReferrersTagIndex,
    ) -> Result<(), WriteError> {
        let head = self.upstream.head_only(target.repository, put.reference, target.caller);
        let (now, etag) = match head.await? {
            HeadOutcome::Found(head) => (Some(head.digest), head.etag),
            // Nothing but the GET a moment ago says what is there: without an ETag, and what is read next shows whether it was so.
            HeadOutcome::NotFound | HeadOutcome::Unclear => (stored.cloned(), None),
        };
        if now.as_ref() != stored {
            return Ok(());
        }
        let read = stored.map(|digest| (digest, etag.as_ref()));
        let ConditionalReply::Answered(reply) = put.put(read, wanted.print()).await? else {
            return Ok(());
        };
        if reply.status.is_success() {
            self.resolver.tag_written(target.repository, &target.tag, None).await;
            return Ok(());
        }
        // Some registries refuse an index that lists what is gone.
        let kept = self.existing(target, wanted.digests()).await?;
        if kept.len() == wanted.digests().len() {
            return Err(Refusal::from(reply).into());
        }
        let mut pruned = wanted.clone();
        for gone in wanted.digests().iter().filter(|digest| !kept.contains(digest)) {
            pruned.remove(gone);
        }
        let ConditionalReply::Answered(reply) = put.put(read, pruned.print()).await? else {
            return Ok(());
        };
        if reply.status.is_success() {
            self.resolver.tag_written(target.repository, &target.tag, None).await;
            Ok(())
        } else {
            Err(Refusal::from(reply).into())
        }
    }

    /// Those of `digests` that the registry has. Only what it says itself to be absent is left out.
    pub(super) async fn existing(
        &self,
        target: &TagToUpdate<'_>,
        digests: Vec<Digest>,
    ) -> Result<Vec<Digest>, WriteError> {
        let mut existing = Vec::new();
        for digest in digests {
            let reference = Reference::Digest(digest.clone());
            let asked = self
                .upstream
                .head_manifest(target.repository, &reference, target.caller);
            match asked.await? {
                Answer::Found(_) => existing.push(digest),
                Answer::Absent => {}
                Answer::Refused(refusal) => return Err(refusal.into()),
            }
        }
        Ok(existing)
    }
}
