//! Who may be told what: the right to read a repository, and whether a list that others were told is this caller's too.

use std::sync::Arc;
use std::time::Duration;

use crate::cache::CacheEntry;
use crate::oci::{Digest, Reference, ReferrerList};
use crate::registry::UpstreamError;

use super::Resolver;
use super::searches::ScanAnswer;
use crate::referrers::access::{RepositoryAccess, probable};
use crate::referrers::basis::{OwnApi, RememberedAnswer};
use crate::referrers::context::RepositoryContext;
use crate::referrers::error::ResolveError;
use crate::referrers::proof::spread;
use crate::referrers::scan::run::Scanned;

/// What a caller may do with what is known of a repository.
pub(super) enum ReadRight {
    Read,
    /// Nothing is known of the repository yet: the scan's own requests will tell.
    Unasked,
    /// Lists without entries: to this caller, the repository is empty.
    ReadNone,
    /// The repository does not exist to this caller.
    Unseen,
}

impl Resolver {
    /// Whether state of this repository may be used for this caller.
    pub(super) async fn may_read(
        &self,
        context: &RepositoryContext,
        subject: &Digest,
        known: Option<&CacheEntry<ReferrerList>>,
    ) -> Result<ReadRight, ResolveError> {
        match self.inner.access.is_allowed(context) {
            true => Ok(ReadRight::Read),
            // Rare, and large: see `proxy::pipeline::dispatch`.
            false => Box::pin(self.ask_may_read(context, subject, known)).await,
        }
    }

    async fn ask_may_read(
        &self,
        context: &RepositoryContext,
        subject: &Digest,
        known: Option<&CacheEntry<ReferrerList>>,
    ) -> Result<ReadRight, ResolveError> {
        let listed = self
            .inner
            .stores
            .listings
            .remembered(context)
            .await
            .map(|listed| listed.value.names().clone());
        if known.is_none() && listed.is_none() {
            return Ok(ReadRight::Unasked);
        }
        let mut probable = probable(Some(subject), listed.as_deref());
        probable.extend(known.iter().flat_map(|known| some_entries(&known.value)));
        match self.inner.access.check(&self.inner.upstream, context, probable).await? {
            RepositoryAccess::Allowed => Ok(ReadRight::Read),
            RepositoryAccess::Empty => Ok(ReadRight::ReadNone),
            RepositoryAccess::Unseen => Ok(ReadRight::Unseen),
            RepositoryAccess::Refused(refusal) => Err(refusal.into()),
        }
    }

    /// Asks the registry whether this caller may read, by the subject, by what is listed, and by what was found.
    pub(super) async fn check(
        &self,
        context: &RepositoryContext,
        subject: &Digest,
        found: Option<&ReferrerList>,
    ) -> Result<RepositoryAccess, UpstreamError> {
        let listed = self.inner.stores.listings.remembered(context).await;
        let names = listed.map(|listed| listed.value.names().clone());
        let mut probable = probable(Some(subject), names.as_deref());
        probable.extend(found.into_iter().flat_map(some_entries));
        self.inner.access.check(&self.inner.upstream, context, probable).await
    }

    /// What a scan found, as the answer for everybody who may read, or for its caller alone.
    pub(super) async fn answer(&self, context: &RepositoryContext, found: &Scanned) -> ScanAnswer {
        let links = found.links.clone();
        let alone = ScanAnswer::ForCredential;
        if found.is_withheld {
            // By now that may be everything: a token ends, a right is withdrawn.
            self.inner.access.forget(context);
        }
        let basis = found.basis;
        let proven = |links| match found.is_withheld || !found.shareable {
            true => alone(Ok(links)),
            false => ScanAnswer::ForReaders(RememberedAnswer { links, basis }),
        };
        // Who is refused the subject may have found what memory knows from others.
        if !found.shareable && !found.is_subject_refused {
            return alone(Ok(links));
        }
        // Only a manifest that it was given itself proves its right: it may have found what others read.
        if self.inner.access.is_allowed(context) {
            return proven(links);
        }
        if links.referrers.is_empty() && found.listed_empty && self.inner.access.may_list(context) {
            return alone(Ok(links));
        }
        let subject = &found.links.subject;
        match self.check(context, subject, Some(&found.links)).await {
            Ok(RepositoryAccess::Allowed) => proven(links),
            Ok(RepositoryAccess::Empty) => alone(Ok(none(subject))),
            Ok(RepositoryAccess::Unseen) => {
                self.inner.access.warn_of_hidden(context);
                alone(Ok(none(subject)))
            }
            Ok(RepositoryAccess::Refused(refusal)) => alone(Err(refusal.into())),
            Err(error) => alone(Err(error.into())),
        }
    }

    /// Whether the registry tells this caller no more than what the answer, of this `age`, rests on. Where nobody knows, its own
    /// listing and the registry's own API decide.
    pub(super) async fn is_for(&self, context: &RepositoryContext, answer: &RememberedAnswer, age: Duration) -> bool {
        if self.was_told_no_less(context, answer, age) {
            return true;
        }
        let asked = self.tells_no_more(context, answer).await;
        asked.unwrap_or_else(|error| {
            tracing::debug!(upstream = self.inner.upstream.name(), %error, "not known whether others' list is this caller's");
            false
        })
    }

    async fn tells_no_more(
        &self,
        context: &RepositoryContext,
        answer: &RememberedAnswer,
    ) -> Result<bool, UpstreamError> {
        let basis = &answer.basis;
        if basis.own_api == OwnApi::Missing && !self.lacks_own_api(context) {
            return Ok(false);
        }
        let listed = self.inner.stores.listings.remembered(context).await;
        let Some(listed) = listed.filter(|listed| listed.value.fingerprint == basis.names) else {
            return Ok(false);
        };
        let listings = &self.inner.stores.listings;
        if !listings
            .lists_no_more(context, listed.value.names(), basis.names)
            .await?
        {
            return Ok(false);
        }
        let OwnApi::Listed(digests) = basis.own_api else {
            return Ok(true);
        };
        let (access, subject) = (&self.inner.access, &answer.links.subject);
        let listed = (*basis, digests);
        access
            .check_own_api(&self.inner.upstream, context, subject, listed)
            .await
    }

    /// The same, where nobody is asked: it was told all of it itself, or as much.
    pub(super) fn was_told_no_less(
        &self,
        context: &RepositoryContext,
        answer: &RememberedAnswer,
        age: Duration,
    ) -> bool {
        let (basis, subject) = (&answer.basis, &answer.links.subject);
        let lists_the_same = || self.inner.stores.listings.was_listed(context, basis.names);
        basis.is_of_nobody(&context.caller)
            || self.inner.access.was_told(context, subject, basis, age)
            || match basis.own_api {
                OwnApi::NotRead => lists_the_same(),
                OwnApi::Missing => self.lacks_own_api(context) && lists_the_same(),
                OwnApi::Listed(_) => false,
            }
    }

    fn lacks_own_api(&self, context: &RepositoryContext) -> bool {
        let support = self
            .inner
            .upstream
            .native()
            .support(&context.repository, &context.caller);
        support.is_missing()
    }
}

/// Up to three entries of a list: whoever is given one of them may read.
fn some_entries(links: &ReferrerList) -> impl Iterator<Item = Reference> {
    let entries = &links.referrers;
    spread(entries.len()).filter_map(|at| Some(entries.get(at)?.stored_digest().clone().into()))
}

/// To this caller the repository does not exist, so nothing in it refers to anything.
fn none(subject: &Digest) -> Arc<ReferrerList> {
    Arc::new(ReferrerList::new(subject.clone(), Vec::new()))
}
