//! `DELETE /v2/<name>/manifests/<reference>`: link tags and cached state of a manifest go with it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::StatusCode;

use crate::oci::{Digest, Manifest, Reference, RepositoryName, Tag, envelope, tag_scheme};
use crate::upstream::{Answer, Caller, RawManifest, Reply, UpstreamError};

use super::Writer;
use super::error::WriteError;
use super::link_tags::{Linked, link_tags};

/// A manifest that is to be deleted.
struct Doomed<'a> {
    repository: &'a RepositoryName,
    caller: &'a Caller,
    own: &'a Digest,
    changed: &'a Changed,
    /// What it was, as far as it could be read beforehand.
    read: Option<(Arc<RawManifest>, Manifest)>,
}

/// Whether something may have been deleted so far.
#[derive(Default)]
struct Changed(AtomicBool);

impl Changed {
    /// Notes what became of one deletion. A stranger takes nothing from those who read, nor does an outage: what is remembered
    /// is all that they have then.
    fn note(&self, deleted: &Result<Reply, UpstreamError>) {
        let certainly_not = match deleted {
            Ok(reply) => matches!(reply.status.as_u16(), 401 | 403 | 404 | 405 | 429),
            Err(error) => error.is_unsent(),
        };
        self.0.fetch_or(!certainly_not, Ordering::Relaxed);
    }
}

impl Writer {
    /// Deletes, and returns the upstream's answer. A refusal changes nothing.
    pub async fn delete(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
        caller: &Caller,
    ) -> Result<Reply, WriteError> {
        let changed = Changed::default();
        let deleted = match reference {
            // A tag is a name: what it named, and its links, stay.
            Reference::Tag(_) => {
                let reply = self.delete_one(repository, reference, caller, &changed).await;
                reply.map_err(WriteError::from)
            }
            Reference::Digest(own) => self.delete_digest(repository, own, caller, &changed).await,
        };
        // Also after a refusal: something may have been done before it.
        if changed.0.into_inner() {
            self.resolver.wrote(repository, Some(reference)).await;
        }
        deleted
    }

    async fn delete_one(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
        caller: &Caller,
        changed: &Changed,
    ) -> Result<Reply, UpstreamError> {
        let deleted = self.upstream.delete_manifest(repository, reference, caller).await;
        changed.note(&deleted);
        deleted
    }

    async fn delete_digest(
        &self,
        repository: &RepositoryName,
        own: &Digest,
        caller: &Caller,
        changed: &Changed,
    ) -> Result<Reply, WriteError> {
        let doomed = Doomed {
            repository,
            caller,
            own,
            changed,
            read: self.read_doomed(repository, own, caller).await?,
        };
        let of_envelope = self.delete_envelope(&doomed).await?;
        let reply = match of_envelope {
            Some(refused) if !refused.status.is_success() => refused,
            // It may be stored as such, too: registries learn.
            deleted => {
                let stored = doomed.read.as_ref().map(|(raw, _)| doomed.linked(raw));
                let reply = self.delete_stored(&doomed, own, stored.as_ref()).await?;
                deleted
                    .filter(|_| reply.status == StatusCode::NOT_FOUND)
                    .unwrap_or(reply)
            }
        };
        if reply.status.is_success() {
            self.clean_up(&doomed).await;
        }
        Ok(reply)
    }

    async fn read_doomed(
        &self,
        repository: &RepositoryName,
        own: &Digest,
        caller: &Caller,
    ) -> Result<Option<(Arc<RawManifest>, Manifest)>, WriteError> {
        let reference = Reference::Digest(own.clone());
        let Answer::Found(raw) = self.resolver.manifest(repository, &reference, caller).await? else {
            return Ok(None);
        };
        let manifest = Manifest::parse(&raw.bytes, &raw.media_type).ok();
        Ok(manifest.map(|manifest| (raw, manifest)))
    }

    /// Deletes the envelope that keeps `doomed`, with every tag of refshim's own. `None` when there is none.
    async fn delete_envelope(&self, doomed: &Doomed<'_>) -> Result<Option<Reply>, WriteError> {
        let Some(tag) = tag_scheme::envelope_tag(doomed.own) else {
            return Ok(None);
        };
        let reference = Reference::Tag(tag.clone());
        let found = self
            .upstream
            .manifest(doomed.repository, &reference, doomed.caller)
            .await?;
        let Answer::Found(raw) = found else {
            return Ok(None);
        };
        let parsed = Manifest::parse(&raw.bytes, &raw.media_type).ok();
        let original = parsed.as_ref().and_then(envelope::open);
        if original.is_none_or(|original| original.digest != *doomed.own) {
            return Ok(None);
        }
        let reply = self
            .delete_stored(doomed, &raw.digest, Some(&doomed.linked(&raw)))
            .await?;
        if reply.status.is_success() {
            let tags = doomed.link_tags().into_iter().chain([tag]).collect();
            self.delete_tags(doomed, &raw.digest, tags).await;
            let sealed = Reference::Digest(raw.digest);
            self.resolver.wrote(doomed.repository, Some(&sealed)).await;
            self.delete_original(doomed).await;
        }
        Ok(Some(reply))
    }

