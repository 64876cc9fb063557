//! Manifests through the cache: each digest is fetched once, each tag asked only when it may have moved.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::cache::{Cache, Cached, Key, from_json, to_json};
use crate::oci::weight::shared_text;
use crate::oci::{Digest, Manifest, Reference, Tag, envelope, tag_scheme};
use crate::registry::{Answer, HeadOutcome, RawManifest, Upstream, UpstreamError};

use super::access::AccessList;
use super::context::RepositoryContext;
use super::counts::ResolveCounts;
use super::error::ResolveError;
use super::remembered::Given;

pub(super) type ManifestResult = Result<Answer<Arc<RawManifest>>, UpstreamError>;

/// What a tag pointed at when it was last asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct TagRecord {
    digest: Digest,
    /// The digest of the original when the tag points at an envelope, else the same.
    own: Digest,
}

impl Cached for TagRecord {
    fn weight(&self) -> usize {
        size_of::<Self>() + shared_text(self.digest.as_str()) + shared_text(self.own.as_str())
    }

    fn encode(&self) -> Option<Vec<u8>> {
        to_json(self)
    }

    fn decode(_: &str, bytes: Bytes) -> Option<Self> {
        from_json(&bytes)
    }
}

/// When a tag that is known must be asked again.
#[derive(Clone, Copy, Debug)]
pub(super) enum Recheck<'a> {
    /// Every time: anyone may move it.
    Always,
    /// When it was last asked longer ago than this.
    After(Duration),
    /// Never, once its manifest's digest begins with this hash: the tag is immutable (Proposal D).
    UnlessHash(&'a str),
}

/// Reads manifests for scans.
#[derive(Clone)]
pub(super) struct ManifestStore {
    pub upstream: Arc<Upstream>,
    pub cache: Arc<Cache>,
    /// A manifest that the upstream gives proves its caller's right to read.
    pub access: Arc<AccessList>,
    pub counts: ResolveCounts,
    /// Largest original in an envelope, in bytes.
    pub limit: usize,
}

impl ManifestStore {
    /// Lets a scan go on without one thing whose content is broken; every other failure fails the scan.
    pub fn skip(&self, error: UpstreamError, what: &str) -> Result<(), ResolveError> {
        match error {
            UpstreamError::Content(reason) => {
                tracing::warn!(what, reason, "content that cannot be believed; skipped");
                self.counts.skipped_manifests.inc();
                Ok(())
            }
            other => Err(other.into()),
        }
    }

    /// What was read; `None` for what is absent, and for what is skipped.
    pub fn unless_skipped<T>(
        &self,
        read: Result<Answer<T>, UpstreamError>,
        what: &str,
    ) -> Result<Option<T>, ResolveError> {
        match read {
            Ok(answer) => Ok(answer.or_refusal()?),
            Err(error) => self.skip(error, what).map(|()| None),
        }
    }

    /// Says that `what` lists something that is no descriptor, which is left out.
    pub fn skip_entries(&self, manifest: &Manifest, what: &str) {
        if manifest.odd_entries > 0 {
            let entries = manifest.odd_entries;
            tracing::warn!(what, entries, "an index lists entries that name no digest; skipped");
            self.counts.skipped_manifests.inc_by(entries as u64);
        }
    }

    /// Says that not all that stands behind a tag was read: whoever looks for a link there must see why it is not listed.
    pub fn cut_short(&self, tag: &Tag, reason: &str) {
        tracing::warn!(%tag, reason, "depth cut: not all that stands behind this ordinary tag was read");
        self.counts.depth_cuts.inc();
    }

    /// The manifest with this digest; remembered ones cost nothing.
    pub async fn by_digest(&self, context: &RepositoryContext, digest: &Digest) -> ManifestResult {
        let dated = self.dated_by_digest(context, digest).await?;
        dated.try_map(|(manifest, _)| Ok(manifest))
    }

    /// The same, and when the registry gave it by its digest.
    pub async fn dated_by_digest(
        &self,
        context: &RepositoryContext,
        digest: &Digest,
    ) -> Result<Answer<(Arc<RawManifest>, Option<Duration>)>, UpstreamError> {
        match self.find(context, digest).await {
            Some(found) => Ok(Answer::Found((found.value.manifest.clone(), found.value.given))),
            None => {
                let asked = self.ask_by_digest(context, digest).await?;
                asked.try_map(|manifest| Ok((manifest, Some(self.cache.now()))))
            }
        }
    }

    /// The same for a manifest that no tag was just seen to point at: a remembered one is asked for again when the upstream gave
    /// it by its digest longer than `recheck` ago, because it may have been deleted, or withheld.
    pub async fn still_there(&self, context: &RepositoryContext, digest: &Digest, recheck: Duration) -> ManifestResult {
        let Some(found) = self.find(context, digest).await else {
            return self.ask_by_digest(context, digest).await;
        };
        if found.verified && found.value.was_given_within(recheck, self.cache.now()) {
            return Ok(Answer::Found(found.value.manifest.clone()));
        }
        if found.value.is_sealed {
            return self.in_envelope_still(context, digest).await;
        }
        let reference = Reference::Digest(digest.clone());
        let head = self
            .upstream
            .head_only(&context.repository, &reference, &context.caller)
            .await?;
        match head {
            HeadOutcome::Found(_) => {
                self.access.allow(context);
                self.confirm(context, digest, found.value.clone()).await;
                Ok(Answer::Found(found.value.manifest.clone()))
            }
            // Neither says so in words: a GET does, and knows of envelopes.
            HeadOutcome::NotFound | HeadOutcome::Unclear => {
                let answer = self.ask_by_digest(context, digest).await;
                if matches!(answer, Ok(Answer::Absent)) {
                    self.forget(context, digest).await;
                }
                answer
            }
        }
    }

