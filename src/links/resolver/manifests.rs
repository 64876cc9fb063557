//! Single manifests for callers who may read them, and learning from those that pass.

use std::sync::Arc;

use crate::cache::Key;
use crate::oci::{Digest, Manifest, Reference, RepositoryName};
use crate::upstream::{Answer, Caller, RawManifest, UpstreamError};

use super::super::access::{Access, probable};
use super::super::error::ResolveError;
use super::super::manifests::Recheck;
use super::Resolver;

impl Resolver {
    /// A manifest on the caller's behalf, envelopes opened; by digest from the cache, once the caller is known to be allowed.
    pub async fn manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
        caller: &Caller,
    ) -> Result<Answer<Arc<RawManifest>>, UpstreamError> {
        let place = self.place(repository, caller).await;
        match reference {
            Reference::Tag(tag) => self.manifests.by_tag(&place, tag, Recheck::Always).await,
            Reference::Digest(digest) => {
                match self
                    .access
                    .check(&self.upstream, &place, probable(Some(digest), None))
                    .await?
                {
                    Access::Allowed => {
                        let recheck = self.links.deep_refresh;
                        self.manifests.still_there(&place, digest, recheck).await
                    }
                    Access::Unseen => Ok(Answer::Absent),
                    Access::Refused(refusal) => Ok(Answer::Refused(refusal)),
                }
            }
        }
    }

    /// The original of the manifest `digest`, which the upstream just said a tag points at, where it is an envelope.
    pub async fn original(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        caller: &Caller,
    ) -> Result<Option<Arc<RawManifest>>, ResolveError> {
        let place = self.place(repository, caller).await;
        let Answer::Found(raw) = self.manifests.by_digest(&place, digest).await? else {
            return Ok(None);
        };
        match self.manifests.open(&place, raw).await? {
            Answer::Found(original) if original.digest != *digest => Ok(Some(original)),
            Answer::Found(_) | Answer::Absent => Ok(None),
            Answer::Refused(refusal) => Err(refusal.into()),
        }
    }

    /// The manifest `digest`, which the upstream just said it does not have, where an envelope keeps it.
    pub async fn enveloped(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        caller: &Caller,
    ) -> Result<Option<Arc<RawManifest>>, UpstreamError> {
        let place = self.place(repository, caller).await;
        match self.manifests.in_envelope(&place, digest).await? {
            Answer::Found(original) => Ok(Some(original)),
            Answer::Absent | Answer::Refused(_) => Ok(None),
        }
    }

    /// A manifest that is remembered, for a caller of whom it is known that it may read the repository. Costs the upstream
    /// nothing; one that may have been deleted meanwhile is not given.
    pub async fn remembered(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        caller: &Caller,
    ) -> Option<Arc<RawManifest>> {
        let place = self.place(repository, caller).await;
        if !self.access.is_allowed(&place) {
            return None;
        }
        let found = self
            .cache
            .get::<RawManifest>(&Key::manifest(&place.scope, &place.epoch, digest))
            .await?;
        found.within(self.links.deep_refresh).then_some(found.value)
    }

    /// Learns from a manifest that passed through, whose bytes were checked against its digest.
    pub async fn learn(&self, repository: &RepositoryName, raw: RawManifest) {
        let place = self.place(repository, &Caller::anonymous()).await;
        if let Ok(manifest) = Manifest::parse(&raw.bytes, &raw.media_type) {
            let news = self.learned.learn(&self.cache, &place.scope, &raw, &manifest).await;
            for subject in news {
                let key = Key::answer(&place.scope, &place.epoch, &subject);
                self.cache.remove(&key).await;
            }
        }
        if !self.deleted.is_noted(place.scope.clone(), &raw.digest) {
            self.lately.note(&place.scope, &place.epoch, &raw);
            self.manifests.remember(&place, raw).await;
        }
    }

    /// Whether exactly this manifest was learned from a moment ago. Then its bytes are those of its digest, too.
    pub async fn has_just_learned(&self, repository: &RepositoryName, raw: &RawManifest) -> bool {
        let scope = self.scope(repository);
        let epoch = self.cache.epoch(&scope).await;
        self.lately.knows(&scope, &epoch, raw)
    }
}
