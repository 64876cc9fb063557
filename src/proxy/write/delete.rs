//! `DELETE /v2/<name>/manifests/<reference>`: link tags and cached state of a manifest go with it.
//!
//! Nothing is taken away before the registry has accepted, so that a refusal, and a crash at any moment, leaves the artifact either whole
//! and found or deleted. A registry that deletes nothing which a tag names (Docker Hub, Google) refuses because of refshim's own link
//! tags, too: it is relayed, with a warning that says which they are. What is left of a deleted manifest is cleaned up afterwards
//! (see [`super::clean_up`]).

use std::sync::Arc;

use http::StatusCode;

use crate::events::ChangedLinks;
use crate::oci::{Digest, Manifest, Reference, RepositoryName, tag_scheme};
use crate::registry::{Answer, Caller, RawManifest, RegistryResponse, UpstreamError, WriteHeaders};

use super::Writer;
use super::clean_up::DeletedManifest;
use super::error::WriteError;
use super::link_events::{publish_removed, publish_removed_tag};
use super::manifest_deletion::ManifestDeletion;

impl Writer {
    /// Deletes, and returns the upstream's answer. A refusal changes nothing.
    pub async fn delete(
        self: &Arc<Self>,
        repository: &RepositoryName,
        reference: &Reference,
        headers: WriteHeaders,
        caller: &Caller,
    ) -> Result<RegistryResponse, WriteError> {
        match self.upstream.sibling(repository, caller)? {
            None => self.delete_here(repository, reference, headers, caller).await,
            Some(sibling) => Box::pin(self.delete_beside((repository, sibling), reference, headers, caller)).await,
        }
    }

    pub(super) async fn delete_here(
        self: &Arc<Self>,
        repository: &RepositoryName,
        reference: &Reference,
        headers: WriteHeaders,
        caller: &Caller,
    ) -> Result<RegistryResponse, WriteError> {
        match reference {
            // A tag is a name: what it named, and its links, stay.
            Reference::Tag(tag) => {
                let deleting = self.delete_one(repository, reference, None, Some(&headers), caller);
                let reply = deleting.await?;
                if let (true, Some(events)) = (reply.status.is_success(), &self.events) {
                    publish_removed_tag(events, &self.known_as(repository), tag);
                }
                Ok(reply)
            }
            Reference::Digest(own) => self.delete_with_original(repository, own, headers, caller).await,
        }
    }

    /// One deletion at the registry, of what keeps the manifest `kept`, and what memory must know of it. A stranger takes nothing from
    /// those who read, nor does an outage: what is remembered is all that they have then.
    pub(super) async fn delete_one(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
        kept: Option<&Digest>,
        headers: Option<&WriteHeaders>,
        caller: &Caller,
    ) -> Result<RegistryResponse, UpstreamError> {
        let deleted = self.upstream.delete(repository, reference, headers, caller).await;
        let is_conditional = headers.is_some_and(WriteHeaders::is_conditional);
        match &deleted {
            Ok(reply) if reply.status.is_success() => {
                if let Reference::Tag(tag) = reference {
                    self.resolver.tag_deleted(repository, tag).await;
                }
                let kept = kept.map(|digest| Reference::Digest(digest.clone()));
                for touched in [Some(reference), kept.as_ref()].into_iter().flatten() {
                    self.resolver.wrote(repository, Some(touched)).await;
                }
            }
            Ok(reply) if matches!(reply.status.as_u16(), 401 | 403 | 404 | 405 | 429) => {}
            Ok(reply) if is_conditional && reply.status == StatusCode::PRECONDITION_FAILED => {}
            Err(error) if error.is_unsent() => {}
            // The registry failed, broke off or refused half-way.
            Ok(_) | Err(_) => self.resolver.wrote_perhaps(repository),
        }
        deleted
    }

