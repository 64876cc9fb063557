//! Pushes to a repository whose links are kept in a sibling (`links.repository`): what refers to something goes there, and so do link tags; the
//! repository itself keeps images and the tags that their owner gave.
//!
//! refshim's own account writes to the sibling only after the registry opened an upload for this caller in the repository, in the same request:
//! who may only pull must not sign. Everything is in the sibling before the push is acknowledged.

use std::collections::BTreeSet;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};

use crate::oci::{Code, Digest, LinkTarget, OciError, Reference, Tag, tag_scheme};
use crate::registry::{Answer, Refusal, RegistryResponse, Sibling, WriteHeaders};

use super::error::WriteError;
use super::link_tags::stated_subject;
use super::pushed_manifest::PushedManifest;
use super::{Push, PushQuery, Writer, enveloped};

const OCI_SUBJECT: &str = "oci-subject";

impl Writer {
    /// Who writes to sibling repositories.
    fn of_siblings(&self) -> &Self {
        self.elsewhere.as_deref().unwrap_or(self)
    }

    /// The push, where links are kept in `sibling`.
    pub(super) async fn push_beside(&self, push: Push, sibling: Sibling) -> Result<RegistryResponse, WriteError> {
        let Some(pushed) = PushedManifest::read(&push, self.links.referrers_tag)? else {
            return self.push_here(push).await;
        };
        let names_subject = stated_subject(&pushed.manifest, &pushed.own).is_some();
        let goes_beside = match &push.reference {
            Reference::Digest(_) => names_subject && push.query.tags.is_empty(),
            Reference::Tag(tag) => self.is_link_tag_to_keep_beside(&push, tag).await?,
        };
        if goes_beside {
            if let Some(refused) = self.may_push(&push, &sibling).await? {
                return Ok(refused);
            }
            return self.push_into(&push, &pushed, &sibling).await;
        }
        self.complete_image(&push, &pushed.manifest).await?;
        let reply = self.push_here(push.clone()).await?;
        if !reply.status.is_success() || pushed.link_tags.is_empty() {
            return Ok(reply);
        }
        match self.link_beside(&push, &pushed, &sibling).await {
            Ok(None) => Ok(reply),
            Ok(Some(refused)) => Err(not_linked(&sibling, Refusal::from(refused).into())),
            Err(cause) => Err(not_linked(&sibling, cause)),
        }
    }

    /// Whether `tag` links something, by its name, and is not in the repository already: what is there is written where it is.
    async fn is_link_tag_to_keep_beside(&self, push: &Push, tag: &Tag) -> Result<bool, WriteError> {
        let Some(link) = tag_scheme::parse(tag.as_str()) else {
            return Ok(false);
        };
        let caller = push.caller.reading_stored();
        let there = self
            .upstream
            .head_manifest(&push.repository, &push.reference, &caller)
            .await;
        match there.map_err(|error| WriteError::from(error).untouched())? {
            Answer::Absent => Ok(true),
            // Some registries answer a referrers tag with the subject itself.
            Answer::Found(there) => Ok(link.subject.digest().is_some_and(|subject| subject == there.digest)),
            Answer::Refused(refusal) => Err(WriteError::from(refusal).untouched()),
        }
    }

    /// What the registry refuses this push with; `None` where the caller may push. Where the sibling is written with the caller's own rights, the
    /// registry judges those.
    async fn may_push(&self, push: &Push, sibling: &Sibling) -> Result<Option<RegistryResponse>, WriteError> {
        if !sibling.is_of_account() {
            return Ok(None);
        }
        let opened = self.upstream.opens_upload(&push.repository, &push.caller).await;
        Ok(opened.map_err(|error| WriteError::from(error).untouched())?.err())
    }

    /// Stores the push in the sibling, with all that it lists, and answers as if it were in the repository.
    async fn push_into(
        &self,
        push: &Push,
        pushed: &PushedManifest,
        sibling: &Sibling,
    ) -> Result<RegistryResponse, WriteError> {
        self.bring_parts(&push.repository, &push.caller, sibling, &pushed.manifest)
            .await?;
        let headers = match sibling.elsewhere {
            Some(_) => push.headers.for_another_registry(),
            None => push.headers.clone(),
        };
        let beside = Push {
            repository: sibling.repository.clone(),
            caller: sibling.caller.clone(),
            query: PushQuery::default(),
            headers,
            ..push.clone()
        };
        let stored = self
            .of_siblings()
            .push_here(beside)
            .await
            .map_err(|error| refused_beside(sibling, error))?;
        if !stored.status.is_success() {
            return match sibling.is_of_account() && Refusal::from(stored.clone()).is_about_access() {
                true => Err(refused_beside(sibling, Refusal::from(stored).into())),
                false => Ok(stored),
            };
        }
        self.resolver
            .remember_kept(&push.repository, sibling, (&pushed.own, &pushed.manifest))
            .await;
        let mut reply = enveloped::created(push, &pushed.own);
        if let Some(subject) = stored.headers.get(OCI_SUBJECT) {
            reply.headers.insert(OCI_SUBJECT, subject.clone());
        }
        Ok(reply)
    }