    async fn ask_by_digest(&self, context: &RepositoryContext, digest: &Digest) -> ManifestResult {
        let reference = Reference::Digest(digest.clone());
        match self
            .upstream
            .manifest(&context.repository, &reference, &context.caller)
            .await
        {
            Ok(Answer::Found(raw)) => Ok(Answer::Found(self.remember(context, raw, Given::ByDigest).await)),
            Ok(Answer::Absent) => self.in_envelope(context, digest).await,
            Ok(Answer::Refused(refusal)) => Ok(Answer::Refused(refusal)),
            // Distribution 2.8 finds the blob in the envelope and fails to read it as a manifest.
            Err(error @ UpstreamError::Failed(StatusCode::INTERNAL_SERVER_ERROR)) => {
                match self.in_envelope(context, digest).await {
                    Ok(Answer::Found(original)) => Ok(Answer::Found(original)),
                    _ => self.unless_blob(context, digest, error).await,
                }
            }
            Err(error) => Err(error),
        }
    }

    /// What was in an envelope when it was last asked for; it may be stored as such by now.
    async fn in_envelope_still(&self, context: &RepositoryContext, digest: &Digest) -> ManifestResult {
        match self.in_envelope(context, digest).await? {
            Answer::Absent => {
                self.forget(context, digest).await;
                self.ask_by_digest(context, digest).await
            }
            other => Ok(other),
        }
    }

    /// What the tag points at, envelopes opened. A tag that was never asked costs one GET, a known one at most a HEAD.
    pub async fn by_tag(&self, context: &RepositoryContext, tag: &Tag, recheck: Recheck<'_>) -> ManifestResult {
        if let Some(digest) = self.known_target(context, tag, recheck).await? {
            match self.dated_by_digest(context, &digest).await? {
                Answer::Found((raw, given)) => return self.open(context, raw, given).await,
                Answer::Refused(refusal) => return Ok(Answer::Refused(refusal)),
                // Moved meanwhile: the tag itself says where to.
                Answer::Absent => {}
            }
        }
        self.by_tag_anew(context, tag).await
    }

    /// What the tag points at now, envelopes opened, whatever it pointed at before.
    pub async fn by_tag_anew(&self, context: &RepositoryContext, tag: &Tag) -> ManifestResult {
        let reference = Reference::Tag(tag.clone());
        let raw = match self
            .upstream
            .manifest(&context.repository, &reference, &context.caller)
            .await?
        {
            Answer::Found(raw) => self.remember(context, raw, Given::ByTag).await,
            Answer::Absent => {
                self.forget_tag(context, tag).await;
                return Ok(Answer::Absent);
            }
            Answer::Refused(refusal) => return Ok(Answer::Refused(refusal)),
        };
        let digest = raw.digest.clone();
        let opened = self.open(context, raw, Some(self.cache.now())).await?;
        // A digest that cannot be computed is the registry's word alone: it is asked for again.
        if let Answer::Found(original) = &opened
            && digest.is_computable()
        {
            let own = original.digest.clone();
            self.record(context, tag, TagRecord { digest, own }).await;
        }
        Ok(opened)
    }

    /// How long ago the tag was last asked what it points at, where nothing was written since that may have moved it.
    pub async fn asked_ago(&self, context: &RepositoryContext, tag: &Tag) -> Option<Duration> {
        let key = Key::tag(&context.repository_key, &context.epoch, tag.as_str());
        let record = self.cache.get::<TagRecord>(&key).await?;
        record.verified.then_some(record.age)
    }

    /// What the tag pointed at when it was last asked, however long ago that is.
    pub async fn last_target(&self, context: &RepositoryContext, tag: &Tag) -> Option<Digest> {
        let key = Key::tag(&context.repository_key, &context.epoch, tag.as_str());
        let record = self.cache.get::<TagRecord>(&key).await?;
        Some(record.value.digest.clone())
    }

    /// The digest that the tag points at, where asking for the whole manifest can be avoided.
    pub async fn known_target(
        &self,
        context: &RepositoryContext,
        tag: &Tag,
        recheck: Recheck<'_>,
    ) -> Result<Option<Digest>, UpstreamError> {
        let key = Key::tag(&context.repository_key, &context.epoch, tag.as_str());
        let Some(record) = self.cache.get::<TagRecord>(&key).await else {
            return Ok(None);
        };
        let known = &record.value;
        let trusted = match recheck {
            Recheck::Always => false,
            Recheck::After(age) => record.within(age),
            Recheck::UnlessHash(hash) => known.own.encoded().starts_with(hash),
        };
        if trusted {
            return Ok(Some(known.digest.clone()));
        }
        let reference = Reference::Tag(tag.clone());
        match self
            .upstream
            .head_only(&context.repository, &reference, &context.caller)
            .await?
        {
            HeadOutcome::Found(head) if head.digest == known.digest => {
                self.access.allow(context);
                self.record(context, tag, TagRecord::clone(known)).await;
                Ok(Some(head.digest))
            }
            // Moved, gone or refused: the GET that follows says it with a body.
            _ => Ok(None),
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
                Answer::Found(self.remember(context, raw, Given::Sealed(given)).await)
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

    async fn record(&self, context: &RepositoryContext, tag: &Tag, record: TagRecord) {
        let key = Key::tag(&context.repository_key, &context.epoch, tag.as_str());
        self.cache.put(key, Arc::new(record)).await;
    }

    pub async fn forget_tag(&self, context: &RepositoryContext, tag: &Tag) {
        self.cache
            .remove(&Key::tag(&context.repository_key, &context.epoch, tag.as_str()))
            .await;
    }
}
