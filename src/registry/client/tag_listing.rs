//! Tag listings, read to their end: page by page, in every shape that registries give them.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};

use http::Uri;

use super::Upstream;
use super::page_reader::{Extent, PageNames, ReadTagPage};
use crate::oci::RepositoryName;
use crate::registry::answer::Answer;
use crate::registry::caller::Caller;
use crate::registry::error::UpstreamError;
use crate::registry::tag_names::TagNames;
use crate::registry::tag_names::TagNamesBuilder;

/// Tags asked for at once: more is refused by ECR and Distribution 3.1.0.
pub(in crate::registry) const PAGE_SIZE: usize = 1000;
/// Of a registry that gives a hundred at a time, two hundred thousand tags.
const MOST_PAGES: usize = 2_000;
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
    /// Hashes of the pages asked for: links may be long, and many.
    seen: HashSet<u64>,
    hasher: RandomState,
}

/// A repository's tags.
#[derive(Debug)]
pub enum Tags {
    /// All of them.
    All(TagNames),
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
                Tags::All(names) => Ok(names),
                Tags::Seekable => Err(UpstreamError::Invalid("a tag listing that was not read".into())),
            })
    }

    /// The same, but where `is_large` says so of the first page, others follow, and listings of this repository seek, the rest
    /// is not read.
    pub async fn tags_unless_seekable(
        &self,
        repository: &RepositoryName,
        caller: &Caller,
        is_large: impl Fn(&TagNamesBuilder) -> bool + Send,
    ) -> Result<Answer<Tags>, UpstreamError> {
        let mut listing = PartialListing::default();
        let first = self.tags_uri(repository, None, PAGE_SIZE)?;
        let page = match self.page(first, &mut listing, caller).await? {
            Answer::Found(page) => page,
            Answer::Absent => return Ok(Answer::Absent),
            Answer::Refused(refusal) => return Ok(Answer::Refused(refusal)),
        };
        let names = &listing.read.names;
        let large = page.next.is_some() && is_large(names);
        if large && self.calibrate_on_page(repository, names, caller).await? {
            return Ok(Answer::Found(Tags::Seekable));
        }
        let ended = self.read_to_its_end(repository, page, &mut listing, caller).await?;
        ended.try_map(|()| Ok(Tags::All(listing.read.names.finish())))
    }

    /// The first page of a repository's tags, and whether there are others.
    pub async fn first_tags(
        &self,
        repository: &RepositoryName,
        caller: &Caller,
    ) -> Result<Answer<FirstTags>, UpstreamError> {
        let mut listing = PartialListing::default();
        let first = self.tags_uri(repository, None, PAGE_SIZE)?;
        let page = self.page(first, &mut listing, caller).await?;
        page.try_map(|page| {
            Ok(FirstTags {
                names: listing.read.names.finish(),
                others_follow: page.next.is_some(),
            })
        })
    }

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
    ) -> Result<Answer<ReadTagPage>, UpstreamError> {
        let is_first = listing.seen.is_empty();
        listing.visit(&uri)?;
        match self.read_page(uri, Extent::Whole, &mut listing.read, caller).await? {
            Answer::Found(page) => {
                listing.count(&page)?;
                Ok(Answer::Found(page))
            }
            Answer::Absent if !is_first => Err(vanished()),
            other => Ok(other),
        }
    }

    /// Follows links from `page` on to a page without one.
    pub(in crate::registry) async fn follow_links(
        &self,
        mut page: ReadTagPage,
        listing: &mut PartialListing,
        caller: &Caller,
    ) -> Result<Answer<ReadTagPage>, UpstreamError> {
        while let Some(next) = page.next.take() {
            page = match self.page(next, listing, caller).await? {
                Answer::Found(page) => page,
                other => return Ok(other),
            };
            listing.followed_links = true;
        }
        Ok(Answer::Found(page))
    }
}

impl PartialListing {
    pub(in crate::registry) fn names(&self) -> &TagNamesBuilder {
        &self.read.names
    }

    /// Notes that the page at `uri` is asked for; fails where that was done before, or too often.
    pub(in crate::registry) fn visit(&mut self, uri: &Uri) -> Result<(), UpstreamError> {
        let is_new = self.seen.insert(self.hasher.hash_one(uri));
        let reason = if !is_new {
            "its tag listing goes round in circles"
        } else if self.seen.len() > MOST_PAGES {
            "its tag listing does not end"
        } else {
            return Ok(());
        };
        Err(UpstreamError::Invalid(reason.into()))
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

pub(in crate::registry) fn vanished() -> UpstreamError {
    UpstreamError::Invalid("a page of a tag listing vanished".into())
}
