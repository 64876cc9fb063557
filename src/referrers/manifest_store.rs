//! Manifests by digest, through the cache: each is fetched once. Tags are in `tag_reads`, envelopes in `envelopes`.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use crate::cache::Cache;
use crate::oci::{Digest, Manifest, Reference, Tag};
use crate::registry::{Answer, HeadOutcome, RawManifest, Upstream, UpstreamError};

use super::access::AccessList;
use super::context::RepositoryContext;
use super::counts::ResolveCounts;
use super::error::ResolveError;
use super::remembered::Given;

pub(super) type ManifestResult = Result<Answer<Arc<RawManifest>>, UpstreamError>;

/// What became of reading something that a scan can do without.
pub(super) enum FoundOrSkipped<T> {
    Found(T),
    Absent,
    /// It is not what its digest, size or type promises.
    Skipped,
}

/// Reads manifests for scans and for callers. Whoever is given one by the registry may read: that is noted in `access`.
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

    /// What was read, unless it is absent, or its content is broken.
    pub fn found_or_skipped<T>(
        &self,
        read: Result<Answer<T>, UpstreamError>,
        what: &str,
    ) -> Result<FoundOrSkipped<T>, ResolveError> {
        let answer = match read {
            Ok(answer) => answer.or_refusal()?,
            Err(error) => return self.skip(error, what).map(|()| FoundOrSkipped::Skipped),
        };
        Ok(answer.map_or(FoundOrSkipped::Absent, FoundOrSkipped::Found))
    }

    /// What was read; `None` for what is absent, and for what is skipped.
    pub fn unless_skipped<T>(
        &self,
        read: Result<Answer<T>, UpstreamError>,
        what: &str,
    ) -> Result<Option<T>, ResolveError> {
        Ok(match self.found_or_skipped(read, what)? {
            FoundOrSkipped::Found(found) => Some(found),
            FoundOrSkipped::Absent | FoundOrSkipped::Skipped => None,
        })
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

    /// The manifest with this digest, or what is in it where it is an envelope.
    pub async fn opened_by_digest(&self, context: &RepositoryContext, digest: &Digest) -> ManifestResult {
        let read = async {
            let (raw, given) = self.dated_by_digest(context, digest).await?.found()?;
            self.open(context, raw, given).await?.found()
        };
        Answer::of(read.await)
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

    pub async fn ask_by_digest(&self, context: &RepositoryContext, digest: &Digest) -> ManifestResult {
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
}
