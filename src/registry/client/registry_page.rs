//! Single pages of a tag listing as the registry gives them, for whoever does not wait for the whole: in the registry's order, each
//! asked for by what the page before it linked to.

use http::Uri;

use super::Upstream;
use super::listing_so_far::{CIRCLES, PAGE_SIZE, PartialListing, vanished};
use super::page_reader::append;
use crate::oci::{Reference, RepositoryName, Tag};
use crate::registry::answer::{Answer, Stop};
use crate::registry::caller::Caller;
use crate::registry::error::UpstreamError;
use crate::registry::tag_names::TagNamesBuilder;

/// One page of a repository's tags.
#[derive(Clone, Debug)]
pub struct RegistryPage {
    /// In the registry's order.
    pub names: Vec<String>,
    pub cursor: PageCursor,
    /// `None`: that nothing follows is proven.
    pub next: Option<PageCursor>,
}

/// What a page is asked for by: the query that the registry linked to, of the repository's own `tags/list`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageCursor(String);

impl PageCursor {
    /// A query that was [`PageCursor::query`].
    pub fn new(query: &str) -> Self {
        Self(query.to_owned())
    }

    pub fn query(&self) -> &str {
        &self.0
    }

    /// `None` where a page is not the repository's own on the registry's own host, as the page at `own` is.
    fn of(page: &Uri, own: &Uri) -> Option<Self> {
        let is_own = page.authority() == own.authority() && page.path() == own.path();
        page.query().filter(|_| is_own).map(Self::new)
    }

    /// The tag after which it says that the page begins.
    fn last(&self) -> Option<Tag> {
        let mut lasts = url::form_urlencoded::parse(self.0.as_bytes()).filter(|(key, _)| key == "last");
        Tag::parse(&lasts.next()?.1).ok()
    }
}

impl RegistryPage {
    /// The first page, which links to `next`. `None` where that cannot be asked for by its query alone.
    pub(super) fn first(names: &TagNamesBuilder, cursor: &Uri, next: &Uri) -> Option<Self> {
        Some(Self {
            names: names.iter().map(str::to_owned).collect(),
            cursor: PageCursor::of(cursor, cursor)?,
            next: Some(PageCursor::of(next, cursor)?),
        })
    }
}

impl Upstream {
    /// The page at `cursor`, to which another one linked.
    pub async fn registry_page(
        &self,
        repository: &RepositoryName,
        cursor: PageCursor,
        caller: &Caller,
    ) -> Result<Answer<RegistryPage>, UpstreamError> {
        Answer::of(self.page_at(repository, cursor, caller).await)
    }

    async fn page_at(
        &self,
        repository: &RepositoryName,
        cursor: PageCursor,
        caller: &Caller,
    ) -> Result<RegistryPage, Stop> {
        let first = self.tags_uri(repository, None, PAGE_SIZE)?;
        let foreign = || Stop::invalid("a page of its tag listing that cannot be asked for");
        let uri = self.origin().same_path(&first, cursor.query()).ok_or_else(foreign)?;
        let mut listing = PartialListing::default();
        let page = must_be_there(self.page(uri.clone(), &mut listing, caller).await)?;
        if let Some(next) = &page.next {
            if *next == uri {
                return Err(Stop::invalid(CIRCLES));
            }
            let names = listing.names().iter().map(str::to_owned).collect();
            let next = Some(PageCursor::of(next, &uri).ok_or_else(foreign)?);
            return Ok(RegistryPage { names, cursor, next });
        }
        if listing.names().is_empty() {
            return self.empty_page(repository, cursor, caller).await;
        }
        // How long its pages are, and with which name they begin, tells whether this one was cut.
        let mut all = PartialListing::default();
        must_be_there(self.page(first, &mut all, caller).await)?;
        let start = all.names().len();
        append(listing.names(), 0, &mut all.read.names)?;
        all.followed_links = true;
        all.begins_page(uri, false, start);
        all.count(&page)?;
        self.prove_end(repository, &page, &mut all, caller).await?;
        Ok(RegistryPage {
            names: all.names().iter().skip(start).map(str::to_owned).collect(),
            cursor,
            next: None,
        })
    }

    /// A page to which another one linked, and which is empty: the end, unless the name that it begins after has gone meanwhile.
    async fn empty_page(
        &self,
        repository: &RepositoryName,
        cursor: PageCursor,
        caller: &Caller,
    ) -> Result<RegistryPage, Stop> {
        if let Some(last) = cursor.last() {
            let head = self.head_manifest(repository, &Reference::Tag(last), caller).await?;
            must_be_there(head.found())?;
        }
        Ok(RegistryPage {
            names: Vec::new(),
            cursor,
            next: None,
        })
    }
}

/// What another page led to is there, or the listing changed.
fn must_be_there<T>(read: Result<T, Stop>) -> Result<T, Stop> {
    read.map_err(|stop| match stop {
        Stop::Absent => vanished(),
        Stop::Refused(_) | Stop::Failed(_) => stop,
    })
}
