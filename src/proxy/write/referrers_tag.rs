//! The OCI 1.1 referrers tag, which clients that bypass the proxy read: kept by every push where `maintain_fallback_tag` is on, and
//! rid of what is deleted wherever a registry has one, whoever keeps it.
//!
//! It is one tag for all writers, so it needs read-modify-write: serialised per tag in this process, conditional where the
//! upstream has ETags, and read again after the write. Links do not depend on it: they are in their own tags already. What has the
//! tag's name and is no list of referrers is somebody's own, and is left alone.

use crate::oci::media_type::OCI_IMAGE_INDEX;
use crate::oci::{
    Digest, LinkTagKind, Manifest, Reference, ReferrersTagIndex, RepositoryName, SubjectKey, Tag, tag_scheme,
};
use crate::registry::{Answer, Caller, HeadOutcome, RegistryResponse};

use super::error::WriteError;
use super::{Push, Writer};

/// How often the tag is tried again when somebody else keeps writing it.
const ATTEMPTS: usize = 8;

/// What stands under a referrers tag.
enum StoredIndex {
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
enum Updated {
    /// It was so already.
    Unchanged,
    Written,
    /// Something else has the tag's name.
    Taken,
}

/// A referrers tag, and who reads or writes it.
struct TagToUpdate<'a> {
    repository: &'a RepositoryName,
    subject: SubjectKey,
    tag: Tag,
    caller: &'a Caller,
}

impl Writer {
    /// Lists the pushed manifest under the referrers tag of every subject that it states.
    pub(super) async fn keep_fallback_tag(
        &self,
        push: &Push,
        manifest: &Manifest,
        own: &Digest,
    ) -> Result<(), WriteError> {
        if !self.maintain_fallback_tag {
            return Ok(());
        }
        let entry = manifest.descriptor(own.clone(), push.bytes.len() as u64);
        for target in targets(&push.repository, manifest, &push.caller) {
            let listed = self.update(&target, |index| index.add(&entry)).await;
            let updated = listed.map_err(|cause| WriteError::not_linked("referrers tag", &target.tag, cause))?;
            if updated == Updated::Taken {
                tracing::warn!(
                    repository = %push.repository, tag = %target.tag,
                    "the referrers tag holds something that is no list of referrers and is left as it is; clients that bypass refshim do not find what is pushed"
                );
            }
        }
        Ok(())
    }

    /// Takes a manifest that the registry no longer has off the referrers tags of its subjects; returns those that listed it. Each is
    /// written while nobody in this process pushes the manifest, and only if the registry says that it is gone.
    pub(super) async fn drop_from_fallback_tags(
        &self,
        repository: &RepositoryName,
        manifest: &Manifest,
        own: &Digest,
        caller: &Caller,
    ) -> Result<Vec<Tag>, WriteError> {
        let mut dropped = Vec::new();
        for target in targets(repository, manifest, caller) {
            let listed = matches!(self.read(&target).await?, StoredIndex::List { index, .. } if index.holds(own));
            if !listed {
                continue;
            }
            let Some(_alone) = self.manifests.try_alone((repository.clone(), own.clone())) else {
                continue;
            };
            let gone = self.existing(&target, vec![own.clone()]).await?.is_empty();
            if gone && self.update(&target, |index| index.remove(own)).await? == Updated::Written {
                dropped.push(target.tag);
            }
        }
        Ok(dropped)
    }

    /// Lists a manifest again that was taken off `tags`, and is there after all.
    pub(super) async fn relist(
        &self,
        repository: &RepositoryName,
        manifest: &Manifest,
        (own, size): (&Digest, usize),
        tags: &[Tag],
        caller: &Caller,
    ) -> Result<(), WriteError> {
        let entry = manifest.descriptor(own.clone(), size as u64);
        for target in targets(repository, manifest, caller) {
            if tags.contains(&target.tag) {
                self.update(&target, |index| index.add(&entry)).await?;
            }
        }
        Ok(())
    }

    /// A client's own write of a referrers tag: what the client did not know of is kept. `None` when this is no such write, or
    /// something else stands there, which the client may want to replace.
    /// The client's bytes stay fetchable by their digest, which is what it is told.
    pub(super) async fn merged_fallback_push(
        &self,
        push: &Push,
        own: &Digest,
    ) -> Result<Option<RegistryResponse>, WriteError> {
        let Some((target, theirs)) = self.fallback_tag_of(push) else {
            return Ok(None);
        };
        let known = match self.read(&target).await.map_err(WriteError::untouched)? {
            StoredIndex::Nothing => Vec::new(),
            StoredIndex::List { index, .. } => index.digests(),
            StoredIndex::Other => return Ok(None),
        };
        let unknown: Vec<Digest> = known.into_iter().filter(|digest| !theirs.holds(digest)).collect();
        let is_list = ReferrersTagIndex::of_tag(&target.subject, &push.media_type, &push.bytes).is_some();
        if !is_list && unknown.is_empty() {
            return Ok(None);
        }
        // What the client left out may have been deleted by it.
        let existing = self.existing(&target, unknown.clone()).await;
        let existing = existing.map_err(WriteError::untouched)?;
        let gone: Vec<Digest> = unknown.into_iter().filter(|d| !existing.contains(d)).collect();
        let by_digest = Push {
            reference: Reference::Digest(own.clone()),
            ..push.clone()
        };
        let reply = self.put(&by_digest).await?;
        if !reply.status.is_success() {
            return Ok(Some(reply));
        }
        let merged = self.update(&target, |index| {
            let mut merged = theirs.clone();
            // Read again by now: what was added meanwhile stays.
            merged.take_over(index, &gone);
            *index = merged;
        });
        let merged = merged.await;
        match merged.map_err(|cause| WriteError::not_linked("referrers tag", &target.tag, cause))? {
            Updated::Taken => self.put(push).await.map(Some),
            Updated::Unchanged | Updated::Written => Ok(Some(reply)),
        }
    }

