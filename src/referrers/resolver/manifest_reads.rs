//! Single manifests for callers who may read them, and learning from those that pass.

use std::sync::Arc;
use std::time::Duration;

use crate::cache::Key;
use crate::oci::{Digest, Manifest, Reference, RepositoryName, Tag};
use crate::registry::{Answer, Caller, RawManifest, UpstreamError};

use super::{Recency, Resolver};
use crate::referrers::context::RepositoryContext;
use crate::referrers::error::ResolveError;
use crate::referrers::remembered::{Given, Known, ServedHeaders};
use crate::referrers::tag_reads::Recheck;

impl Resolver {
    /// A manifest on the caller's behalf, envelopes opened. By digest, from memory where the registry gave it a moment ago and the
    /// caller may read; otherwise the registry is asked, by this caller.
    pub async fn manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
        caller: &Caller,
    ) -> Result<Answer<Arc<RawManifest>>, UpstreamError> {
        let context = self.context(repository, caller).await;
        let digest = match reference {
            Reference::Tag(tag) => return self.inner.stores.manifests.by_tag(&context, tag, Recheck::Always).await,
            Reference::Digest(digest) => digest,
        };
        let recheck = match self.inner.access.is_allowed(&context) {
            true => self.inner.freshness.fresh_for,
            false => Duration::ZERO,
        };
        if let Some(form) = self.known_form(&context, digest).await
            && let Ok(Answer::Found(made)) = Box::pin(self.make(&context, digest, &form, Recency::Fresh)).await
        {
            return Ok(Answer::Found(made));
        }
        match self.inner.stores.manifests.still_there(&context, digest, recheck).await {
            Err(error) if error.is_outage() => match self.known_manifest(repository, digest, caller).await {
                Some(known) => {
                    tracing::warn!(upstream = self.inner.upstream.name(), %error, age = ?known.age, "answered from stale state");
                    Ok(Answer::Found(known.content))
                }
                None => Err(error),
            },
            Ok(Answer::Refused(refusal)) => {
                self.withheld(repository, digest, caller).await;
                if refusal.is_about_access() {
                    self.inner.access.forget(&context);
                }
                Ok(Answer::Refused(refusal))
            }
            other => other,
        }
    }

    /// What a tag points at as the registry keeps it: of an envelope, the envelope. Remembered as what stands behind tags is.
    pub async fn stored(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        caller: &Caller,
    ) -> Result<Answer<Arc<RawManifest>>, UpstreamError> {
        let context = self.context(repository, caller).await;
        let stores = &self.inner.stores;
        let (manifests, recheck) = (&stores.manifests, Recheck::After(stores.config.deep_refresh));
        let read = async {
            let opened = manifests.by_tag(&context, tag, recheck).await?.found()?;
            match manifests.last_target(&context, tag).await {
                Some(digest) if digest != opened.digest => manifests.by_digest(&context, &digest).await?.found(),
                _ => Ok(opened),
            }
        };
        Answer::of(read.await)
    }

    /// The original of the manifest `digest`, which the upstream just said a tag points at, where it is an envelope.
    pub async fn original(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        caller: &Caller,
    ) -> Result<Option<Arc<RawManifest>>, ResolveError> {
        let context = self.context(repository, caller).await;
        let Answer::Found((raw, given)) = self.inner.stores.manifests.dated_by_digest(&context, digest).await? else {
            return Ok(None);
        };
        self.opened(&context, raw, given).await
    }

    /// The same for a HEAD of a tag, which the registry answered: that answer stands where the manifest cannot be read. Where
    /// reading counts as a pull, it is not read for a HEAD; only what is remembered tells then.
    pub async fn original_for_head(
        &self,
        repository: &RepositoryName,
        (tag, digest): (&Tag, Option<&Digest>),
        caller: &Caller,
    ) -> Result<Option<Arc<RawManifest>>, ResolveError> {
        let context = self.context(repository, caller).await;
        let raw = match (digest, self.inner.upstream.counts_pulls() == Some(true)) {
            (Some(digest), true) => self.inner.stores.manifests.find(&context, digest).await.map(|found| {
                let given = found.value.given;
                Ok(Answer::Found((found.value.manifest.clone(), given)))
            }),
            (None, true) => None,
            (Some(digest), false) => Some(self.inner.stores.manifests.dated_by_digest(&context, digest).await),
            (None, false) => {
                let reference = Reference::Tag(tag.clone());
                let asked = self.inner.upstream.manifest(repository, &reference, caller).await;
                Some(asked.and_then(|answer| answer.try_map(|raw| Ok((Arc::new(raw), Some(self.inner.cache.now()))))))
            }
        };
        match raw {
            Some(Ok(Answer::Found((raw, given)))) => self.opened(&context, raw, given).await,
            Some(Ok(Answer::Absent | Answer::Refused(_))) | None => Ok(None),
            Some(Err(error)) => {
                tracing::debug!(upstream = self.inner.upstream.name(), %tag, %error, "not read behind a HEAD");
                Ok(None)
            }
        }
    }

    /// The original, where `raw` is an envelope, which the registry gave at the time `given`.
    async fn opened(
        &self,
        context: &RepositoryContext,
        raw: Arc<RawManifest>,
        given: Option<Duration>,
    ) -> Result<Option<Arc<RawManifest>>, ResolveError> {
        let envelope = raw.digest.clone();
        let original = self
            .inner
            .stores
            .manifests
            .open(context, raw, given)
            .await?
            .or_refusal()?;
        Ok(original.filter(|original| original.digest != envelope))
    }

    /// The manifest `digest`, which the upstream just said it does not have, where an envelope keeps it.
    pub async fn enveloped(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        caller: &Caller,
    ) -> Result<Option<Arc<RawManifest>>, UpstreamError> {
        let context = self.context(repository, caller).await;
        match self.inner.stores.manifests.in_envelope(&context, digest).await? {
            Answer::Found(original) => Ok(Some(original)),
            Answer::Absent | Answer::Refused(_) => Ok(None),
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
        let context = self.context(repository, caller).await;
        match self.known_as_such(&context, digest).await {
            None => Box::pin(self.known_adopted(&context, digest)).await,
            known => known,
        }
    }

    /// The same of what the registry itself keeps under this digest, or in an envelope.
    pub(super) async fn known_as_such(
        &self,
        context: &RepositoryContext,
        digest: &Digest,
    ) -> Option<Known<Arc<RawManifest>>> {
        let is_allowed = self.inner.access.is_allowed(context);
        if !self.may_be_given_stale(context) {
            return None;
        }
        let found = self.inner.stores.manifests.find(context, digest).await?;
        if found.age >= self.inner.freshness.stale_if_error.max(self.inner.freshness.fresh_for) {
            return None;
        }
        let (known, fresh_for) = (&found.value, self.inner.freshness.fresh_for);
        let is_given = known.was_given_within(fresh_for, self.inner.cache.now());
        Some(Known {
            content: known.manifest.clone(),
            headers: known.headers.clone(),
            age: found.age,
            is_current: is_allowed && found.verified && is_given,
            is_kept_elsewhere: known.is_sealed,
        })
    }

    /// The upstream just said to this caller, by a HEAD or a condition, that this very digest is there.
    pub async fn confirm_manifest(&self, repository: &RepositoryName, digest: &Digest, caller: &Caller) {
        let context = self.context(repository, caller).await;
        if let Some(found) = self
            .inner
            .stores
            .manifests
            .find(&context, digest)
            .await
            .filter(|found| found.verified)
        {
            self.inner.stores.manifests.confirm(&context, digest, found.value).await;
        }
    }

    /// Whether what is remembered may be given to this caller at least while the upstream fails.
    pub(super) fn may_be_given_stale(&self, context: &RepositoryContext) -> bool {
        self.inner.access.is_allowed(context)
            || self
                .inner
                .access
                .anyone_was_allowed(context, self.inner.freshness.stale_if_error)
    }

    /// The upstream just did not give this digest to the caller: it is gone, or withheld. Whoever may still be given it, if only during
    /// an outage, ends what is known of it; everybody else takes nothing from those who read.
    pub async fn withheld(&self, repository: &RepositoryName, digest: &Digest, caller: &Caller) {
        let context = self.context(repository, caller).await;
        if self.may_be_given_stale(&context) {
            self.inner.recently_parsed.forget(&context.repository_key, digest);
            self.inner.stores.manifests.forget(&context, digest).await;
        }
    }

    /// Learns from a manifest that the upstream just took, whose bytes were checked against its digest; `manifest` is what they say.
    pub async fn learn(&self, repository: &RepositoryName, raw: RawManifest, manifest: &Manifest) {
        let context = self.context(repository, &Caller::anonymous()).await;
        if self.is_news(&context, &raw) {
            self.learn_links(&context, &raw, manifest).await;
        }
        self.keep(&context, raw, Given::ByDigest, None).await;
    }

    /// Learns from a manifest that passed through, and returns whether its bytes are those of its digest: from others nothing is
    /// learned. `headers` are those that came with it.
    pub async fn learn_given(
        &self,
        repository: &RepositoryName,
        raw: RawManifest,
        given: Given,
        headers: impl FnOnce() -> ServedHeaders,
    ) -> bool {
        let context = self.context(repository, &Caller::anonymous()).await;
        // Exactly what was learned from a moment ago was checked then.
        let is_news = self.is_news(&context, &raw);
        if is_news && !raw.is_what_its_digest_says() {
            return false;
        }
        // Of one that many pull by a tag at once, nothing new is to be remembered.
        if is_news || given != Given::ByTag {
            let headers = Some(headers());
            // Rare, and large: see `proxy::pipeline::dispatch`.
            Box::pin(async {
                if is_news && let Ok(manifest) = raw.parse_of_any_kind() {
                    self.learn_links(&context, &raw, &manifest).await;
                }
                self.keep(&context, raw, given, headers).await;
            })
            .await;
        }
        true
    }

    fn is_news(&self, context: &RepositoryContext, raw: &RawManifest) -> bool {
        let parsed = &self.inner.recently_parsed;
        !parsed.knows(&context.repository_key, &context.epoch, raw)
    }

    async fn learn_links(&self, context: &RepositoryContext, raw: &RawManifest, manifest: &Manifest) {
        let news = self
            .inner
            .observed
            .learn(&self.inner.cache, &context.repository_key, raw, manifest)
            .await;
        for subject in news {
            let key = Key::answer(&context.repository_key, &context.epoch, &subject);
            self.inner.cache.remove(&key).await;
        }
    }

    /// Remembers a manifest that was learned from, unless it was deleted since.
    async fn keep(&self, context: &RepositoryContext, raw: RawManifest, given: Given, headers: Option<ServedHeaders>) {
        if !self
            .inner
            .tombstones
            .is_noted(context.repository_key.clone(), &raw.digest)
        {
            self.inner
                .recently_parsed
                .note(&context.repository_key, &context.epoch, &raw);
            self.inner.stores.manifests.put(context, raw, given, headers).await;
        }
    }
}
