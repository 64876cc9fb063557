//! What a manifest lists, brought from a repository into its sibling, or back: clients push blobs and listed manifests to the repository before
//! the manifest that links.
//!
//! Only what the registry gives the caller in the repository, or what a link leads to anyway, is brought: whoever may push must not read
//! something else of the sibling by listing it.

use std::collections::BTreeSet;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::oci::media_type::ManifestKind;
use crate::oci::{Code, Descriptor, Digest, Manifest, OciError, Reference, RepositoryName};
use crate::referrers::{Recency, UnknownForm};
use crate::registry::{Answer, Caller, CallersRepository, Refusal, Sibling};

use super::error::WriteError;
use super::sibling::refused_beside;
use super::{Push, Writer};

/// Blobs brought at once.
const PARALLEL: usize = 4;
/// Parts of one manifest, and how deep indexes list indexes: more is no artifact, but a way to make the proxy write without end.
const MAX_PARTS: usize = 1000;
const MAX_DEPTH: usize = 4;

impl Writer {
    /// Brings everything that `manifest` lists into the sibling.
    pub(super) async fn bring_parts(
        &self,
        repository: &RepositoryName,
        caller: &Caller,
        sibling: &Sibling,
        manifest: &Manifest,
    ) -> Result<(), WriteError> {
        self.bring_parts_within(repository, caller, sibling, manifest, MAX_DEPTH)
            .await
    }

    async fn bring_parts_within(
        &self,
        repository: &RepositoryName,
        caller: &Caller,
        sibling: &Sibling,
        manifest: &Manifest,
        depth: usize,
    ) -> Result<(), WriteError> {
        let count = manifest.parts().count();
        if count > MAX_PARTS || depth == 0 {
            let message =
                format!("a manifest that links may list {MAX_PARTS} blobs and manifests, {MAX_DEPTH} levels deep");
            return Err(WriteError::invalid(message));
        }
        let (manifests, blobs): (Vec<&Descriptor>, Vec<_>) =
            manifest.parts().partition(|part| is_manifest(part, manifest));
        let blobs: BTreeSet<Digest> = blobs.into_iter().map(|blob| blob.digest.clone()).collect();
        stream::iter(blobs)
            .map(|digest| async move { self.bring_blob(repository, caller, sibling, &digest).await })
            .buffer_unordered(PARALLEL)
            .try_collect::<()>()
            .await?;
        for listed in manifests {
            let brought = Box::pin(self.bring_manifest(repository, caller, sibling, &listed.digest, depth - 1));
            if !brought.await? {
                return Err(not_there(&listed.digest));
            }
        }
        Ok(())
    }

    /// Brings a manifest into the sibling, with all that it lists; whether the registry gives it to the caller, or a link leads to it.
    async fn bring_manifest(
        &self,
        repository: &RepositoryName,
        caller: &Caller,
        sibling: &Sibling,
        digest: &Digest,
        depth: usize,
    ) -> Result<bool, WriteError> {
        let reference = Reference::Digest(digest.clone());
        let given = self
            .upstream
            .manifest(repository, &reference, caller)
            .await?
            .or_refusal()?;
        let Some(raw) = given else {
            let as_kept = (UnknownForm::Leave, Recency::Now);
            let kept = self.resolver.linked_manifest(repository, &reference, caller, as_kept);
            let kept = kept.await.map_err(WriteError::of_reading)?;
            return Ok(kept.is_some());
        };
        let Ok(manifest) = raw.parse() else {
            return Err(WriteError::invalid(format!("{digest}, which it lists, is no manifest")));
        };
        self.bring_parts_within(repository, caller, sibling, &manifest, depth)
            .await?;
        let (bytes, media_type) = (raw.bytes.clone(), &raw.media_type);
        let put = self.upstream.links_upstream().put_manifest(
            &sibling.repository,
            &reference,
            media_type,
            bytes,
            &sibling.caller,
        );
        let reply = put.await?;
        if !reply.status.is_success() {
            return Err(refused_beside(sibling, Refusal::from(reply).into()));
        }
        Ok(true)
    }

    async fn bring_blob(
        &self,
        repository: &RepositoryName,
        caller: &Caller,
        sibling: &Sibling,
        digest: &Digest,
    ) -> Result<(), WriteError> {
        let upstream = &self.upstream;
        let here = CallersRepository {
            upstream,
            repository,
            caller,
        };
        let beside = self.beside(sibling);
        let is_linked = self.resolver.is_known_linked(repository, digest, caller).await;
        if is_linked
            && beside
                .upstream
                .seems_to_hold_blob(beside.repository, digest, beside.caller)
                .await?
        {
            return Ok(());
        }
        if upstream.seems_to_hold_blob(repository, digest, caller).await? {
            return match beside.copy_blob(digest, here).await? {
                Answer::Found(()) => Ok(()),
                Answer::Refused(refusal) => Err(refused_beside(sibling, refusal.into())),
                Answer::Absent => Err(no_sibling(sibling)),
            };
        }
        let kept = self
            .resolver
            .linked_blob(repository, digest, caller, UnknownForm::Search)
            .await;
        match kept.map_err(WriteError::of_reading)? {
            Some(_) => Ok(()),
            None => Err(not_there(digest)),
        }
    }

    fn beside<'a>(&'a self, sibling: &'a Sibling) -> CallersRepository<'a> {
        CallersRepository {
            upstream: self.upstream.links_upstream(),
            repository: &sibling.repository,
            caller: &sibling.caller,
        }
    }

    /// Brings into the repository what `manifest` lists and only the sibling has: callers were told that it is there.
    pub(super) async fn complete_image(&self, push: &Push, manifest: &Manifest) -> Result<(), WriteError> {
        let (repository, caller) = (&push.repository, &push.caller);
        for part in manifest
            .parts()
            .filter(|part| !is_manifest(part, manifest))
            .take(MAX_PARTS)
        {
            let digest = &part.digest;
            let kept = self
                .resolver
                .linked_blob(repository, digest, caller, UnknownForm::Leave)
                .await;
            let Some(sibling) = kept.map_err(WriteError::of_reading)? else {
                continue;
            };
            if self.upstream.seems_to_hold_blob(repository, digest, caller).await? {
                continue;
            }
            let here = CallersRepository {
                upstream: &self.upstream,
                repository,
                caller,
            };
            match here.copy_blob(digest, self.beside(&sibling)).await? {
                Answer::Found(()) | Answer::Absent => {}
                Answer::Refused(refusal) => return Err(WriteError::from(refusal).untouched()),
            }
        }
        Ok(())
    }
}

/// Whether a part is listed as a manifest: every entry of an index is one, and of a node those whose type says so.
fn is_manifest(part: &Descriptor, manifest: &Manifest) -> bool {
    match manifest.kind {
        ManifestKind::Index => true,
        ManifestKind::Node => ManifestKind::of(&part.media_type).is_some(),
        ManifestKind::Image | ManifestKind::Artifact | ManifestKind::OrasArtifact => false,
    }
}

fn not_there(digest: &Digest) -> WriteError {
    let message = format!("the repository does not hold {digest}, which the manifest lists; push that first");
    WriteError::Oci(OciError::bad_request(Code::ManifestBlobUnknown, message))
}

fn no_sibling(sibling: &Sibling) -> WriteError {
    let message = format!(
        "the registry has no repository {sibling}, which is to keep links, and does not make it with the first push: create it"
    );
    WriteError::Oci(OciError::new(http::StatusCode::BAD_GATEWAY, Code::Unavailable, message))
}
