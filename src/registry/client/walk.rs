//! Walking a tag listing page by page. A walk can be left and gone on with: what was read is kept when a page fails.

use http::Uri;

use super::Upstream;
use super::page_reader::ReadTagPage;
use super::refresh::Refresh;
use super::tag_listing::{ListingMark, PAGE_SIZE, PageStart, PartialListing};
use super::walked_listing::{FEWEST_PAGES, WalkedListing};
use crate::oci::RepositoryName;
use crate::registry::answer::Answer;
use crate::registry::caller::Caller;
use crate::registry::capabilities::paging::Paging;
use crate::registry::error::UpstreamError;
use crate::registry::tag_names::TagNamesBuilder;

/// A walk through a repository's tag listing.
pub struct ListingWalk {
    repository: RepositoryName,
    listing: PartialListing,
    next: NextStep,
}

/// What comes next.
enum NextStep {
    Page(Uri),
    /// What follows this page, which links to no next one, in a listing that was read so far.
    End(ReadTagPage, ListingMark),
    /// Whether pages still begin where they did.
    Settle,
}

/// How far a step got.
#[derive(Debug)]
pub enum WalkStep {
    /// There is more to ask for.
    More,
    /// That was all.
    Ended(WalkedListing),
}

impl ListingWalk {
    /// Whose tags they are.
    pub fn repository(&self) -> &RepositoryName {
        &self.repository
    }

    /// How many names were read so far.
    pub fn names_read(&self) -> usize {
        self.listing.names().len()
    }

    /// Bytes held.
    pub fn weight(&self) -> usize {
        let pages = self.listing.pages.iter().map(PageStart::weight);
        self.listing.names().weight() + pages.sum::<usize>()
    }

    /// The names of the first page, when it is all that was read and others follow.
    pub(in crate::registry) fn first_page(&self) -> Option<&TagNamesBuilder> {
        let follows = matches!(self.next, NextStep::Page(_)) && self.listing.pages.len() == 1;
        follows.then(|| self.listing.names())
    }

    /// Asks for one page more, and at the end for the proof that it is the end. After an error, or when whoever waited has gone, the
    /// same is asked again.
    pub async fn step(&mut self, upstream: &Upstream, caller: &Caller) -> Result<Answer<WalkStep>, UpstreamError> {
        let answer = match &self.next {
            NextStep::Page(uri) => {
                let page = upstream.page(uri.clone(), &mut self.listing, caller).await?;
                page.try_map(|mut page| {
                    Ok(match page.next.take() {
                        Some(next) => NextStep::Page(next),
                        None => NextStep::End(page, self.listing.mark()),
                    })
                })?
            }
            NextStep::End(last, mark) => {
                // While it is not known how the listing goes on, that is learned from what was known when it ended.
                if upstream.paging(&self.repository).paging() != Some(Paging::ByLast) {
                    self.listing.rewind(*mark);
                }
                let proven = upstream.prove_end(&self.repository, last, &mut self.listing, caller);
                proven.await?.try_map(|()| Ok(NextStep::Settle))?
            }
            NextStep::Settle => return self.settle(upstream, caller).await,
        };
        answer.try_map(|next| {
            self.next = next;
            Ok(WalkStep::More)
        })
    }

    /// A name that a page begins after may have moved before that page was asked for, which then lacks names.
    async fn settle(&mut self, upstream: &Upstream, caller: &Caller) -> Result<Answer<WalkStep>, UpstreamError> {
        let (form, pages) = (self.listing.form(), self.listing.listed_pages()?);
        let is_own = pages.iter().all(|page| upstream.origin().holds(&page.cursor));
        if pages.len() < FEWEST_PAGES || !is_own {
            let names = self.listing.names().clone().finish();
            return Ok(Answer::Found(WalkStep::Ended(WalkedListing::of_names(names))));
        }
        let mut refresh = Refresh::of_walk(pages, form);
        if refresh.is_named() {
            match upstream.settle(&self.repository, &mut refresh, caller).await? {
                Answer::Found(true) => {}
                Answer::Found(false) | Answer::Absent => {
                    let reason = "its tag listing changes faster than it can be read";
                    return Err(UpstreamError::Invalid(reason.into()));
                }
                Answer::Refused(refusal) => return Ok(Answer::Refused(refusal)),
            }
        }
        Ok(Answer::Found(WalkStep::Ended(refresh.finish()?)))
    }
}

impl Upstream {
    /// A walk through the tags of `repository`, of which nothing is asked yet.
    pub fn walk(&self, repository: &RepositoryName) -> Result<ListingWalk, UpstreamError> {
        Ok(ListingWalk {
            repository: repository.clone(),
            listing: PartialListing::default(),
            next: NextStep::Page(self.tags_uri(repository, None, PAGE_SIZE)?),
        })
    }
}