    pub(super) async fn delete_digest(
        self: &Arc<Self>,
        repository: &RepositoryName,
        own: &Digest,
        headers: WriteHeaders,
        caller: &Caller,
    ) -> Result<RegistryResponse, WriteError> {
        let (read, unreadable) = match self.read_doomed(repository, own, caller).await {
            Ok(read) => (read, None),
            Err(error @ UpstreamError::Failed(StatusCode::INTERNAL_SERVER_ERROR)) => (None, Some(error)),
            Err(error) => return Err(error.into()),
        };
        let doomed = ManifestDeletion {
            repository: repository.clone(),
            caller: caller.clone(),
            own: own.clone(),
            headers,
            read,
        };
        let envelope = self.envelope_of(&doomed).await?;
        if envelope.is_some() && doomed.headers.is_conditional() {
            return Err(WriteError::envelope_has_no_conditions());
        }
        let is_leftover = unreadable.is_some();
        if let Some(error) = unreadable
            && (envelope.is_some() || !self.is_leftover(&doomed).await?)
        {
            return Err(error.into());
        }
        let deleting = self.deletions.shared((repository.clone(), own.clone())).await;
        let mut original_deleted = false;
        let mut reply = match &envelope {
            None => self.delete_stored(&doomed, own).await?,
            Some(envelope) => self.delete_sealed(&doomed, envelope, &mut original_deleted).await?,
        };
        if is_leftover && (reply.status.is_success() || states_absence(&reply)) {
            self.delete_blob(&doomed).await;
        }
        if reply.status.is_success() {
            // Many registries delete the tags with what they name.
            self.resolver.manifest_deleted(repository, own).await;
            for tag in doomed.link_tags() {
                self.resolver.tag_deleted(repository, &tag).await;
            }
        }
        drop(deleting);
        if reply.status.is_success() {
            if let (Some(events), Some((raw, manifest))) = (&self.events, &doomed.read) {
                let links = ChangedLinks::stated(manifest, own, raw.bytes.len());
                publish_removed(events, &self.known_as(repository), links);
            }
            let deleted = DeletedManifest {
                writer: self.clone(),
                envelope: envelope.map(|envelope| envelope.digest),
                original_deleted,
                manifest: doomed,
            };
            deleted.clean_up().await;
        } else {
            doomed.explain(&mut reply);
        }
        Ok(reply)
    }

    async fn read_doomed(
        &self,
        repository: &RepositoryName,
        own: &Digest,
        caller: &Caller,
    ) -> Result<Option<(Arc<RawManifest>, Manifest)>, UpstreamError> {
        let reference = Reference::Digest(own.clone());
        let Answer::Found(raw) = self.resolver.manifest(repository, &reference, caller).await? else {
            return Ok(None);
        };
        let manifest = raw.parse().ok();
        Ok(manifest.map(|manifest| (raw, manifest)))
    }

    /// The envelope that keeps `doomed`, if one does.
    async fn envelope_of(&self, doomed: &ManifestDeletion) -> Result<Option<RawManifest>, WriteError> {
        let Some(tag) = tag_scheme::envelope_tag(&doomed.own) else {
            return Ok(None);
        };
        let reference = Reference::Tag(tag);
        let asked = self
            .upstream
            .manifest(&doomed.repository, &reference, &doomed.caller)
            .await?;
        let Answer::Found(raw) = asked else {
            return Ok(None);
        };
        Ok(raw.is_envelope_of(&doomed.own).then_some(raw))
    }

    /// Deletes what is kept in `envelope`: the envelope, the blob that is the original, and the manifest as such where there is one too,
    /// because registries learn. Then the links lead to that before the envelope goes, so that whatever keeps the rest from being
    /// deleted leaves it found.
    async fn delete_sealed(
        &self,
        doomed: &ManifestDeletion,
        envelope: &RawManifest,
        original_deleted: &mut bool,
    ) -> Result<RegistryResponse, WriteError> {
        let is_stored_as_such = self.is_stored_as_such(doomed).await?;
        // Under tags the bytes have a sha256 digest. By another one, Distribution may give the blob as if it were a manifest.
        if is_stored_as_such
            && doomed.own.algorithm() == "sha256"
            && let Some((raw, _)) = &doomed.read
        {
            self.write_link_tags(&doomed.linked(raw), doomed.link_tags()).await?;
        }
        let reply = self.delete_stored(doomed, &envelope.digest).await?;
        if !reply.status.is_success() {
            return Ok(reply);
        }
        *original_deleted = self.delete_original(doomed, envelope).await;
        if !is_stored_as_such {
            return Ok(reply);
        }
        let as_such = self.delete_stored(doomed, &doomed.own).await?;
        Ok(match as_such.status {
            StatusCode::NOT_FOUND => reply,
            _ => as_such,
        })
    }

