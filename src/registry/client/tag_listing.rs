//! Tag listings, read to their end: page by page, in every shape that registries give them.

use super::Upstream;
use super::listing_so_far::{PAGE_SIZE, PartialListing};
use super::walk::{ListingWalk, WalkStep};
use super::walked_listing::WalkedListing;
use crate::oci::RepositoryName;
use crate::registry::answer::Answer;
use crate::registry::caller::Caller;
use crate::registry::error::UpstreamError;
use crate::registry::tag_names::{TagNames, TagNamesBuilder};

/// A repository's tags.
#[derive(Debug)]
pub enum Tags {
    /// All of them.
    All(WalkedListing),
    /// There are many, and [`Upstream::tags_of`] finds those of a subject without reading them all.
    Seekable,
}

/// The first page of a repository's tags.
#[derive(Debug)]
pub struct FirstTags {
    pub names: TagNames,
    pub others_follow: bool,
}

impl Upstream {
    /// All tags of a repository.
    pub async fn tags(&self, repository: &RepositoryName, caller: &Caller) -> Result<Answer<TagNames>, UpstreamError> {
        self.tags_unless_seekable(repository, caller, |_| false)
            .await?
            .try_map(|tags| match tags {
                Tags::All(listing) => Ok(listing.into_names()),
                Tags::Seekable => Err(UpstreamError::Invalid("a tag listing that was not read".into())),
            })
    }

    /// The same, but where `is_large` says so of the first pages, others follow, and listings of this repository seek, the rest
    /// is not read.
    pub async fn tags_unless_seekable(
        &self,
        repository: &RepositoryName,
        caller: &Caller,
        is_large: impl Fn(&TagNamesBuilder) -> bool + Send + Sync,
    ) -> Result<Answer<Tags>, UpstreamError> {
        let read = async {
            let mut walk = self.walk(repository)?;
            loop {
                if let Some(tags) = self.walk_step(&mut walk, caller, &is_large).await?.found()? {
                    return Ok(tags);
                }
            }
        };
        Answer::of(read.await)
    }

    /// One step of that. `None`: there is more.
    pub async fn walk_step(
        &self,
        walk: &mut ListingWalk,
        caller: &Caller,
        is_large: &(impl Fn(&TagNamesBuilder) -> bool + Sync),
    ) -> Result<Answer<Option<Tags>>, UpstreamError> {
        let read = async {
            if let WalkStep::Ended(listing) = walk.step(self, caller).await?.found()? {
                return Ok(Some(Tags::All(listing)));
            }
            let seeks = match walk.first_pages().filter(|names| is_large(names)) {
                Some(names) => self.calibrate_on_pages(walk.repository(), names, caller).await?,
                None => false,
            };
            Ok(seeks.then_some(Tags::Seekable))
        };
        Answer::of(read.await)
    }

    /// The first page of a repository's tags, and whether there are others.
    pub async fn first_tags(
        &self,
        repository: &RepositoryName,
        caller: &Caller,
    ) -> Result<Answer<FirstTags>, UpstreamError> {
        let read = async {
            let mut listing = PartialListing::default();
            let first = self.tags_uri(repository, None, PAGE_SIZE)?;
            let page = self.page(first, &mut listing, caller).await?;
            Ok(FirstTags {
                names: listing.read.names.finish(),
                others_follow: page.next.is_some(),
            })
        };
        Answer::of(read.await)
    }
}
