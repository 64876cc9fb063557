//! What was read of a tag listing so far, and reading page after page into it.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};

use http::Uri;

use super::Upstream;
use super::page_reader::{Extent, PageNames, ReadTagPage, append};
use super::walked_listing::{ListedPage, PageForm};
use crate::oci::RepositoryName;
use crate::oci::weight::allocated;
use crate::registry::answer::{Answer, Stop};
use crate::registry::caller::Caller;
use crate::registry::error::UpstreamError;
use crate::registry::tag_names::{Mark, TagNamesBuilder};

/// Tags asked for at once: more is refused by ECR and Distribution 3.1.0.
pub(in crate::registry) const PAGE_SIZE: usize = 1000;
/// Of a registry that gives a hundred at a time, half a million tags.
const MOST_PAGES: usize = 5_000;
/// What is said of a listing whose names move, come and go while it is read, and of others.
pub(in crate::registry) const CIRCLES: &str = "its tag listing goes round in circles";
pub(in crate::registry) const UNSTEADY: &str = "its tag listing changes faster than it can be read";
pub(in crate::registry) const VANISHED: &str = "a page of a tag listing vanished";
/// Pages in a row that hold nothing and still name a next one.
const MOST_EMPTY_PAGES: usize = 8;

/// What was read of a listing so far.
#[derive(Default)]
pub(in crate::registry) struct PartialListing {
    pub(in crate::registry) read: PageNames,
    /// Whether a `Link` led from one of its pages to another.
    pub(in crate::registry) followed_links: bool,
    /// Names on the longest of its pages.
    longest: usize,
    empty_pages: usize,
    /// Where each of its pages begins among the names.
    pub(in crate::registry) pages: Vec<PageStart>,
    /// Hashes of the pages asked for: links may be long, and many.
    seen: HashSet<u64>,
    hasher: RandomState,
}

/// How far a listing was read, to go back to.
#[derive(Clone, Copy)]
pub(in crate::registry) struct ListingMark {
    names: Mark,
    bytes: usize,
    pages: usize,
    form: PageForm,
}

/// A page that was read.
pub(in crate::registry) struct PageStart {
    pub(in crate::registry) cursor: Uri,
    /// Whether the cursor is refshim's own, made of the name before it, for want of a `Link`.
    pub(in crate::registry) by_last: bool,
    /// How many names were read before it.
    pub(in crate::registry) start: usize,
}

impl Upstream {
    /// A page of at most `count` tags, after the name `last`.
    pub(in crate::registry) fn tags_uri(
        &self,
        repository: &RepositoryName,
        last: Option<&str>,
        count: usize,
    ) -> Result<Uri, UpstreamError> {
        let mut path = format!("/v2/{repository}/tags/list?n={count}");
        if let Some(last) = last {
            // Names out of a listing are foreign text.
            path.push_str("&last=");
            path.extend(url::form_urlencoded::byte_serialize(last.as_bytes()));
        }
        self.origin().uri(&path)
    }

    /// Adds one page to `listing`.
    pub(in crate::registry) async fn page(
        &self,
        uri: Uri,
        listing: &mut PartialListing,
        caller: &Caller,
    ) -> Result<ReadTagPage, Stop> {
        let is_first = listing.seen.is_empty();
        listing.check_new(&uri)?;
        // Whoever waits may go at any time: the listing holds whole pages alone.
        let mut read = PageNames {
            bytes: listing.read.bytes,
            ..PageNames::default()
        };
        let page = match self.read_page(uri.clone(), Extent::Whole, &mut read, caller).await? {
            Answer::Absent if !is_first => return Err(vanished()),
            page => page.found()?,
        };
        listing.followed_links |= !is_first;
        listing.add(uri, &page, read)?;
        Ok(page)
    }

    /// Follows links from `page` on to a page without one.
    pub(in crate::registry) async fn follow_links(
        &self,
        mut page: ReadTagPage,
        listing: &mut PartialListing,
        caller: &Caller,
    ) -> Result<ReadTagPage, Stop> {
        while let Some(next) = page.next.take() {
            page = self.page(next, listing, caller).await?;
        }
        Ok(page)
    }
}

impl PageStart {
    /// Bytes held; what each cursor shares with others is counted for each.
    pub(in crate::registry) fn weight(&self) -> usize {
        let cursor = self.cursor.path_and_query().map_or(0, |path| path.as_str().len());
        size_of::<Self>() + allocated(cursor)
    }
}