    async fn is_stored_as_such(&self, doomed: &ManifestDeletion) -> Result<bool, WriteError> {
        let reference = Reference::Digest(doomed.own.clone());
        let asked = self
            .upstream
            .head_manifest(&doomed.repository, &reference, &doomed.caller);
        match asked.await {
            Ok(Answer::Found(_)) => Ok(true),
            Ok(Answer::Absent) => Ok(false),
            Ok(Answer::Refused(refusal)) => Err(refusal.into()),
            // Distribution 2.8 finds the blob in the envelope and fails to read it as a manifest.
            Err(UpstreamError::Failed(StatusCode::INTERNAL_SERVER_ERROR)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether it is the blob of a manifest whose envelope is gone: what a deletion leaves that ended between the two. Distribution 2.8
    /// fails (500) when it is asked for such a manifest.
    async fn is_leftover(&self, doomed: &ManifestDeletion) -> Result<bool, WriteError> {
        let limit = self.upstream.manifest_bytes();
        let blob = self
            .upstream
            .blob(&doomed.repository, &doomed.own, limit, &doomed.caller);
        Ok(matches!(blob.await?, Answer::Found(bytes) if Manifest::parse(&bytes, "").is_ok()))
    }

    /// Deletes the blob that was the original, unless its envelope is being pushed again; whether it may be gone. Distribution 2.8
    /// finds it when asked for the manifest, and fails (500).
    async fn delete_original(&self, doomed: &ManifestDeletion, envelope: &RawManifest) -> bool {
        let key = (doomed.repository.clone(), doomed.own.clone());
        let alone = self.manifests.try_alone(key);
        if alone.is_none() || !matches!(self.is_gone(doomed, &envelope.digest).await, Ok(true)) {
            return false;
        }
        self.delete_blob(doomed).await;
        true
    }

    async fn delete_blob(&self, doomed: &ManifestDeletion) {
        let deleted = self
            .upstream
            .delete_blob(&doomed.repository, &doomed.own, &doomed.caller)
            .await;
        self.resolver.forget_blob(&doomed.repository, &doomed.own).await;
        if !matches!(&deleted, Ok(reply) if reply.status.is_success()) {
            // Nothing lists it any more, so that the registry's garbage collection takes it.
            tracing::debug!(repository = %doomed.repository, digest = %doomed.own, "the registry does not delete a blob");
        }
    }

    /// Whether the registry itself says that it has no manifest `digest`.
    pub(super) async fn is_gone(&self, doomed: &ManifestDeletion, digest: &Digest) -> Result<bool, WriteError> {
        let reference = Reference::Digest(digest.clone());
        let asked = self
            .upstream
            .head_manifest(&doomed.repository, &reference, &doomed.caller);
        Ok(matches!(asked.await?, Answer::Absent))
    }

    async fn delete_stored(&self, doomed: &ManifestDeletion, digest: &Digest) -> Result<RegistryResponse, WriteError> {
        let reference = Reference::Digest(digest.clone());
        let kept = Some(&doomed.own).filter(|own| *own != digest);
        Ok(self
            .delete_one(
                &doomed.repository,
                &reference,
                kept,
                Some(&doomed.headers),
                &doomed.caller,
            )
            .await?)
    }
}

/// Whether it is a 404 in the registry's own words.
pub(super) fn states_absence(reply: &RegistryResponse) -> bool {
    reply.status == StatusCode::NOT_FOUND && reply.error().is_some_and(|stated| stated.states_absence())
}