    /// Deletes the blob that was the original. Distribution 2.8 finds it when asked for the manifest, and fails (500).
    async fn delete_original(&self, doomed: &Doomed<'_>) {
        let deleted = self
            .upstream
            .delete_blob(doomed.repository, doomed.own, doomed.caller)
            .await;
        self.resolver.forget_blob(doomed.repository, doomed.own).await;
        if !matches!(&deleted, Ok(reply) if reply.status.is_success()) {
            // Nothing lists it any more, so that the registry's garbage collection takes it.
            tracing::debug!(repository = %doomed.repository, digest = %doomed.own, "the registry does not delete a blob");
        }
    }

    /// Deletes what is stored as `digest`. Some registries delete nothing that a tag still names, and the link tags are
    /// refshim's: they are taken away for another attempt, and put back where that did not help.
    async fn delete_stored(
        &self,
        doomed: &Doomed<'_>,
        digest: &Digest,
        stored: Option<&Linked<'_>>,
    ) -> Result<Reply, WriteError> {
        let reference = Reference::Digest(digest.clone());
        let delete = || self.delete_one(doomed.repository, &reference, doomed.caller, doomed.changed);
        let reply = delete().await?;
        let may_be_tagged = matches!(
            reply.status,
            StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN | StatusCode::CONFLICT
        );
        let Some(stored) = stored.filter(|_| may_be_tagged) else {
            return Ok(reply);
        };
        let envelope_tag = tag_scheme::envelope_tag(doomed.own).filter(|_| digest != doomed.own);
        let tags = doomed.link_tags().into_iter().chain(envelope_tag).collect();
        let removed = self.delete_tags(doomed, digest, tags).await;
        if removed.is_empty() {
            return Ok(reply);
        }
        let reply = delete().await;
        if !matches!(&reply, Ok(reply) if reply.status.is_success()) {
            self.write_link_tags(stored, removed).await?;
        }
        Ok(reply?)
    }

    /// What is left of a deleted manifest. The manifest is gone already, so a failure here is worth a line in the log only:
    /// a link tag without its manifest is listed nowhere, and `refshim gc` finds it.
    async fn clean_up(&self, doomed: &Doomed<'_>) {
        self.delete_tags(doomed, doomed.own, doomed.link_tags()).await;
        if let Some((_, manifest)) = &doomed.read
            && let Err(error) = self
                .drop_from_fallback_tags(doomed.repository, manifest, doomed.own, doomed.caller)
                .await
        {
            tracing::warn!(repository = %doomed.repository, digest = %doomed.own, %error, "a deleted manifest stays in a referrers tag");
        }
    }

    /// Deletes those of `tags` that still point at `target`; returns which.
    async fn delete_tags(&self, doomed: &Doomed<'_>, target: &Digest, tags: BTreeSet<Tag>) -> BTreeSet<Tag> {
        let mut deleted = BTreeSet::new();
        for tag in tags {
            let reference = Reference::Tag(tag.clone());
            let head = self
                .upstream
                .head_manifest(doomed.repository, &reference, doomed.caller)
                .await;
            if !matches!(head, Ok(Answer::Found(head)) if head.digest == *target) {
                continue;
            }
            match self
                .delete_one(doomed.repository, &reference, doomed.caller, doomed.changed)
                .await
            {
                Ok(reply) if reply.status.is_success() => {
                    deleted.insert(tag);
                }
                Ok(reply) => tracing::warn!(%tag, status = %reply.status, "the registry does not delete a link tag"),
                Err(error) => tracing::warn!(%tag, %error, "a link tag could not be deleted"),
            }
        }
        deleted
    }
}

impl Doomed<'_> {
    fn link_tags(&self) -> BTreeSet<Tag> {
        let manifest = self.read.as_ref().map(|(_, manifest)| manifest);
        manifest
            .and_then(|manifest| link_tags(manifest, self.own).ok())
            .unwrap_or_default()
    }

    /// `raw` as it goes under link tags.
    fn linked<'a>(&'a self, raw: &'a RawManifest) -> Linked<'a> {
        Linked {
            repository: self.repository,
            media_type: &raw.media_type,
            bytes: &raw.bytes,
            digest: &raw.digest,
            caller: self.caller,
        }
    }
}
