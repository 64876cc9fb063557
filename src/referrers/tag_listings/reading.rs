//! Reading a listing: by the pages of the last one, or by walking.

use std::sync::Arc;
use std::time::Duration;

use super::TagListings;
use super::listed::{AgedTagNames, ListingExtent, ListingOutcome, ListingResult};
use super::refreshing::RefreshOutcome;
use crate::cache::Key;
use crate::oci::tag_scheme;
use crate::referrers::context::RepositoryContext;
use crate::referrers::remembered_listing::RememberedListing;
use crate::referrers::unfinished_walks::WalkInProgress;
use crate::registry::{Answer, TagNamesBuilder, Tags, UpstreamError, WalkedListing};

impl TagListings {
    /// Asks for the pages of the last listing, or walks. `may_stop`: when nobody has asked for a while, though somebody seems to
    /// wait.
    pub(super) async fn list(
        self,
        context: RepositoryContext,
        extent: ListingExtent,
        may_stop: bool,
    ) -> ListingOutcome {
        let _permit = self
            .upstream
            .reads()
            .listing_permit(&context.repository, &context.caller)
            .await?;
        let known = self.remembered(&context).await;
        if let Some(known) = known.filter(|known| known.value.listing.page_count() > 0) {
            match self.refresh_together(&context, known.value).await? {
                Answer::Found(Some(listing)) => return Ok(Answer::Found(ListingResult::All(listing))),
                Answer::Found(None) => {}
                Answer::Absent => return Ok(Answer::Absent),
                Answer::Refused(refusal) => return Ok(Answer::Refused(refusal)),
            }
        }
        let began = self.cache.now();
        let begin = || self.upstream.walk(&context.repository);
        let walker = (&context.repository_key, self.walker(&context));
        let walk = match extent {
            ListingExtent::UnlessPaged => self.walks.begin(walker, began, begin()?),
            ListingExtent::Whole | ListingExtent::UnlessSeekable(_) => self.walks.go_on(walker, began, begin)?,
        };
        self.walk(&context, walk, extent, may_stop).await
    }

    /// The listing as it is now, asked for by its pages; `None` where it is to be walked anew.
    pub(super) async fn refreshed(&self, context: &RepositoryContext, known: &WalkedListing) -> RefreshOutcome {
        let began = self.cache.now();
        let refreshed = self.upstream.refresh(&context.repository, known, &context.caller);
        Ok(match refreshed.await? {
            Answer::Found(Some(listing)) => Answer::Found(Some(self.remember(context, listing, began).await)),
            Answer::Found(None) => Answer::Found(None),
            Answer::Absent => Answer::Absent,
            Answer::Refused(refusal) => Answer::Refused(refusal),
        })
    }

    async fn walk(
        &self,
        context: &RepositoryContext,
        mut walk: WalkInProgress,
        extent: ListingExtent,
        may_stop: bool,
    ) -> ListingOutcome {
        let is_large = |names: &TagNamesBuilder| match extent {
            ListingExtent::UnlessSeekable(most) => has_more_ordinary(names, most),
            ListingExtent::Whole | ListingExtent::UnlessPaged => false,
        };
        let stopped = || UpstreamError::Timeout("tag listing");
        loop {
            if may_stop && !self.walks.is_asked(&context.repository_key) {
                return Err(stopped());
            }
            let pages = walk.walk().ok_or_else(stopped)?;
            let step = self.upstream.walk_step(pages, &context.caller, &is_large).await;
            if matches!(step, Ok(Answer::Found(None))) {
                if extent == ListingExtent::UnlessPaged
                    && let Some(page) = pages.first_registry_page()
                {
                    self.access.allow_listing(context);
                    return Ok(Answer::Found(ListingResult::FirstPage(page)));
                }
                walk.got_on(&context.epoch);
                continue;
            }
            let began = walk.began;
            if !may_go_on_after(&step) {
                walk.end();
            }
            return match step? {
                Answer::Found(Some(tags)) => self.walked(context, tags, began).await,
                Answer::Found(None) => Err(stopped()),
                Answer::Absent => Ok(Answer::Absent),
                Answer::Refused(refusal) => Ok(Answer::Refused(refusal)),
            };
        }
    }

    async fn walked(&self, context: &RepositoryContext, tags: Tags, began: Duration) -> ListingOutcome {
        let Tags::All(listing) = tags else {
            self.access.allow_listing(context);
            return Ok(Answer::Found(ListingResult::Seekable));
        };
        let listed = self.remember(context, listing, began).await;
        Ok(Answer::Found(ListingResult::All(listed)))
    }

    /// Remembers what was read since `began`.
    async fn remember(&self, context: &RepositoryContext, listing: WalkedListing, began: Duration) -> AgedTagNames {
        self.access.allow_listing(context);
        if listing.page_count() > 0 {
            self.renewals.note_large(&context.repository_key);
        }
        let (names, fingerprint) = (listing.names().clone(), listing.names().fingerprint());
        // A registry that hides the repository from the account lists it nothing: that says nothing about callers.
        if !names.is_empty() || !context.caller.is_listing_account() {
            self.access.remember_listed(context, fingerprint);
        }
        // Registries show strangers an empty repository.
        if !names.is_empty() || self.access.is_allowed(context) {
            if let Some(before) = self.remembered(context).await {
                // One that was listed after it was deleted had come back.
                let listed_at = self.cache.now().saturating_sub(before.age + before.value.took);
                let is_deleted = |tag: &str| self.written.is_gone_since(&context.repository_key, tag, listed_at);
                self.vanished
                    .note(&context.repository_key, &before.value, &names, is_deleted);
            }
            let remembered = RememberedListing {
                listing,
                fingerprint,
                took: self.cache.now().saturating_sub(began),
                listed_to: Some(context.caller.credential_hash()),
            };
            let key = Key::tag_list(&context.repository_key, &context.epoch);
            self.cache.put(key, Arc::new(remembered)).await;
        }
        AgedTagNames {
            names,
            fingerprint,
            age: Duration::ZERO,
            began,
        }
    }
}

/// Whether the page at which a walk stopped may be had later.
fn may_go_on_after(step: &Result<Answer<Option<Tags>>, UpstreamError>) -> bool {
    match step {
        Ok(Answer::Refused(refusal)) => matches!(refusal.status.as_u16(), 401 | 403),
        Ok(Answer::Found(_) | Answer::Absent) => false,
        Err(error) => error.is_outage(),
    }
}

/// Whether there are more than `most` tags that are no links; whatever they are, where that is none.
fn has_more_ordinary(names: &TagNamesBuilder, most: usize) -> bool {
    let ordinary = (0..names.len()).filter(|&index| tag_scheme::parse(names.get(index)).is_none());
    most == 0 || ordinary.take(most + 1).count() > most
}
