//! Making all adopted forms of a repository: for a digest that the registry does not have, and of which nobody here was told. Once per
//! listing, for all who may read.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _, future, stream};
use tokio::time::timeout;

use super::Resolver;
use super::searches::ScanAnswer;
use crate::cache::{Ends, Epoch, Key, RepositoryKey};
use crate::oci::{Digest, LinkTagKind, tag_scheme};
use crate::referrers::access::{RepositoryAccess, probable};
use crate::referrers::adopted_form::AllMade;
use crate::referrers::context::RepositoryContext;
use crate::referrers::error::ResolveError;
use crate::referrers::scan::context::Scan;
use crate::referrers::shared_work::{AnswerScope, SharedWork};
use crate::referrers::tag_listings::AgedTagNames;
use crate::registry::{Caller, Fingerprint, UpstreamError};

/// Subjects of one repository whose adopted forms are made for a digest that nobody here was told of.
const MOST_SUBJECTS: usize = 256;
/// Of those, searched at once.
const SEARCHED_AT_ONCE: usize = 4;

/// Seconds after which whoever waited in vain should ask again.
const ASK_AGAIN_AFTER: u64 = 5;

/// Whether all that was found was given to whoever searched.
type AllFormsResult = Result<bool, ResolveError>;

/// Searches for all adopted forms of a repository.
pub(super) type AllFormsWork = SharedWork<AllFormsKey, AllFormsResult>;

type AllFormsKey = (RepositoryKey, Epoch, Fingerprint);

impl Resolver {
    /// Makes every adopted form of the repository that can be found, unless that was done since its tags were listed. Nobody waits longer
    /// than `links.patience`.
    pub(super) async fn make_all(&self, asked: &RepositoryContext) -> Result<(), ResolveError> {
        let context = asked.clone().searching();
        let listings = &self.inner.stores.listings;
        let names = listings.remembered(&context).await;
        let probable = probable(None, names.as_ref().map(|listed| &**listed.value.names()));
        match self
            .inner
            .access
            .check(&self.inner.upstream, &context, probable)
            .await?
        {
            RepositoryAccess::Allowed => {}
            RepositoryAccess::Empty | RepositoryAccess::Unseen => return Ok(()),
            RepositoryAccess::Refused(refusal) => return Err(refusal.into()),
        }
        let Some(listing) = listings
            .all(&context, self.inner.freshness.fresh_for)
            .await?
            .or_refusal()?
        else {
            return Ok(());
        };
        for key in [
            all_made(&context, &listing, None),
            all_made(&context, &listing, Some(&context.caller)),
        ] {
            let made = self.inner.cache.get::<AllMade>(&key).await;
            if made.is_some_and(|made| made.within(self.inner.freshness.fresh_for)) {
                return Ok(());
            }
        }
        let mut searching = Box::pin(self.search_together(&context, &listing));
        if let Ok(made) = timeout(self.inner.stores.config.patience, &mut searching).await {
            return made;
        }
        // It goes on, so that whoever asks again need not wait. A search that those who hang up have begun ends with them.
        let begin = || Ok(self.search_of(&context, &listing));
        let flight = flight(&context, &listing);
        if let Err(error) = self.inner.adopted_forms.start(flight, &context, begin) {
            tracing::debug!(repository = %context.repository, %error, "a search for adopted forms does not go on");
        }
        Err(UpstreamError::StillSearching {
            seconds: ASK_AGAIN_AFTER,
        }
        .into())
    }

    async fn search_together(&self, context: &RepositoryContext, listing: &AgedTagNames) -> Result<(), ResolveError> {
        let begin = || Ok(self.search_of(context, listing));
        let is_told_no_more = |_| future::ready(Ok(true)).boxed();
        let asked = (
            flight(context, listing),
            &*self.inner.upstream,
            context,
            Ends::WithLastWaiter,
        );
        let shared = self
            .inner
            .adopted_forms
            .share(asked, begin, scope, is_told_no_more)
            .await?;
        match shared {
            Some(made) => made.map(|_| ()),
            None => Box::pin(self.search_all(context, listing.clone())).await.map(|_| ()),
        }
    }

