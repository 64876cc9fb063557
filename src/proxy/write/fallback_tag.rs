//! The OCI 1.1 referrers tag, kept for clients that bypass the proxy (`maintain_fallback_tag`).
//!
//! It is one tag for all writers, so it needs read-modify-write: serialised per tag in this process, conditional where the
//! upstream has ETags, and read again after the write. Links do not depend on it: they are in their own tags already.

use std::hash::{BuildHasher as _, RandomState};

use tokio::sync::{Mutex, MutexGuard};

use crate::oci::media_type::{ManifestKind, OCI_IMAGE_INDEX};
use crate::oci::{Digest, FallbackIndex, LinkTagKind, Manifest, Reference, RepositoryName, Tag, tag_scheme};
use crate::upstream::{Answer, Caller, Reply};

use super::error::WriteError;
use super::{Push, Writer};

/// Two tags seldom share a lock, and sharing one only makes them wait.
const LOCKS: usize = 256;
/// How often the tag is tried again when somebody else keeps writing it.
const ATTEMPTS: usize = 8;

pub(super) struct FallbackTags {
    locks: Vec<Mutex<()>>,
    hasher: RandomState,
}

impl Default for FallbackTags {
    fn default() -> Self {
        Self {
            locks: (0..LOCKS).map(|_| Mutex::new(())).collect(),
            hasher: RandomState::new(),
        }
    }
}

impl FallbackTags {
    async fn lock(&self, repository: &RepositoryName, tag: &Tag) -> MutexGuard<'_, ()> {
        let stripe = self.hasher.hash_one((repository, tag)) % (LOCKS as u64);
        // Below LOCKS by the line above.
        self.locks[stripe as usize].lock().await
    }
}

/// A referrers tag as it was read.
struct Stored {
    index: FallbackIndex,
    /// `None` when there is no such tag.
    digest: Option<Digest>,
}

