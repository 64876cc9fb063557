//! Asking again for a listing that was walked: its pages by the cursors that the registry itself gave, many at once.
//!
//! Names come, go and move while pages are read, and so may those that cursors name. Then a page begins elsewhere, and what lies
//! between is lost without a trace. Therefore:
//!
//! - A page counts where it holds all names that it is known to have, in their order, and ends where the next one begins: other
//!   names may have come in between. Then the place from which it was asked for has not moved either.
//! - Where names have gone, both neighbours are asked again, and must count: its two ends stayed where they were while it was read.
//! - The last page is read after all others, to an end that is proven as a walk's is, then the first one and those from the one
//!   before it on once more. A name that moves goes to one of the two ends. Where a page is other than it was, the end is read anew.
//!
//! Tokens of the registry's own (ECR) say nothing of the place where they begin: there every page but the last must be as it was, and
//! where one is not, all are asked again.
//!
//! A walk is checked in the same way: only that a page still ends where the next one began, once that one was read, shows that
//! nothing between them was passed over.

use std::collections::BTreeSet;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use futures_util::{FutureExt as _, TryFutureExt as _};

use super::Upstream;
use super::listing_so_far::PartialListing;
use super::page_reader::append;
use super::span::{KnownPlaces, ReadSpan, Span};
use super::walked_listing::{FEWEST_PAGES, ListedPage, PageForm, WalkedListing};
use crate::oci::RepositoryName;
use crate::registry::answer::{Answer, Stop};
use crate::registry::caller::Caller;
use crate::registry::error::UpstreamError;

/// Pages asked for at once, as far as permits go.
const AT_ONCE: usize = 16;
/// How often pages are asked again that changed while others were read.
const MOST_ROUNDS: usize = 8;

/// A listing that is being asked for again.
pub(in crate::registry) struct Refresh {
    spans: Vec<Span>,
    form: PageForm,
    /// Places from which it is to be read.
    to_ask: BTreeSet<usize>,
    /// Whether the last page was read after all others.
    has_end: bool,
}

/// Why a refresh ends early.
enum RefreshStop {
    /// The listing is to be walked anew.
    Lost,
    /// A page was refused, or there is no answer.
    Read(Stop),
}

impl<E: Into<Stop>> From<E> for RefreshStop {
    fn from(stop: E) -> Self {
        Self::Read(stop.into())
    }
}

impl Refresh {
    /// All pages are to be asked for.
    pub(in crate::registry) fn of(pages: Vec<ListedPage>, form: PageForm) -> Self {
        let last = pages.len().saturating_sub(1);
        Self {
            spans: pages.into_iter().map(|page| Span { pages: vec![page] }).collect(),
            form,
            to_ask: (0..last).collect(),
            has_end: false,
        }
    }

    /// The pages were just read in their order; whether each still ends where the next one began is to be seen.
    pub(in crate::registry) fn of_walk(pages: Vec<ListedPage>, form: PageForm) -> Self {
        let mut refresh = Self::of(pages, form);
        // An empty page that a link led to is the end only if it stays empty: the name that it begins after may have moved.
        refresh.has_end = refresh.spans.last().is_some_and(|span| span.names().next().is_some());
        refresh
    }

    fn last(&self) -> usize {
        self.spans.len().saturating_sub(1)
    }

    /// The end was just read, from the place `begun` on.
    fn ends(&mut self, begun: usize) {
        self.has_end = true;
        let last = self.last();
        let before = begun.min(last).saturating_sub(1);
        self.to_ask = (before..last).chain(0..last.min(1)).collect();
    }

    fn pages(&self) -> impl Iterator<Item = &ListedPage> + Clone {
        self.spans.iter().flat_map(|span| &span.pages)
    }