    fn search_of(
        &self,
        context: &RepositoryContext,
        listing: &AgedTagNames,
    ) -> impl Future<Output = AllFormsResult> + Send + 'static + use<> {
        let (resolver, context, listing) = (self.clone(), context.clone(), listing.clone());
        async move { resolver.search_all(&context, listing).await }
    }

    async fn search_all(&self, context: &RepositoryContext, listing: AgedTagNames) -> AllFormsResult {
        let subjects = self.subjects_with_links(context, &listing).await?;
        let searched: Vec<bool> = stream::iter(subjects)
            .map(|subject| self.makes_all_of(context, subject))
            .buffer_unordered(SEARCHED_AT_ONCE)
            .collect()
            .await;
        let is_whole = searched.into_iter().all(|is_whole| is_whole);
        let whose = (!is_whole).then_some(&context.caller);
        let key = all_made(context, &listing, whose);
        self.inner.cache.put_aged(key, Arc::new(AllMade), listing.age).await;
        Ok(is_whole)
    }

    /// Searches for what refers to `subject`, which remembers how its adopted forms are made. Whether others would be told the same.
    async fn makes_all_of(&self, context: &RepositoryContext, subject: Digest) -> bool {
        let searched = match self.queue_scan(context, &subject) {
            Ok(search) => search.await,
            Err(error) => Err(error.into()),
        };
        if let Err(error) = &searched {
            tracing::debug!(repository = %context.repository, %subject, %error, "its adopted forms were not made");
        }
        matches!(searched, Ok(ScanAnswer::ForReaders(_)))
    }

    /// Up to [`MOST_SUBJECTS`] digests that something refers to; last those of Proposal D tags, behind which most manifests name their
    /// subject.
    async fn subjects_with_links(
        &self,
        context: &RepositoryContext,
        listing: &AgedTagNames,
    ) -> Result<Vec<Digest>, ResolveError> {
        let tags = listing.names.iter().filter_map(tag_scheme::parse);
        let (mut others, mut first): (BTreeSet<_>, BTreeSet<_>) = Default::default();
        for tag in tags.filter(|tag| !tag.is_envelope()) {
            let subjects = match tag.kind {
                LinkTagKind::ProposalD { .. } => &mut others,
                LinkTagKind::Cosign(_) | LinkTagKind::Referrers => &mut first,
            };
            subjects.extend(tag.subject.digest());
        }
        let nothing = Digest::sha256(b"");
        let scan = Scan::new(self.inner.stores.clone(), context.clone(), nothing, Duration::ZERO);
        let behind_tags = scan.referred_to(listing.clone()).await?;
        first.extend(behind_tags.digests().into_iter().cloned());
        let all = first.iter().chain(others.difference(&first));
        Ok(all.take(MOST_SUBJECTS).cloned().collect())
    }
}

fn flight(context: &RepositoryContext, listing: &AgedTagNames) -> AllFormsKey {
    (
        context.repository_key.clone(),
        context.epoch.clone(),
        listing.fingerprint,
    )
}

/// Says that all forms were made, for everybody or for a caller who was not given all of them.
fn all_made(context: &RepositoryContext, listing: &AgedTagNames, caller: Option<&Caller>) -> Key {
    let listed = u128::from_be_bytes(listing.fingerprint);
    let whose = caller.map(|caller| u128::from_be_bytes(caller.credential_hash()));
    let of = format!("{listed:032x} {:032x}", whose.unwrap_or_default());
    Key::adopted_all(&context.repository_key, &context.epoch, &of)
}

fn scope(made: &AllFormsResult) -> AnswerScope {
    match made {
        Ok(true) => AnswerScope::Everybody,
        Ok(false) => AnswerScope::Credential,
        Err(error) => AnswerScope::of_error(error),
    }
}
