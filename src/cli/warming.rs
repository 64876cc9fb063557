//! Reading the repositories of `cache.warm` at the start. Callers do not wait for it, and where it fails their first questions take longer.

use futures_util::{StreamExt as _, stream};

use crate::config::Config;
use crate::oci::RepositoryName;
use crate::referrers::Resolver;
use crate::registry::Caller;

/// Repositories read at the same time; few, so that callers' requests come first.
const PARALLEL: usize = 2;

/// Warms the configured repositories of the first upstream in the background.
pub(super) fn start(resolvers: &[Resolver], config: &Config) {
    let repositories = config.cache.warm.clone();
    let Some(first) = resolvers.first().filter(|_| !repositories.is_empty()).cloned() else {
        return;
    };
    tokio::spawn(async move {
        let warmed = stream::iter(repositories).map(|repository| warm(first.clone(), repository));
        warmed.buffer_unordered(PARALLEL).collect::<()>().await;
    });
}

/// Without a caller's credentials.
async fn warm(resolver: Resolver, repository: RepositoryName) {
    match resolver.warm(&repository, &Caller::anonymous()).await {
        Ok(links) => tracing::info!(%repository, links, "warmed"),
        Err(error) => tracing::warn!(%repository, %error, "could not be warmed; it is read when somebody asks"),
    }
}
