//! Where a tag listing ends. A page without `Link` proves nothing by itself: the distribution-spec lets a registry leave it out,
//! and registries cut pages without saying so. A wrong end is a wrong "no signatures".

use http::Uri;

use super::Upstream;
use super::page_reader::{Beginning, Extent, PageNames, ReadTagPage, append, beginning_of};
use super::tag_listing::{PAGE_SIZE, PartialListing, vanished};
use crate::oci::RepositoryName;
use crate::registry::answer::{Answer, Refusal, Stop};
use crate::registry::caller::Caller;
use crate::registry::capabilities::paging::Paging;
use crate::registry::classify::not_understood;

/// What `n=1` brought, of a repository with more than one tag.
enum OneAskedFor {
    /// A `Link` to the rest.
    Link,
    /// At most one name, and no `Link`.
    Cut,
    /// More names.
    Ignored,
}

/// What is asked for by the last name that is known.
enum After {
    /// Names follow.
    More(ReadTagPage),
    /// An empty page.
    Nothing,
    /// The listing from its beginning, or that no such question is understood: `last` is of no use.
    NoNews,
}

/// How going on by `last` ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// On an empty page, after names that were new.
    Continued,
    /// On an empty page at once.
    Empty,
    /// `last` is of no use.
    NoNews,
}

/// A `Link` may lead to more names whatever its relation says (some clients follow it), and `last` cannot tell.
fn links_elsewhere() -> Stop {
    Stop::invalid("its tag listing has a Link to no next page, and cannot be continued by 'last'")
}

pub(in crate::registry) const REPEATS: &str = "its tag listing repeats names instead of going on after 'last'";

fn repeats_names() -> Stop {
    Stop::invalid(REPEATS)
}

impl Upstream {
    /// Proves that nothing follows `last`, which links to no next page, or reads what does.
    pub(in crate::registry) async fn prove_end(
        &self,
        repository: &RepositoryName,
        last: &ReadTagPage,
        listing: &mut PartialListing,
        caller: &Caller,
    ) -> Result<(), Stop> {
        // With fewer than two names there is nothing to cut.
        match listing.names().len() {
            0 if last.links_otherwise => return Err(links_elsewhere()),
            0 | 1 if !last.links_otherwise => return Ok(()),
            _ => {}
        }
        let known = self.paging(repository);
        let paging = match listing.followed_links {
            true => Some(Paging::Links),
            false => known.paging(),
        };
        match paging {
            Some(Paging::Links | Paging::AllAtOnce) if !listing.may_be_cut(last) => Ok(()),
            Some(Paging::Links | Paging::AllAtOnce) => self.look_behind(repository, last, listing, caller).await,
            Some(Paging::ByLast) => self.must_go_on(repository, listing, caller).await,
            None => self.learn_its_end(repository, last, listing, caller).await,
        }
    }

    /// Learns how listings of this repository go on, and reads this one to its end.
    async fn learn_its_end(
        &self,
        repository: &RepositoryName,
        last: &ReadTagPage,
        listing: &mut PartialListing,
        caller: &Caller,
    ) -> Result<(), Stop> {
        let known = self.paging(repository);
        let asked = match last.count > PAGE_SIZE {
            true => OneAskedFor::Ignored,
            false => self.ask_for_one(repository, caller).await?,
        };
        match asked {
            OneAskedFor::Link => {
                known.learn_paging(Paging::Links);
                match listing.may_be_cut(last) {
                    true => self.look_behind(repository, last, listing, caller).await,
                    false => Ok(()),
                }
            }
            OneAskedFor::Cut => {
                known.learn_paging(Paging::ByLast);
                self.must_go_on(repository, listing, caller).await
            }
            OneAskedFor::Ignored => self.learn_by_last(repository, last, listing, caller).await,
        }
    }

    /// A registry that ignores `n` gives everything at once, unless it cuts pages at a number of its own: `last` tells.
    async fn learn_by_last(
        &self,
        repository: &RepositoryName,
        last: &ReadTagPage,
        listing: &mut PartialListing,
        caller: &Caller,
    ) -> Result<(), Stop> {
        let paging = match self.go_on(repository, listing, caller).await? {
            Ended::NoNews if last.links_otherwise => return Err(links_elsewhere()),
            Ended::NoNews => Paging::AllAtOnce,
            Ended::Continued => {
                self.must_keep_its_order(repository, listing, caller).await?;
                Paging::ByLast
            }
            Ended::Empty => match self.keeps_its_order(repository, listing, caller).await? {
                false => Paging::AllAtOnce,
                true => Paging::ByLast,
            },
        };
        self.paging(repository).learn_paging(paging);
        Ok(())
    }

