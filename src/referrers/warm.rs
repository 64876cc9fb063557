//! Reading a repository's links before anybody asks.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::context::RepositoryContext;
use super::error::ResolveError;
use super::manifest_store::ManifestStore;
use super::scan::PARALLEL;
use super::tag_listings::TagListings;
use super::tag_reads::Recheck;
use crate::oci::{Tag, tag_scheme};

/// Lists the tags and reads what link tags point at. Returns how many there are.
pub(super) async fn warm(
    listings: &TagListings,
    manifests: &ManifestStore,
    context: &RepositoryContext,
) -> Result<usize, ResolveError> {
    let Some(listing) = listings.now(context).await?.or_refusal()? else {
        return Ok(0);
    };
    let links = listing.names.iter().filter(|name| tag_scheme::parse(name).is_some());
    let links: Vec<Tag> = links.filter_map(|name| Tag::parse(name).ok()).collect();
    let count = links.len();
    stream::iter(links)
        .map(|tag| read(manifests, context, tag))
        .buffer_unordered(PARALLEL)
        .try_collect::<()>()
        .await?;
    Ok(count)
}

async fn read(manifests: &ManifestStore, context: &RepositoryContext, tag: Tag) -> Result<(), ResolveError> {
    let read = manifests.by_tag(context, &tag, Recheck::Always).await;
    manifests.unless_skipped(read, tag.as_str()).map(drop)
}
