//! What is a blob and no manifest, for registries that fail (500) where they are asked for a blob as if it were a manifest.

use crate::oci::{Digest, Manifest};
use crate::registry::{Answer, UpstreamError};

use super::context::RepositoryContext;
use super::manifest_store::{ManifestResult, ManifestStore};

impl ManifestStore {
    /// `failure` is what the upstream answered when it was asked for the manifest `digest`. Where it holds these bytes as a blob
    /// and they are no manifest, they never will be, whatever it answers next: then that is the answer. Whoever may push can
    /// list a blob as if it were a manifest, and that must not fail the lists of others.
    pub async fn unless_blob(
        &self,
        context: &RepositoryContext,
        digest: &Digest,
        failure: UpstreamError,
    ) -> ManifestResult {
        let blob = self
            .upstream
            .blob(&context.repository, digest, self.limit, &context.caller);
        match blob.await {
            Ok(Answer::Found(bytes)) if Manifest::parse(&bytes, "").is_err() => {
                Err(UpstreamError::Content(format!("{digest} is a blob, no manifest")))
            }
            // Larger than any manifest that is read, or other bytes than its digest promises.
            Err(UpstreamError::Content(reason)) => Err(UpstreamError::Content(format!("{digest}: {reason}"))),
            Err(unfinished @ UpstreamError::Unfinished { .. }) => Err(unfinished),
            _ => Err(failure),
        }
    }
}
