//! What is left of a manifest that the registry deleted: link tags where those outlive it, and its entry in referrers tags.
//!
//! The same artifact may be pushed again meanwhile, and must keep its links then. So each thing is only taken away while nobody in this
//! process pushes the manifest and after the registry said (again) that it does not have it. Another process may still push
//! between that word and the removal; so whatever was taken away is looked after once more at once and two seconds later, and put back
//! where the manifest is there. The manifest is gone already, so a failure here is worth a line in the log only: what stays lists nothing,
//! and `refshim gc` finds it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tracing::Instrument as _;

use crate::oci::{Digest, Reference, Tag, tag_scheme};
use crate::registry::{Answer, HeadOutcome};

use super::Writer;
use super::error::WriteError;
use super::manifest_deletion::ManifestDeletion;

/// When the clean-up is looked over again: later than a push by another process takes from its first write to its last.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(2);

/// A manifest that the registry accepted to delete.
pub(super) struct DeletedManifest {
    pub writer: Arc<Writer>,
    pub manifest: ManifestDeletion,
    /// The digest of the envelope that kept it.
    pub envelope: Option<Digest>,
    /// The blob with the original's bytes was deleted, too.
    pub original_deleted: bool,
}

/// What one clean-up did.
#[derive(Debug, Default)]
struct Removed {
    link_tags: BTreeSet<Tag>,
    /// Referrers tags that listed the manifest.
    referrers_tags: Vec<Tag>,
    /// Something was left because the registry has the manifest, or again: pushed meanwhile, or it takes a moment to forget.
    left: bool,
}

impl DeletedManifest {
    pub async fn clean_up(self) {
        let removed = self.remove().await;
        let took_something = !removed.link_tags.is_empty() || !removed.referrers_tags.is_empty();
        if !(took_something || removed.left || self.original_deleted) {
            return;
        }
        self.put_back(&removed).await;
        let again = async move {
            tokio::time::sleep(LOOK_AGAIN_AFTER).await;
            if !self.put_back(&removed).await {
                let late = self.remove().await;
                self.put_back(&late).await;
            }
        };
        tokio::spawn(again.in_current_span());
    }

    async fn remove(&self) -> Removed {
        let mut removed = Removed::default();
        let own = &self.manifest.own;
        self.remove_tags(own, self.manifest.link_tags(), &mut removed).await;
        if let Some(envelope) = &self.envelope {
            let tags = self.manifest.link_tags().into_iter();
            let tags = tags.chain(tag_scheme::envelope_tag(own)).collect();
            self.remove_tags(envelope, tags, &mut removed).await;
        }
        self.remove_entries(&mut removed).await;
        removed
    }

    /// Deletes those of `tags` that still point at `target`.
    async fn remove_tags(&self, target: &Digest, tags: BTreeSet<Tag>, removed: &mut Removed) {
        for tag in tags {
            match self.remove_tag(target, &tag, removed).await {
                Ok(()) => {}
                Err(error) => tracing::warn!(%tag, %error, "a link tag of a deleted manifest could not be deleted"),
            }
        }
    }

    async fn remove_tag(&self, target: &Digest, tag: &Tag, removed: &mut Removed) -> Result<(), WriteError> {
        let (writer, doomed) = (&self.writer, &self.manifest);
        let reference = Reference::Tag(tag.clone());
        let (repository, caller) = (&doomed.repository, &doomed.caller);
        let points_at = match writer.upstream.head_only(repository, &reference, caller).await? {
            HeadOutcome::Found(head) => Some(head.digest),
            // Most registries delete the tags themselves. One that stays after all lists nothing.
            HeadOutcome::NotFound => None,
            HeadOutcome::Unclear => match writer.upstream.manifest(repository, &reference, caller).await? {
                Answer::Found(raw) => Some(raw.digest),
                Answer::Absent | Answer::Refused(_) => None,
            },
        };
        if points_at.as_ref() != Some(target) {
            return Ok(());
        }
        let key = (doomed.repository.clone(), doomed.own.clone());
        let alone = writer.manifests.try_alone(key);
        if alone.is_none() || !writer.is_gone(doomed, target).await? {
            removed.left = true;
            return Ok(());
        }
        // Whatever the answer: it may have been done.
        removed.link_tags.insert(tag.clone());
        let reply = writer
            .delete_one(&doomed.repository, &reference, None, None, &doomed.caller)
            .await?;
        if !reply.status.is_success() {
            tracing::warn!(%tag, status = %reply.status, "the registry does not delete the link tag of a deleted manifest");
        }
        Ok(())
    }

    async fn remove_entries(&self, removed: &mut Removed) {
        let doomed = &self.manifest;
        let Some((_, manifest)) = &doomed.read else {
            return;
        };
        let dropped = self
            .writer
            .drop_from_referrers_tags(&doomed.repository, manifest, &doomed.own, &doomed.caller);
        match dropped.await {
            Ok(dropped) => removed.referrers_tags.extend(dropped),
            Err(error) => {
                tracing::warn!(repository = %doomed.repository, digest = %doomed.own, %error, "a deleted manifest stays in a referrers tag until refshim gc takes it off");
            }
        }
    }

    /// Puts back what was taken from a manifest that is there; whether it is.
    async fn put_back(&self, removed: &Removed) -> bool {
        match self.try_put_back(removed).await {
            Ok(is_there) => is_there,
            Err(error) => {
                let doomed = &self.manifest;
                tracing::warn!(repository = %doomed.repository, digest = %doomed.own, %error, "links of a manifest that was deleted and pushed again may be missing; push it again");
                false
            }
        }
    }

    async fn try_put_back(&self, removed: &Removed) -> Result<bool, WriteError> {
        let (writer, doomed) = (&self.writer, &self.manifest);
        // A link tag is the manifest itself: one that is deleted between the look and the writing would rise again.
        let key = (doomed.repository.clone(), doomed.own.clone());
        let _alone = writer.deletions.alone(key).await;
        let target = self.envelope.as_ref().unwrap_or(&doomed.own);
        let reference = Reference::Digest(target.clone());
        let asked = writer.upstream.manifest(&doomed.repository, &reference, &doomed.caller);
        let (Answer::Found(raw), Some((original, manifest))) = (asked.await?, &doomed.read) else {
            return Ok(false);
        };
        if self.original_deleted {
            let (own, bytes) = (&doomed.own, original.bytes.clone());
            writer.put_blob(&doomed.repository, own, bytes, &doomed.caller).await?;
        }
        writer
            .write_link_tags(&doomed.linked(&raw), removed.link_tags.clone())
            .await?;
        let (own, size) = (&doomed.own, original.bytes.len());
        let tags = &removed.referrers_tags;
        writer
            .relist(&doomed.repository, manifest, (own, size), tags, &doomed.caller)
            .await?;
        for tag in &removed.link_tags {
            let tag = Reference::Tag(tag.clone());
            writer.resolver.wrote(&doomed.repository, Some(&tag)).await;
        }
        Ok(true)
    }
}
