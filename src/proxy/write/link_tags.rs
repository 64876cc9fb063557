//! Durable links: the same bytes under `<alg>-<ref>.<hash>.<type>`, once per subject.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::oci::{Digest, LinkTarget, Manifest, Reference, RepositoryName, Tag, reference_type, tag_scheme};
use crate::registry::{Answer, Caller, Refusal, RegistryResponse, UpstreamError};

use super::Writer;
use super::error::WriteError;

/// Link tags written at once.
const PARALLEL: usize = 8;
/// Subjects of one manifest: more is no image and no artifact, but a way to make the proxy write without end.
const MAX_SUBJECTS: usize = 1000;

/// What is put under link tags.
pub(super) struct LinkedManifest<'a> {
    pub repository: &'a RepositoryName,
    pub media_type: &'a str,
    pub bytes: &'a Bytes,
    /// The digest of `bytes`.
    pub digest: &'a Digest,
    pub caller: &'a Caller,
}

/// The link tags of `manifest`, whose digest is `own`: one for each subject that anything in it names.
pub(super) fn link_tags(manifest: &Manifest, own: &Digest) -> Result<BTreeSet<Tag>, WriteError> {
    let subjects: BTreeSet<Digest> = manifest.links(own).into_iter().map(|link| link.subject).collect();
    if subjects.len() > MAX_SUBJECTS {
        let message = format!(
            "the manifest names {} subjects, {MAX_SUBJECTS} are allowed",
            subjects.len()
        );
        return Err(WriteError::invalid(message));
    }
    let kind = reference_type::reference_type_of(manifest);
    Ok(subjects
        .iter()
        .filter_map(|subject| tag_scheme::proposal_d_tag(subject, own, &kind))
        .collect())
}

/// What the manifest itself says that it refers to: the value of `OCI-Subject`.
pub(super) fn stated_subject(manifest: &Manifest, own: &Digest) -> Option<Digest> {
    let stated = manifest.links(own).into_iter();
    stated
        .filter(|link| link.target == LinkTarget::This)
        .map(|link| link.subject)
        .next()
}

impl Writer {
    /// Writes every tag, or says which could not be written.
    pub(super) async fn write_link_tags(
        &self,
        linked: &LinkedManifest<'_>,
        tags: BTreeSet<Tag>,
    ) -> Result<(), WriteError> {
        stream::iter(tags)
            .map(|tag| async move {
                let written = self.put_tag(linked, &tag).await;
                written.map_err(|cause| WriteError::not_linked("link tag", &tag, cause))
            })
            .buffer_unordered(PARALLEL)
            .try_collect()
            .await
    }

    /// Puts the bytes under `tag`. A refusal counts as success where the tag already has the identical content: locked tags
    /// are refused even then.
    pub(super) async fn put_tag(&self, linked: &LinkedManifest<'_>, tag: &Tag) -> Result<(), WriteError> {
        let reference = Reference::Tag(tag.clone());
        let reply = self
            .upstream
            .put_manifest(
                linked.repository,
                &reference,
                linked.media_type,
                linked.bytes.clone(),
                linked.caller,
            )
            .await?;
        let is_success = reply.status.is_success();
        let is_written = match is_success {
            true => reply.states_written(linked.digest) || self.holds(linked, &reference).await?,
            false => self.is_already(linked, &reference, &reply).await?,
        };
        if is_written {
            self.resolver
                .tag_written(linked.repository, tag, Some(linked.digest))
                .await;
            return Ok(());
        }
        Err(match is_success {
            true => UpstreamError::Invalid(format!(
                "HTTP {} to a push of a tag, which does not hold it",
                reply.status
            ))
            .into(),
            false => Refusal::from(reply).into(),
        })
    }

    /// Whether a refused reference already resolves to the identical content.
    pub(super) async fn is_already(
        &self,
        linked: &LinkedManifest<'_>,
        reference: &Reference,
        refused: &RegistryResponse,
    ) -> Result<bool, UpstreamError> {
        // 400 TAG_INVALID is ECR's; others say 409 or 412.
        if !matches!(refused.status.as_u16(), 400 | 403 | 409 | 412) {
            return Ok(false);
        }
        self.holds(linked, reference).await
    }

    async fn holds(&self, linked: &LinkedManifest<'_>, reference: &Reference) -> Result<bool, UpstreamError> {
        let head = self
            .upstream
            .head_manifest(linked.repository, reference, linked.caller)
            .await?;
        Ok(matches!(head, Answer::Found(found) if found.digest == *linked.digest))
    }
}
