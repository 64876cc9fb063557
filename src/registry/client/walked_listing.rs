//! A listing that was walked to its end: its names, and the pages on which the registry gave them with what they are asked for by,
//! so that it can be asked for again without walking.

use std::sync::Arc;

use http::Uri;
use http::uri::PathAndQuery;
use serde::{Deserialize, Serialize};

use super::Upstream;
use crate::oci::RepositoryName;
use crate::oci::weight::allocated;
use crate::registry::error::UpstreamError;
use crate::registry::tag_names::TagNames;
use crate::registry::tag_names::TagNamesBuilder;

/// Fewer pages are walked again, one after the other: that costs no more.
pub(in crate::registry) const FEWEST_PAGES: usize = 4;

/// All tag names of a repository, and the pages that they came on. A hundred thousand names must fit in memory: names are held
/// once, pages by what they are asked for and by indexes of names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "StoredWalk")]
pub struct WalkedListing {
    #[serde(rename = "tags")]
    names: Arc<TagNames>,
    /// In the registry's order; none where they cannot be asked for again one by one.
    pages: Vec<WalkedPage>,
    /// The names of all pages in the registry's order, as indexes of `names`.
    order: Vec<u32>,
    /// Names on the longest page that the registry gave.
    longest: usize,
    followed_links: bool,
}

/// One page of a walk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct WalkedPage {
    /// What it is asked for by: path and query on the registry's own origin.
    cursor: Box<str>,
    by_last: bool,
    /// Where its names end in the order of all.
    end: u32,
}

/// A page of a listing in work: what it is asked for by, and its names in the registry's order.
#[derive(Clone, Debug)]
pub(in crate::registry) struct ListedPage {
    pub(in crate::registry) cursor: Uri,
    /// Whether the cursor is refshim's own, made of the name before it, for want of a `Link`.
    pub(in crate::registry) by_last: bool,
    pub(in crate::registry) names: TagNamesBuilder,
}

/// How the registry pages, as far as the end of a listing depends on it.
#[derive(Clone, Copy, Debug)]
pub(in crate::registry) struct PageForm {
    pub(in crate::registry) longest: usize,
    pub(in crate::registry) followed_links: bool,
}

impl WalkedListing {
    /// All names, sorted.
    pub fn names(&self) -> &Arc<TagNames> {
        &self.names
    }

    /// The names alone.
    pub fn into_names(self) -> TagNames {
        Arc::unwrap_or_clone(self.names)
    }

    /// How many pages it was walked on; 0 where they cannot be asked for again.
    pub fn page_count(&self) -> usize {
        self.pages.len()
    }

    /// Bytes held, for cache bounds.
    pub fn weight(&self) -> usize {
        let cursors = self.pages.iter().map(|page| allocated(page.cursor.len()));
        // The count of holders stands before the names.
        size_of::<Self>()
            + allocated(size_of::<TagNames>() + 16)
            + (self.names.weight() - size_of::<TagNames>())
            + allocated(self.pages.capacity() * size_of::<WalkedPage>())
            + cursors.sum::<usize>()
            + allocated(self.order.capacity() * size_of::<u32>())
    }

    pub(in crate::registry) fn form(&self) -> PageForm {
        PageForm {
            longest: self.longest,
            followed_links: self.followed_links,
        }
    }

    /// A listing whose pages are not remembered.
    pub(in crate::registry) fn of_names(names: TagNames) -> Self {
        Self {
            names: Arc::new(names),
            ..Self::default()
        }
    }

    pub(in crate::registry) fn of_pages<'a>(
        pages: impl Iterator<Item = &'a ListedPage> + Clone,
        form: PageForm,
    ) -> Result<Self, UpstreamError> {
        let mut all = TagNamesBuilder::default();
        for page in pages.clone() {
            super::page_reader::append(&page.names, 0, &mut all)?;
        }
        let names = Arc::new(all.finish());
        let mut listing = Self {
            order: Vec::with_capacity(names.len()),
            longest: form.longest,
            followed_links: form.followed_links,
            names,
            pages: Vec::new(),
        };
        for page in pages {
            // Names fit 4 GiB, so their indexes fit too.
            let index = |name: &str| u32::try_from(listing.names.lower_bound(name)).unwrap_or(u32::MAX);
            listing.order.extend(page.names.iter().map(index));
            let Some(cursor) = page.cursor.path_and_query() else {
                return Ok(Self {
                    names: listing.names,
                    ..Self::default()
                });
            };
            listing.pages.push(WalkedPage {
                cursor: cursor.as_str().into(),
                by_last: page.by_last,
                end: u32::try_from(listing.order.len()).unwrap_or(u32::MAX),
            });
        }
        listing.order.shrink_to_fit();
        listing.pages.shrink_to_fit();
        Ok(listing)
    }
}

/// A listing from another process, or from this one before it was restarted.
#[derive(Deserialize)]
struct StoredWalk {
    tags: Arc<TagNames>,
    pages: Vec<WalkedPage>,
    order: Vec<u32>,
    longest: usize,
    followed_links: bool,
}

impl From<StoredWalk> for WalkedListing {
    /// Without its pages where they are not of these names.
    fn from(stored: StoredWalk) -> Self {
        let names = stored.tags;
        let mut ends = stored.pages.iter().map(|page| page.end as usize);
        let are_pages = ends.clone().is_sorted()
            && ends.next_back().unwrap_or_default() == stored.order.len()
            && stored.order.iter().all(|index| (*index as usize) < names.len());
        if !are_pages {
            return Self {
                names,
                ..Self::default()
            };
        }
        Self {
            names,
            pages: stored.pages,
            order: stored.order,
            longest: stored.longest,
            followed_links: stored.followed_links,
        }
    }
}

impl Upstream {
    /// The pages of `listing`, as they are asked of this upstream. `None` where one is not asked for at the repository's own
    /// `tags/list`: whoever can write where listings are kept could have put down another's.
    pub(in crate::registry) fn listed_pages(
        &self,
        repository: &RepositoryName,
        listing: &WalkedListing,
    ) -> Result<Option<Vec<ListedPage>>, UpstreamError> {
        let own = self.origin().uri(&format!("/v2/{repository}/tags/list"))?;
        let mut start = 0;
        let mut pages = Vec::with_capacity(listing.pages.len());
        for page in &listing.pages {
            let end = page.end as usize;
            let path = PathAndQuery::try_from(&*page.cursor)
                .map_err(|error| UpstreamError::Invalid(format!("a remembered page of its tag listing: {error}")))?;
            if path.path() != own.path() {
                return Ok(None);
            }
            let mut names = TagNamesBuilder::default();
            for &index in &listing.order[start..end] {
                let pushed = names.push(listing.names.get(index as usize));
                pushed.map_err(|error| UpstreamError::Invalid(error.to_string()))?;
            }
            pages.push(ListedPage {
                cursor: self.origin().at(path),
                by_last: page.by_last,
                names,
            });
            start = end;
        }
        Ok(Some(pages))
    }
}
