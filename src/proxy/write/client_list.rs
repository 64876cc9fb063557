//! A client's own write of a referrers tag, merged with what is stored there: clients that keep the tag read it and put it back with an entry more,
//! and know nothing of who wrote it meanwhile.

use crate::oci::{Digest, Reference, ReferrersTagIndex};
use crate::registry::RegistryResponse;

use super::error::WriteError;
use super::pushed_manifest::PushedManifest;
use super::referrers_tag_update::{Effort, ReferrersTags, StoredIndex, TagToUpdate, Updated, may_be_about_entries};
use super::{Push, Writer, enveloped};

/// How a client's list differs from the stored one.
struct ListDifference {
    /// The client left out entries that the registry has.
    lacks_some: bool,
    /// Entries that it left out and the registry does not have: it may have deleted them.
    gone: Vec<Digest>,
    /// Entries that it added and the registry does not have as manifests. Clients read such through refshim, from envelopes; without refshim
    /// they lead nowhere.
    not_stored: Vec<Digest>,
}

impl ReferrersTags {
    /// `checks_added`: all entries of `theirs` can be manifests.
    async fn compare(
        &self,
        target: &TagToUpdate,
        theirs: &ReferrersTagIndex,
        stored: &ReferrersTagIndex,
        checks_added: bool,
    ) -> Result<ListDifference, WriteError> {
        let left_out: Vec<Digest> = stored.digests().into_iter().filter(|d| !theirs.holds(d)).collect();
        let added: Vec<Digest> = theirs.digests().into_iter().filter(|d| !stored.holds(d)).collect();
        let kept = self.existing(target, left_out.clone()).await?;
        let mut not_stored = Vec::new();
        if checks_added {
            let existing = self.existing(target, added.clone()).await?;
            not_stored.extend(added.into_iter().filter(|digest| !existing.contains(digest)));
        }
        Ok(ListDifference {
            lacks_some: !kept.is_empty(),
            gone: left_out.into_iter().filter(|digest| !kept.contains(digest)).collect(),
            not_stored,
        })
    }
}

impl Writer {
    /// What the client did not know of is kept. `None` when this is no such write, or something else stands there, which the client may want to
    /// replace. The client's bytes stay fetchable by their digest, which is what it is told, where the registry takes them: it may refuse entries
    /// that it does not have.
    pub(super) async fn merged_list_push(
        &self,
        push: &Push,
        pushed: &PushedManifest,
    ) -> Result<Option<RegistryResponse>, WriteError> {
        let Some(pushed_list) = pushed.list.as_ref().filter(|_| !push.headers.is_exact()) else {
            return Ok(None);
        };
        let theirs = &pushed_list.index;
        let target = TagToUpdate {
            repository: push.repository.clone(),
            subject: pushed_list.subject.clone(),
            tag: pushed_list.tag.clone(),
            caller: push.caller.reading_stored(),
        };
        let stored = match self.referrers_tags.read(&target).await.map_err(WriteError::untouched)? {
            StoredIndex::Nothing => ReferrersTagIndex::default(),
            StoredIndex::List { index, .. } => index,
            StoredIndex::Other => return Ok(None),
        };
        let is_list = theirs.is_list(&target.subject, &pushed.manifest);
        if !is_list && stored.digests().iter().all(|digest| theirs.holds(digest)) {
            return Ok(None);
        }
        let compared = self.referrers_tags.compare(&target, theirs, &stored, is_list).await;
        let difference = compared.map_err(WriteError::untouched)?;
        if push.headers.is_conditional() {
            // A merged list is not what the condition was made for. With nothing to merge, the registry checks it.
            return match difference.lacks_some {
                false => Ok(None),
                true => Err(WriteError::lost_update(&target.tag)),
            };
        }
        self.merge(push, pushed, &target, theirs, &difference).await.map(Some)
    }

    async fn merge(
        &self,
        push: &Push,
        pushed: &PushedManifest,
        target: &TagToUpdate,
        theirs: &ReferrersTagIndex,
        difference: &ListDifference,
    ) -> Result<RegistryResponse, WriteError> {
        let by_digest = Reference::Digest(pushed.own.clone());
        let reply = self.put(push, &by_digest).await?;
        if !reply.status.is_success() && !may_be_about_entries(&reply) {
            return Ok(reply);
        }
        let merged = self.referrers_tags.update(target, Effort::Persistent, |index| {
            let mut merged = theirs.clone();
            difference.not_stored.iter().for_each(|digest| merged.remove(digest));
            // Read again by now: what was added meanwhile stays.
            merged.take_over(index, &difference.gone);
            *index = merged;
        });
        match merged.await {
            Ok(Updated::Taken) => self.put(push, &push.reference).await,
            Ok(Updated::Unchanged | Updated::Written) if reply.status.is_success() => Ok(reply),
            Ok(Updated::Unchanged | Updated::Written) => Ok(enveloped::created(push, &pushed.own)),
            Err(_) if !reply.status.is_success() => Ok(reply),
            Err(cause) => Err(WriteError::not_linked("referrers tag", &target.tag, cause)),
        }
    }
}
