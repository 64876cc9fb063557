//! Renewing listings of many pages before they are no longer fresh: see `renewals`.

use std::time::Duration;

use super::TagListings;
use crate::cache::CacheEntry;
use crate::referrers::context::RepositoryContext;
use crate::referrers::remembered_listing::RememberedListing;

/// Requests of a refresh beside those for its pages, and a little time.
const BESIDE_PAGES: usize = 10;

impl TagListings {
    /// Somebody asks about the repository. Whoever does so again may expect that no listing is waited for.
    pub fn asked(&self, context: &RepositoryContext) {
        let again = self.renewals.asked(&context.repository_key);
        if !again || self.requests_in_time() == 0 {
            return;
        }
        let (listings, asked) = (self.clone(), context.clone());
        let renewing = async move { while listings.renew_in_time(&asked).await {} };
        self.renewals.start(&context.repository_key, renewing);
    }

    /// Waits until the listing is about to be no longer fresh, and asks for it anew. False where that is not to be done again.
    async fn renew_in_time(&self, asked: &RepositoryContext) -> bool {
        let Some((_, known)) = self.known_pages(asked).await else {
            return false;
        };
        let requests = known.value.listing.page_count() + BESIDE_PAGES;
        // Beyond the rate whoever asks waits for a refresh, which is faster: one that is too late saves nobody anything.
        let Some(_share) = self.renewals.reserve(requests, self.requests_in_time()) else {
            return false;
        };
        tokio::time::sleep(self.due(&known)).await;
        let Some((context, known)) = self.known_pages(asked).await else {
            return false;
        };
        if !self.renewals.is_wanted(&context.repository_key, known.value.took) {
            return false;
        }
        // Unless somebody who waited for it was faster.
        !self.due(&known).is_zero() || self.refresh_in_background(&context, known.value).await
    }

    /// Requests that may be made in the background within the time that a listing is fresh.
    fn requests_in_time(&self) -> usize {
        let requests = self.times.fresh_for.as_secs_f64() * f64::from(self.upstream.background_rate());
        requests as usize
    }

    /// The listing as it is remembered now, where its pages can be asked for again, with the account that it was read by.
    async fn known_pages(
        &self,
        asked: &RepositoryContext,
    ) -> Option<(RepositoryContext, CacheEntry<RememberedListing>)> {
        let mut context = RepositoryContext {
            caller: asked.caller.searching(),
            epoch: self.cache.epoch(&asked.repository_key).await,
            ..asked.clone()
        };
        let known = self.remembered(&context).await?;
        let account = context.caller.listing_account();
        if known.value.listed_to == Some(account.credential_hash()) {
            context.caller = account;
        }
        (known.value.listing.page_count() > 0).then_some((context, known))
    }

    /// In how long it is to be asked for anew, so that all renewals under way are done in time.
    fn due(&self, known: &CacheEntry<RememberedListing>) -> Duration {
        let takes = self.renewals.reserved() as f64 / f64::from(self.upstream.background_rate().max(1));
        let before = self.times.fresh_for.saturating_sub(Duration::from_secs_f64(takes));
        match known.verified {
            true => before.saturating_sub(known.age),
            false => Duration::ZERO,
        }
    }
}
