//! A listing of many pages that was never walked, given in the registry's own order: nobody waits for the whole. Each page is asked
//! for with the caller's own credentials, by what the registry linked to. The `Link` to the next one carries that along, because
//! `last` means something else to each registry.

use std::time::Duration;

use super::{hidden, next_link, no_repository};
use crate::oci::{Code, OciError, RepositoryName};
use crate::proxy::context::RequestContext;
use crate::proxy::error::ProxyError;
use crate::registry::{Answer, PageCursor, RegistryPage};

/// The parameter of refshim's own that says which page of the registry follows.
pub(super) const CURSOR: &str = "cursor";
/// Pages that are asked for to fill one answer, where many of their tags are hidden or the caller wants more than a page.
const MOST_PAGES: usize = 10;
/// The same for an answer without a name: some clients take it for the end, whatever its `Link` says.
const MOST_HIDDEN_PAGES: usize = 200;

/// Names and the `Link` to those that follow.
type ListedPart = (Vec<String>, Option<String>);

/// What one request asks of such a listing.
pub(super) struct RegistryListing<'a> {
    pub(super) context: &'a RequestContext<'a>,
    pub(super) repository: &'a RepositoryName,
    pub(super) limit: Option<usize>,
}

/// Where a listing goes on.
#[derive(Debug, PartialEq, Eq)]
struct ListingPosition {
    /// When it began, in seconds since 1970.
    began: u64,
    /// How many names of the page were given or passed over.
    passed: usize,
    cursor: PageCursor,
}

impl ListingPosition {
    fn parse(text: &str) -> Result<Self, OciError> {
        let read = || {
            let mut parts = text.splitn(3, '.');
            Some(Self {
                began: parts.next()?.parse().ok()?,
                passed: parts.next()?.parse().ok()?,
                cursor: PageCursor::new(parts.next()?),
            })
        };
        let message = "this cursor was not issued here; start again without it";
        read().ok_or_else(|| OciError::bad_request(Code::PaginationNumberInvalid, message))
    }

    fn print(&self) -> String {
        format!("{}.{}.{}", self.began, self.passed, self.cursor.query())
    }

    /// Where `names`, the page as it is now, goes on after `last`: nothing is passed over that may not have been given.
    fn start(&self, names: &[String], last: &str) -> usize {
        match names.iter().position(|name| name == last) {
            Some(index) => self.passed.min(index + 1),
            None => 0,
        }
    }
}

impl RegistryListing<'_> {
    pub(super) async fn begin(&self, first: RegistryPage) -> Result<ListedPart, ProxyError> {
        self.fill(first, 0, "", self.context.backend.resolver.now().as_secs())
            .await
    }

    pub(super) async fn go_on(&self, cursor: &str, last: &str) -> Result<ListedPart, ProxyError> {
        let position = ListingPosition::parse(cursor)?;
        let page = self.page(position.cursor.clone(), position.began).await?;
        let start = position.start(&page.names, last);
        self.fill(page, start, last, position.began).await
    }

    async fn page(&self, cursor: PageCursor, began: u64) -> Result<RegistryPage, ProxyError> {
        let (resolver, caller) = (&self.context.backend.resolver, self.context.caller());
        let position = (cursor, Duration::from_secs(began));
        match resolver.tags_page(self.repository, position, &caller).await? {
            Answer::Found(page) => Ok(page),
            Answer::Absent => Err(no_repository(self.repository).into()),
            Answer::Refused(refusal) => Err(refusal.into()),
        }
    }

    /// The names of `page` from `start` on and of those that follow, until there are as many as are wanted; without a limit, those of
    /// the first page that shows any.
    async fn fill(
        &self,
        mut page: RegistryPage,
        mut start: usize,
        last: &str,
        began: u64,
    ) -> Result<ListedPart, ProxyError> {
        let limit = self.limit.unwrap_or(usize::MAX);
        let mut names: Vec<String> = Vec::new();
        if limit == 0 {
            return Ok((names, None));
        }
        let mut pages = 1;
        loop {
            let mut shown = (start..page.names.len()).filter(|&index| self.shows(&page.names[index]));
            names.extend(
                shown
                    .by_ref()
                    .take(limit - names.len())
                    .map(|index| page.names[index].clone()),
            );
            let position = match (shown.next(), page.next) {
                (Some(passed), _) => Some((passed, page.cursor)),
                (None, Some(next)) => {
                    let is_enough = names.len() == limit || (self.limit.is_none() && !names.is_empty());
                    let most = if names.is_empty() {
                        MOST_HIDDEN_PAGES
                    } else {
                        MOST_PAGES
                    };
                    if !is_enough && pages < most {
                        page = self.page(next, began).await?;
                        (start, pages) = (0, pages + 1);
                        continue;
                    }
                    Some((0, next))
                }
                (None, None) => None,
            };
            let next = position.map(|(passed, cursor)| {
                let position = ListingPosition { began, passed, cursor };
                let last = names.last().map_or(last, String::as_str);
                next_link(self.repository, last, self.limit, Some(&position.print()))
            });
            return Ok((names, next));
        }
    }

    fn shows(&self, name: &str) -> bool {
        !hidden(name, &self.context.backend.shared.tags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_reads_back_as_itself_and_nothing_else_is_one() {
        let text = "1790000000.3.last=v1.0&n=100";
        let position = ListingPosition::parse(text).unwrap();
        assert_eq!((position.passed, position.cursor.query()), (3, "last=v1.0&n=100"));
        assert_eq!(position.print(), text);
        for bad in ["", "x", "1", "1.2", "1.x.last=a", "-1.2.last=a"] {
            assert!(ListingPosition::parse(bad).is_err(), "{bad}");
        }
    }

    /// What moved since the last answer may be given twice, never passed over.
    #[test]
    fn a_page_goes_on_where_it_was_left() {
        let names = ["a", "b", "c", "d"].map(str::to_owned);
        let start = |passed, last| {
            let position = ListingPosition {
                began: 0,
                passed,
                cursor: PageCursor::new(""),
            };
            position.start(&names, last)
        };
        assert_eq!(start(2, "b"), 2);
        assert_eq!(start(3, "b"), 2, "a name before it has gone");
        assert_eq!(start(1, "b"), 1, "one has come");
        assert_eq!(start(2, "gone"), 0);
        assert_eq!(start(0, "c"), 0, "of another page");
        assert_eq!(start(1, "d"), 1, "it was moved");
    }
}
