//! Where a tag listing ends. A page without `Link` proves nothing by itself: the distribution-spec lets a registry leave it out,
//! and registries cut pages without saying so. A wrong end is a wrong "no signatures".

use super::Upstream;
use super::by_last::{Ended, LastName, LastPlace, links_elsewhere};
use super::listing_so_far::{PAGE_SIZE, PartialListing, UNSTEADY, vanished};
use super::page_reader::{Extent, PageNames, ReadTagPage};
use crate::oci::RepositoryName;
use crate::registry::answer::{Answer, Stop};
use crate::registry::caller::Caller;
use crate::registry::capabilities::paging::Paging;

/// What `n=1` brought, of a repository with more than one tag.
enum OneAskedFor {
    /// A `Link` to the rest.
    Link,
    /// At most one name, and no `Link`.
    Cut,
    /// More names.
    Ignored,
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
            Ended::NoNews(_) if last.links_otherwise => return Err(links_elsewhere()),
            Ended::NoNews(LastName::Holds) => Paging::AllAtOnce,
            Ended::NoNews(LastName::Missing) => return Err(Stop::invalid(UNSTEADY)),
            Ended::Continued => {
                self.must_keep_its_order(repository, listing, caller).await?;
                self.must_keep_its_last(repository, listing, caller).await?;
                Paging::ByLast
            }
            Ended::Empty => match self.keeps_its_order(repository, listing, caller).await? {
                false => Paging::AllAtOnce,
                true => {
                    self.must_keep_its_last(repository, listing, caller).await?;
                    Paging::ByLast
                }
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
            Answer::Refused(refusal) if refusal.is_about_access() => Err(refusal.into()),
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
                self.must_keep_its_order(repository, listing, caller).await?;
                self.must_keep_its_last(repository, listing, caller).await
            }
            Ended::NoNews(_) if last.links_otherwise => Err(links_elsewhere()),
            Ended::Empty => match self.place_of_last(repository, listing, caller).await? {
                LastPlace::Same | LastPlace::Untold => Ok(()),
                LastPlace::Moved => Err(Stop::invalid(UNSTEADY)),
            },
            Ended::NoNews(_) => Ok(()),
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
            Ended::Empty | Ended::Continued => {
                self.must_keep_its_order(repository, listing, caller).await?;
                self.must_keep_its_last(repository, listing, caller).await
            }
            Ended::NoNews(_) if self.starts_over(repository, listing, caller).await? => Ok(()),
            Ended::NoNews(_) => {
                self.paging(repository).forget_paging();
                let reason = "its tag listing has pages without Link, and cannot be continued by 'last'";
                Err(Stop::invalid(reason))
            }
        }
    }
}
