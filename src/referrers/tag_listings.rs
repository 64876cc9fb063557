//! Tag listings: one per repository and refresh, shared by all its subjects.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::cache::{Cache, CacheEntry, Cached, Epoch, Key, RepositoryKey, from_json, to_json};
use crate::oci::{SubjectKey, tag_scheme};
use crate::registry::{
    Answer, CalibratedWithin, Fingerprint, TagNames, TagNamesBuilder, Tags, Upstream, UpstreamError,
};

use super::access::AccessList;
use super::context::RepositoryContext;
use super::shared_work::{AnswerScope, SharedWork};

/// All tag names of a repository.
#[derive(Clone)]
pub(super) struct AgedTagNames {
    pub names: Arc<TagNames>,
    /// Of `names`, as they were listed.
    pub fingerprint: Fingerprint,
    /// How long ago the last of them was read.
    pub age: Duration,
    /// When reading began, as time since 1970 ([`Cache::now`]): what was pushed before that and is not in it was not listed.
    pub began: Duration,
}

/// What was read for one subject.
pub(super) enum Sought {
    All(AgedTagNames),
    /// The names that begin with the subject's key.
    OfSubject(Arc<TagNames>),
}

/// What one reading of a listing brought.
#[derive(Clone)]
enum ListingResult {
    All(AgedTagNames),
    /// The repository is large, and each subject's names can be asked for.
    Seekable,
}

impl ListingResult {
    fn scope(&self) -> AnswerScope {
        match self {
            // Some registries list to each credential only what it may see.
            Self::All(_) => AnswerScope::ToldNoMore,
            // Of its own subject each caller then asks itself.
            Self::Seekable => AnswerScope::Everybody,
        }
    }
}

type ListingKey = (RepositoryKey, Epoch, bool, Option<usize>);
type Landing = Result<Answer<ListingResult>, UpstreamError>;

/// A listing as it is remembered.
pub(super) struct RememberedListing {
    pub names: Arc<TagNames>,
    pub fingerprint: Fingerprint,
    /// How long reading it took.
    took: Duration,
}

/// How long a repository that was large is taken to be so: listing it whole again is what seeking saves.
const LARGE_FOR: Duration = Duration::from_secs(3600);

/// Marks a repository with many ordinary tags.
struct LargeRepository;

impl Cached for LargeRepository {
    fn weight(&self) -> usize {
        0
    }

    fn encode(&self) -> Option<Vec<u8>> {
        Some(Vec::new())
    }

    fn decode(_: &str, bytes: Bytes) -> Option<Self> {
        bytes.is_empty().then_some(Self)
    }
}

#[derive(Serialize, Deserialize)]
struct StoredListing {
    took_ms: u64,
    tags: Vec<String>,
}

impl Cached for RememberedListing {
    fn weight(&self) -> usize {
        self.names.weight()
    }

    fn encode(&self) -> Option<Vec<u8>> {
        to_json(&StoredListing {
            took_ms: u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX),
            tags: self.names.iter().map(str::to_owned).collect(),
        })
    }

    fn decode(_: &str, bytes: Bytes) -> Option<Self> {
        let stored = from_json::<StoredListing>(&bytes)?;
        let names: TagNames = stored.tags.iter().collect();
        Some(Self {
            fingerprint: names.fingerprint(),
            names: Arc::new(names),
            took: Duration::from_millis(stored.took_ms),
        })
    }
}

#[derive(Clone)]
pub(super) struct TagListings {
    upstream: Arc<Upstream>,
    cache: Arc<Cache>,
    access: Arc<AccessList>,
    /// Searches among themselves (`true`): they may be held back, which nobody else has to wait for. With the number of ordinary
    /// tags beyond which a repository need not be read whole.
    shared: Arc<SharedWork<ListingKey, Landing>>,
}

impl TagListings {
    pub fn new(upstream: Arc<Upstream>, cache: Arc<Cache>, access: Arc<AccessList>, deadline: Duration) -> Self {
        Self {
            upstream,
            cache,
            access,
            shared: Arc::new(SharedWork::new(deadline, || Err(UpstreamError::Timeout("tag listing")))),
        }
    }

    /// All tag names, at most `max_age` old. The caller must be known to be allowed where a remembered listing is used.
    pub async fn all(
        &self,
        context: &RepositoryContext,
        max_age: Duration,
    ) -> Result<Answer<AgedTagNames>, UpstreamError> {
        match self.fresh(context, max_age).await? {
            Some(listing) => Ok(Answer::Found(listing)),
            None => self.now(context).await,
        }
    }

