//! The OCI 1.1 referrers tag, which clients that bypass the proxy read: kept by every push where `writing.links` has `referrers-tag`, and
//! rid of what is deleted wherever a registry has one, whoever keeps it.
//!
//! With Proposal D tags beside it, links do not depend on it: what keeps it from being written is counted, logged and tried again later, and fails no
//! push. What has the tag's name and is no list of referrers is somebody's own, and is left alone.

use std::time::Duration;

use http::StatusCode;

use crate::oci::{Code, Digest, Manifest, OciError, RepositoryName, SubjectKey, Tag, tag_scheme};
use crate::referrers::TagEntryOutcome;
use crate::registry::{Caller, UpstreamError};

use super::entry_check::warn_taken;
use super::error::WriteError;
use super::pushed_manifest::PushedManifest;
use super::referrers_tag_update::{Effort, StoredIndex, TagToUpdate, Updated};
use super::watched_entries::WatchedEntry;
use super::{Push, Writer};

/// How long a caller waits for an entry on which nothing depends. It is written all the same.
const PATIENCE: Duration = Duration::from_secs(10);

impl Writer {
    /// Lists the pushed manifest under the referrers tag of the subject that it names, and looks after the entry from then on. Whether it is
    /// listed now; an error where nothing else keeps the link.
    pub(super) async fn list_in_referrers_tag(&self, push: &Push, pushed: &PushedManifest) -> Result<bool, WriteError> {
        let manifest = &pushed.manifest;
        let (Some(subject), true) = (&manifest.subject, self.links.referrers_tag) else {
            return Ok(false);
        };
        let Some(target) = target(&push.repository, &subject.digest, &push.caller) else {
            return Ok(false);
        };
        let entry = manifest.descriptor(pushed.own.clone(), push.bytes.len() as u64);
        let effort = match self.links.proposal_d {
            true => Effort::Once,
            false => Effort::Persistent,
        };
        let adding = self.referrers_tags.add(target.clone(), entry, effort);
        let listed = match self.links.proposal_d {
            true => tokio::time::timeout(PATIENCE, adding)
                .await
                .unwrap_or_else(|_| Err(slow())),
            false => adding.await,
        };
        let outcomes = &self.resolver.counts().tag_entries;
        let was_listed = match listed {
            Ok(Updated::Unchanged | Updated::Written) => {
                outcomes.get(TagEntryOutcome::Listed).inc();
                true
            }
            Ok(Updated::Taken) if self.links.proposal_d => {
                outcomes.get(TagEntryOutcome::Taken).inc();
                warn_taken(&target);
                return Ok(false);
            }
            Ok(Updated::Taken) => return Err(taken(&target.tag)),
            // Looked for again at once, and then it is said what is wrong.
            Err(cause) if self.links.proposal_d => {
                tracing::debug!(repository = %push.repository, tag = %target.tag, %cause, "an entry is not in the referrers tag yet");
                false
            }
            Err(cause) => return Err(WriteError::not_linked("referrers tag", &target.tag, cause)),
        };
        self.watched
            .watch(WatchedEntry::new(target, pushed.own.clone(), was_listed));
        Ok(was_listed)
    }

    /// Takes a manifest that the registry no longer has off the referrers tags of its subjects; returns those that listed it. Each is
    /// written while nobody in this process pushes the manifest, and only if the registry says that it is gone.
    pub(super) async fn drop_from_referrers_tags(
        &self,
        repository: &RepositoryName,
        manifest: &Manifest,
        own: &Digest,
        caller: &Caller,
    ) -> Result<Vec<Tag>, WriteError> {
        let mut dropped = Vec::new();
        let tags = &self.referrers_tags;
        for target in targets(repository, manifest, caller) {
            let listed = matches!(tags.read(&target).await?, StoredIndex::List { index, .. } if index.holds(own));
            if !listed {
                continue;
            }
            let Some(_alone) = self.manifests.try_alone((repository.clone(), own.clone())) else {
                continue;
            };
            let gone = tags.existing(&target, vec![own.clone()]).await?.is_empty();
            if gone {
                let removed = tags.update(&target, Effort::Persistent, |index| index.remove(own));
                if removed.await? == Updated::Written {
                    dropped.push(target.tag);
                }
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
                let added = self.referrers_tags.add(target, entry.clone(), Effort::Persistent);
                added.await?;
            }
        }
        Ok(())
    }
}

/// The referrers tags of the subjects that `manifest` states in any way.
fn targets(repository: &RepositoryName, manifest: &Manifest, caller: &Caller) -> Vec<TagToUpdate> {
    let subjects = manifest.own_subjects().into_iter();
    let mut targets: Vec<TagToUpdate> = subjects
        .filter_map(|(subject, _)| target(repository, &subject, caller))
        .collect();
    targets.dedup_by(|one, other| one.tag == other.tag);
    targets
}

fn target(repository: &RepositoryName, subject: &Digest, caller: &Caller) -> Option<TagToUpdate> {
    Some(TagToUpdate {
        repository: repository.clone(),
        tag: tag_scheme::referrers_tag(subject)?,
        subject: SubjectKey::of(subject),
        caller: caller.reading_stored(),
    })
}

fn slow() -> WriteError {
    UpstreamError::Timeout("writing the referrers tag").into()
}

/// Nothing else would keep the link.
fn taken(tag: &Tag) -> WriteError {
    let message = format!(
        "the manifest is stored but not linked: its referrers tag {tag} holds something that is no list of referrers, and writing.links names no \
         other form; delete or move that tag, then push again"
    );
    WriteError::Oci(OciError::new(StatusCode::CONFLICT, Code::TagInvalid, message))
}
