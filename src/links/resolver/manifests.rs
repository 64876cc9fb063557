//! Single manifests for callers who may read them, and learning from those that pass.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use crate::cache::Key;
use crate::oci::{Digest, Manifest, Reference, RepositoryName, Tag};
use crate::upstream::{Answer, Caller, RawManifest, UpstreamError};

use super::super::error::ResolveError;
use super::super::manifests::Recheck;
use super::super::place::Place;
use super::super::remembered::{Given, Known, ServedHeaders};
use super::Resolver;

impl Resolver {
    /// A manifest on the caller's behalf, envelopes opened. By digest, from memory where the registry gave it a moment ago and the
    /// caller may read; otherwise the registry is asked, by this caller.
    pub async fn manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
        caller: &Caller,
    ) -> Result<Answer<Arc<RawManifest>>, UpstreamError> {
        let place = self.place(repository, caller).await;
        let digest = match reference {
            Reference::Tag(tag) => return self.manifests.by_tag(&place, tag, Recheck::Always).await,
            Reference::Digest(digest) => digest,
        };
        let recheck = match self.access.is_allowed(&place) {
            true => self.freshness.fresh_for,
            false => Duration::ZERO,
        };
        match self.manifests.still_there(&place, digest, recheck).await {
            Err(error) if error.is_outage() => match self.known_manifest(repository, digest, caller).await {
                Some(known) => {
                    tracing::warn!(upstream = self.upstream.name(), %error, age = ?known.age, "answered from stale state");
                    Ok(Answer::Found(known.content))
                }
                None => Err(error),
            },
            Ok(Answer::Refused(refusal)) => {
                self.withheld(repository, digest, caller).await;
                if matches!(refusal.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
                    self.access.forget(&place);
                }
                Ok(Answer::Refused(refusal))
            }
            other => other,
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

    /// The original behind the tag, where that is an envelope. For registries whose answer does not name a digest.
    pub async fn original_of_tag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        caller: &Caller,
    ) -> Result<Option<Arc<RawManifest>>, ResolveError> {
        let reference = Reference::Tag(tag.clone());
        match self.upstream.manifest(repository, &reference, caller).await? {
            Answer::Found(raw) => self.original(repository, &raw.digest, caller).await,
            Answer::Absent => Ok(None),
            Answer::Refused(refusal) => Err(refusal.into()),
        }
    }

    /// What is remembered of a manifest, for a caller of whom it is known that it may read the repository. Costs the upstream
    /// nothing. What is not current may be given only when the upstream does not answer, or says that it is the same still.
    pub async fn known_manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        caller: &Caller,
    ) -> Option<Known<Arc<RawManifest>>> {
        let place = self.place(repository, caller).await;
        let is_allowed = self.access.is_allowed(&place);
        if !is_allowed && !self.access.anyone_was_allowed(&place, self.freshness.stale_if_error) {
            return None;
        }
        let found = self.manifests.find(&place, digest).await?;
        if found.age >= self.freshness.stale_if_error.max(self.freshness.fresh_for) {
            return None;
        }
        let (known, fresh_for) = (&found.value, self.freshness.fresh_for);
        let is_given = known.was_given_within(fresh_for, self.cache.now());
        Some(Known {
            content: known.manifest.clone(),
            headers: known.headers.clone(),
            age: found.age,
            is_current: is_allowed && found.vouched && is_given,
            is_sealed: known.is_sealed,
        })
    }

    /// The upstream just said to this caller, by a HEAD or a condition, that this very digest is there.
    pub async fn confirm_manifest(&self, repository: &RepositoryName, digest: &Digest, caller: &Caller) {
        let place = self.place(repository, caller).await;
        if let Some(found) = self.manifests.find(&place, digest).await.filter(|found| found.vouched) {
            self.manifests.confirm(&place, digest, found.value).await;
        }
    }

    /// The upstream just did not give this digest to the caller: it is gone, or withheld. A caller who is not known to may read
    /// takes nothing from those who do.
    pub async fn withheld(&self, repository: &RepositoryName, digest: &Digest, caller: &Caller) {
        let place = self.place(repository, caller).await;
        if self.access.is_allowed(&place) {
            self.lately.forget(&place.scope, digest);
            self.manifests.forget(&place, digest).await;
        }
    }

    /// Learns from a manifest that the upstream just took, whose bytes were checked against its digest.
    pub async fn learn(&self, repository: &RepositoryName, raw: RawManifest) {
        self.learn_given(repository, raw, Given::ByDigest, None).await;
    }

    /// Learns from a manifest that passed through, whose bytes were checked against its digest.
    pub async fn learn_given(
        &self,
        repository: &RepositoryName,
        raw: RawManifest,
        given: Given,
        headers: Option<ServedHeaders>,
    ) {
        let place = self.place(repository, &Caller::anonymous()).await;
        let is_news = !self.lately.knows(&place.scope, &place.epoch, &raw);
        if is_news {
            self.learn_links(&place, &raw).await;
        }
        // Of one that many pull by a tag at once, nothing new is to be remembered.
        if (is_news || given != Given::ByTag) && !self.deleted.is_noted(place.scope.clone(), &raw.digest) {
            self.lately.note(&place.scope, &place.epoch, &raw);
            self.manifests.put(&place, raw, given, headers).await;
        }
    }

    async fn learn_links(&self, place: &Place, raw: &RawManifest) {
        let Ok(manifest) = Manifest::parse(&raw.bytes, &raw.media_type) else {
            return;
        };
        let news = self.learned.learn(&self.cache, &place.scope, raw, &manifest).await;
        for subject in news {
            let key = Key::answer(&place.scope, &place.epoch, &subject);
            self.cache.remove(&key).await;
        }
    }

    /// Whether exactly this manifest was learned from a moment ago. Then its bytes are those of its digest, too.
    pub async fn has_just_learned(&self, repository: &RepositoryName, raw: &RawManifest) -> bool {
        let scope = self.scope(repository);
        let epoch = self.cache.epoch(&scope).await;
        self.lately.knows(&scope, &epoch, raw)
    }
}
