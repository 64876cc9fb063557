//! One reading for all who ask at the same time, which goes on when they have waited long enough.

use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::timeout;

use super::TagListings;
use super::listed::{ListingExtent, ListingOutcome, ListingResult};
use crate::cache::{Ends, Epoch, RepositoryKey};
use crate::referrers::context::RepositoryContext;
use crate::referrers::shared_work::AnswerScope;
use crate::referrers::unfinished_walks::{Followers, Walker};
use crate::registry::{Answer, UpstreamError};

/// A refresh has an end in sight, other than a first walk: it is waited for longer, by this part of the patience.
const LONGER_FOR_REFRESH: u32 = 5;

pub(super) type ListingKey = (RepositoryKey, Epoch, Followers, ListingExtent);

/// A listing with the epoch in which its leader asked for it.
pub(super) type EpochListing = (Epoch, ListingOutcome);

impl TagListings {
    /// Reads together with whoever else does: see [`super::shared_work`]. The listing goes on in the background
    /// after `patience`.
    pub(super) async fn read(
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
        let mut listed = timeout(patience, &mut reading).await;
        if listed.is_err() && self.is_refreshing(context) {
            listed = timeout(patience / LONGER_FOR_REFRESH, &mut reading).await;
        }
        if let Ok(listed) = listed {
            return listed;
        }
        // As long as anybody asks for it: see `walk`. A walk that those who hang up have begun ends with them.
        let begin = || self.begin(context, extent, true);
        let followers = self.walker(context).followers;
        if let Err(error) = self.shared.start(self.listing_key(context, extent), context, begin) {
            tracing::debug!(repository = %context.repository, %error, "a tag listing does not go on");
        }
        Err(self.walks.still_listing(&context.repository_key, followers))
    }

    /// Whoever asks after a write joins the walk that is under way all the same.
    fn listing_key(&self, context: &RepositoryContext, extent: ListingExtent) -> ListingKey {
        let followers = self.walker(context).followers;
        let asked_in = self.walks.under_way(&context.repository_key, followers);
        let epoch = asked_in.unwrap_or_else(|| context.epoch.clone());
        (context.repository_key.clone(), epoch, followers, extent)
    }

    /// Names that are shown, and those that are taken for what the listing account sees, are read with one credential alone.
    pub(super) fn walker(&self, context: &RepositoryContext) -> Walker {
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
        let key = self.listing_key(context, extent);
        let asked = (key, &*self.upstream, context, Ends::WithLastWaiter);
        match self.shared.share(asked, begin, scope, lists_no_more).await? {
            // It began before something was written that this question is to show.
            Some((epoch, Ok(Answer::Found(ListingResult::All(_))))) if epoch != context.epoch => {
                match self.since_writes(context).await? {
                    Some(listing) => Ok(Answer::Found(ListingResult::All(listing))),
                    None => self.clone().list(context.clone(), extent, may_stop).await,
                }
            }
            Some((_, listed)) => listed,
            None => self.clone().list(context.clone(), extent, may_stop).await,
        }
    }
}
