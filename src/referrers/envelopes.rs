//! Manifests that a registry refused to store as such, and that an envelope keeps: an image manifest with the original as a blob.

use std::sync::Arc;
use std::time::Duration;

use crate::oci::{Digest, Manifest, Reference, envelope, tag_scheme};
use crate::registry::{Answer, RawManifest};

use super::context::RepositoryContext;
use super::manifest_store::{ManifestResult, ManifestStore};
use super::remembered::Given;

impl ManifestStore {
    /// What was in an envelope when it was last asked for; it may be stored as such by now.
    pub async fn in_envelope_still(&self, context: &RepositoryContext, digest: &Digest) -> ManifestResult {
        match self.in_envelope(context, digest).await? {
            Answer::Absent => {
                self.forget(context, digest).await;
                self.ask_by_digest(context, digest).await
            }
            other => Ok(other),
        }
    }

    /// The original when `raw` is an envelope, else `raw`. `given`: when the registry gave `raw`, and with it what it holds.
    pub async fn open(
        &self,
        context: &RepositoryContext,
        raw: Arc<RawManifest>,
        given: Option<Duration>,
    ) -> ManifestResult {
        let parsed = Manifest::parse(&raw.bytes, &raw.media_type).ok();
        let Some(original) = parsed.as_ref().and_then(envelope::open) else {
            return Ok(Answer::Found(raw));
        };
        if let Some(found) = self.find(context, &original.digest).await {
            if given > found.value.given {
                self.confirm_as_of(context, &original.digest, found.value.clone(), given)
                    .await;
            }
            return Ok(Answer::Found(found.value.manifest.clone()));
        }
        let blob = self
            .upstream
            .blob(&context.repository, &original.digest, self.limit, &context.caller);
        Ok(match blob.await? {
            Answer::Found(bytes) => {
                let raw = RawManifest {
                    digest: original.digest,
                    media_type: original.media_type,
                    bytes,
                };
                // A blob proves no right to read: the manifest that seals it did, where the registry just gave that.
                Answer::Found(self.put(context, raw, Given::Sealed(given), None).await)
            }
            Answer::Absent => Answer::Absent,
            Answer::Refused(refusal) => Answer::Refused(refusal),
        })
    }

    /// The manifest that the upstream refused to store as such, by the tag that its envelope always has.
    pub async fn in_envelope(&self, context: &RepositoryContext, digest: &Digest) -> ManifestResult {
        let Some(tag) = tag_scheme::envelope_tag(digest) else {
            return Ok(Answer::Absent);
        };
        let reference = Reference::Tag(tag);
        match self
            .upstream
            .manifest(&context.repository, &reference, &context.caller)
            .await?
        {
            Answer::Found(raw) => {
                self.access.allow(context);
                match self.open(context, Arc::new(raw), Some(self.cache.now())).await? {
                    Answer::Found(original) if original.digest != *digest => Ok(Answer::Absent),
                    opened => Ok(opened),
                }
            }
            Answer::Absent => Ok(Answer::Absent),
            Answer::Refused(refusal) => Ok(Answer::Refused(refusal)),
        }
    }
}