    /// The listing. Sorting a hundred thousand names takes so long that other work would wait: on a thread for blocking work.
    pub(in crate::registry) async fn finish(self) -> Result<WalkedListing, UpstreamError> {
        let sorting = tokio::task::spawn_blocking(move || WalkedListing::of_pages(self.pages(), self.form));
        let sorted = sorting.await;
        sorted.map_err(|error| UpstreamError::Invalid(error.to_string()))?
    }

    /// Takes in what was read, in the order of the places from which it was. Notes what is to be asked again.
    fn apply(&mut self, read: Vec<(usize, ReadSpan)>, are_named: bool) -> Result<(), RefreshStop> {
        let mut gone = BTreeSet::new();
        let mut doubtful = BTreeSet::new();
        let before = |place: usize, gone: &BTreeSet<usize>| (0..place).rev().find(|place| !gone.contains(place));
        for (from, span) in read {
            if gone.contains(&from) {
                continue;
            }
            match span {
                ReadSpan::Refused(refusal) => return Err(refusal.into()),
                ReadSpan::Reached { place, .. } if !are_named && place != from + 1 => return Err(RefreshStop::Lost),
                ReadSpan::Reached { span, place, longest } => {
                    self.form.longest = self.form.longest.max(longest);
                    let is_same = place == from + 1 && span.is_same(&self.spans[from]);
                    let holds_all = place == from + 1 && are_named && span.holds_all_of(&self.spans[from]);
                    // What came may have gone from behind the end that was read before.
                    self.has_end &= is_same;
                    if !is_same && !holds_all {
                        doubtful.extend(before(from, &gone));
                        doubtful.insert(place);
                    }
                    gone.extend(from + 1..place);
                    self.spans[from] = span;
                }
                ReadSpan::Lost if !are_named => return Err(RefreshStop::Lost),
                // The name that the last page begins after may be gone: the end is read from here on.
                ReadSpan::Lost if from + 1 == self.last() => {
                    gone.insert(from + 1);
                    doubtful.extend(before(from, &gone));
                    self.has_end = false;
                }
                ReadSpan::Lost => {
                    let Some(before) = before(from, &gone) else {
                        return Err(RefreshStop::Lost);
                    };
                    let pages = std::mem::take(&mut self.spans[from].pages);
                    self.spans[before].pages.extend(pages);
                    gone.insert(from);
                    doubtful.insert(before);
                }
            }
        }
        if !are_named && !doubtful.is_empty() {
            doubtful = (0..self.last()).collect();
        }
        self.forget(&gone, &doubtful);
        Ok(())
    }

    /// Places that are `gone` are none any more; those that are `doubtful` are asked again.
    fn forget(&mut self, gone: &BTreeSet<usize>, doubtful: &BTreeSet<usize>) {
        let last = (0..self.spans.len()).rev().find(|place| !gone.contains(place));
        self.to_ask.clear();
        let mut kept = Vec::with_capacity(self.spans.len());
        for (place, span) in std::mem::take(&mut self.spans).into_iter().enumerate() {
            if gone.contains(&place) {
                continue;
            }
            if doubtful.contains(&place) && Some(place) != last {
                self.to_ask.insert(kept.len());
            }
            kept.push(span);
        }
        self.spans = kept;
        self.has_end = self.has_end && doubtful.is_empty();
    }

    /// What was read before the last place, as a walk would hold it there.
    fn before_last(&self) -> Result<PartialListing, UpstreamError> {
        let mut listing = PartialListing::resumed(self.form);
        for page in self.spans[..self.last()].iter().flat_map(|span| &span.pages) {
            listing.check_new(&page.cursor)?;
            listing.begins_page(page.cursor.clone(), page.by_last, listing.names().len());
            append(&page.names, 0, &mut listing.read.names)?;
        }
        Ok(listing)
    }
}