    /// The referrers tag that `push` writes, and the list that it writes there.
    fn fallback_tag_of<'a>(&self, push: &'a Push) -> Option<(TagToUpdate<'a>, ReferrersTagIndex)> {
        let Reference::Tag(tag) = &push.reference else {
            return None;
        };
        let link = tag_scheme::parse(tag.as_str()).filter(|link| link.kind == LinkTagKind::Referrers);
        let link = link.filter(|_| self.maintain_fallback_tag)?;
        let list = ReferrersTagIndex::of_client(&link.subject, &push.media_type, &push.bytes)?;
        let target = TagToUpdate {
            repository: &push.repository,
            subject: link.subject,
            tag: tag.clone(),
            caller: &push.caller,
        };
        Some((target, list))
    }

    /// Read, change, write, read again, until what is there is what was meant.
    async fn update(
        &self,
        target: &TagToUpdate<'_>,
        change: impl Fn(&mut ReferrersTagIndex),
    ) -> Result<Updated, WriteError> {
        let key = (target.repository.clone(), target.tag.clone());
        let _alone = self.referrers_tags.alone(key).await;
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
            self.write(target, digest.as_ref(), wanted).await?;
            updated = Updated::Written;
            let tag = Reference::Tag(target.tag.clone());
            self.resolver.wrote(target.repository, Some(&tag)).await;
        }
        let message = format!(
            "the referrers tag {} is being written by others all the time; push again",
            target.tag
        );
        Err(WriteError::Oci(crate::oci::OciError::new(
            http::StatusCode::CONFLICT,
            crate::oci::Code::Unavailable,
            message,
        )))
    }

    async fn read(&self, target: &TagToUpdate<'_>) -> Result<StoredIndex, WriteError> {
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
        stored: Option<&Digest>,
        wanted: ReferrersTagIndex,
    ) -> Result<(), WriteError> {
        let reference = Reference::Tag(target.tag.clone());
        let (repository, caller) = (target.repository, target.caller);
        let (now, etag) = match self.upstream.head_only(repository, &reference, caller).await? {
            HeadOutcome::Found(head) => (Some(head.digest), head.etag),
            // Nothing but the GET a moment ago says what is there: without an ETag, and what is read next shows whether it was so.
            HeadOutcome::NotFound | HeadOutcome::Unclear => (stored.cloned(), None),
        };
        if now.as_ref() != stored {
            return Ok(());
        }
        let put = |bytes| {
            self.upstream.put_manifest_if(
                target.repository,
                &reference,
                OCI_IMAGE_INDEX,
                bytes,
                etag.as_ref(),
                target.caller,
            )
        };
        let reply = put(wanted.print()).await?;
        if reply.status.is_success() {
            self.resolver.tag_written(target.repository, &target.tag, None).await;
        }
        if reply.status.is_success() || reply.status == http::StatusCode::PRECONDITION_FAILED {
            return Ok(());
        }
        // Some registries refuse an index that lists what is gone.
        let kept = self.existing(target, wanted.digests()).await?;
        if kept.len() == wanted.digests().len() {
            return Err(reply.into());
        }
        let mut pruned = wanted.clone();
        for gone in wanted.digests().iter().filter(|digest| !kept.contains(digest)) {
            pruned.remove(gone);
        }
        let reply = put(pruned.print()).await?;
        if reply.status.is_success() {
            self.resolver.tag_written(target.repository, &target.tag, None).await;
            Ok(())
        } else {
            Err(reply.into())
        }
    }

    /// Those of `digests` that the registry has. Only what it says itself to be absent is left out.
    async fn existing(&self, target: &TagToUpdate<'_>, digests: Vec<Digest>) -> Result<Vec<Digest>, WriteError> {
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

/// The referrers tags of the subjects that `manifest` states.
fn targets<'a>(repository: &'a RepositoryName, manifest: &Manifest, caller: &'a Caller) -> Vec<TagToUpdate<'a>> {
    let subjects = manifest.own_subjects().into_iter();
    let mut targets: Vec<TagToUpdate> = subjects
        .filter_map(|(subject, _)| {
            Some(TagToUpdate {
                repository,
                tag: tag_scheme::referrers_tag(&subject)?,
                subject: SubjectKey::of(&subject),
                caller,
            })
        })
        .collect();
    targets.dedup_by(|one, other| one.tag == other.tag);
    targets
}