    /// Keeps the links of what was stored in the repository under a tag of its owner's, or as an image. A refusal of the registry's is returned.
    async fn link_beside(
        &self,
        push: &Push,
        pushed: &PushedManifest,
        sibling: &Sibling,
    ) -> Result<Option<RegistryResponse>, WriteError> {
        if let Some(refused) = self.may_push(push, sibling).await? {
            return Ok(Some(refused));
        }
        let links = pushed.manifest.links(&pushed.own);
        let is_of_whole = |target: &LinkTarget| matches!(target, LinkTarget::This | LinkTarget::Blob(_));
        if links.iter().any(|link| is_of_whole(&link.target)) {
            let by_digest = Push {
                reference: Reference::Digest(pushed.own.clone()),
                // Conditions were about what the owner's tag named.
                headers: typed(&push.media_type),
                ..push.clone()
            };
            let reply = self.push_into(&by_digest, pushed, sibling).await?;
            if !reply.status.is_success() {
                return Ok(Some(reply));
            }
        }
        let listed = links.iter().filter_map(|link| match &link.target {
            LinkTarget::Manifest(listed) => Some(&listed.digest),
            LinkTarget::This | LinkTarget::Blob(_) => None,
        });
        let listed: BTreeSet<&Digest> = listed.collect();
        match index_of(push, pushed, &listed) {
            Some(index) if !listed.is_empty() => self.link_index(index, sibling).await,
            Some(_) | None => Ok(None),
        }
    }

    /// Keeps what an image's index lists and links, such as BuildKit's attestations: in an index of those entries alone, so that they are listed as
    /// they are from the image's own.
    async fn link_index(&self, index: Push, sibling: &Sibling) -> Result<Option<RegistryResponse>, WriteError> {
        let Some(read) = PushedManifest::read(&index, self.links.referrers_tag)? else {
            return Ok(None);
        };
        let reply = self.push_into(&index, &read, sibling).await?;
        Ok((!reply.status.is_success()).then_some(reply))
    }
}

/// The push of an index of those entries of a pushed one that are `listed`.
fn index_of(push: &Push, pushed: &PushedManifest, listed: &BTreeSet<&Digest>) -> Option<Push> {
    let whole: Value = serde_json::from_slice(&push.bytes).ok()?;
    let is_listed = |entry: &&Value| {
        let digest = entry["digest"].as_str();
        digest.is_some_and(|digest| listed.iter().any(|listed| listed.as_str() == digest))
    };
    let entries: Vec<&Value> = whole["manifests"].as_array()?.iter().filter(is_listed).collect();
    let media_type = &pushed.manifest.media_type;
    let index = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": entries});
    let bytes = Bytes::from(index.to_string());
    Some(Push {
        reference: Reference::Digest(Digest::sha256(&bytes)),
        query: PushQuery::default(),
        headers: typed(media_type),
        media_type: media_type.clone(),
        bytes,
        ..push.clone()
    })
}

/// The refusal of refshim's own account is no answer to the caller, who could do nothing about it.
pub(super) fn refused_beside(sibling: &Sibling, error: WriteError) -> WriteError {
    match error {
        WriteError::Refused(refusal) if sibling.is_of_account() => {
            let codes = refusal.error().map(|stated| format!(" {stated}")).unwrap_or_default();
            let message = format!(
                "the registry refuses {sibling}, which keeps links, to the account of links.credentials (HTTP {}{codes}); nothing was linked",
                refusal.status.as_u16()
            );
            WriteError::Oci(OciError::new(StatusCode::BAD_GATEWAY, Code::Unavailable, message))
        }
        error => error,
    }
}

/// The headers of a write of refshim's own, of content of this type.
fn typed(media_type: &str) -> WriteHeaders {
    let media_type = HeaderValue::try_from(media_type).ok();
    let headers = media_type.map(|media_type| (CONTENT_TYPE, media_type));
    WriteHeaders::of(headers.into_iter().collect())
}

fn not_linked(sibling: &Sibling, cause: WriteError) -> WriteError {
    cause.after_storing(|reason| {
        format!("the manifest is stored but not linked in {sibling}, so push it again: {reason}")
    })
}
