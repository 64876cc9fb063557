//! The names of a repository's tags as a scan needs them: what the registry lists, what refshim wrote over it, and the names that
//! can be computed where a listing is known to lack some.

use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use moka::sync::Cache as Memory;
use tokio::time::Instant;

use crate::cache::RepositoryKey;
use crate::config::{Depth, ListingKind};
use crate::oci::{Reference, SubjectKey, Tag, tag_scheme};
use crate::registry::{Answer, Refusal, TagNames, UpstreamError};

use super::access::RepositoryAccess;
use super::context::RepositoryContext;
use super::error::ResolveError;
use super::listing_trials::ListingTrials;
use super::manifest_store::ManifestStore;
use super::missing_tags::{MISSING_FOR, MissingTags};
use super::own_writes::{OwnWrites, WrittenTag};
use super::partial_listings::lacks_names;
use super::scan::lag::LAG;
use super::scan::run::Scan;
use super::seen_tags::{SeenTags, names_itself};
use super::tag_listings::{AgedTagNames, Sought};

/// Tags that were written and that are asked for to find out whether a repository is hidden.
const ASKED_FOR: usize = 16;
/// So long after a write its manifest may lag.
const LAGS_FOR: Duration = Duration::from_secs(60);
const REMEMBERED: u64 = 10_000;
/// What may stand behind a subject's key in a tag whose name says nothing more: the referrers tag, and cosign's.
const SUFFIXES: [&str; 4] = ["", ".sig", ".att", ".sbom"];

/// What is known of tags beside the registry's listings.
pub(super) struct TagMemory {
    pub written: OwnWrites,
    pub seen: SeenTags,
    /// Tags that are missing although they are listed or were just written.
    pub missing: MissingTags,
    pub kind: ListingKind,
    settled_after: Duration,
    /// Subjects of which the names that can be computed were compared with a listing.
    pub trials: ListingTrials,
    /// When ordinary tags and manifests were first missing although something names them.
    lagging: Memory<(RepositoryKey, Reference), Instant>,
    /// Held while what is remembered of tags with links is changed.
    pub writing_linked: tokio::sync::Mutex<()>,
}

impl TagMemory {
    /// `settled_after`: a listing that began so much later than a write and does not show it raises doubt.
    pub fn new(kind: ListingKind, settled_after: Duration) -> Self {
        Self {
            settled_after,
            written: OwnWrites::default(),
            seen: SeenTags::default(),
            kind,
            trials: ListingTrials::default(),
            missing: MissingTags::new(settled_after),
            lagging: Memory::builder()
                .max_capacity(REMEMBERED)
                .time_to_live(MISSING_FOR)
                .build(),
            writing_linked: tokio::sync::Mutex::default(),
        }
    }

    /// What should be there is missing: for how long that has been so.
    pub fn lags_since(&self, repository_key: &RepositoryKey, what: &Reference) -> Duration {
        let key = (repository_key.clone(), what.clone());
        self.lagging.get_with(key, Instant::now).elapsed()
    }

    pub fn has_come(&self, repository_key: &RepositoryKey, what: &Reference) {
        let key = (repository_key.clone(), what.clone());
        if self.lagging.contains_key(&key) {
            self.lagging.invalidate(&key);
        }
    }

    /// Whether a tag that refshim wrote, and that a listing which began at `began` lacks, is to be taken for there. Long after the
    /// write, the registry is asked for it.
    async fn still_counts(
        &self,
        manifests: &ManifestStore,
        context: &RepositoryContext,
        tag: &WrittenTag,
        began: Duration,
    ) -> Result<bool, UpstreamError> {
        if began < tag.at + self.settled_after {
            return Ok(true);
        }
        let Ok(name) = Tag::parse(&tag.name) else {
            return Ok(false);
        };
        let reference = Reference::Tag(name);
        let asked = manifests
            .upstream
            .manifest(&context.repository, &reference, &context.caller);
        let is_there = !matches!(asked.await?, Answer::Absent);
        if !is_there && manifests.access.is_allowed(context) {
            self.written
                .gone(&manifests.cache, &context.repository_key, &tag.name)
                .await;
        }
        Ok(is_there)
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
        if unlisted.is_empty() || !may_see(manifests, context, &unlisted).await? {
            return Ok(listed);
        }
        let mut lacking = Vec::new();
        for tag in unlisted {
            if self.still_counts(manifests, context, &tag, began).await? {
                lacking.push(tag.name);
            }
        }
        Ok(match lacking.is_empty() {
            true => listed,
            false => Arc::new(listed.iter().chain(lacking.iter().map(|name| &**name)).collect()),
        })
    }
}

