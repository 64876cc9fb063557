//! Reading a walked listing again from one of the places that are known in it to the next one.

use std::collections::HashMap;

use http::Uri;

use super::Upstream;
use super::listing_so_far::PAGE_SIZE;
use super::page_reader::{Extent, PageNames, ReadTagPage, append};
use super::walked_listing::ListedPage;
use crate::oci::RepositoryName;
use crate::registry::answer::Answer;
use crate::registry::answer::Refusal;
use crate::registry::caller::Caller;
use crate::registry::error::UpstreamError;
use crate::registry::tag_names::TagNamesBuilder;

/// Pages that may have come between two places that are known. Beyond, walking anew costs hardly more.
const MOST_PAGES_OF_A_SPAN: usize = 16;

/// The pages from one place that is known to the next.
#[derive(Clone, Debug)]
pub(in crate::registry) struct Span {
    /// At least one, the first asked for by the cursor that is known.
    pub(in crate::registry) pages: Vec<ListedPage>,
}

impl Span {
    pub(in crate::registry) fn cursor(&self) -> Option<&Uri> {
        self.pages.first().map(|page| &page.cursor)
    }

    pub(in crate::registry) fn names(&self) -> impl Iterator<Item = &str> {
        self.pages.iter().flat_map(|page| page.names.iter())
    }

    /// Whether all names of `known` are here in the same order: others may have come in between.
    pub(in crate::registry) fn holds_all_of(&self, known: &Self) -> bool {
        let mut names = self.names();
        known.names().all(|name| names.any(|other| other == name))
    }

    pub(in crate::registry) fn is_same(&self, other: &Self) -> bool {
        self.names().eq(other.names())
    }
}

/// Places in a listing from which it can be read, by their cursors and, unless the registry's cursors are tokens of its own, by
/// the name after which they begin.
pub(in crate::registry) struct KnownPlaces<'a> {
    by_cursor: HashMap<&'a Uri, usize>,
    by_name: HashMap<&'a str, usize>,
    /// Whether each cursor says after which name it begins.
    pub(in crate::registry) are_named: bool,
    /// Whether some of the cursors are refshim's own.
    are_by_last: bool,
}

impl<'a> KnownPlaces<'a> {
    pub(in crate::registry) fn of(spans: &'a [Span]) -> Self {
        let cursors = spans.iter().map(Span::cursor).enumerate();
        let by_cursor: HashMap<_, _> = cursors.filter_map(|(index, cursor)| Some((cursor?, index))).collect();
        let mut by_name = HashMap::new();
        for (index, pair) in spans.windows(2).enumerate() {
            let (before, cursor) = (pair[0].names().last(), pair[1].cursor());
            if let (Some(before), Some(cursor)) = (before, cursor)
                && names_last(cursor, before)
            {
                by_name.insert(before, index + 1);
            }
        }
        Self {
            are_named: by_name.len() + 1 == spans.len(),
            are_by_last: spans.iter().flat_map(|span| &span.pages).any(|page| page.by_last),
            by_cursor,
            by_name,
        }
    }

    /// The last of `names` after which a place beyond `from` begins: its index, and the place.
    fn furthest(&self, names: &TagNamesBuilder, from: usize) -> Option<(usize, usize)> {
        if !self.are_named {
            return None;
        }
        let place = |index: usize| self.by_name.get(names.get(index)).filter(|place| **place > from);
        (0..names.len()).rev().find_map(|index| Some((index, *place(index)?)))
    }
}

/// Whether `cursor` asks for what follows `name`.
fn names_last(cursor: &Uri, name: &str) -> bool {
    let query = cursor.query().unwrap_or_default();
    let mut lasts = url::form_urlencoded::parse(query.as_bytes()).filter(|(key, _)| key == "last");
    lasts.next().is_some_and(|(_, last)| last == name) && lasts.next().is_none()
}

/// What was read from a place on.
pub(in crate::registry) enum ReadSpan {
    /// Up to the place with this index.
    Reached {
        span: Span,
        place: usize,
        longest: usize,
    },
    /// No place that is known comes: the cursor is not understood any more, or leads elsewhere.
    Lost,
    Refused(Refusal),
}

impl Upstream {
    /// Reads from the place with index `from` on, until another one beyond it is reached.
    pub(in crate::registry) async fn read_span(
        &self,
        repository: &RepositoryName,
        (from, first): (usize, &ListedPage),
        known: &KnownPlaces<'_>,
        caller: &Caller,
    ) -> Result<ReadSpan, UpstreamError> {
        let most = if known.are_named { MOST_PAGES_OF_A_SPAN } else { 1 };
        let (mut pages, mut longest): (Vec<ListedPage>, usize) = (Vec::new(), 0);
        let (mut cursor, mut by_last) = (first.cursor.clone(), first.by_last);
        while pages.len() < most {
            let mut read = PageNames::default();
            let page = match self.read_page(cursor.clone(), Extent::Whole, &mut read, caller).await {
                Ok(Answer::Found(page)) => page,
                Ok(Answer::Refused(refusal)) if refusal.is_about_access() => {
                    return Ok(ReadSpan::Refused(refusal));
                }
                // It may be because the name that the cursor names is gone.
                Ok(Answer::Refused(_) | Answer::Absent) | Err(UpstreamError::Invalid(_)) => return Ok(ReadSpan::Lost),
                Err(error) => return Err(error),
            };
            longest = longest.max(page.count);
            let mut names = read.names;
            if by_last && !names.is_empty() && names_last(&cursor, names.get(0)) {
                names = without_first(&names)?;
            }
            let next = self.next_of(repository, page, &names, known)?;
            let place = match known.furthest(&names, from) {
                Some((index, place)) => {
                    names.truncate(index + 1);
                    Some(place)
                }
                None => next.as_ref().and_then(|(next, _)| known.by_cursor.get(next).copied()),
            };
            pages.push(ListedPage { cursor, by_last, names });
            match (place, next) {
                (Some(place), _) if place > from => {
                    let span = Span { pages };
                    return Ok(ReadSpan::Reached { span, place, longest });
                }
                (None, Some(next)) => (cursor, by_last) = next,
                // It goes back, or ends before what is known to follow.
                (Some(_), _) | (None, None) => return Ok(ReadSpan::Lost),
            }
        }
        Ok(ReadSpan::Lost)
    }

    /// Where the listing goes on after `page`: by its `Link`, or where pages are known that none led to, after its last name.
    fn next_of(
        &self,
        repository: &RepositoryName,
        page: ReadTagPage,
        names: &TagNamesBuilder,
        known: &KnownPlaces<'_>,
    ) -> Result<Option<(Uri, bool)>, UpstreamError> {
        match (page.next, names.last()) {
            (Some(next), _) => Ok(Some((next, false))),
            (None, Some(last)) if known.are_by_last && !page.links_otherwise => {
                Ok(Some((self.tags_uri(repository, Some(last), PAGE_SIZE)?, true)))
            }
            (None, _) => Ok(None),
        }
    }
}

fn without_first(names: &TagNamesBuilder) -> Result<TagNamesBuilder, UpstreamError> {
    let mut rest = TagNamesBuilder::default();
    append(names, 1, &mut rest)?;
    Ok(rest)
}