    /// All tag names, or where the repository is large and its listings seek, those of one subject: at most `max_age` old.
    /// A repository with more than `large` ordinary tags is, at 0 each whose listing has more than a page.
    pub async fn of_subject(
        &self,
        context: &RepositoryContext,
        key: &SubjectKey,
        large: usize,
        max_age: Duration,
    ) -> Result<Answer<Sought>, UpstreamError> {
        if let Some(listing) = self.fresh(context, max_age).await? {
            return Ok(Answer::Found(Sought::All(listing)));
        }
        let within = CalibratedWithin {
            age: max_age,
            since: Instant::now(),
        };
        if let Some(sought) = self.seek(context, key, within).await? {
            return Ok(sought);
        }
        match self.read(context, Some(large)).await? {
            Answer::Found(ListingResult::All(listing)) => return Ok(Answer::Found(Sought::All(listing))),
            Answer::Found(ListingResult::Seekable) => {}
            Answer::Absent => return Ok(Answer::Absent),
            Answer::Refused(refusal) => return Ok(Answer::Refused(refusal)),
        }
        match self.seek(context, key, within).await? {
            Some(sought) => Ok(sought),
            None => self.now(context).await?.try_map(|listing| Ok(Sought::All(listing))),
        }
    }

    /// Asks for a subject's names alone. `None`: that does not work here.
    async fn seek(
        &self,
        context: &RepositoryContext,
        key: &SubjectKey,
        within: CalibratedWithin,
    ) -> Result<Option<Answer<Sought>>, UpstreamError> {
        let sought = self.upstream.tags_of(&context.repository, key, within, &context.caller);
        Ok(match sought.await? {
            Answer::Found(None) => None,
            Answer::Found(Some(names)) => {
                self.access.allow_listing(context);
                Some(Answer::Found(Sought::OfSubject(Arc::new(names))))
            }
            Answer::Absent => Some(Answer::Absent),
            Answer::Refused(refusal) => Some(Answer::Refused(refusal)),
        })
    }

    /// All tag names as they are now; concurrent questions share one listing. Where somebody else's was shared, it proves
    /// nothing about this caller.
    pub async fn now(&self, context: &RepositoryContext) -> Result<Answer<AgedTagNames>, UpstreamError> {
        self.read(context, None).await?.try_map(|listed| match listed {
            ListingResult::All(listing) => Ok(listing),
            ListingResult::Seekable => Err(UpstreamError::Invalid("a tag listing that was not read".into())),
        })
    }

    /// Reads together with whoever else does: see [`super::shared_work`].
    async fn read(&self, context: &RepositoryContext, large: Option<usize>) -> Landing {
        let flight = (
            context.repository_key.clone(),
            context.epoch.clone(),
            context.caller.searches(),
            large,
        );
        let begin = || {
            self.upstream
                .reads()
                .check_listing(&context.repository, &context.caller)?;
            Ok(self.clone().list(context.clone(), large))
        };
        let scope = |listed: &Landing| AnswerScope::of_answer(listed, ListingResult::scope);
        let lists_no_more = |listed: Landing| {
            async move {
                match listed {
                    Ok(Answer::Found(ListingResult::All(listing))) => {
                        self.lists_no_more(context, &listing.names, listing.fingerprint).await
                    }
                    _ => Ok(false),
                }
            }
            .boxed()
        };
        let asked = (flight, &*self.upstream, context);
        match self.shared.share(asked, begin, scope, lists_no_more).await? {
            Some(listed) => listed,
            None => self.clone().list(context.clone(), large).await,
        }
    }

    /// Whether the repository recently had more ordinary tags than deep reading goes through.
    pub async fn is_known_large(&self, context: &RepositoryContext) -> bool {
        let marked = self
            .cache
            .get::<LargeRepository>(&Key::large(&context.repository_key))
            .await;
        marked.is_some_and(|found| found.age < LARGE_FOR)
    }

    pub async fn remember_large(&self, context: &RepositoryContext) {
        self.cache
            .put(Key::large(&context.repository_key), Arc::new(LargeRepository))
            .await;
    }

    /// A remembered listing, however old.
    pub async fn remembered(&self, context: &RepositoryContext) -> Option<CacheEntry<RememberedListing>> {
        self.cache
            .get(&Key::tag_list(&context.repository_key, &context.epoch))
            .await
    }

