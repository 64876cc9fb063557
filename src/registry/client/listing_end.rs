//! Where a tag listing ends. A page without `Link` proves nothing by itself: the distribution-spec lets a registry leave it out,
//! and registries cut pages without saying so. A wrong end is a wrong "no signatures".

use super::Upstream;
use super::page_reader::{Beginning, Extent, PageNames, ReadTagPage, append, beginning_of};
use super::tag_listing::{PAGE_SIZE, PartialListing, vanished};
use crate::oci::RepositoryName;
use crate::registry::answer::{Answer, Refusal};
use crate::registry::caller::Caller;
use crate::registry::capabilities::paging::Paging;
use crate::registry::classify::not_understood;
use crate::registry::error::UpstreamError;

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
fn links_elsewhere() -> UpstreamError {
    UpstreamError::Invalid("its tag listing has a Link to no next page, and cannot be continued by 'last'".into())
}

pub(in crate::registry) const REPEATS: &str = "its tag listing repeats names instead of going on after 'last'";

fn repeats_names() -> UpstreamError {
    UpstreamError::Invalid(REPEATS.into())
}

impl Upstream {
    /// Proves that nothing follows `last`, which links to no next page, or reads what does.
    pub(in crate::registry) async fn prove_end(
        &self,
        repository: &RepositoryName,
        last: &ReadTagPage,
        listing: &mut PartialListing,
        caller: &Caller,
    ) -> Result<Answer<()>, UpstreamError> {
        // With fewer than two names there is nothing to cut.
        match listing.names().len() {
            0 if last.links_otherwise => return Err(links_elsewhere()),
            0 | 1 if !last.links_otherwise => return Ok(Answer::Found(())),
            _ => {}
        }
        let known = self.paging(repository);
        let paging = match listing.followed_links {
            true => Some(Paging::Links),
            false => known.paging(),
        };
        match paging {
            Some(Paging::Links | Paging::AllAtOnce) if !listing.may_be_cut(last) => Ok(Answer::Found(())),
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
    ) -> Result<Answer<()>, UpstreamError> {
        let known = self.paging(repository);
        let asked = match last.count > PAGE_SIZE {
            true => Answer::Found(OneAskedFor::Ignored),
            false => self.ask_for_one(repository, caller).await?,
        };
        match asked {
            Answer::Found(OneAskedFor::Link) => {
                known.learn_paging(Paging::Links);
                match listing.may_be_cut(last) {
                    true => self.look_behind(repository, last, listing, caller).await,
                    false => Ok(Answer::Found(())),
                }
            }
            Answer::Found(OneAskedFor::Cut) => {
                known.learn_paging(Paging::ByLast);
                self.must_go_on(repository, listing, caller).await
            }
            Answer::Found(OneAskedFor::Ignored) => self.learn_by_last(repository, last, listing, caller).await,
            Answer::Absent => Err(vanished()),
            Answer::Refused(refusal) => Ok(Answer::Refused(refusal)),
        }
    }

    /// A registry that ignores `n` gives everything at once, unless it cuts pages at a number of its own: `last` tells.
    async fn learn_by_last(
        &self,
        repository: &RepositoryName,
        last: &ReadTagPage,
        listing: &mut PartialListing,
        caller: &Caller,
    ) -> Result<Answer<()>, UpstreamError> {
        let ended = match self.go_on(repository, listing, caller).await? {
            Answer::Found(ended) => ended,
            Answer::Absent => return Err(vanished()),
            Answer::Refused(refusal) => return Ok(Answer::Refused(refusal)),
        };
        let paging = match ended {
            Ended::NoNews if last.links_otherwise => return Err(links_elsewhere()),
            Ended::NoNews => Paging::AllAtOnce,
            Ended::Continued => {
                self.must_keep_its_order(repository, listing, caller).await?;
                Paging::ByLast
            }
            Ended::Empty => match self.keeps_its_order(repository, listing, caller).await? {
                Answer::Found(false) => Paging::AllAtOnce,
                Answer::Found(true) => Paging::ByLast,
                Answer::Absent => return Err(vanished()),
                Answer::Refused(refusal) => return Ok(Answer::Refused(refusal)),
            },
        };
        self.paging(repository).learn_paging(paging);
        Ok(Answer::Found(()))
    }

    /// What a registry does with `n=1` where there are at least two names. Reading stops after the second.
    async fn ask_for_one(
        &self,
        repository: &RepositoryName,
        caller: &Caller,
    ) -> Result<Answer<OneAskedFor>, UpstreamError> {
        let uri = self.tags_uri(repository, None, 1)?;
        let mut read = PageNames::default();
        Ok(match self.read_page(uri, Extent::Names(2), &mut read, caller).await? {
            Answer::Found(page) if page.next.is_some() => Answer::Found(OneAskedFor::Link),
            Answer::Found(page) if page.count > 1 => Answer::Found(OneAskedFor::Ignored),
            Answer::Found(_) => Answer::Found(OneAskedFor::Cut),
            Answer::Absent => Answer::Absent,
            Answer::Refused(refusal) if is_about_access(refusal.status) => Answer::Refused(refusal),
            // `n` may be refused; then only an empty page is an end.
            Answer::Refused(_) => Answer::Found(OneAskedFor::Cut),
        })
    }

    /// A listing that looks complete, but for a page that may have been cut: if names follow it, they are read.
    pub(in crate::registry) async fn look_behind(
        &self,
        repository: &RepositoryName,
        last: &ReadTagPage,
        listing: &mut PartialListing,
        caller: &Caller,
    ) -> Result<Answer<()>, UpstreamError> {
        match self.go_on(repository, listing, caller).await? {
            Answer::Found(Ended::Continued) => {
                self.paging(repository).learn_paging(Paging::ByLast);
                self.must_keep_its_order(repository, listing, caller).await
            }
            Answer::Found(Ended::NoNews) if last.links_otherwise => Err(links_elsewhere()),
            Answer::Found(Ended::Empty | Ended::NoNews) => Ok(Answer::Found(())),
            Answer::Absent => Err(vanished()),
            Answer::Refused(refusal) => Ok(Answer::Refused(refusal)),
        }
    }

    /// Goes on by `last`, where only an empty page is an end.
    pub(in crate::registry) async fn must_go_on(
        &self,
        repository: &RepositoryName,
        listing: &mut PartialListing,
        caller: &Caller,
    ) -> Result<Answer<()>, UpstreamError> {
        match self.go_on(repository, listing, caller).await? {
            Answer::Found(Ended::Empty | Ended::Continued) => {
                self.must_keep_its_order(repository, listing, caller).await
            }
            Answer::Found(Ended::NoNews) if self.starts_over(repository, listing, caller).await? => {
                Ok(Answer::Found(()))
            }
            Answer::Found(Ended::NoNews) => {
                self.paging(repository).forget_paging();
                let reason = "its tag listing has pages without Link, and cannot be continued by 'last'";
                Err(UpstreamError::Invalid(reason.into()))
            }
            Answer::Absent => Err(vanished()),
            Answer::Refused(refusal) => Ok(Answer::Refused(refusal)),
        }
    }

    async fn go_on(
        &self,
        repository: &RepositoryName,
        listing: &mut PartialListing,
        caller: &Caller,
    ) -> Result<Answer<Ended>, UpstreamError> {
        let mut ended = Ended::Empty;
        loop {
            match self.after_last(repository, listing, caller).await? {
                Answer::Found(After::More(page)) => match self.follow_links(page, listing, caller).await? {
                    Answer::Found(_) => ended = Ended::Continued,
                    Answer::Absent => return Ok(Answer::Absent),
                    Answer::Refused(refusal) => return Ok(Answer::Refused(refusal)),
                },
                Answer::Found(After::Nothing) => return Ok(Answer::Found(ended)),
                Answer::Found(After::NoNews) if ended == Ended::Empty => return Ok(Answer::Found(Ended::NoNews)),
                Answer::Found(After::NoNews) if self.starts_over(repository, listing, caller).await? => {
                    return Ok(Answer::Found(ended));
                }
                Answer::Found(After::NoNews) => return Err(repeats_names()),
                Answer::Absent => return Err(vanished()),
                Answer::Refused(refusal) => return Ok(Answer::Refused(refusal)),
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
    ) -> Result<bool, UpstreamError> {
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
    ) -> Result<Answer<After>, UpstreamError> {
        let uri = self.tags_uri(repository, listing.names().last(), PAGE_SIZE)?;
        listing.check_new(&uri)?;
        let mut read = PageNames::default();
        let extent = Extent::After(listing.names());
        let page = match self.read_page(uri.clone(), extent, &mut read, caller).await? {
            Answer::Found(page) => page,
            Answer::Absent => return Ok(Answer::Absent),
            Answer::Refused(refusal) if is_about_access(refusal.status) => return Ok(Answer::Refused(refusal)),
            Answer::Refused(refusal) if is_about_the_question(&refusal) => return Ok(Answer::Found(After::NoNews)),
            // It says nothing of `last`, and the next question may go well.
            Answer::Refused(refusal) => return Err(UpstreamError::Invalid(not_understood(&refusal, &uri))),
        };
        let ends = page.next.is_none() && !page.links_otherwise;
        let known = match page.count {
            0 if ends => return Ok(Answer::Found(After::Nothing)),
            0 if page.next.is_none() => return Err(links_elsewhere()),
            0 => 0,
            count => match beginning_of(listing.names(), read.names.get(0)) {
                Beginning::New => 0,
                Beginning::Anew => return Ok(Answer::Found(After::NoNews)),
                // Where pages hold one name alone, it may have been cut behind it.
                Beginning::Last if count == 1 && ends && listing.has_long_pages() => {
                    return Ok(Answer::Found(After::Nothing));
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
            return Err(UpstreamError::Invalid("its tag listing is not in order".into()));
        }
        listing.begins_page(uri, true, start);
        listing.count(&page)?;
        Ok(Answer::Found(After::More(page)))
    }

    /// Going on by `last` is going on only if `last` is a name, and names are listed in the order that it goes by. Where names
    /// come in an order of the registry's own, or one could be taken for a number of names to leave out (Artifactory), what
    /// follows a name by `last` must be what follows it in the listing.
    async fn must_keep_its_order(
        &self,
        repository: &RepositoryName,
        listing: &PartialListing,
        caller: &Caller,
    ) -> Result<Answer<()>, UpstreamError> {
        self.keeps_its_order(repository, listing, caller)
            .await?
            .try_map(|keeps| match keeps {
                true => Ok(()),
                false => {
                    let reason = "its tag listing has pages without Link, in no order that 'last' goes by";
                    Err(UpstreamError::Invalid(reason.into()))
                }
            })
    }

    async fn keeps_its_order(
        &self,
        repository: &RepositoryName,
        listing: &PartialListing,
        caller: &Caller,
    ) -> Result<Answer<bool>, UpstreamError> {
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
            return Ok(Answer::Found(true));
        };
        let uri = self.tags_uri(repository, Some(names.get(before)), 1)?;
        let mut read = PageNames::default();
        match self.read_page(uri.clone(), Extent::Names(1), &mut read, caller).await? {
            Answer::Found(page) => {
                let follows = page.count > 0 && read.names.get(0) == names.get(before + 1);
                Ok(Answer::Found(follows))
            }
            Answer::Absent => Err(vanished()),
            Answer::Refused(refusal) if is_about_access(refusal.status) => Ok(Answer::Refused(refusal)),
            Answer::Refused(refusal) if is_about_the_question(&refusal) => Ok(Answer::Found(false)),
            Answer::Refused(refusal) => Err(UpstreamError::Invalid(not_understood(&refusal, &uri))),
        }
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
