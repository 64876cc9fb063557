//! Reading a repository's links before anybody asks.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::error::ResolveError;
use super::listing::Listings;
use super::manifests::{Manifests, Recheck};
use super::place::Place;
use super::scan::PARALLEL;
use crate::oci::{Tag, tag_scheme};
use crate::upstream::Answer;

/// Lists the tags and reads what link tags point at. Returns how many there are.
pub(super) async fn warm(listings: &Listings, manifests: &Manifests, place: &Place) -> Result<usize, ResolveError> {
    let names = match listings.now(place).await? {
        Answer::Found(listing) => listing.names,
        Answer::Absent => return Ok(0),
        Answer::Refused(refusal) => return Err(refusal.into()),
    };
    let links = names.iter().filter(|name| tag_scheme::parse(name).is_some());
    let links: Vec<Tag> = links.filter_map(|name| Tag::parse(name).ok()).collect();
    let count = links.len();
    stream::iter(links)
        .map(|tag| read(manifests, place, tag))
        .buffer_unordered(PARALLEL)
        .try_collect::<()>()
        .await?;
    Ok(count)
}

async fn read(manifests: &Manifests, place: &Place, tag: Tag) -> Result<(), ResolveError> {
    match manifests.by_tag(place, &tag, Recheck::Always).await {
        Ok(Answer::Found(_) | Answer::Absent) => Ok(()),
        Ok(Answer::Refused(refusal)) => Err(refusal.into()),
        Err(error) => manifests.skip(error, tag.as_str()),
    }
}
