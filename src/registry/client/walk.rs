//! Walking a tag listing page by page. A walk can be left and gone on with: what was read is kept when a page fails. At its end
//! pages are asked again, because names move while others are read.

use std::time::Duration;

use http::Uri;
use tokio::time::Instant;

use super::Upstream;
use super::by_last::REPEATS;
use super::listing_so_far::{CIRCLES, ListingMark, PAGE_SIZE, PageStart, PartialListing, UNSTEADY, VANISHED};
use super::page_reader::ReadTagPage;
use super::refresh::Refresh;
use super::registry_page::RegistryPage;
use super::walked_listing::{FEWEST_PAGES, WalkedListing};
use crate::oci::RepositoryName;
use crate::registry::answer::{Answer, Stop};
use crate::registry::caller::Caller;
use crate::registry::capabilities::paging::Paging;
use crate::registry::error::UpstreamError;
use crate::registry::tag_names::TagNamesBuilder;

/// After a longer walk all its pages are asked for again: the first of them were read long ago.
const LONG_WALK: Duration = Duration::from_secs(30);
/// Pages in which there are enough names to see whether a repository is large, and its listings seek: the registry may give a
/// hundred names at a time.
const FIRST_PAGES: usize = 4;

/// A walk through a repository's tag listing.
pub struct ListingWalk {
    repository: RepositoryName,
    listing: PartialListing,
    next: NextStep,
    began: Instant,
    /// Whether nobody walked for a while: what was read is of no known age.
    was_left: bool,
    is_begun_anew: bool,
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

    /// Nobody goes on with it for now. False where beginning anew costs no more.
    pub fn leave(&mut self) -> bool {
        self.was_left = true;
        self.listing.pages.len() > 1
    }

    /// The names of the first few pages, when they are all that was read and others follow.
    pub(in crate::registry) fn first_pages(&self) -> Option<&TagNamesBuilder> {
        let follows = matches!(self.next, NextStep::Page(_)) && self.listing.pages.len() <= FIRST_PAGES;
        follows.then(|| self.listing.names())
    }

    /// The first page as the registry gave it, when it is all that was read and the next one can be asked for by its query alone.
    pub fn first_registry_page(&self) -> Option<RegistryPage> {
        match (&self.next, &self.listing.pages[..]) {
            (NextStep::Page(next), [first]) => RegistryPage::first(self.listing.names(), &first.cursor, next),
            _ => None,
        }
    }

    /// Asks for one page more, and at the end for the proof that it is the end. After an error, or when whoever waited has gone, the
    /// same is asked again. The walk begins anew, once, where names that moved or went may be why it does not go on.
    pub async fn step(&mut self, upstream: &Upstream, caller: &Caller) -> Result<Answer<WalkStep>, UpstreamError> {
        let read = async {
            let step = self.try_step(upstream, caller).await;
            match self.listing.pages.first().map(|page| page.cursor.clone()) {
                Some(first) if !self.is_begun_anew && self.may_be_of_a_change(&step) => {
                    self.listing = PartialListing::default();
                    self.next = NextStep::Page(first);
                    self.began = Instant::now();
                    self.is_begun_anew = true;
                    Ok(WalkStep::More)
                }
                _ => step,
            }
        };
        Answer::of(read.await)
    }

    fn may_be_of_a_change(&self, step: &Result<WalkStep, Stop>) -> bool {
        match step {
            Err(Stop::Failed(UpstreamError::Invalid(reason))) => {
                [CIRCLES, VANISHED, REPEATS, UNSTEADY].contains(&&**reason)
            }
            Err(Stop::Refused(refusal)) => matches!(self.next, NextStep::Page(_)) && !refusal.is_about_access(),
            Ok(_) | Err(Stop::Absent | Stop::Failed(_)) => false,
        }
    }

    async fn try_step(&mut self, upstream: &Upstream, caller: &Caller) -> Result<WalkStep, Stop> {
        self.next = match &self.next {
            NextStep::Page(uri) => {
                let mut page = upstream.page(uri.clone(), &mut self.listing, caller).await?;
                match page.next.take() {
                    Some(next) => NextStep::Page(next),
                    None => NextStep::End(page, self.listing.mark()),
                }
            }
            NextStep::End(last, mark) => {
                // While it is not known how the listing goes on, that is learned from what was known when it ended.
                if upstream.paging(&self.repository).paging() != Some(Paging::ByLast) {
                    self.listing.rewind(*mark);
                }
                let proven = upstream.prove_end(&self.repository, last, &mut self.listing, caller);
                proven.await?;
                NextStep::Settle
            }
            NextStep::Settle => return Ok(WalkStep::Ended(self.settle(upstream, caller).await?)),
        };
        Ok(WalkStep::More)
    }

    /// A name that a page begins after may have moved before that page was asked for, which then lacks names.
    async fn settle(&mut self, upstream: &Upstream, caller: &Caller) -> Result<WalkedListing, Stop> {
        let (form, pages) = (self.listing.form(), self.listing.listed_pages()?);
        let (has_others, is_old) = (pages.len() > 1, self.was_left || self.began.elapsed() > LONG_WALK);
        let is_own = pages.iter().all(|page| upstream.origin().holds(&page.cursor));
        let mut refresh = match is_old {
            true => Refresh::of(pages, form),
            false => Refresh::of_walk(pages, form),
        };
        if has_others && !upstream.settle(&self.repository, &mut refresh, caller).await? {
            return Err(Stop::invalid(UNSTEADY));
        }
        let listing = refresh.finish().await?;
        Ok(match is_own && listing.page_count() >= FEWEST_PAGES {
            true => listing,
            false => WalkedListing::of_names(listing.into_names()),
        })
    }
}

impl Upstream {
    /// A walk through the tags of `repository`, of which nothing is asked yet.
    pub fn walk(&self, repository: &RepositoryName) -> Result<ListingWalk, UpstreamError> {
        Ok(ListingWalk {
            repository: repository.clone(),
            listing: PartialListing::default(),
            next: NextStep::Page(self.tags_uri(repository, None, PAGE_SIZE)?),
            began: Instant::now(),
            was_left: false,
            is_begun_anew: false,
        })
    }
}
