//! The tags of a repository, for callers who list them.

use std::sync::Arc;
use std::time::Duration;

use super::Resolver;
use crate::oci::RepositoryName;
use crate::referrers::context::RepositoryContext;
use crate::referrers::tag_listings::{AgedTagNames, ListedTags};
use crate::registry::{Answer, Caller, PageCursor, RegistryPage, TagNames, UpstreamError};

/// The tags of a repository as a caller is given them who follows pages.
pub enum CallersTags {
    All(Arc<TagNames>),
    /// Others follow, and listing them all takes a while.
    FirstPage(RegistryPage),
}

impl Resolver {
    /// All tag names as the registry lists them to this caller now; concurrent questions with one credential share one listing.
    pub async fn tags(
        &self,
        repository: &RepositoryName,
        caller: &Caller,
    ) -> Result<Answer<Arc<TagNames>>, UpstreamError> {
        let context = self.context(repository, caller).await;
        match self.inner.stores.listings.now(&context).await? {
            Answer::Found(listing) => Ok(Answer::Found(self.with_written(&context, listing).await?)),
            Answer::Absent => self.written_alone(&context).await,
            Answer::Refused(refusal) => Ok(Answer::Refused(refusal)),
        }
    }

    /// The same, but of a repository whose listing has several pages and was never walked, the first of them: at once for whoever
    /// `wants_pages`, for everybody else once reading them all takes longer than `links.patience`.
    pub async fn tags_or_first_page(
        &self,
        repository: &RepositoryName,
        caller: &Caller,
        wants_pages: bool,
    ) -> Result<Answer<CallersTags>, UpstreamError> {
        let context = self.context(repository, caller).await;
        let listings = &self.inner.stores.listings;
        let whole = match wants_pages {
            true => None,
            false => match listings.within_patience(&context).await {
                Err(UpstreamError::StillListing { .. }) => None,
                listed => Some(listed?.try_map(|listing| Ok(ListedTags::All(listing)))?),
            },
        };
        let listed = match whole {
            Some(whole) => whole,
            None => listings.now_or_first_page(&context).await?,
        };
        let all = match listed {
            Answer::Found(ListedTags::FirstPage(page)) => return Ok(Answer::Found(CallersTags::FirstPage(page))),
            Answer::Found(ListedTags::All(listing)) => Answer::Found(self.with_written(&context, listing).await?),
            Answer::Absent => self.written_alone(&context).await?,
            Answer::Refused(refusal) => Answer::Refused(refusal),
        };
        all.try_map(|all| Ok(CallersTags::All(all)))
    }

    /// A later page of such a listing, which began at `began`, as time since 1970. The last one also has what was written through
    /// refshim since, or just before.
    pub async fn tags_page(
        &self,
        repository: &RepositoryName,
        (cursor, began): (PageCursor, Duration),
        caller: &Caller,
    ) -> Result<Answer<RegistryPage>, UpstreamError> {
        let context = self.context(repository, caller).await;
        let (upstream, stores) = (&self.inner.upstream, &self.inner.stores);
        let mut page = match upstream.registry_page(repository, cursor, caller).await? {
            Answer::Found(page) => page,
            Answer::Absent => return Ok(Answer::Absent),
            Answer::Refused(refusal) => return Ok(Answer::Refused(refusal)),
        };
        if page.next.is_none() {
            let listed = page.names.iter().collect();
            let lacking = stores
                .tags
                .written_since(&stores.manifests, &context, &listed, began)
                .await?;
            page.names.extend(lacking.iter().map(|tag| tag.name.to_string()));
        }
        Ok(Answer::Found(page))
    }

    async fn with_written(
        &self,
        context: &RepositoryContext,
        listing: AgedTagNames,
    ) -> Result<Arc<TagNames>, UpstreamError> {
        let stores = &self.inner.stores;
        if !listing.names.is_empty() {
            stores.tags.listed(&context.repository_key);
        }
        stores
            .tags
            .overlaid(&stores.manifests, context, listing.names, listing.began)
            .await
    }

    /// The registry lists nothing: it was just pushed, and the listing lags, unless it was there before. Then refshim's own tags
    /// are not all.
    async fn written_alone(&self, context: &RepositoryContext) -> Result<Answer<Arc<TagNames>>, UpstreamError> {
        let stores = &self.inner.stores;
        if !self.inner.access.is_allowed(context) || stores.tags.was_listed(&context.repository_key) {
            return Ok(Answer::Absent);
        }
        let began = self.inner.cache.now();
        let overlaid = stores.tags.overlaid(&stores.manifests, context, Arc::default(), began);
        let names = overlaid.await?;
        Ok(match names.is_empty() {
            true => Answer::Absent,
            false => Answer::Found(names),
        })
    }

    /// Time since 1970, as what was written is dated.
    pub fn now(&self) -> Duration {
        self.inner.cache.now()
    }
}
