//! How a question about a subject is answered: the right to read is checked, a remembered list is served while it is fresh
//! enough, and otherwise the registry is searched.

use std::sync::Arc;
use std::time::Duration;

use crate::cache::{CacheEntry, Ends, Key};
use crate::oci::{Digest, ReferrerList, RepositoryName};
use crate::registry::{Caller, UpstreamError};

use super::Resolver;
use super::rights::ReadRight;
use super::searches::flight_key;
use crate::referrers::basis::RememberedAnswer;
use crate::referrers::context::RepositoryContext;
use crate::referrers::counts::AnsweredFrom;
use crate::referrers::error::ResolveError;

/// A list, and where it comes from.
#[derive(Clone, Debug)]
pub struct Lookup {
    pub links: Arc<ReferrerList>,
    pub from: AnsweredFrom,
    /// Age of a remembered list; `None` for one that was searched for just now.
    pub age: Option<Duration>,
}

impl Lookup {
    /// Whether it is older than what counts as fresh.
    pub fn is_stale(&self) -> bool {
        matches!(self.from, AnsweredFrom::Refreshing | AnsweredFrom::Stale)
    }
}

/// What is remembered of what refers to a subject.
#[derive(Clone, Debug)]
pub struct KnownReferrers {
    /// The repository's own, and what its sibling keeps.
    pub lists: Vec<Arc<ReferrerList>>,
    /// Whether that is all, by what the registry told this caller, or everybody, while it was fresh.
    pub is_all: bool,
}

impl Resolver {
    /// What is remembered of what refers to `subject`. Nobody is asked, not even whether this caller may read: it is not for callers.
    pub async fn known_referrers(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
        caller: &Caller,
    ) -> Option<KnownReferrers> {
        let own = self.known_in(&self.context(repository, caller).await, subject).await;
        match self.inner.upstream.sibling(repository, caller) {
            Ok(None) => own,
            Ok(Some(sibling)) => with_kept(
                own,
                self.of_sibling(repository, caller)
                    .known_in_sibling(&sibling, subject)
                    .await,
            ),
            // Nobody can say what it keeps.
            Err(_) => with_kept(own, None),
        }
    }

    /// What is remembered of what refers to `subject` in this one repository.
    pub(super) async fn known_in(&self, context: &RepositoryContext, subject: &Digest) -> Option<KnownReferrers> {
        let key = Key::answer(&context.repository_key, &context.epoch, subject);
        let answer = self.inner.cache.get::<RememberedAnswer>(&key).await?;
        let is_fresh = answer.within(self.inner.freshness.fresh_for);
        Some(KnownReferrers {
            is_all: is_fresh && self.was_told_no_less(context, &answer.value, answer.age),
            lists: vec![answer.value.links.clone()],
        })
    }

    /// Everything that refers to `subject`, or why that cannot be said. Never a list that may lack something.
    pub async fn resolve(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
        caller: &Caller,
    ) -> Result<Lookup, ResolveError> {
        let resolved = match self.find_in_both(repository, subject, caller).await {
            Ok(found) => self.with_originals(repository, subject, caller, found).await,
            Err(error) => Err(error),
        };
        let from = resolved.as_ref().map(|resolved| resolved.from);
        self.counts().answered(from.unwrap_or(AnsweredFrom::Nothing));
        resolved
    }

    pub(super) async fn find(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
        caller: &Caller,
    ) -> Result<Lookup, ResolveError> {
        let context = self.context(repository, caller).await;
        self.inner.stores.listings.asked(&context);
        let key = Key::answer(&context.repository_key, &context.epoch, subject);
        let answer = self.inner.cache.get::<RememberedAnswer>(&key).await;
        let known = answer.as_ref().map(links_of);
        match self.may_read(&context, subject, known.as_ref()).await {
            Ok(ReadRight::Read) => {}
            Ok(ReadRight::Unasked) => return Box::pin(self.scan_for(&context, subject, Ends::WithLastWaiter)).await,
            Ok(ReadRight::ReadNone) => return self.none_for(&context, subject, answer).await,
            Ok(ReadRight::Unseen) => {
                self.inner.access.warn_of_hidden(&context);
                return self.none_for(&context, subject, answer).await;
            }
            Err(ResolveError::Upstream(error)) => {
                let answer = answer.filter(|answer| self.was_told_no_less(&context, &answer.value, answer.age));
                return self.stale_for_anyone(&context, answer.as_ref().map(links_of), error);
            }
            Err(refused) => return Err(refused),
        }
        let answer = match answer {
            Some(answer) if self.is_for(&context, &answer.value, answer.age).await => Some(answer),
            _ => None,
        };
        let known = answer.as_ref().map(links_of);
        if let Some(known) = &known {
            if known.within(self.inner.freshness.fresh_for) {
                return Ok(remembered(known, AnsweredFrom::Fresh));
            }
            // "None" is a security statement: while the upstream can be asked, it is never served past its freshness.
            let bearable = self.inner.freshness.fresh_for + self.inner.freshness.stale_while_revalidate;
            if known.within(bearable) && !known.value.referrers.is_empty() {
                self.refresh_behind(&context, subject);
                return Ok(remembered(known, AnsweredFrom::Refreshing));
            }
        }
        match Box::pin(self.scan_with_fallback(&context, subject, known.as_ref())).await {
            Err(ResolveError::Upstream(error)) => self.stale(known, error),
            other => other,
        }
    }

