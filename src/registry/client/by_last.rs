//! Reading a listing on by `last`, the last name that is known, where pages have no `Link`.

use http::Uri;

use super::Upstream;
use super::listing_so_far::{PAGE_SIZE, PartialListing, UNSTEADY, vanished};
use super::page_reader::{Beginning, Extent, PageNames, ReadTagPage, append, beginning_of};
use crate::oci::{ErrorBody, RepositoryName};
use crate::registry::answer::{Answer, Refusal, Stop};
use crate::registry::caller::Caller;
use crate::registry::classify::not_understood;

/// What is asked for by the last name that is known.
enum After {
    /// Names follow.
    More(ReadTagPage),
    /// An empty page.
    Nothing,
    /// The listing from its beginning, or that no such question is understood: `last` is of no use.
    NoNews(LastName),
}

/// What became of the last name, where the listing began anew after it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::registry) enum LastName {
    /// It is on the page that begins anew, or the registry states that it answers no such question.
    Holds,
    /// It is not: the page was cut before it, or the name moved or went just then and nothing is known of what followed it.
    Missing,
}

/// Where the last name is, when it was asked for once more.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::registry) enum LastPlace {
    /// Alone behind the name before it.
    Same,
    Moved,
    /// Nothing follows that one either: perhaps `last` is no name to this registry.
    Untold,
}

/// How going on by `last` ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::registry) enum Ended {
    /// On an empty page, after names that were new.
    Continued,
    /// On an empty page at once.
    Empty,
    /// `last` is of no use.
    NoNews(LastName),
}

/// A `Link` may lead to more names whatever its relation says (some clients follow it), and `last` cannot tell.
pub(in crate::registry) fn links_elsewhere() -> Stop {
    Stop::invalid("its tag listing has a Link to no next page, and cannot be continued by 'last'")
}

pub(in crate::registry) const REPEATS: &str = "its tag listing repeats names instead of going on after 'last'";

fn repeats_names() -> Stop {
    Stop::invalid(REPEATS)
}

impl Upstream {
    /// Reads on by `last` for as long as names follow.
    pub(in crate::registry) async fn go_on(
        &self,
        repository: &RepositoryName,
        listing: &mut PartialListing,
        caller: &Caller,
    ) -> Result<Ended, Stop> {
        let mut ended = Ended::Empty;
        loop {
            match self.after_last(repository, listing, caller).await? {
                After::More(page) => {
                    self.follow_links(page, listing, caller).await?;
                    ended = Ended::Continued;
                }
                After::Nothing => return Ok(ended),
                After::NoNews(last) if ended == Ended::Empty => return Ok(Ended::NoNews(last)),
                After::NoNews(_) if self.starts_over(repository, listing, caller).await? => return Ok(ended),
                After::NoNews(_) => return Err(repeats_names()),
            }
        }
    }

    /// Whether it is because nothing follows the last name that names come again: go-containerregistry begins anew there. Then
    /// the last name is all that follows the one before it, on a page that is shorter than this registry's pages are.
    pub(in crate::registry) async fn starts_over(
        &self,
        repository: &RepositoryName,
        listing: &PartialListing,
        caller: &Caller,
    ) -> Result<bool, Stop> {
        let names = listing.names();
        let Some(before) = names.len().checked_sub(2) else {
            return Ok(false);
        };
        if !names.is_ascending() || !listing.has_long_pages() {
            return Ok(false);
        }
        let uri = self.tags_uri(repository, Some(names.get(before)), PAGE_SIZE)?;
        let mut read = PageNames::default();
        let page = self.read_page(uri, Extent::Names(2), &mut read, caller).await?;
        let Answer::Found(page) = page else { return Ok(false) };
        let alone = page.count == 1 && page.next.is_none() && !page.links_otherwise;
        Ok(alone && Some(read.names.get(0)) == names.last())
    }

    /// Asks for what follows the last name, and adds it.
    async fn after_last(
        &self,
        repository: &RepositoryName,
        listing: &mut PartialListing,
        caller: &Caller,
    ) -> Result<After, Stop> {
        let uri = self.tags_uri(repository, listing.names().last(), PAGE_SIZE)?;
        listing.check_new(&uri)?;
        let mut read = PageNames::default();
        let extent = Extent::After(listing.names());
        let Some(page) = self.page_by_last(&uri, extent, &mut read, caller).await? else {
            return Ok(After::NoNews(LastName::Holds));
        };
        let ends = page.next.is_none() && !page.links_otherwise;
        let known = match page.count {
            0 if ends => return Ok(After::Nothing),
            0 if page.next.is_none() => return Err(links_elsewhere()),
            0 => 0,
            count => match beginning_of(listing.names(), read.names.get(0)) {
                Beginning::New => 0,
                Beginning::Anew => {
                    let holds =
                        (0..read.names.len()).any(|index| Some(read.names.get(index)) == listing.names().last());
                    return Ok(After::NoNews(match holds {
                        true => LastName::Holds,
                        false => LastName::Missing,
                    }));
                }
                // Where pages hold one name alone, it may have been cut behind it.
                Beginning::Last if count == 1 && ends && listing.has_long_pages() => {
                    return Ok(After::Nothing);
                }
                Beginning::Last if count > 1 || page.next.is_some() => 1,
                Beginning::Last | Beginning::Known => return Err(repeats_names()),
            },
        };
        listing.read.bytes += read.bytes;
        self.check_bytes(&listing.read)?;
        let (was_ascending, start) = (listing.names().is_ascending(), listing.names().len());
        append(&read.names, known, &mut listing.read.names)?;
        if was_ascending && !listing.names().is_ascending() {
            return Err(Stop::invalid("its tag listing is not in order"));
        }
        listing.begins_page(uri, true, start);
        listing.count(&page)?;
        Ok(After::More(page))
    }

