//! Tag listings: one per repository and refresh, shared by all its subjects.

mod reading;
mod renewing;

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::{Instant, timeout};

use crate::cache::{Cache, CacheEntry, Epoch, Key, RepositoryKey};
use crate::oci::SubjectKey;
use crate::registry::{Answer, CalibratedWithin, Fingerprint, RegistryPage, TagNames, Upstream, UpstreamError};

use super::access::AccessList;
use super::context::RepositoryContext;
use super::marker::Marker;
use super::own_writes::OwnWrites;
use super::remembered_listing::RememberedListing;
use super::renewals::Renewals;
use super::shared_work::{AnswerScope, SharedWork};
use super::unfinished_walks::{Followers, UnfinishedWalks, Walker};
use super::vanished_tags::VanishedTags;

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

/// What a caller who lists tags is given.
pub(super) enum ListedTags {
    All(AgedTagNames),
    /// The first of several pages.
    FirstPage(RegistryPage),
}

/// How much of a listing is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum ListingExtent {
    Whole,
    /// The whole, unless it seeks and has more ordinary tags than this; at 0, unless it seeks and has more than a page.
    UnlessSeekable(usize),
    /// The whole where it has one page or was walked before; else the first page.
    UnlessPaged,
}

/// What one reading of a listing brought.
#[derive(Clone)]
enum ListingResult {
    All(AgedTagNames),
    /// The first of several pages.
    FirstPage(RegistryPage),
    /// The repository is large, and each subject's names can be asked for.
    Seekable,
}

impl ListingResult {
    fn scope(&self) -> AnswerScope {
        match self {
            // Some registries list to each credential only what it may see.
            Self::All(_) => AnswerScope::ToldNoMore,
            Self::FirstPage(_) => AnswerScope::Credential,
            // Of its own subject each caller then asks itself.
            Self::Seekable => AnswerScope::Everybody,
        }
    }
}

type ListingKey = (RepositoryKey, Epoch, Followers, ListingExtent);
type ListingOutcome = Result<Answer<ListingResult>, UpstreamError>;

/// A listing with the epoch in which its leader asked for it.
type EpochListing = (Epoch, ListingOutcome);

/// A walk may take as long as it moves; one that has not ended by then goes on with the next question.
const DEADLINE: Duration = Duration::from_secs(60 * 60);

/// How long a repository that was large is taken to be so: listing it whole again is what seeking saves.
const LARGE_FOR: Duration = Duration::from_secs(3600);

/// How listings age.
#[derive(Clone, Copy)]
pub(super) struct ListingTimes {
    /// How long searches wait for one.
    pub patience: Duration,
    pub fresh_for: Duration,
}

#[derive(Clone)]
pub(super) struct TagListings {
    upstream: Arc<Upstream>,
    cache: Arc<Cache>,
    access: Arc<AccessList>,
    written: Arc<OwnWrites>,
    walks: Arc<UnfinishedWalks>,
    renewals: Arc<Renewals>,
    pub vanished: Arc<VanishedTags>,
    times: ListingTimes,
    /// Searches among themselves: they may be held back, which nobody else has to wait for. With the number of ordinary tags
    /// beyond which a repository need not be read whole.
    shared: Arc<SharedWork<ListingKey, EpochListing>>,
}