impl PartialListing {
    pub(in crate::registry) fn names(&self) -> &TagNamesBuilder {
        &self.read.names
    }

    /// Fails where the page at `uri` was read before, or too many were.
    pub(in crate::registry) fn check_new(&self, uri: &Uri) -> Result<(), UpstreamError> {
        let reason = if self.seen.contains(&self.hasher.hash_one(uri)) {
            CIRCLES
        } else if self.seen.len() >= MOST_PAGES {
            "its tag listing does not end"
        } else {
            return Ok(());
        };
        Err(UpstreamError::Invalid(reason.into()))
    }

    /// Adds a page that a link led to.
    fn add(&mut self, cursor: Uri, page: &ReadTagPage, read: PageNames) -> Result<(), UpstreamError> {
        self.begins_page(cursor, false, self.names().len());
        match self.names().is_empty() {
            true => self.read = read,
            false => {
                append(&read.names, 0, &mut self.read.names)?;
                self.read.bytes = read.bytes;
            }
        }
        self.count(page)
    }

    /// Notes that the names from `start` on are those of the page that was asked for by `cursor`.
    pub(in crate::registry) fn begins_page(&mut self, cursor: Uri, by_last: bool, start: usize) {
        self.seen.insert(self.hasher.hash_one(&cursor));
        self.pages.push(PageStart { cursor, by_last, start });
    }

    /// A listing whose first pages are known already.
    pub(in crate::registry) fn resumed(form: PageForm) -> Self {
        Self {
            longest: form.longest,
            followed_links: form.followed_links,
            ..Self::default()
        }
    }

    pub(in crate::registry) fn form(&self) -> PageForm {
        PageForm {
            longest: self.longest,
            followed_links: self.followed_links,
        }
    }

    /// What was read, page by page.
    pub(in crate::registry) fn listed_pages(&self) -> Result<Vec<ListedPage>, UpstreamError> {
        let ends = self
            .pages
            .iter()
            .skip(1)
            .map(|next| next.start)
            .chain([self.names().len()]);
        let pages = self.pages.iter().zip(ends);
        pages
            .map(|(page, end)| {
                let mut names = TagNamesBuilder::default();
                for index in page.start..end {
                    let pushed = names.push(self.names().get(index));
                    pushed.map_err(|error| UpstreamError::Invalid(error.to_string()))?;
                }
                Ok(ListedPage {
                    cursor: page.cursor.clone(),
                    by_last: page.by_last,
                    names,
                })
            })
            .collect()
    }

    pub(in crate::registry) fn mark(&self) -> ListingMark {
        ListingMark {
            names: self.names().mark(),
            bytes: self.read.bytes,
            pages: self.pages.len(),
            form: self.form(),
        }
    }

    /// Forgets what was read since `mark` was taken of this listing.
    pub(in crate::registry) fn rewind(&mut self, mark: ListingMark) {
        self.read.names.rewind(mark.names);
        self.read.bytes = mark.bytes;
        let since: Vec<_> = self.pages.drain(mark.pages..).collect();
        for page in since {
            self.seen.remove(&self.hasher.hash_one(&page.cursor));
        }
        self.longest = mark.form.longest;
        self.followed_links = mark.form.followed_links;
    }

    /// Whether a page had two names or more.
    pub(in crate::registry) fn has_long_pages(&self) -> bool {
        self.longest > 1
    }

    /// Counts a page that was read.
    pub(in crate::registry) fn count(&mut self, page: &ReadTagPage) -> Result<(), UpstreamError> {
        self.longest = self.longest.max(page.count);
        self.empty_pages = if page.count == 0 { self.empty_pages + 1 } else { 0 };
        match self.empty_pages > MOST_EMPTY_PAGES {
            true => Err(UpstreamError::Invalid("its tag listing does not end".into())),
            false => Ok(()),
        }
    }

    /// Whether `last`, a page without a `Link` to another, looks like one that was cut: GHCR in 2021 linked, but not from a page
    /// of 1,000 names that others followed.
    pub(in crate::registry) fn may_be_cut(&self, last: &ReadTagPage) -> bool {
        let is_full = self.followed_links && last.count > 0 && last.count == self.longest;
        let is_round = last.count >= 50 && (last.count.is_multiple_of(50) || last.count.is_power_of_two());
        is_full || is_round || last.links_otherwise
    }
}

pub(in crate::registry) fn vanished() -> Stop {
    Stop::invalid(VANISHED)
}