    /// A page that is asked for by `last`. `None` where the registry understands no such question.
    async fn page_by_last(
        &self,
        uri: &Uri,
        extent: Extent<'_>,
        read: &mut PageNames,
        caller: &Caller,
    ) -> Result<Option<ReadTagPage>, Stop> {
        match self.read_page(uri.clone(), extent, read, caller).await? {
            Answer::Found(page) => Ok(Some(page)),
            Answer::Absent => Err(vanished()),
            Answer::Refused(refusal) if refusal.is_about_access() => Err(refusal.into()),
            Answer::Refused(refusal) if is_about_the_question(&refusal) => Ok(None),
            // It says nothing of `last`, and the next question may go well.
            Answer::Refused(refusal) => Err(Stop::invalid(not_understood(&refusal, uri))),
        }
    }

    /// Going on by `last` is going on only if `last` is a name, and names are listed in the order that it goes by. Where names
    /// come in an order of the registry's own, or one could be taken for a number of names to leave out (Artifactory), what
    /// follows a name by `last` must be what follows it in the listing.
    pub(in crate::registry) async fn must_keep_its_order(
        &self,
        repository: &RepositoryName,
        listing: &PartialListing,
        caller: &Caller,
    ) -> Result<(), Stop> {
        match self.keeps_its_order(repository, listing, caller).await? {
            true => Ok(()),
            false => {
                let reason = "its tag listing has pages without Link, in no order that 'last' goes by";
                Err(Stop::invalid(reason))
            }
        }
    }

    /// Nothing follows the last name. In an order of the registry's own (by age, say, which may look like that of the names for as far
    /// as it was read) that may be because it moved there before what follows it was asked for: it must still be all that follows the
    /// name before it.
    pub(in crate::registry) async fn must_keep_its_last(
        &self,
        repository: &RepositoryName,
        listing: &PartialListing,
        caller: &Caller,
    ) -> Result<(), Stop> {
        match self.place_of_last(repository, listing, caller).await? {
            LastPlace::Same => Ok(()),
            LastPlace::Moved | LastPlace::Untold => Err(Stop::invalid(UNSTEADY)),
        }
    }

    /// Where the last name is now, by what follows the name before it.
    pub(in crate::registry) async fn place_of_last(
        &self,
        repository: &RepositoryName,
        listing: &PartialListing,
        caller: &Caller,
    ) -> Result<LastPlace, Stop> {
        let names = listing.names();
        let Some(before) = names.len().checked_sub(2).map(|index| names.get(index)) else {
            return Ok(LastPlace::Same);
        };
        let uri = self.tags_uri(repository, Some(before), PAGE_SIZE)?;
        let mut read = PageNames::default();
        let Answer::Found(_) = self.read_page(uri, Extent::Names(3), &mut read, caller).await? else {
            return Ok(LastPlace::Moved);
        };
        let mut follows = read.names.iter().peekable();
        // Some begin with the very name that they are asked by.
        follows.next_if(|name| *name == before);
        Ok(match (follows.next(), follows.next()) {
            (None, _) => LastPlace::Untold,
            (last, None) if last == names.last() => LastPlace::Same,
            _ => LastPlace::Moved,
        })
    }

    /// Whether it is seen to do so.
    pub(in crate::registry) async fn keeps_its_order(
        &self,
        repository: &RepositoryName,
        listing: &PartialListing,
        caller: &Caller,
    ) -> Result<bool, Stop> {
        let names = listing.names();
        let pairs = names.len().saturating_sub(1);
        let falls = |&index: &usize| names.get(index) > names.get(index + 1);
        let is_number = names
            .last()
            .is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
        let doubtful = (0..pairs)
            .find(falls)
            .or_else(|| pairs.checked_sub(1).filter(|_| is_number));
        let Some(before) = doubtful else {
            return Ok(true);
        };
        let uri = self.tags_uri(repository, Some(names.get(before)), 1)?;
        let mut read = PageNames::default();
        let page = self.page_by_last(&uri, Extent::Names(1), &mut read, caller).await?;
        Ok(page.is_some_and(|page| page.count > 0 && read.names.get(0) == names.get(before + 1)))
    }
}

/// Codes by which a registry says that it knows no `last`, or no such token.
const NO_SUCH_QUESTION: [&str; 2] = ["UNSUPPORTED", "PAGINATION_NUMBER_INVALID"];

/// Whether a registry states that it answers no such question. Any other refusal may be of this one moment.
fn is_about_the_question(refusal: &Refusal) -> bool {
    let states = |error: ErrorBody| NO_SUCH_QUESTION.iter().any(|code| error.has(code));
    matches!(refusal.status.as_u16(), 400 | 422) && refusal.error().is_some_and(states)
}