impl TagListings {
    pub fn new(
        upstream: Arc<Upstream>,
        cache: Arc<Cache>,
        access: Arc<AccessList>,
        written: Arc<OwnWrites>,
        times: ListingTimes,
    ) -> Self {
        let lost = || (Epoch::outside(), Err(UpstreamError::Timeout("tag listing")));
        Self {
            upstream,
            cache,
            access,
            written,
            walks: Arc::default(),
            renewals: Arc::default(),
            vanished: Arc::default(),
            times,
            shared: Arc::new(SharedWork::new(DEADLINE, lost)),
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
            None => self.within_patience(context).await,
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
        let extent = ListingExtent::UnlessSeekable(large);
        match self.read(context, extent, Some(self.times.patience)).await? {
            Answer::Found(ListingResult::All(listing)) => return Ok(Answer::Found(Sought::All(listing))),
            Answer::Found(ListingResult::FirstPage(_) | ListingResult::Seekable) => {}
            Answer::Absent => return Ok(Answer::Absent),
            Answer::Refused(refusal) => return Ok(Answer::Refused(refusal)),
        }
        match self.seek(context, key, within).await? {
            Some(sought) => Ok(sought),
            None => {
                let all = self.within_patience(context).await?;
                all.try_map(|listing| Ok(Sought::All(listing)))
            }
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

    /// All tag names as the registry lists them to this caller now; concurrent questions with one credential share one listing.
    pub async fn now(&self, context: &RepositoryContext) -> Result<Answer<AgedTagNames>, UpstreamError> {
        whole(self.read(context, ListingExtent::Whole, None).await)
    }

    /// The same, but where the listing has several pages and was never walked, the first of them.
    pub async fn now_or_first_page(&self, context: &RepositoryContext) -> Result<Answer<ListedTags>, UpstreamError> {
        let read = self.read(context, ListingExtent::UnlessPaged, None).await?;
        read.try_map(|listed| match listed {
            ListingResult::All(listing) => Ok(ListedTags::All(listing)),
            ListingResult::FirstPage(page) => Ok(ListedTags::FirstPage(page)),
            ListingResult::Seekable => Err(not_read()),
        })
    }

    /// All names for whoever does not wait to the end.
    pub async fn within_patience(&self, context: &RepositoryContext) -> Result<Answer<AgedTagNames>, UpstreamError> {
        whole(
            self.read(context, ListingExtent::Whole, Some(self.times.patience))
                .await,
        )
    }

    /// Reads together with whoever else does: see [`super::shared_work`]. The listing goes on in the background
    /// after `patience`.
    async fn read(
        &self,
        context: &RepositoryContext,
        extent: ListingExtent,
        patience: Option<Duration>,
    ) -> ListingOutcome {
        let Some(patience) = patience else {
            return self.read_together(context, extent, false).await;
        };
        self.walks.asked(&context.repository_key);
        let mut reading = Box::pin(self.read_together(context, extent, true));
        match timeout(patience, &mut reading).await {
            Ok(listed) => listed,
            Err(_) => {
                // As long as anybody asks for it: see `walk`. What those who hang up have begun ends with them.
                let begin = || self.begin(context, extent, true);
                let followers = self.walker(context).followers;
                if let Err(error) = self.shared.start(self.listing_key(context, extent), context, begin) {
                    tracing::debug!(repository = %context.repository, %error, "a tag listing does not go on");
                }
                Err(self.walks.still_listing(&context.repository_key, followers))
            }
        }
    }

    /// Whoever asks after a write joins the walk that is under way all the same.
    fn listing_key(&self, context: &RepositoryContext, extent: ListingExtent) -> ListingKey {
        let followers = self.walker(context).followers;
        let asked_in = self.walks.under_way(&context.repository_key, followers);
        let epoch = asked_in.unwrap_or_else(|| context.epoch.clone());
        (context.repository_key.clone(), epoch, followers, extent)
    }

    /// Names that are shown, and those that are taken for what the listing account sees, are read with one credential alone.
    fn walker(&self, context: &RepositoryContext) -> Walker {
        let credential = context.caller.credential_hash();
        let followers = match context.caller.searches() && !context.caller.is_listing_account() {
            true => Followers::Searches,
            false => Followers::OfCredential(credential),
        };
        Walker { credential, followers }
    }

    fn begin(
        &self,
        context: &RepositoryContext,
        extent: ListingExtent,
        may_stop: bool,
    ) -> Result<impl Future<Output = EpochListing> + Send + 'static, UpstreamError> {
        let reads = self.upstream.reads();
        reads.check_listing(&context.repository, &context.caller)?;
        let (epoch, listing) = (
            context.epoch.clone(),
            self.clone().list(context.clone(), extent, may_stop),
        );
        Ok(async move { (epoch, listing.await) })
    }

    async fn read_together(
        &self,
        context: &RepositoryContext,
        extent: ListingExtent,
        may_stop: bool,
    ) -> ListingOutcome {
        let begin = || self.begin(context, extent, may_stop);
        let scope = |(_, listed): &EpochListing| AnswerScope::of_answer(listed, ListingResult::scope);
        let lists_no_more = |(_, listed): EpochListing| {
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
        let asked = (self.listing_key(context, extent), &*self.upstream, context);
        match self.shared.share(asked, begin, scope, lists_no_more).await? {
            // It began before something was written that this question is to show.
            Some((epoch, Ok(Answer::Found(ListingResult::All(_))))) if epoch != context.epoch => {
                // What was listed to somebody else is not shown.
                let remembered = match context.caller.searches() {
                    true => self.fresh(context, Duration::MAX).await?,
                    false => None,
                };
                match remembered {
                    Some(listing) => Ok(Answer::Found(ListingResult::All(listing))),
                    None => self.clone().list(context.clone(), extent, may_stop).await,
                }
            }
            Some((_, listed)) => listed,
            None => self.clone().list(context.clone(), extent, may_stop).await,
        }
    }

    /// Whether the repository recently had more ordinary tags than deep reading goes through.
    pub async fn is_known_large(&self, context: &RepositoryContext) -> bool {
        let marked = self.cache.get::<Marker>(&Key::large(&context.repository_key)).await;
        marked.is_some_and(|found| found.age < LARGE_FOR)
    }

    pub async fn remember_large(&self, context: &RepositoryContext) {
        self.cache
            .put(Key::large(&context.repository_key), Arc::new(Marker))
            .await;
    }

    /// A remembered listing, however old.
    pub async fn remembered(&self, context: &RepositoryContext) -> Option<CacheEntry<RememberedListing>> {
        self.cache
            .get(&Key::tag_list(&context.repository_key, &context.epoch))
            .await
    }

    /// A remembered listing that is no older and holds all tags but those that are remembered to be written since, where the
    /// registry lists this caller no more.
    async fn fresh(
        &self,
        context: &RepositoryContext,
        max_age: Duration,
    ) -> Result<Option<AgedTagNames>, UpstreamError> {
        let remembered = self.remembered(context).await;
        let Some(fresh) = remembered.filter(|listing| listing.within(max_age)) else {
            return Ok(None);
        };
        let (listed, age, mut unlisted) = (fresh.value, fresh.age, fresh.written_since);
        if listed.listing.page_count() > 0 {
            self.renewals.note_large(&context.repository_key);
        }
        unlisted.retain(|tag| !listed.names().contains(tag));
        let key = &context.repository_key;
        if !unlisted.is_empty() && !self.written.knows_all(&self.cache, key, unlisted).await {
            return Ok(None);
        }
        let listing = AgedTagNames {
            names: listed.names().clone(),
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
}

/// What was read without leave to seek.
fn whole(outcome: ListingOutcome) -> Result<Answer<AgedTagNames>, UpstreamError> {
    outcome?.try_map(|listed| match listed {
        ListingResult::All(listing) => Ok(listing),
        ListingResult::FirstPage(_) | ListingResult::Seekable => Err(not_read()),
    })
}

fn not_read() -> UpstreamError {
    UpstreamError::Invalid("a tag listing that was not read".into())
}