    /// A remembered listing that is no older, where the registry lists this caller no more.
    async fn fresh(
        &self,
        context: &RepositoryContext,
        max_age: Duration,
    ) -> Result<Option<AgedTagNames>, UpstreamError> {
        let remembered = self.remembered(context).await;
        let Some(fresh) = remembered.filter(|listing| listing.within(max_age)) else {
            return Ok(None);
        };
        let (listed, age) = (fresh.value, fresh.age);
        let listing = AgedTagNames {
            names: listed.names.clone(),
            fingerprint: listed.fingerprint,
            age,
            began: self.cache.now().saturating_sub(age + listed.took),
        };
        let is_whole = self.lists_no_more(context, &listing.names, listing.fingerprint).await?;
        Ok(is_whole.then_some(listing))
    }

    /// Whether the registry is known to list this caller nothing beyond these names.
    pub fn was_listed(&self, context: &RepositoryContext, names: Fingerprint) -> bool {
        self.access.was_listed(context, names)
            || self.upstream.has_listing_account() && {
                let caller = context.caller.listing_account();
                self.access.was_listed(
                    &RepositoryContext {
                        caller,
                        ..context.clone()
                    },
                    names,
                )
            }
    }

    /// Whether the registry lists this caller nothing beyond `names`, which it listed to somebody: some list to each credential
    /// only what it may see. Where nobody knows, its first page tells.
    pub async fn lists_no_more(
        &self,
        context: &RepositoryContext,
        names: &Arc<TagNames>,
        fingerprint: Fingerprint,
    ) -> Result<bool, UpstreamError> {
        match self.was_listed(context, fingerprint) {
            true => Ok(true),
            false => {
                self.access
                    .check_listing(&self.upstream, context, names, fingerprint)
                    .await
            }
        }
    }

    /// Whether a listing without tags says as much to others: registries show strangers an empty repository.
    fn says_for_all(&self, context: &RepositoryContext) -> bool {
        context.caller.is_listing_account() || self.access.is_allowed(context)
    }

    async fn list(self, context: RepositoryContext, large: Option<usize>) -> Landing {
        let _permit = self
            .upstream
            .reads()
            .listing_permit(&context.repository, &context.caller)
            .await?;
        let began = self.cache.now();
        let is_large = |names: &TagNamesBuilder| large.is_some_and(|most| has_more_ordinary(names, most));
        let read = self
            .upstream
            .tags_unless_seekable(&context.repository, &context.caller, is_large);
        Ok(match read.await? {
            Answer::Found(Tags::All(names)) => {
                let fingerprint = names.fingerprint();
                self.access.allow_listing(&context);
                self.access.is_listed(&context, fingerprint);
                let listing = AgedTagNames {
                    fingerprint,
                    names: Arc::new(names),
                    age: Duration::ZERO,
                    began,
                };
                let remembered = RememberedListing {
                    names: listing.names.clone(),
                    fingerprint,
                    took: self.cache.now().saturating_sub(listing.began),
                };
                if !listing.names.is_empty() || self.says_for_all(&context) {
                    let key = Key::tag_list(&context.repository_key, &context.epoch);
                    self.cache.put(key, Arc::new(remembered)).await;
                }
                Answer::Found(ListingResult::All(listing))
            }
            Answer::Found(Tags::Seekable) => {
                self.access.allow_listing(&context);
                Answer::Found(ListingResult::Seekable)
            }
            Answer::Absent => Answer::Absent,
            Answer::Refused(refusal) => Answer::Refused(refusal),
        })
    }
}

/// Whether there are more than `most` tags that are no links; whatever they are, where that is none.
fn has_more_ordinary(names: &TagNamesBuilder, most: usize) -> bool {
    let ordinary = (0..names.len()).filter(|&index| tag_scheme::parse(names.get(index)).is_none());
    most == 0 || ordinary.take(most + 1).count() > most
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_processes_read_when_a_listing_began() {
        let listing = RememberedListing {
            fingerprint: TagNames::from_iter(["a", "b"]).fingerprint(),
            names: Arc::new(TagNames::from_iter(["a", "b"])),
            took: Duration::from_millis(1500),
        };
        let bytes: Bytes = listing.encode().unwrap().into();
        let read = RememberedListing::decode("", bytes).unwrap();
        assert_eq!((read.names, read.took), (listing.names, listing.took));
        assert_eq!(read.fingerprint, listing.fingerprint);
        assert!(RememberedListing::decode("", Bytes::from_static(b"[\"a\"]")).is_none());
    }
}