    /// What a registry does with `n=1` where there are at least two names. Reading stops after the second.
    async fn ask_for_one(&self, repository: &RepositoryName, caller: &Caller) -> Result<OneAskedFor, Stop> {
        let uri = self.tags_uri(repository, None, 1)?;
        let mut read = PageNames::default();
        match self.read_page(uri, Extent::Names(2), &mut read, caller).await? {
            Answer::Found(page) if page.next.is_some() => Ok(OneAskedFor::Link),
            Answer::Found(page) if page.count > 1 => Ok(OneAskedFor::Ignored),
            Answer::Found(_) => Ok(OneAskedFor::Cut),
            Answer::Absent => Err(vanished()),
            Answer::Refused(refusal) if is_about_access(refusal.status) => Err(refusal.into()),
            // `n` may be refused; then only an empty page is an end.
            Answer::Refused(_) => Ok(OneAskedFor::Cut),
        }
    }

    /// A listing that looks complete, but for a page that may have been cut: if names follow it, they are read.
    pub(in crate::registry) async fn look_behind(
        &self,
        repository: &RepositoryName,
        last: &ReadTagPage,
        listing: &mut PartialListing,
        caller: &Caller,
    ) -> Result<(), Stop> {
        match self.go_on(repository, listing, caller).await? {
            Ended::Continued => {
                self.paging(repository).learn_paging(Paging::ByLast);
                self.must_keep_its_order(repository, listing, caller).await
            }
            Ended::NoNews if last.links_otherwise => Err(links_elsewhere()),
            Ended::Empty | Ended::NoNews => Ok(()),
        }
    }

    /// Goes on by `last`, where only an empty page is an end.
    pub(in crate::registry) async fn must_go_on(
        &self,
        repository: &RepositoryName,
        listing: &mut PartialListing,
        caller: &Caller,
    ) -> Result<(), Stop> {
        match self.go_on(repository, listing, caller).await? {
            Ended::Empty | Ended::Continued => self.must_keep_its_order(repository, listing, caller).await,
            Ended::NoNews if self.starts_over(repository, listing, caller).await? => Ok(()),
            Ended::NoNews => {
                self.paging(repository).forget_paging();
                let reason = "its tag listing has pages without Link, and cannot be continued by 'last'";
                Err(Stop::invalid(reason))
            }
        }
    }

    async fn go_on(
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
                After::NoNews if ended == Ended::Empty => return Ok(Ended::NoNews),
                After::NoNews if self.starts_over(repository, listing, caller).await? => return Ok(ended),
                After::NoNews => return Err(repeats_names()),
            }
        }
    }

    /// Whether it is because nothing follows the last name that names come again: go-containerregistry begins anew there. Then
    /// the last name is all that follows the one before it, on a page that is shorter than this registry's pages are.
    async fn starts_over(
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
            return Ok(After::NoNews);
        };
        let ends = page.next.is_none() && !page.links_otherwise;
        let known = match page.count {
            0 if ends => return Ok(After::Nothing),
            0 if page.next.is_none() => return Err(links_elsewhere()),
            0 => 0,
            count => match beginning_of(listing.names(), read.names.get(0)) {
                Beginning::New => 0,
                Beginning::Anew => return Ok(After::NoNews),
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
            Answer::Refused(refusal) if is_about_access(refusal.status) => Err(refusal.into()),
            Answer::Refused(refusal) if is_about_the_question(&refusal) => Ok(None),
            // It says nothing of `last`, and the next question may go well.
            Answer::Refused(refusal) => Err(Stop::invalid(not_understood(&refusal, uri))),
        }
    }

    /// Going on by `last` is going on only if `last` is a name, and names are listed in the order that it goes by. Where names
    /// come in an order of the registry's own, or one could be taken for a number of names to leave out (Artifactory), what
    /// follows a name by `last` must be what follows it in the listing.
    async fn must_keep_its_order(
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

    async fn keeps_its_order(
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

/// 400 and 422: a registry that knows no `last`. Any other refusal may be of this one moment.
fn is_about_the_question(refusal: &Refusal) -> bool {
    matches!(refusal.status.as_u16(), 400 | 422)
}

/// 401 and 403 are about the caller, not about the question.
pub(in crate::registry) fn is_about_access(status: http::StatusCode) -> bool {
    matches!(status.as_u16(), 401 | 403)
}
