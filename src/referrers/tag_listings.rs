//! Tag listings: one per repository and refresh, shared by all its subjects.

mod listed;
mod reading;
mod refreshing;
mod renewing;
mod sharing;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::cache::{Cache, CacheEntry, Epoch, Key};
use crate::oci::SubjectKey;
use crate::registry::{Answer, CalibratedWithin, Fingerprint, TagNames, Upstream, UpstreamError};

use super::access::AccessList;
use super::context::RepositoryContext;
use super::marker::Marker;
use super::own_writes::OwnWrites;
use super::remembered_listing::RememberedListing;
use super::renewals::Renewals;
use super::shared_work::SharedWork;
use super::unfinished_walks::UnfinishedWalks;
use super::vanished_tags::VanishedTags;

pub(super) use listed::{AgedTagNames, ListedTags, Sought};
use listed::{ListingExtent, ListingResult, not_read, whole};
use refreshing::Refreshes;
use sharing::{EpochListing, ListingKey};

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
    refreshes: Arc<Refreshes>,
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
            refreshes: Arc::default(),
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
        // A seek asks the registry now, whatever the age of what is remembered.
        let within = CalibratedWithin {
            age: self.times.fresh_for,
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
