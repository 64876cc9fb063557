//! `DELETE /v2/<name>/manifests/<reference>`: link tags and cached state of a manifest go with it.

use std::collections::BTreeSet;

use http::StatusCode;

use crate::oci::{Digest, Manifest, Reference, RepositoryName, Tag, envelope, tag_scheme};
use crate::upstream::{Answer, Caller, Reply};

use super::error::WriteError;
use super::link_tags::{Linked, link_tags};
use super::{Push, Writer};

/// A manifest that is to be deleted.
struct Doomed<'a> {
    repository: &'a RepositoryName,
    caller: &'a Caller,
    own: &'a Digest,
    /// What it was, as far as it could be read beforehand.
    push: Option<(Push, Manifest)>,
}

impl Writer {
    /// Deletes, and returns the upstream's answer. A refusal changes nothing.
    pub async fn delete(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
        caller: &Caller,
    ) -> Result<Reply, WriteError> {
        let deleted = match reference {
            // A tag is a name: what it named, and its links, stay.
            Reference::Tag(_) => Ok(self.upstream.delete_manifest(repository, reference, caller).await?),
            Reference::Digest(own) => self.delete_digest(repository, own, caller).await,
        };
        self.resolver.wrote(repository, Some(reference)).await;
        deleted
    }

    async fn delete_digest(
        &self,
        repository: &RepositoryName,
        own: &Digest,
        caller: &Caller,
    ) -> Result<Reply, WriteError> {
        let doomed = Doomed {
            repository,
            caller,
            own,
            push: self.read_doomed(repository, own, caller).await?,
        };
        let reference = Reference::Digest(own.clone());
        let reply = self.upstream.delete_manifest(repository, &reference, caller).await?;
        let reply = match reply.status {
            StatusCode::NOT_FOUND => match self.delete_envelope(&doomed).await? {
                Some(of_envelope) => of_envelope,
                None => reply,
            },
            // Some registries do not delete what a tag still names, and the link tags are refshim's.
            StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN | StatusCode::CONFLICT => {
                self.delete_without_link_tags(&doomed, reply).await?
            }
            _ => reply,
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
    ) -> Result<Option<(Push, Manifest)>, WriteError> {
        let reference = Reference::Digest(own.clone());
        let Answer::Found(raw) = self.resolver.manifest(repository, &reference, caller).await? else {
            return Ok(None);
        };
        let Ok(manifest) = Manifest::parse(&raw.bytes, &raw.media_type) else {
            return Ok(None);
        };
        let push = Push {
            repository: repository.clone(),
            reference,
            media_type: raw.media_type.clone(),
            bytes: raw.bytes.clone(),
            caller: caller.clone(),
        };
        Ok(Some((push, manifest)))
    }

    /// Deletes the envelope that keeps `doomed`, with every tag of it. `None` when there is none.
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
        if parsed
            .as_ref()
            .and_then(envelope::open)
            .is_none_or(|original| original.digest != *doomed.own)
        {
            return Ok(None);
        }
        let sealed = Reference::Digest(raw.digest.clone());
        let reply = self
            .upstream
            .delete_manifest(doomed.repository, &sealed, doomed.caller)
            .await?;
        if reply.status.is_success() {
            self.delete_tags(doomed, &raw.digest, BTreeSet::from([tag])).await;
            self.delete_tags(doomed, &raw.digest, doomed.link_tags()).await;
            self.resolver.wrote(doomed.repository, Some(&sealed)).await;
        }
        Ok(Some(reply))
    }

    /// Takes the link tags away and tries again; puts them back where that did not help.
    async fn delete_without_link_tags(&self, doomed: &Doomed<'_>, refused: Reply) -> Result<Reply, WriteError> {
        let removed = self.delete_tags(doomed, doomed.own, doomed.link_tags()).await;
        if removed.is_empty() {
            return Ok(refused);
        }
        let reference = Reference::Digest(doomed.own.clone());
        let reply = self
            .upstream
            .delete_manifest(doomed.repository, &reference, doomed.caller)
            .await;
        if !matches!(&reply, Ok(reply) if reply.status.is_success())
            && let Some((push, _)) = &doomed.push
        {
            let linked: Linked<'_> = push.linked(doomed.own);
            self.write_link_tags(&linked, removed).await?;
        }
        Ok(reply?)
    }

    /// What is left of a deleted manifest. The manifest is gone already, so a failure here is worth a line in the log only:
    /// a link tag without its manifest is listed nowhere, and `refshim gc` finds it.
    async fn clean_up(&self, doomed: &Doomed<'_>) {
        self.delete_tags(doomed, doomed.own, doomed.link_tags()).await;
        if let Some((_, manifest)) = &doomed.push
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
                .upstream
                .delete_manifest(doomed.repository, &reference, doomed.caller)
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
        let manifest = self.push.as_ref().map(|(_, manifest)| manifest);
        manifest
            .and_then(|manifest| link_tags(manifest, self.own).ok())
            .unwrap_or_default()
    }
}
