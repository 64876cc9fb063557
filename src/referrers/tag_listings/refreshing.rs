//! One refresh of a listing for all who ask for it at the same time, whatever they ask it for. What renews it ahead (see `renewing`)
//! is joined too, and hurried: from then on its pages are asked for as fast as those that somebody waits for.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;

use super::listed::AgedTagNames;
use super::{DEADLINE, TagListings};
use crate::cache::{Ends, Epoch, RepositoryKey};
use crate::expiring_map::ExpiringMap;
use crate::referrers::context::RepositoryContext;
use crate::referrers::remembered_listing::RememberedListing;
use crate::referrers::shared_work::{AnswerScope, SharedWork};
use crate::referrers::unfinished_walks::Followers;
use crate::registry::{Answer, BackgroundWork, UpstreamError};

const REMEMBERED: u64 = 10_000;
/// Longer than any renewal takes.
const REMEMBERED_FOR: Duration = Duration::from_secs(60 * 60);

type RefreshKey = (RepositoryKey, Followers);

/// The listing as it is now; `None` where it is to be walked anew.
pub(super) type RefreshOutcome = Result<Answer<Option<AgedTagNames>>, UpstreamError>;

/// Refreshes under way.
pub(super) struct Refreshes {
    /// With the epoch in which their leaders asked.
    shared: SharedWork<RefreshKey, (Epoch, RefreshOutcome)>,
    /// Those that began with nobody waiting.
    in_background: ExpiringMap<RefreshKey, BackgroundWork>,
}

impl Default for Refreshes {
    fn default() -> Self {
        let lost = || (Epoch::outside(), Err(UpstreamError::Timeout("tag listing")));
        Self {
            shared: SharedWork::new(DEADLINE, lost),
            in_background: ExpiringMap::builder(REMEMBERED).time_to_live(REMEMBERED_FOR).build(),
        }
    }
}

impl TagListings {
    fn refresh_key(&self, context: &RepositoryContext) -> RefreshKey {
        (context.repository_key.clone(), self.walker(context).followers)
    }

    pub(super) fn is_refreshing(&self, context: &RepositoryContext) -> bool {
        self.refreshes.shared.is_under_way(&self.refresh_key(context))
    }

    /// Asks for the pages of `known` together with whoever else does. What was begun goes on when whoever waited has hung up:
    /// those who always hang up before it has ended would never get an answer.
    pub(super) async fn refresh_together(
        &self,
        context: &RepositoryContext,
        known: Arc<RememberedListing>,
    ) -> RefreshOutcome {
        let key = self.refresh_key(context);
        if let Some(work) = self.refreshes.in_background.get(&key) {
            work.hurry();
        }
        let begin = || Ok(self.clone().refresh(context.clone(), known.clone()));
        let scope = |(_, refreshed): &(_, RefreshOutcome)| {
            AnswerScope::of_answer(refreshed, |listing| match listing {
                Some(_) => AnswerScope::ToldNoMore,
                None => AnswerScope::Everybody,
            })
        };
        let lists_no_more = |(_, refreshed): (_, RefreshOutcome)| {
            async move {
                match refreshed {
                    Ok(Answer::Found(Some(listing))) => {
                        self.lists_no_more(context, &listing.names, listing.fingerprint).await
                    }
                    _ => Ok(false),
                }
            }
            .boxed()
        };
        let asked = (key, &*self.upstream, context, Ends::ByItself);
        match self.refreshes.shared.share(asked, begin, scope, lists_no_more).await? {
            Some((epoch, Ok(Answer::Found(Some(_))))) if epoch != context.epoch => {
                match self.since_writes(context).await? {
                    Some(listing) => Ok(Answer::Found(Some(listing))),
                    None => self.refreshed(context, &known.listing).await,
                }
            }
            Some((_, refreshed)) => refreshed,
            None => self.refreshed(context, &known.listing).await,
        }
    }

    /// The same with nobody waiting, as long as nobody does, for at most the time that a listing is fresh: by then whoever asks has
    /// it read sooner.
    /// False where that did not come about.
    pub(super) async fn refresh_in_background(
        &self,
        context: &RepositoryContext,
        known: Arc<RememberedListing>,
    ) -> bool {
        let key = self.refresh_key(context);
        let work = BackgroundWork::default();
        let asked = RepositoryContext {
            caller: context.caller.in_background(work.clone()),
            ..context.clone()
        };
        self.refreshes.in_background.insert(key.clone(), work);
        let begin = || Ok(self.clone().refresh(asked, known));
        let joined = self.refreshes.shared.join(key, context, Ends::WithLastWaiter, begin);
        let error = match tokio::time::timeout(self.times.fresh_for, joined).await {
            Ok(Ok(((_, Ok(answer)), _))) => return matches!(answer, Answer::Found(Some(_))),
            Ok(Ok(((_, Err(error)), _)) | Err(error)) => error,
            Err(_) => UpstreamError::Timeout("tag listing"),
        };
        tracing::debug!(repository = %context.repository, %error, "a tag listing was not renewed");
        false
    }

    async fn refresh(self, context: RepositoryContext, known: Arc<RememberedListing>) -> (Epoch, RefreshOutcome) {
        let refreshed = self.refreshed(&context, &known.listing).await;
        (context.epoch, refreshed)
    }

    /// What was listed in an earlier epoch than that of this question, with what was written since. `None`: it is to be listed anew.
    pub(super) async fn since_writes(
        &self,
        context: &RepositoryContext,
    ) -> Result<Option<AgedTagNames>, UpstreamError> {
        match context.caller.searches() {
            true => self.fresh(context, Duration::MAX).await,
            // What was listed to somebody else is not shown.
            false => Ok(None),
        }
    }
}
