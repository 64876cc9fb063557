//! Manifests that a registry refused to store as such, and that an envelope keeps: an image manifest with the original as a blob.

use std::sync::Arc;
use std::time::Duration;

use crate::oci::{Digest, Reference, tag_scheme};
use crate::registry::{Answer, RawManifest, Stop};

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
        let Some(original) = raw.enveloped() else {
            return Ok(Answer::Found(raw));
        };
        if let Some(found) = self.find(context, &original.digest).await {
            if given > found.value.given {
                self.confirm_as_of(context, &original.digest, found.value.clone(), given)
                    .await;
            }
            return Ok(Answer::Found(found.value.manifest.clone()));
        }
        let read = async {
            let blob = self
                .upstream
                .blob(&context.repository, &original.digest, self.limit, &context.caller);
            let raw = RawManifest {
                bytes: blob.await?.found()?,
                digest: original.digest,
                media_type: original.media_type,
            };
            // A blob proves no right to read: the manifest that seals it did, where the registry just gave that.
            Ok(self.put(context, raw, Given::Sealed(given), None).await)
        };
        Answer::of(read.await)
    }

    /// The manifest that the upstream refused to store as such, by the tag that its envelope always has.
    pub async fn in_envelope(&self, context: &RepositoryContext, digest: &Digest) -> ManifestResult {
        let read = async {
            let reference = Reference::Tag(tag_scheme::envelope_tag(digest).ok_or(Stop::Absent)?);
            let asked = self.upstream.manifest(&context.repository, &reference, &context.caller);
            let raw = asked.await?.found()?;
            self.access.allow(context);
            let opened = self.open(context, Arc::new(raw), Some(self.cache.now())).await?;
            opened.found().and_then(|original| match original.digest == *digest {
                true => Ok(original),
                false => Err(Stop::Absent),
            })
        };
        Answer::of(read.await)
    }
}