/// Whether the registry gives this caller a manifest, one of `written` or one that it lists.
async fn may_see(
    manifests: &ManifestStore,
    context: &RepositoryContext,
    written: &[WrittenTag],
) -> Result<bool, UpstreamError> {
    let tags = written.iter().filter_map(|tag| Tag::parse(&tag.name).ok());
    let known = tags.take(ASKED_FOR).map(Reference::Tag).collect();
    match manifests.access.check(&manifests.upstream, context, known).await {
        Ok(access) => Ok(matches!(access, RepositoryAccess::Allowed)),
        // It lists tags to this caller and gives none of them.
        Err(UpstreamError::Invalid(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// What the registry's listing says.
pub(super) enum ListingAnswer {
    /// Every name.
    All(AgedTagNames),
    /// The names that begin with the subject's key.
    OfSubject(Arc<TagNames>),
    /// To this caller, there is no such repository.
    NoRepository,
    /// This caller may not list.
    Refused(Refusal),
}

/// The names of the tags that may link to a subject.
pub(super) struct ScannedNames {
    pub listed: ListingAnswer,
    /// When the listing began, as time since 1970.
    pub began: Duration,
    /// What refshim wrote and the listing lacks. To be there, as if it were listed.
    pub written: Vec<Tag>,
    /// What may be there although nobody says so.
    pub computed: Vec<Tag>,
}

impl ScannedNames {
    pub fn age(&self) -> Duration {
        match &self.listed {
            ListingAnswer::All(listing) => listing.age,
            ListingAnswer::OfSubject(_) | ListingAnswer::NoRepository | ListingAnswer::Refused(_) => Duration::ZERO,
        }
    }

    /// Whether the registry lists no name at all, whatever refshim wrote.
    pub fn lists_nothing(&self) -> bool {
        match &self.listed {
            ListingAnswer::All(listing) => listing.names.is_empty(),
            ListingAnswer::NoRepository => true,
            ListingAnswer::OfSubject(_) | ListingAnswer::Refused(_) => false,
        }
    }

    /// The names that are listed.
    pub fn listed(&self) -> Option<&TagNames> {
        match &self.listed {
            ListingAnswer::All(listing) => Some(&listing.names),
            ListingAnswer::OfSubject(names) => Some(names),
            ListingAnswer::NoRepository | ListingAnswer::Refused(_) => None,
        }
    }

    /// The whole listing, with what refshim wrote; `None` where only some names are known.
    pub fn whole(&self) -> Option<AgedTagNames> {
        let written = self.written.iter().map(Tag::as_str);
        match &self.listed {
            ListingAnswer::All(listing) if self.written.is_empty() => Some(listing.clone()),
            ListingAnswer::All(listing) => Some(AgedTagNames {
                names: Arc::new(listing.names.iter().chain(written).collect()),
                ..listing.clone()
            }),
            ListingAnswer::NoRepository if !self.written.is_empty() => Some(AgedTagNames {
                names: Arc::new(written.collect()),
                age: Duration::ZERO,
                began: self.began,
            }),
            ListingAnswer::NoRepository | ListingAnswer::OfSubject(_) | ListingAnswer::Refused(_) => None,
        }
    }
}

/// Asks for a listing that is at most `max_age` old.
pub(super) async fn find(scan: &Scan, max_age: Duration) -> Result<ScannedNames, ResolveError> {
    let asked = scan.manifests.cache.now();
    let listed = listed(scan, max_age).await?;
    let began = match &listed {
        ListingAnswer::All(listing) => listing.began,
        ListingAnswer::OfSubject(_) | ListingAnswer::NoRepository | ListingAnswer::Refused(_) => asked,
    };
    let names = ScannedNames {
        written: written(scan, &listed, began).await?,
        computed: Vec::new(),
        listed,
        began,
    };
    if matches!(names.listed, ListingAnswer::Refused(_)) || lacks_names(scan, &names).await? {
        let computed = computed(scan, &names, SUFFIXES.len());
        return Ok(ScannedNames { computed, ..names });
    }
    Ok(names)
}

/// By the account that lists on behalf of callers, where there is one and it may; else by the caller.
async fn listed(scan: &Scan, max_age: Duration) -> Result<ListingAnswer, ResolveError> {
    if scan.manifests.upstream.has_listing_account() {
        let account = RepositoryContext {
            caller: scan.context.caller.listing_account(),
            ..scan.context.clone()
        };
        match listed_by(scan, &account, max_age).await? {
            ListingAnswer::Refused(refusal) => {
                let (repository, status) = (&account.repository, refusal.status);
                tracing::warn!(%repository, %status, "the account of links.credentials may not list");
            }
            ListingAnswer::NoRepository => {}
            listed => return Ok(listed),
        }
    }
    listed_by(scan, &scan.context, max_age).await
}

async fn listed_by(scan: &Scan, context: &RepositoryContext, max_age: Duration) -> Result<ListingAnswer, ResolveError> {
    let sought = match large(scan).await {
        Some(large) => {
            let key = SubjectKey::of(&scan.subject);
            scan.listings.of_subject(context, &key, large, max_age).await?
        }
        None => {
            let all = scan.listings.all(context, max_age).await?;
            all.try_map(|listing| Ok(Sought::All(listing)))?
        }
    };
    match sought {
        Answer::Found(Sought::All(listing)) => Ok(ListingAnswer::All(listing)),
        Answer::Found(Sought::OfSubject(names)) => Ok(ListingAnswer::OfSubject(names)),
        Answer::Absent => Ok(ListingAnswer::NoRepository),
        Answer::Refused(refusal) => refused(refusal),
    }
}

/// Only 401 and 403 are about rights.
fn refused(refusal: Refusal) -> Result<ListingAnswer, ResolveError> {
    match refusal.status.as_u16() {
        401 | 403 => Ok(ListingAnswer::Refused(refusal)),
        _ => Err(refusal.into()),
    }
}

/// With more ordinary tags than this, only names are read; `None`: whatever their number, what stands behind them is.
async fn large(scan: &Scan) -> Option<usize> {
    match scan.config.depth {
        Depth::Names => Some(0),
        Depth::Manifests => None,
        Depth::Auto if scan.listings.is_known_large(&scan.context).await => Some(0),
        Depth::Auto => Some(scan.config.deep_limit),
    }
}

/// The tags that refshim wrote and that a listing which began at `began` lacks.
async fn written(scan: &Scan, listed: &ListingAnswer, began: Duration) -> Result<Vec<Tag>, ResolveError> {
    let (cache, repository_key) = (&scan.manifests.cache, &scan.context.repository_key);
    let key = SubjectKey::of(&scan.subject);
    let mut lacking = Vec::new();
    let mut tags = scan.tags.written.of(cache, repository_key, &key).await;
    // Those that are asked for first: the subject's own, then the newest.
    tags.sort_unstable_by_key(|tag| (!tag.name.starts_with(key.as_str()), Reverse(tag.at)));
    let mut newest = Duration::ZERO;
    for tag in tags {
        let shown = match listed {
            ListingAnswer::All(listing) => listing.names.contains(&tag.name),
            // It says nothing of other tags, and they are not needed.
            ListingAnswer::OfSubject(_) if !tag.name.starts_with(key.as_str()) => continue,
            ListingAnswer::OfSubject(names) => names.contains(&tag.name),
            ListingAnswer::NoRepository | ListingAnswer::Refused(_) => false,
        };
        if shown && tag.at < began {
            scan.tags.written.shown(repository_key, &tag);
        } else if !shown
            && scan
                .tags
                .still_counts(&scan.manifests, &scan.context, &tag, began)
                .await?
        {
            lacking.extend(Tag::parse(&tag.name));
            newest = newest.max(tag.at);
        }
    }
    if matches!(listed, ListingAnswer::NoRepository) && !is_shown(scan, &lacking, newest).await? {
        lacking.clear();
    }
    Ok(lacking)
}

/// Whether the registry gives this caller one of `tags`, where its listing says that there is no such repository: perhaps it hides
/// it from this caller. Manifests lag, too: soon after the `newest` was written they are asked for again.
async fn is_shown(scan: &Scan, tags: &[Tag], newest: Duration) -> Result<bool, UpstreamError> {
    let ask = || is_any_there(scan, tags.iter().take(ASKED_FOR).cloned());
    let mut shown = ask().await?;
    if !shown && !tags.is_empty() && scan.manifests.cache.now() < newest + LAGS_FOR {
        tokio::time::sleep(LAG).await;
        shown = ask().await?;
        if !shown {
            scan.is_unsettled.store(true, Ordering::Relaxed);
        }
    }
    if shown {
        scan.listings.allow(&scan.context);
    }
    Ok(shown)
}

/// Whether the registry gives one of these, all asked for at once.
async fn is_any_there(scan: &Scan, tags: impl IntoIterator<Item = Tag>) -> Result<bool, UpstreamError> {
    let asked = tags.into_iter().map(|tag| async move { is_there(scan, &tag).await });
    let found = futures_util::future::try_join_all(asked).await?;
    Ok(found.contains(&true))
}

/// Whether the registry gives a manifest by this tag that is not the subject which the tag names.
pub(super) async fn is_there(scan: &Scan, tag: &Tag) -> Result<bool, UpstreamError> {
    let context = &scan.context;
    let reference = Reference::Tag(tag.clone());
    let head = scan
        .manifests
        .upstream
        .head_manifest(&context.repository, &reference, &context.caller);
    Ok(matches!(head.await?, Answer::Found(head) if !names_itself(tag, &head.digest)))
}

/// The first `count` names that can be computed, without those that are known.
pub(super) fn computed(scan: &Scan, names: &ScannedNames, count: usize) -> Vec<Tag> {
    let key = SubjectKey::of(&scan.subject);
    let all = SUFFIXES.iter().take(count).map(|suffix| format!("{key}{suffix}"));
    let unknown = all.filter(|name| !names.listed().is_some_and(|listed| listed.contains(name)));
    let tags = unknown.filter(|name| tag_scheme::parse_of(&key, name).is_some());
    let tags = tags.filter_map(|name| Tag::parse(&name).ok());
    tags.filter(|tag| !names.written.contains(tag)).collect()
}
