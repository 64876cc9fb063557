//! Manifests by tag, through the cache: a tag is asked only when it may have moved.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::cache::{Cached, Key, from_json, to_json};
use crate::oci::weight::shared_text;
use crate::oci::{Digest, Reference, Tag};
use crate::registry::{Answer, HeadOutcome, UpstreamError};

use super::context::RepositoryContext;
use super::manifest_store::{ManifestResult, ManifestStore};
use super::remembered::Given;

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
    /// Not while it is certain that its manifest, whose digest begins with this hash, is there: the tag is immutable (Proposal D).
    UnlessHash(&'a str),
}

impl ManifestStore {
    /// What the tag points at, envelopes opened. A tag that was never asked costs one GET, a known one at most a HEAD.
    pub async fn by_tag(&self, context: &RepositoryContext, tag: &Tag, recheck: Recheck<'_>) -> ManifestResult {
        let read = async {
            if let Some(digest) = self.known_target(context, tag, recheck).await?
                // Absent if it was moved meanwhile: the tag itself says where to.
                && let Some((raw, given)) = self.dated_by_digest(context, &digest).await?.or_refusal()?
            {
                return self.open(context, raw, given).await?.found();
            }
            self.by_tag_anew(context, tag).await?.found()
        };
        Answer::of(read.await)
    }

    /// What the tag points at now, envelopes opened, whatever it pointed at before.
    pub async fn by_tag_anew(&self, context: &RepositoryContext, tag: &Tag) -> ManifestResult {
        let read = async {
            let reference = Reference::Tag(tag.clone());
            let asked = self.upstream.manifest(&context.repository, &reference, &context.caller);
            let asked = asked.await?;
            if matches!(asked, Answer::Absent) {
                self.forget_tag(context, tag).await;
            }
            let raw = self.remember(context, asked.found()?, Given::ByTag).await;
            let digest = raw.digest.clone();
            let original = self.open(context, raw, Some(self.cache.now())).await?.found()?;
            // A digest that cannot be computed is the registry's word alone: it is asked for again.
            if digest.is_computable() {
                let own = original.digest.clone();
                self.record(context, tag, TagRecord { digest, own }).await;
            }
            Ok(original)
        };
        Answer::of(read.await)
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
            Recheck::UnlessHash(hash) => {
                known.own.encoded().starts_with(hash) && !self.may_be_gone(context, &known.digest).await
            }
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
                self.is_still_there(context, &head.digest).await;
                Ok(Some(head.digest))
            }
            // Moved, gone or refused: the GET that follows says it with a body.
            _ => Ok(None),
        }
    }

    /// Whether the manifest is remembered from before a write that may have deleted it. A registry may list its tag even so.
    async fn may_be_gone(&self, context: &RepositoryContext, digest: &Digest) -> bool {
        let found = self.find(context, digest).await;
        found.is_some_and(|found| !found.verified)
    }

    /// A tag was just seen to point at it: no write up to now has deleted it.
    async fn is_still_there(&self, context: &RepositoryContext, digest: &Digest) {
        if let Some(found) = self.find(context, digest).await.filter(|found| !found.verified) {
            // A tag is no word for its digest.
            self.confirm_as_of(context, digest, found.value, None).await;
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
