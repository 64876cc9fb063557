//! Which of the tags that refshim wrote lie over a listing that lacks them: each, until the registry says that it is gone.

use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::{StreamExt as _, future, stream};
use tokio::time::Instant;

use crate::cache::RepositoryKey;
use crate::expiring_map::ExpiringMap;
use crate::oci::{Reference, SubjectKey, Tag};
use crate::registry::{Answer, TagNames, UpstreamError};

use super::access::{RepositoryAccess, probable};
use super::context::RepositoryContext;
use super::error::ResolveError;
use super::manifest_store::ManifestStore;
use super::names::{ListingAnswer, TagMemory, is_there};
use super::own_writes::WrittenTag;
use super::scan::lag::LAG;
use super::scan::{PARALLEL, context::Scan};

/// Tags that were written and that are asked for to find out whether a repository is hidden.
const ASKED_FOR: usize = 16;
/// So long after a write its manifest may lag.
const LAGS_FOR: Duration = Duration::from_secs(60);
const REMEMBERED: u64 = 20_000;

/// Written tags that the registry was asked for and did not say to be gone.
pub(super) struct AskedWrites {
    asked: ExpiringMap<(RepositoryKey, Arc<str>), AskedWrite>,
    fresh_for: Duration,
}

#[derive(Clone, Copy)]
struct AskedWrite {
    /// Time since 1970.
    written: Duration,
    asked: Instant,
}

impl AskedWrites {
    pub fn new(fresh_for: Duration) -> Self {
        Self {
            asked: ExpiringMap::new(REMEMBERED),
            fresh_for,
        }
    }

    /// Whether the tag counts, and nobody is asked: a listing that began at `began` may lag behind the write, or the registry was
    /// asked a moment ago.
    fn counts_unasked(&self, repository_key: &RepositoryKey, tag: &WrittenTag, began: Duration) -> bool {
        if began < tag.at + self.fresh_for {
            return true;
        }
        let known = self.asked.get(&(repository_key.clone(), tag.name.clone()));
        known.is_some_and(|known| known.written == tag.at && known.asked.elapsed() < self.fresh_for)
    }

    fn note(&self, repository_key: &RepositoryKey, tag: &WrittenTag) {
        let asked = AskedWrite {
            written: tag.at,
            asked: Instant::now(),
        };
        self.asked.insert((repository_key.clone(), tag.name.clone()), asked);
    }
}

impl TagMemory {
    /// Those of `unlisted`, tags that refshim wrote and that a listing which began at `began` lacks, that are to be taken for there.
    async fn that_count(
        &self,
        manifests: &ManifestStore,
        context: &RepositoryContext,
        unlisted: Vec<WrittenTag>,
        began: Duration,
    ) -> Vec<WrittenTag> {
        let counting = stream::iter(unlisted).map(|tag| async move {
            let counts = self.still_counts(manifests, context, &tag, began).await;
            counts.then_some(tag)
        });
        counting.buffered(PARALLEL).filter_map(future::ready).collect().await
    }

    /// Long after the write, the registry is asked for the tag. It was acknowledged: nothing but a stated absence ends that.
    async fn still_counts(
        &self,
        manifests: &ManifestStore,
        context: &RepositoryContext,
        tag: &WrittenTag,
        began: Duration,
    ) -> bool {
        let repository_key = &context.repository_key;
        if self.asked_writes.counts_unasked(repository_key, tag, began) {
            return true;
        }
        let Ok(name) = Tag::parse(&tag.name) else {
            return false;
        };
        let reference = Reference::Tag(name);
        let asked = manifests
            .upstream
            .manifest(&context.repository, &reference, &context.caller);
        match asked.await {
            Ok(Answer::Absent) => {
                if manifests.access.is_allowed(context) {
                    self.written.gone(&manifests.cache, repository_key, &tag.name).await;
                }
                return false;
            }
            Ok(Answer::Found(_) | Answer::Refused(_)) => {}
            Err(error) => {
                let repository = &context.repository;
                tracing::debug!(%repository, tag = &*tag.name, %error, "a tag that was written is taken for there");
            }
        }
        self.asked_writes.note(repository_key, tag);
        true
    }

    /// `listed`, by a listing that began at `began`, with every tag that refshim wrote and that it lacks; without them for a
    /// caller whom the registry gives nothing.
    pub async fn overlaid(
        &self,
        manifests: &ManifestStore,
        context: &RepositoryContext,
        listed: Arc<TagNames>,
        began: Duration,
    ) -> Result<Arc<TagNames>, UpstreamError> {
        let mut unlisted = self.written.all(&manifests.cache, &context.repository_key).await;
        unlisted.retain(|tag| !listed.contains(&tag.name));
        if unlisted.is_empty() || !may_see(manifests, context, &listed, &unlisted).await? {
            return Ok(listed);
        }
        let lacking = self.that_count(manifests, context, unlisted, began).await;
        Ok(match lacking.is_empty() {
            true => listed,
            false => Arc::new(listed.iter().chain(lacking.iter().map(|tag| &*tag.name)).collect()),
        })
    }
}

