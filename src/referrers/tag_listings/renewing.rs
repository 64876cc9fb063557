//! Renewing listings of many pages before they are no longer fresh: see `renewals`.

use std::time::Duration;

use super::TagListings;
use crate::referrers::context::RepositoryContext;

/// Requests of a refresh beside those for its pages, and a little time.
const BESIDE_PAGES: usize = 10;

impl TagListings {
    /// Somebody asks about the repository. Whoever does so again may expect that no listing is waited for.
    pub fn asked(&self, context: &RepositoryContext) {
        let again = self.renewals.asked(&context.repository_key);
        if !again || self.upstream.background_rate() == 0 || self.times.fresh_for.is_zero() {
            return;
        }
        let (listings, asked) = (self.clone(), context.clone());
        let renewing = async move { while listings.renew_in_time(&asked).await {} };
        self.renewals.start(&context.repository_key, renewing);
    }

    /// Waits until the listing is about to be no longer fresh, and asks for it anew. False where that is not to be done again.
    async fn renew_in_time(&self, asked: &RepositoryContext) -> bool {
        let Some(due) = self.due(asked).await else { return false };
        tokio::time::sleep(due).await;
        let context = self.now_in_background(asked).await;
        let Some(known) = self.remembered(&context).await else {
            return false;
        };
        if !self.renewals.is_wanted(&context.repository_key, known.value.took) {
            return false;
        }
        let is_due = async || self.due(asked).await.is_some_and(|due| due.is_zero());
        // Unless somebody who waited for it was faster.
        if is_due().await
            && let Err(error) = self.refreshed(&context, &known.value.listing).await
        {
            tracing::debug!(repository = %context.repository, %error, "a tag listing was not renewed");
        }
        !is_due().await
    }

    async fn now_in_background(&self, asked: &RepositoryContext) -> RepositoryContext {
        RepositoryContext {
            caller: asked.caller.searching().in_background(),
            epoch: self.cache.epoch(&asked.repository_key).await,
            ..asked.clone()
        }
    }

    /// In how long it is to be asked for anew. `None`: it has one page, or so many that the rate does not suffice.
    async fn due(&self, asked: &RepositoryContext) -> Option<Duration> {
        let known = self.remembered(&self.now_in_background(asked).await).await?;
        let pages = known.value.listing.page_count();
        let requests = u32::try_from(pages + BESIDE_PAGES).ok().filter(|_| pages > 0)?;
        let takes = Duration::from_secs(1) * requests / self.upstream.background_rate().max(1);
        let before = self.times.fresh_for.checked_sub(takes)?;
        Some(match known.verified {
            true => before.saturating_sub(known.age),
            false => Duration::ZERO,
        })
    }
}
