//! Manifests through the cache: each digest is fetched once, each tag asked only when it may have moved.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::cache::{Cache, Cached, Key, from_json, to_json};
use crate::oci::weight::{allocated, shared_text};
use crate::oci::{Digest, Manifest, Reference, Tag, envelope, tag_scheme};
use crate::upstream::{Answer, RawManifest, Upstream, UpstreamError};

use super::counts::ResolveCounts;
use super::error::ResolveError;
use super::place::Place;

pub(super) type Found = Result<Answer<Arc<RawManifest>>, UpstreamError>;

/// Bytes that are shared are counted beside by whoever shares them.
const SHARED_BYTES: usize = 32;

/// What shared bytes take up.
pub(super) fn bytes_weight(bytes: &Bytes) -> usize {
    allocated(bytes.len()) + SHARED_BYTES
}

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

impl Cached for RawManifest {
    fn weight(&self) -> usize {
        // Its digest is that of its key.
        size_of::<Self>() + bytes_weight(&self.bytes) + allocated(self.media_type.len())
    }

    /// The media type, a line feed, the manifest's bytes.
    fn encode(&self) -> Option<Vec<u8>> {
        Some([self.media_type.as_bytes(), b"\n", &self.bytes].concat())
    }

    /// Nobody is believed but the digest.
    fn decode(digest: &str, mut bytes: Bytes) -> Option<Self> {
        let digest = Digest::parse(digest).ok()?;
        let end = bytes.iter().position(|b| *b == b'\n')?;
        let media_type = String::from_utf8(bytes.split_to(end).into()).ok()?;
        bytes.advance(1);
        let is_it = digest.matches(&bytes) == Some(true);
        is_it.then_some(Self {
            digest,
            media_type,
            bytes,
        })
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
pub(super) struct Manifests {
    pub upstream: Arc<Upstream>,
    pub cache: Arc<Cache>,
    pub counts: Arc<ResolveCounts>,
    /// Largest original in an envelope, in bytes.
    pub limit: usize,
}

impl Manifests {
    /// Lets a scan go on without one thing whose content is broken; every other failure fails the scan.
    pub fn skip(&self, error: UpstreamError, what: &str) -> Result<(), ResolveError> {
        match error {
            UpstreamError::Content(reason) => {
                tracing::warn!(what, reason, "content that cannot be believed; skipped");
                self.counts.skipped();
                Ok(())
            }
            other => Err(other.into()),
        }
    }

    /// Says that not all that stands behind a tag was read: whoever looks for a link there must see why it is not listed.
    pub fn cut_short(&self, tag: &Tag, reason: &str) {
        tracing::warn!(%tag, reason, "depth cut: not all that stands behind this ordinary tag was read");
        self.counts.depth_cut();
    }

    /// The manifest with this digest; remembered ones cost nothing.
    pub async fn by_digest(&self, place: &Place, digest: &Digest) -> Found {
        let key = Key::manifest(&place.scope, &place.epoch, digest);
        if let Some(found) = self.cache.get::<RawManifest>(&key).await {
            return Ok(Answer::Found(found.value));
        }
        let reference = Reference::Digest(digest.clone());
        match self
            .upstream
            .manifest(&place.repository, &reference, &place.caller)
            .await
        {
            Ok(Answer::Found(raw)) => Ok(Answer::Found(self.remember(place, raw).await)),
            Ok(Answer::Absent) => self.in_envelope(place, digest).await,
            Ok(Answer::Refused(refusal)) => Ok(Answer::Refused(refusal)),
            // Distribution 2.8 finds the blob in the envelope and fails to read it as a manifest.
            Err(error @ UpstreamError::Failed(StatusCode::INTERNAL_SERVER_ERROR)) => {
                match self.in_envelope(place, digest).await {
                    Ok(Answer::Found(original)) => Ok(Answer::Found(original)),
                    _ => self.unless_blob(place, digest, error).await,
                }
            }
            Err(error) => Err(error),
        }
    }

    /// The same for a manifest that no tag was just seen to point at: a remembered one is asked for again after `recheck`,
    /// because it may have been deleted.
    pub async fn still_there(&self, place: &Place, digest: &Digest, recheck: Duration) -> Found {
        let key = Key::manifest(&place.scope, &place.epoch, digest);
        let Some(found) = self.cache.get::<RawManifest>(&key).await else {
            return self.by_digest(place, digest).await;
        };
        if found.within(recheck) {
            return Ok(Answer::Found(found.value));
        }
        let reference = Reference::Digest(digest.clone());
        match self
            .upstream
            .head_manifest(&place.repository, &reference, &place.caller)
            .await?
        {
            Answer::Found(_) => {
                self.cache.put(key, found.value.clone()).await;
                Ok(Answer::Found(found.value))
            }
            Answer::Absent => {
                // A HEAD's 404 carries no error body: a GET confirms, and knows of envelopes.
                self.cache.remove(&key).await;
                self.by_digest(place, digest).await
            }
            Answer::Refused(refusal) => Ok(Answer::Refused(refusal)),
        }
    }

    /// What the tag points at, envelopes opened. A tag that was never asked costs one GET, a known one at most a HEAD.
    pub async fn by_tag(&self, place: &Place, tag: &Tag, recheck: Recheck<'_>) -> Found {
        if let Some(digest) = self.known_target(place, tag, recheck).await? {
            match self.by_digest(place, &digest).await? {
                Answer::Found(raw) => return self.open(place, raw).await,
                Answer::Refused(refusal) => return Ok(Answer::Refused(refusal)),
                // Moved meanwhile: the tag itself says where to.
                Answer::Absent => {}
            }
        }
        self.by_tag_anew(place, tag).await
    }

    /// What the tag points at now, envelopes opened, whatever it pointed at before.
    pub async fn by_tag_anew(&self, place: &Place, tag: &Tag) -> Found {
        let reference = Reference::Tag(tag.clone());
        let raw = match self
            .upstream
            .manifest(&place.repository, &reference, &place.caller)
            .await?
        {
            Answer::Found(raw) => self.remember(place, raw).await,
            Answer::Absent => {
                self.forget_tag(place, tag).await;
                return Ok(Answer::Absent);
            }
            Answer::Refused(refusal) => return Ok(Answer::Refused(refusal)),
        };
        let digest = raw.digest.clone();
        let opened = self.open(place, raw).await?;
        // A digest that cannot be computed is the registry's word alone: it is asked for again.
        if let Answer::Found(original) = &opened
            && digest.is_computable()
        {
            let own = original.digest.clone();
            self.record(place, tag, TagRecord { digest, own }).await;
        }
        Ok(opened)
    }

    /// How long ago the tag was last asked what it points at, where nothing was written since that may have moved it.
    pub async fn asked_ago(&self, place: &Place, tag: &Tag) -> Option<Duration> {
        let key = Key::tag(&place.scope, &place.epoch, tag.as_str());
        let record = self.cache.get::<TagRecord>(&key).await?;
        record.vouched.then_some(record.age)
    }

    /// What the tag pointed at when it was last asked, however long ago that is.
    pub async fn last_target(&self, place: &Place, tag: &Tag) -> Option<Digest> {
        let key = Key::tag(&place.scope, &place.epoch, tag.as_str());
        let record = self.cache.get::<TagRecord>(&key).await?;
        Some(record.value.digest.clone())
    }

    /// The digest that the tag points at, where asking for the whole manifest can be avoided.
    pub async fn known_target(
        &self,
        place: &Place,
        tag: &Tag,
        recheck: Recheck<'_>,
    ) -> Result<Option<Digest>, UpstreamError> {
        let key = Key::tag(&place.scope, &place.epoch, tag.as_str());
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
            .head_manifest(&place.repository, &reference, &place.caller)
            .await?
        {
            Answer::Found(head) if head.digest == known.digest => {
                self.record(place, tag, TagRecord::clone(known)).await;
                Ok(Some(head.digest))
            }
            // Moved, gone or refused: the GET that follows says it with a body.
            _ => Ok(None),
        }
    }

    /// The original when `raw` is an envelope, else `raw`.
    pub async fn open(&self, place: &Place, raw: Arc<RawManifest>) -> Found {
        let parsed = Manifest::parse(&raw.bytes, &raw.media_type).ok();
        let Some(original) = parsed.as_ref().and_then(envelope::open) else {
            return Ok(Answer::Found(raw));
        };
        let key = Key::manifest(&place.scope, &place.epoch, &original.digest);
        if let Some(found) = self.cache.get::<RawManifest>(&key).await {
            return Ok(Answer::Found(found.value));
        }
        let blob = self
            .upstream
            .blob(&place.repository, &original.digest, self.limit, &place.caller);
        Ok(match blob.await? {
            Answer::Found(bytes) => {
                let raw = RawManifest {
                    digest: original.digest,
                    media_type: original.media_type,
                    bytes,
                };
                Answer::Found(self.remember(place, raw).await)
            }
            Answer::Absent => Answer::Absent,
            Answer::Refused(refusal) => Answer::Refused(refusal),
        })
    }

    /// The manifest that the upstream refused to store as such, by the tag that its envelope always has.
    pub async fn in_envelope(&self, place: &Place, digest: &Digest) -> Found {
        let Some(tag) = tag_scheme::envelope_tag(digest) else {
            return Ok(Answer::Absent);
        };
        let reference = Reference::Tag(tag);
        match self
            .upstream
            .manifest(&place.repository, &reference, &place.caller)
            .await?
        {
            Answer::Found(raw) => match self.open(place, Arc::new(raw)).await? {
                Answer::Found(original) if original.digest != *digest => Ok(Answer::Absent),
                opened => Ok(opened),
            },
            Answer::Absent => Ok(Answer::Absent),
            Answer::Refused(refusal) => Ok(Answer::Refused(refusal)),
        }
    }

    pub async fn remember(&self, place: &Place, raw: RawManifest) -> Arc<RawManifest> {
        let raw = Arc::new(raw);
        if raw.digest.is_computable() {
            let key = Key::manifest(&place.scope, &place.epoch, &raw.digest);
            self.cache.put(key, raw.clone()).await;
        }
        raw
    }

    async fn record(&self, place: &Place, tag: &Tag, record: TagRecord) {
        let key = Key::tag(&place.scope, &place.epoch, tag.as_str());
        self.cache.put(key, Arc::new(record)).await;
    }

    pub async fn forget_tag(&self, place: &Place, tag: &Tag) {
        self.cache
            .remove(&Key::tag(&place.scope, &place.epoch, tag.as_str()))
            .await;
    }
}