/// Who writes which tag.
struct Target<'a> {
    repository: &'a RepositoryName,
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
        for tag in fallback_tags(manifest) {
            let target = Target {
                repository: &push.repository,
                tag,
                caller: &push.caller,
            };
            let listed = self.update(&target, |index| index.add(&entry)).await;
            listed.map_err(|cause| WriteError::not_linked("referrers tag", &target.tag, cause))?;
        }
        Ok(())
    }

    /// Takes a deleted manifest off the referrers tags.
    pub(super) async fn drop_from_fallback_tags(
        &self,
        repository: &RepositoryName,
        manifest: &Manifest,
        own: &Digest,
        caller: &Caller,
    ) -> Result<(), WriteError> {
        if !self.maintain_fallback_tag {
            return Ok(());
        }
        for tag in fallback_tags(manifest) {
            let target = Target {
                repository,
                tag,
                caller,
            };
            self.update(&target, |index| index.remove(own)).await?;
        }
        Ok(())
    }

    /// A client's own write of a referrers tag: what the client did not know of is kept. `None` when this is no such write.
    /// The client's bytes stay fetchable by their digest, which is what it is told.
    pub(super) async fn merged_fallback_push(
        &self,
        push: &Push,
        manifest: &Manifest,
    ) -> Result<Option<Reply>, WriteError> {
        let Some(tag) = self.fallback_tag_of(push, manifest) else {
            return Ok(None);
        };
        let Some(theirs) = FallbackIndex::parse(&push.bytes) else {
            return Ok(None);
        };
        let own = push.own_digest()?;
        let by_digest = Push {
            reference: Reference::Digest(own),
            ..push.clone()
        };
        let reply = self.put(&by_digest).await?;
        if !reply.status.is_success() {
            return Ok(Some(reply));
        }
        let target = Target {
            repository: &push.repository,
            tag,
            caller: &push.caller,
        };
        let stored = self.read(&target).await?;
        let unknown: Vec<Digest> = stored
            .index
            .digests()
            .into_iter()
            .filter(|d| !theirs.holds(d))
            .collect();
        // What the client left out may have been deleted by it.
        let existing = self.existing(&target, unknown.clone()).await?;
        let gone: Vec<Digest> = unknown.into_iter().filter(|d| !existing.contains(d)).collect();
        let merged = self.update(&target, |index| {
            let mut merged = theirs.clone();
            // Read again by now: what was added meanwhile stays.
            merged.take_over(index, &gone);
            *index = merged;
        });
        let merged = merged.await;
        merged.map_err(|cause| WriteError::not_linked("referrers tag", &target.tag, cause))?;
        Ok(Some(reply))
    }

    fn fallback_tag_of(&self, push: &Push, manifest: &Manifest) -> Option<Tag> {
        let Reference::Tag(tag) = &push.reference else {
            return None;
        };
        let is_referrers_tag = tag_scheme::parse(tag.as_str()).is_some_and(|link| link.kind == LinkTagKind::Referrers);
        // An index that refers to something itself is no mere list: its own link has to be made durable too.
        let is_list = manifest.kind == ManifestKind::Index && manifest.own_subjects().is_empty();
        let merged = self.maintain_fallback_tag && is_referrers_tag && is_list;
        merged.then(|| tag.clone())
    }

    /// Read, change, write, read again, until what is there is what was meant.
    async fn update(&self, target: &Target<'_>, change: impl Fn(&mut FallbackIndex)) -> Result<(), WriteError> {
        let _writing = self.fallback.lock(target.repository, &target.tag).await;
        for _ in 0..ATTEMPTS {
            let stored = self.read(target).await?;
            let mut wanted = stored.index.clone();
            change(&mut wanted);
            let is_there = wanted == stored.index && (stored.digest.is_some() || wanted.digests().is_empty());
            if is_there {
                return Ok(());
            }
            self.write(target, &stored, wanted).await?;
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

    async fn read(&self, target: &Target<'_>) -> Result<Stored, WriteError> {
        let reference = Reference::Tag(target.tag.clone());
        match self
            .upstream
            .manifest(target.repository, &reference, target.caller)
            .await?
        {
            Answer::Found(raw) => Ok(Stored {
                // Something else under this name is replaced: it lists nothing.
                index: FallbackIndex::parse(&raw.bytes).unwrap_or_default(),
                digest: Some(raw.digest),
            }),
            Answer::Absent => Ok(Stored {
                index: FallbackIndex::default(),
                digest: None,
            }),
            Answer::Refused(refusal) => Err(refusal.into()),
        }
    }

    /// Writes, unless somebody else did since `stored` was read. Whether it took is for the next read to say.
    async fn write(&self, target: &Target<'_>, stored: &Stored, wanted: FallbackIndex) -> Result<(), WriteError> {
        let reference = Reference::Tag(target.tag.clone());
        let head = self
            .upstream
            .head_manifest(target.repository, &reference, target.caller)
            .await?;
        let (now, etag) = match head {
            Answer::Found(head) => (Some(head.digest), head.etag),
            Answer::Absent => (None, None),
            Answer::Refused(refusal) => return Err(refusal.into()),
        };
        if now != stored.digest {
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
            Ok(())
        } else {
            Err(reply.into())
        }
    }

    async fn existing(&self, target: &Target<'_>, digests: Vec<Digest>) -> Result<Vec<Digest>, WriteError> {
        let mut existing = Vec::new();
        for digest in digests {
            let reference = Reference::Digest(digest.clone());
            match self
                .upstream
                .head_manifest(target.repository, &reference, target.caller)
                .await?
            {
                Answer::Found(_) => existing.push(digest),
                Answer::Absent => {}
                Answer::Refused(refusal) => return Err(refusal.into()),
            }
        }
        Ok(existing)
    }
}

fn fallback_tags(manifest: &Manifest) -> Vec<Tag> {
    let subjects = manifest.own_subjects();
    let mut tags: Vec<Tag> = subjects
        .iter()
        .filter_map(|(subject, _)| tag_scheme::referrers_tag(subject))
        .collect();
    tags.dedup();
    tags
}