    /// Scans. Where a stale list may be served, an upstream that holds searches back is an error at once, and the scan goes on in
    /// the background.
    async fn scan_with_fallback(
        &self,
        context: &RepositoryContext,
        subject: &Digest,
        known: Option<&CacheEntry<ReferrerList>>,
    ) -> Result<Lookup, ResolveError> {
        if !known.is_some_and(|known| self.serves_stale(known)) {
            return self.scan_for(context, subject, Ends::WithLastWaiter).await;
        }
        let (repository, caller) = (&context.repository, &context.caller);
        let joins = self.inner.scans.is_under_way(&flight_key(context, subject));
        let reads = self.inner.upstream.reads();
        let held_back = async {
            match joins {
                true => reads.begins_to_hold_back_anybody(repository, caller).await,
                false => reads.begins_to_hold_back(repository, caller).await,
            }
        };
        tokio::select! {
            biased;
            scanned = self.scan_for(context, subject, Ends::ByItself) => scanned,
            error = held_back => Err(error.into()),
        }
    }

    /// The answer to a caller to whom the repository is empty or does not exist: a fresh list without entries if one is remembered
    /// and the registry told this caller no more, otherwise what a scan for this caller finds.
    async fn none_for(
        &self,
        context: &RepositoryContext,
        subject: &Digest,
        known: Option<CacheEntry<RememberedAnswer>>,
    ) -> Result<Lookup, ResolveError> {
        let is_none = |known: &CacheEntry<RememberedAnswer>| {
            known.value.links.referrers.is_empty() && self.was_told_no_less(context, &known.value, known.age)
        };
        match known.filter(|known| known.within(self.inner.freshness.fresh_for) && is_none(known)) {
            Some(none) => Ok(remembered(&links_of(&none), AnsweredFrom::Fresh)),
            None => Box::pin(self.scan_for(context, subject, Ends::WithLastWaiter)).await,
        }
    }

    /// Whether it may be served while the upstream fails. A stale "none" is no answer.
    fn serves_stale(&self, known: &CacheEntry<ReferrerList>) -> bool {
        known.age < self.inner.freshness.stale_if_error && !known.value.referrers.is_empty()
    }

    /// What was known when the upstream fails, within its limit.
    fn stale(&self, known: Option<CacheEntry<ReferrerList>>, error: UpstreamError) -> Result<Lookup, ResolveError> {
        match known {
            Some(known) if self.serves_stale(&known) => {
                tracing::warn!(upstream = self.inner.upstream.name(), %error, age = ?known.age, "answered from stale state");
                Ok(remembered(&known, AnsweredFrom::Stale))
            }
            _ => Err(error.into()),
        }
    }

    /// The access check itself failed: only callers without credentials may get what anyone could read a while ago.
    fn stale_for_anyone(
        &self,
        context: &RepositoryContext,
        known: Option<CacheEntry<ReferrerList>>,
        error: UpstreamError,
    ) -> Result<Lookup, ResolveError> {
        let known = known.filter(|_| {
            self.inner
                .access
                .anyone_was_allowed(context, self.inner.freshness.stale_if_error)
        });
        self.stale(known, error)
    }
}

pub(super) fn links_of(known: &CacheEntry<RememberedAnswer>) -> CacheEntry<ReferrerList> {
    CacheEntry {
        written_since: Vec::new(),
        value: known.value.links.clone(),
        age: known.age,
        verified: known.verified,
    }
}

pub(super) fn from_scan(links: Arc<ReferrerList>) -> Lookup {
    Lookup {
        links,
        from: AnsweredFrom::Scan,
        age: None,
    }
}

pub(super) fn remembered(known: &CacheEntry<ReferrerList>, from: AnsweredFrom) -> Lookup {
    Lookup {
        links: known.value.clone(),
        from,
        age: Some(known.age),
    }
}

/// What is remembered of a repository, together with what its sibling keeps: all, only where all is known of both.
fn with_kept(own: Option<KnownReferrers>, kept: Option<KnownReferrers>) -> Option<KnownReferrers> {
    match (own, kept) {
        (Some(own), Some(kept)) => Some(KnownReferrers {
            lists: [own.lists, kept.lists].concat(),
            is_all: own.is_all && kept.is_all,
        }),
        (Some(known), None) | (None, Some(known)) => Some(KnownReferrers { is_all: false, ..known }),
        (None, None) => None,
    }
}
