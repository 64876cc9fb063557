//! The OCI 1.1 referrers tag, which clients that bypass the proxy read: kept by every push where `maintain_fallback_tag` is on, and
//! rid of what is deleted wherever a registry has one, whoever keeps it.
//!
//! It is one tag for all writers, so it needs read-modify-write: serialised per tag in this process, conditional where the
//! upstream has ETags, and read again after the write. Links do not depend on it: they are in their own tags already. What has the
//! tag's name and is no list of referrers is somebody's own, and is left alone.

use crate::oci::{Digest, Manifest, Reference, RepositoryName, SubjectKey, Tag, tag_scheme};
use crate::registry::{Caller, RegistryResponse};

use super::error::WriteError;
use super::pushed_manifest::PushedManifest;
use super::referrers_tag_update::{StoredIndex, TagToUpdate, Updated};
use super::{Push, Writer};

impl Writer {
    /// Lists the pushed manifest under the referrers tag of every subject that it states.
    pub(super) async fn keep_fallback_tag(&self, push: &Push, pushed: &PushedManifest) -> Result<(), WriteError> {
        if !self.maintain_fallback_tag {
            return Ok(());
        }
        let (manifest, size) = (&pushed.manifest, push.bytes.len() as u64);
        let entry = manifest.descriptor(pushed.own.clone(), size);
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
        pushed: &PushedManifest,
    ) -> Result<Option<RegistryResponse>, WriteError> {
        let Some(pushed_list) = &pushed.list else {
            return Ok(None);
        };
        let theirs = &pushed_list.index;
        let target = TagToUpdate {
            repository: &push.repository,
            subject: pushed_list.subject.clone(),
            tag: pushed_list.tag.clone(),
            caller: &push.caller,
        };
        let known = match self.read(&target).await.map_err(WriteError::untouched)? {
            StoredIndex::Nothing => Vec::new(),
            StoredIndex::List { index, .. } => index.digests(),
            StoredIndex::Other => return Ok(None),
        };
        let unknown: Vec<Digest> = known.into_iter().filter(|digest| !theirs.holds(digest)).collect();
        if unknown.is_empty() && !theirs.is_list(&target.subject, &pushed.manifest) {
            return Ok(None);
        }
        // What the client left out may have been deleted by it.
        let existing = self.existing(&target, unknown.clone()).await;
        let existing = existing.map_err(WriteError::untouched)?;
        if push.headers.is_conditional() {
            // A merged list is not what the condition was made for. With nothing to merge, the registry checks it.
            return match existing.is_empty() {
                true => Ok(None),
                false => Err(WriteError::lost_update(&target.tag)),
            };
        }
        let gone: Vec<Digest> = unknown.into_iter().filter(|d| !existing.contains(d)).collect();
        let by_digest = Reference::Digest(pushed.own.clone());
        let reply = self.put(push, &by_digest).await?;
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
            Updated::Taken => self.put(push, &push.reference).await.map(Some),
            Updated::Unchanged | Updated::Written => Ok(Some(reply)),
        }
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
