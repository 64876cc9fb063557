//! The tags of a repository, for callers who list them.

use std::sync::Arc;

use super::Resolver;
use crate::oci::RepositoryName;
use crate::registry::{Answer, Caller, Stop, TagNames, UpstreamError};

impl Resolver {
    /// All tag names as the registry lists them to this caller now; concurrent questions with one credential share one listing.
    pub async fn tags(
        &self,
        repository: &RepositoryName,
        caller: &Caller,
    ) -> Result<Answer<Arc<TagNames>>, UpstreamError> {
        let context = self.context(repository, caller).await;
        let stores = &self.inner.stores;
        let read = async {
            let asked = stores.listings.now(&context).await?;
            // Just pushed, and the registry's listing lags, unless it was there before: then refshim's own tags are not all.
            let lags = matches!(asked, Answer::Absent)
                && self.inner.access.is_allowed(&context)
                && !stores.tags.was_listed(&context.repository_key);
            let (listed, began) = match lags {
                true => (Arc::default(), self.inner.cache.now()),
                false => {
                    let listing = asked.found()?;
                    if !listing.names.is_empty() {
                        stores.tags.listed(&context.repository_key);
                    }
                    (listing.names, listing.began)
                }
            };
            let overlaid = stores.tags.overlaid(&stores.manifests, &context, listed, began);
            let names = overlaid.await?;
            match lags && names.is_empty() {
                true => Err(Stop::Absent),
                false => Ok(names),
            }
        };
        Answer::of(read.await)
    }
}