impl Upstream {
    /// The listing as it is now, asked for by the pages of `known`; `None` where it is to be walked anew.
    pub async fn refresh(
        &self,
        repository: &RepositoryName,
        known: &WalkedListing,
        caller: &Caller,
    ) -> Result<Answer<Option<WalkedListing>>, UpstreamError> {
        if known.page_count() < FEWEST_PAGES {
            return Ok(Answer::Found(None));
        }
        let Some(pages) = self.listed_pages(repository, known)? else {
            return Ok(Answer::Found(None));
        };
        let mut refresh = Refresh::of(pages, known.form());
        let read = async {
            Ok(match self.settle(repository, &mut refresh, caller).await? {
                true => Some(refresh.finish().await?),
                false => None,
            })
        };
        Answer::of(read.await)
    }

    /// Asks until everything counts. False where that does not come about.
    pub(in crate::registry) async fn settle(
        &self,
        repository: &RepositoryName,
        refresh: &mut Refresh,
        caller: &Caller,
    ) -> Result<bool, Stop> {
        for _ in 0..MOST_ROUNDS {
            match self.ask_round(repository, refresh, caller).await {
                Ok(()) if refresh.to_ask.is_empty() => return Ok(true),
                Ok(()) => {}
                Err(RefreshStop::Lost) => return Ok(false),
                Err(RefreshStop::Read(stop)) => return Err(stop),
            }
        }
        Ok(false)
    }

    /// Asks once for what is to be asked, and where nothing is left, for the last page.
    async fn ask_round(
        &self,
        repository: &RepositoryName,
        refresh: &mut Refresh,
        caller: &Caller,
    ) -> Result<(), RefreshStop> {
        let known = KnownPlaces::of(&refresh.spans);
        let mut reads = Vec::with_capacity(refresh.to_ask.len());
        for &place in &refresh.to_ask {
            if let Some(first) = refresh.spans.get(place).and_then(|span| span.pages.first()) {
                let read = self.read_span(repository, (place, first), &known, caller);
                reads.push(read.map_ok(move |read| (place, read)).boxed());
            }
        }
        // As they come: a page that is slow keeps no other from being asked for.
        let read = stream::iter(reads).buffer_unordered(AT_ONCE).try_collect();
        let mut read: Vec<(usize, ReadSpan)> = read.await?;
        read.sort_unstable_by_key(|(place, _)| *place);
        let are_named = known.are_named;
        refresh.apply(read, are_named)?;
        if !refresh.to_ask.is_empty() || refresh.has_end {
            return Ok(());
        }
        self.read_end(repository, refresh, caller).await
    }

    /// Reads from the last place on to the listing's proven end.
    async fn read_end(
        &self,
        repository: &RepositoryName,
        refresh: &mut Refresh,
        caller: &Caller,
    ) -> Result<(), RefreshStop> {
        let mut listing = refresh.before_last()?;
        let begun = listing.pages.len();
        let Some(first) = refresh.spans.pop().and_then(|span| span.pages.into_iter().next()) else {
            return Err(RefreshStop::Lost);
        };
        match self.read_on_from(repository, first, &mut listing, caller).await {
            Err(Stop::Refused(refusal)) if refusal.is_about_access() => return Err(Stop::Refused(refusal).into()),
            // The cursor is not understood any more, or leads elsewhere.
            Err(Stop::Refused(_) | Stop::Absent | Stop::Failed(UpstreamError::Invalid(_))) => {
                return Err(RefreshStop::Lost);
            }
            read => read?,
        }
        refresh.form = listing.form();
        let pages = listing.listed_pages()?;
        refresh.spans = pages.into_iter().map(|page| Span { pages: vec![page] }).collect();
        refresh.ends(begun);
        Ok(())
    }

    async fn read_on_from(
        &self,
        repository: &RepositoryName,
        first: ListedPage,
        listing: &mut PartialListing,
        caller: &Caller,
    ) -> Result<(), Stop> {
        if first.by_last {
            return self.must_go_on(repository, listing, caller).await;
        }
        let page = self.page(first.cursor, listing, caller).await?;
        let last = self.follow_links(page, listing, caller).await?;
        self.prove_end(repository, &last, listing, caller).await
    }
}