impl TagMemory {
    /// Tags that refshim wrote and that a listing which began at `began` may lack on its earlier pages, and lacks in `listed`, its
    /// last one; none for a caller whom the registry gives nothing.
    pub async fn written_since(
        &self,
        manifests: &ManifestStore,
        context: &RepositoryContext,
        listed: &TagNames,
        began: Duration,
    ) -> Result<Vec<WrittenTag>, UpstreamError> {
        let mut unlisted = self.written.all(&manifests.cache, &context.repository_key).await;
        unlisted.retain(|tag| !listed.contains(&tag.name));
        if unlisted.is_empty() || !may_see(manifests, context, listed, &unlisted).await? {
            return Ok(Vec::new());
        }
        // The caller says when it began.
        let began = began.min(manifests.cache.now());
        Ok(self.that_count(manifests, context, unlisted, began).await)
    }
}

/// Whether the registry gives this caller a manifest, one that it lists or one of `written`.
async fn may_see(
    manifests: &ManifestStore,
    context: &RepositoryContext,
    listed: &TagNames,
    written: &[WrittenTag],
) -> Result<bool, UpstreamError> {
    let mut known = probable(None, Some(listed));
    let tags = written.iter().filter_map(|tag| Tag::parse(&tag.name).ok());
    known.extend(tags.take(ASKED_FOR).map(Reference::Tag));
    match manifests.access.check(&manifests.upstream, context, known).await {
        Ok(access) => Ok(matches!(access, RepositoryAccess::Allowed)),
        // It lists tags to this caller and gives none of them.
        Err(UpstreamError::Invalid(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The tags that may link to the subject, or have something behind them that does, of those that refshim wrote and that a listing
/// which began at `began` lacks.
pub(super) async fn lacking(scan: &Scan, listed: &ListingAnswer, began: Duration) -> Result<Vec<Tag>, ResolveError> {
    let (cache, repository_key) = (&scan.stores.manifests.cache, &scan.context.repository_key);
    let key = SubjectKey::of(&scan.subject);
    let mut unlisted = Vec::new();
    let mut tags = scan.stores.tags.written.of(cache, repository_key, &key).await;
    // Those that are asked for first: the subject's own, then the newest.
    tags.sort_unstable_by_key(|tag| (!tag.name.starts_with(key.as_str()), Reverse(tag.at)));
    for tag in tags {
        let shown = match listed {
            ListingAnswer::All(listing) => listing.names.contains(&tag.name),
            // It says nothing of other tags, and they are not needed.
            ListingAnswer::OfSubject(_) if !tag.name.starts_with(key.as_str()) => continue,
            ListingAnswer::OfSubject(names) => names.contains(&tag.name),
            ListingAnswer::NoRepository | ListingAnswer::Refused(_) => false,
        };
        if !shown {
            unlisted.push(tag);
        } else if tag.at < began {
            scan.stores.tags.written.shown(repository_key, &tag);
        }
    }
    let counting = scan
        .stores
        .tags
        .that_count(&scan.stores.manifests, &scan.context, unlisted, began)
        .await;
    let newest = counting.iter().map(|tag| tag.at).max().unwrap_or_default();
    let tags = counting.iter().filter_map(|tag| Tag::parse(&tag.name).ok());
    let lacking: Vec<Tag> = tags.collect();
    match listed {
        ListingAnswer::NoRepository if !is_shown(scan, &lacking, newest).await? => Ok(Vec::new()),
        _ => Ok(lacking),
    }
}

/// Whether the registry gives this caller one of `tags`, where its listing says that there is no such repository: perhaps it hides
/// it from this caller. Manifests lag, too: soon after the `newest` was written they are asked for again.
async fn is_shown(scan: &Scan, tags: &[Tag], newest: Duration) -> Result<bool, UpstreamError> {
    let ask = || is_any_there(scan, &tags[..tags.len().min(ASKED_FOR)]);
    let mut asked = scan.stores.manifests.access.now();
    let mut shown = ask().await?;
    if !shown && !tags.is_empty() && scan.stores.manifests.cache.now() < newest + LAGS_FOR {
        tokio::time::sleep(LAG).await;
        asked = scan.stores.manifests.access.now();
        shown = ask().await?;
        if !shown {
            scan.is_unsettled.store(true, Ordering::Relaxed);
        }
    }
    if shown {
        scan.prove_reading(asked);
    }
    Ok(shown)
}

/// Whether the registry gives one of these, all asked for at once. An unclear answer is an error where none is given and the tag may
/// link to the subject.
async fn is_any_there(scan: &Scan, tags: &[Tag]) -> Result<bool, UpstreamError> {
    let answers = future::join_all(tags.iter().map(|tag| is_there(scan, tag))).await;
    if answers.iter().any(|answer| matches!(answer, Ok(true))) {
        return Ok(true);
    }
    let key = SubjectKey::of(&scan.subject);
    for (answer, tag) in answers.into_iter().zip(tags) {
        match answer {
            Err(error) if tag.as_str().starts_with(key.as_str()) => return Err(error),
            Err(_) => scan.unsettle(),
            Ok(_) => {}
        }
    }
    Ok(false)
}
