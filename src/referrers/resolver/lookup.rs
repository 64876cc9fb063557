//! One question: access, what is remembered, single flight, staleness.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use tokio::time::Instant;

use crate::cache::{CacheEntry, Ends, Epoch, Key, Outcome, RepositoryKey};
use crate::oci::{Digest, Reference, ReferrerList, RepositoryName};
use crate::registry::{Caller, Permit, UpstreamError};

use super::{Resolver, SCAN_DEADLINE};
use crate::referrers::access::{RepositoryAccess, probable};
use crate::referrers::basis::RememberedAnswer;
use crate::referrers::context::RepositoryContext;
use crate::referrers::counts::AnsweredFrom;
use crate::referrers::error::ResolveError;
use crate::referrers::proof::spread;
use crate::referrers::scan::run::{Scan, Scanned};
use crate::referrers::scan::sources::observed::LATELY;
use crate::referrers::scan::unfinished;

/// A list, and where it comes from.
#[derive(Clone, Debug)]
pub struct Lookup {
    pub links: Arc<ReferrerList>,
    pub from: AnsweredFrom,
    /// How long ago it was so, where it was remembered.
    pub age: Option<Duration>,
}

impl Lookup {
    /// Whether it is older than what counts as fresh.
    pub fn is_stale(&self) -> bool {
        matches!(self.from, AnsweredFrom::Refreshing | AnsweredFrom::Stale)
    }
}

/// Whose what a scan found is.
#[derive(Clone)]
pub(super) enum ScanAnswer {
    /// The scan's caller may read, which the registry proved by giving it a manifest: for everybody who may.
    /// And is told no less than the basis says.
    ForReaders(RememberedAnswer),
    /// It rests on what the registry told the credential alone that the first names: nobody else may be told the same.
    ForCredential(Option<HeaderValue>, Result<Arc<ReferrerList>, ResolveError>),
}

pub(super) type ScanResult = Result<ScanAnswer, ResolveError>;

/// What a caller may do with what is known of a repository.
enum ReadRight {
    Read,
    /// Nothing is known of the repository yet: the scan's own requests will tell.
    Unasked,
    /// Lists without entries: to this caller, the repository is empty.
    ReadNone,
    /// The repository does not exist to this caller.
    Unseen,
}

impl Resolver {
    /// Everything that refers to `subject`, or why that cannot be said. Never a list that may lack something.
    pub async fn resolve(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
        caller: &Caller,
    ) -> Result<Lookup, ResolveError> {
        let resolved = self.find(repository, subject, caller).await;
        let from = resolved.as_ref().map(|resolved| resolved.from);
        self.counts().answers.get(from.unwrap_or(AnsweredFrom::Nothing)).inc();
        resolved
    }

    async fn find(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
        caller: &Caller,
    ) -> Result<Lookup, ResolveError> {
        let context = self.context(repository, caller).await;
        let key = Key::answer(&context.repository_key, &context.epoch, subject);
        let answer = self.cache.get::<RememberedAnswer>(&key).await;
        let known = answer.as_ref().map(links_of);
        match self.may_read(&context, subject, known.as_ref()).await {
            Ok(ReadRight::Read) => {}
            Ok(ReadRight::Unasked) => return Box::pin(self.scan_for(&context, subject, Ends::WithLastWaiter)).await,
            Ok(ReadRight::ReadNone) => return self.none_for(&context, subject, known).await,
            Ok(ReadRight::Unseen) => {
                self.access.is_hidden(&context);
                return self.none_for(&context, subject, known).await;
            }
            Err(ResolveError::Upstream(error)) => {
                let answer = answer.filter(|answer| self.was_told_no_less(&context, &answer.value));
                return self.stale_for_anyone(&context, answer.as_ref().map(links_of), error);
            }
            Err(refused) => return Err(refused),
        }
        let answer = match answer {
            Some(answer) if self.is_for(&context, &answer.value).await => Some(answer),
            _ => None,
        };
        let known = answer.as_ref().map(links_of);
        if let Some(known) = &known {
            if known.within(self.freshness.fresh_for) {
                return Ok(remembered(known, AnsweredFrom::Fresh));
            }
            // "None" is a security statement: while the upstream can be asked, it is never served past its freshness.
            let bearable = self.freshness.fresh_for + self.freshness.stale_while_revalidate;
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

    /// Scans, but waits for no pause of the upstream's where something stale is at hand: the scan then goes on behind.
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
        let joins = self.flights.is_under_way(&flight_key(context, subject));
        let held_back = async {
            match joins {
                true => {
                    self.upstream
                        .reads()
                        .begins_to_hold_back_anybody(repository, caller)
                        .await
                }
                false => self.upstream.reads().begins_to_hold_back(repository, caller).await,
            }
        };
        tokio::select! {
            biased;
            scanned = self.scan_for(context, subject, Ends::ByItself) => scanned,
            error = held_back => Err(error.into()),
        }
    }

    /// Whether state of this repository may be used for this caller.
    async fn may_read(
        &self,
        context: &RepositoryContext,
        subject: &Digest,
        known: Option<&CacheEntry<ReferrerList>>,
    ) -> Result<ReadRight, ResolveError> {
        match self.access.is_allowed(context) {
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
            .listings
            .remembered(context)
            .await
            .map(|listed| listed.value.names.clone());
        if known.is_none() && listed.is_none() {
            return Ok(ReadRight::Unasked);
        }
        let mut probable = probable(Some(subject), listed.as_deref());
        probable.extend(known.iter().flat_map(|known| some_entries(&known.value)));
        match self.access.check(&self.upstream, context, probable).await? {
            RepositoryAccess::Allowed => Ok(ReadRight::Read),
            RepositoryAccess::Empty => Ok(ReadRight::ReadNone),
            RepositoryAccess::Unseen => Ok(ReadRight::Unseen),
            RepositoryAccess::Refused(refusal) => Err(refusal.into()),
        }
    }

    /// The answer to a caller to whom the repository is empty, or does not exist: a fresh list without entries, else what its own scan finds.
    async fn none_for(
        &self,
        context: &RepositoryContext,
        subject: &Digest,
        known: Option<CacheEntry<ReferrerList>>,
    ) -> Result<Lookup, ResolveError> {
        let is_none = |known: &CacheEntry<ReferrerList>| known.value.referrers.is_empty();
        match known.filter(|known| known.within(self.freshness.fresh_for) && is_none(known)) {
            Some(none) => Ok(remembered(&none, AnsweredFrom::Fresh)),
            None => Box::pin(self.scan_for(context, subject, Ends::WithLastWaiter)).await,
        }
    }

    /// Scans on this caller's behalf, together with everybody who asks the same.
    async fn scan_for(
        &self,
        context: &RepositoryContext,
        subject: &Digest,
        ends: Ends,
    ) -> Result<Lookup, ResolveError> {
        let mut landed = self.scan_together(context, subject, ends).await?;
        let held_back = || {
            self.upstream
                .reads()
                .holds_back(&context.repository, &context.caller.searching())
        };
        if !landed.leader && is_limited(landed.value.as_ref()) && !held_back() {
            // The limits of whoever led are not this caller's.
            landed = self.scan_together(context, subject, ends).await?;
        }
        let answered = landed.value.unwrap_or_else(|| Err(ResolveError::lost()));
        match answered {
            Ok(ScanAnswer::ForReaders(answer)) if landed.leader && self.access.is_allowed(context) => {
                Ok(from_scan(answer.links))
            }
            Ok(ScanAnswer::ForReaders(answer)) => self.ask_alone(context, subject, Some(answer)).await,
            Ok(ScanAnswer::ForCredential(asked, found)) if landed.leader || is_of(context, asked.as_ref()) => {
                found.map(from_scan)
            }
            Err(ResolveError::Upstream(error)) => Err(error.into()),
            Err(refused) if landed.leader => Err(refused),
            // Somebody else's scan says nothing about what this caller may see: ask on its own behalf.
            _ => self.ask_alone(context, subject, None).await,
        }
    }

    async fn scan_together(
        &self,
        context: &RepositoryContext,
        subject: &Digest,
        ends: Ends,
    ) -> Result<Outcome<ScanResult>, UpstreamError> {
        let begin = || self.queue_scan(context, subject);
        self.flights.try_run(flight_key(context, subject), ends, begin).await
    }

    /// The scan as work that waits for its permit, or why there is no place in the queue for it. Until it has its permit it
    /// takes little memory.
    fn queue_scan(
        &self,
        context: &RepositoryContext,
        subject: &Digest,
    ) -> Result<impl Future<Output = ScanResult> + Send + 'static, UpstreamError> {
        let mut permit = self
            .upstream
            .reads()
            .queue_search(&context.repository, &context.caller)?;
        let (resolver, context, subject) = (self.clone(), context.clone(), subject.clone());
        Ok(async move {
            // Waiting for it is part of the scan's time.
            permit.granted().await;
            Box::pin(resolver.scan_and_remember(context, subject, permit)).await
        })
    }

    /// The list for a caller who did not lead. `found` is what a scan just found, which this caller may see if it may read and the
    /// registry tells it no more. Where the registry shows it no repository, or an empty one, its own search decides.
    async fn ask_alone(
        &self,
        context: &RepositoryContext,
        subject: &Digest,
        found: Option<RememberedAnswer>,
    ) -> Result<Lookup, ResolveError> {
        let links = found.as_ref().map(|found| &*found.links);
        match self.check(context, subject, links).await? {
            RepositoryAccess::Refused(refusal) => Err(refusal.into()),
            RepositoryAccess::Allowed => match found {
                Some(answer) if self.is_for(context, &answer).await => Ok(from_scan(answer.links)),
                _ => self.scan_alone(context, subject).await,
            },
            unseen @ (RepositoryAccess::Empty | RepositoryAccess::Unseen) => {
                if found.is_some() && matches!(unseen, RepositoryAccess::Unseen) {
                    self.access.is_hidden(context);
                }
                self.scan_by_itself(context, subject).await
            }
        }
    }

    /// Asks the registry whether this caller may read, by the subject, by what is listed, and by what was found.
    async fn check(
        &self,
        context: &RepositoryContext,
        subject: &Digest,
        found: Option<&ReferrerList>,
    ) -> Result<RepositoryAccess, UpstreamError> {
        let listed = self.listings.remembered(context).await;
        let names = listed.map(|listed| listed.value.names.clone());
        let mut probable = probable(Some(subject), names.as_deref());
        probable.extend(found.into_iter().flat_map(some_entries));
        self.access.check(&self.upstream, context, probable).await
    }

    /// Scans for a caller who may read, where what others were told is not for it: together with whoever asks now, or alone.
    async fn scan_alone(&self, context: &RepositoryContext, subject: &Digest) -> Result<Lookup, ResolveError> {
        let key = Key::answer(&context.repository_key, &context.epoch, subject);
        if let Some(known) = self.cache.get::<RememberedAnswer>(&key).await
            && known.within(self.freshness.fresh_for)
            && self.is_for(context, &known.value).await
        {
            return Ok(remembered(&links_of(&known), AnsweredFrom::Fresh));
        }
        let landed = self.scan_together(context, subject, Ends::WithLastWaiter).await?;
        match landed.value.unwrap_or_else(|| Err(ResolveError::lost())) {
            Ok(ScanAnswer::ForReaders(answer)) if landed.leader || self.is_for(context, &answer).await => {
                return Ok(from_scan(answer.links));
            }
            Ok(ScanAnswer::ForCredential(asked, found)) if landed.leader || is_of(context, asked.as_ref()) => {
                return found.map(from_scan);
            }
            Err(error) if landed.leader => return Err(error),
            Ok(ScanAnswer::ForReaders(_) | ScanAnswer::ForCredential(..)) | Err(_) => {}
        }
        self.scan_by_itself(context, subject).await
    }

    /// What this caller's own search finds, as it may see it.
    async fn scan_by_itself(&self, context: &RepositoryContext, subject: &Digest) -> Result<Lookup, ResolveError> {
        let scan = self.queue_scan(context, subject)?;
        let scanned = tokio::time::timeout(SCAN_DEADLINE, scan).await;
        match scanned.map_err(|_| ResolveError::lost())?? {
            ScanAnswer::ForReaders(answer) => Ok(from_scan(answer.links)),
            ScanAnswer::ForCredential(_, found) => found.map(from_scan),
        }
    }

    /// What a scan found, as the answer for everybody who may read, or for its caller alone.
    async fn answer(&self, context: &RepositoryContext, found: &Scanned) -> ScanAnswer {
        let links = found.links.clone();
        let alone = |found| ScanAnswer::ForCredential(context.caller.authorization().cloned(), found);
        if found.is_withheld {
            // By now that may be everything: a token ends, a right is withdrawn.
            self.access.forget(context);
        }
        let basis = found.basis;
        let proven = |links| match found.is_withheld {
            true => alone(Ok(links)),
            false => ScanAnswer::ForReaders(RememberedAnswer { links, basis }),
        };
        if !found.shareable {
            return alone(Ok(links));
        }
        // Only a manifest that it was given itself proves its right: it may have found what others read.
        if self.access.is_allowed(context) {
            return proven(links);
        }
        if links.referrers.is_empty() && found.listed_empty && self.access.may_list(context) {
            return alone(Ok(links));
        }
        let subject = &found.links.subject;
        match self.check(context, subject, Some(&found.links)).await {
            Ok(RepositoryAccess::Allowed) => proven(links),
            Ok(RepositoryAccess::Empty) => alone(Ok(none(subject))),
            Ok(RepositoryAccess::Unseen) => {
                self.access.is_hidden(context);
                alone(Ok(none(subject)))
            }
            Ok(RepositoryAccess::Refused(refusal)) => alone(Err(refusal.into())),
            Err(error) => alone(Err(error.into())),
        }
    }

    async fn scan_and_remember(self, asked: RepositoryContext, subject: Digest, _permit: Permit) -> ScanResult {
        let context = asked.searching_within(unfinished::REQUESTS);
        let search = self
            .unfinished
            .go_on(&context.repository_key, &context.epoch, &subject, &context.caller);
        let begun = Instant::now();
        let scan = Scan {
            absences: self.absences.clone(),
            since: search.since(),
            manifests: self.manifests.clone(),
            listings: self.listings.clone(),
            ordinary_tag_flights: self.ordinary_tag_flights.clone(),
            config: self.links.clone(),
            deep_refresh: self.links.deep_refresh,
            fresh_for: self.freshness.fresh_for,
            subject: subject.clone(),
            context: context.clone(),
            tags: self.tags.clone(),
            subject_answer: Arc::default(),
            is_unsettled: Arc::default(),
            lacks_own_api: Arc::default(),
            is_withheld: Arc::default(),
            begun,
        };
        let scanned = scan.run().await;
        if !matches!(scanned, Err(ResolveError::Upstream(UpstreamError::Unfinished { .. }))) {
            search.finish();
        }
        self.counts()
            .scanned(scanned.as_ref().ok().map(|scanned| &*scanned.links));
        let scanned = scanned?;
        let (answer, gone) = (self.answer(&asked, &scanned).await, &scanned.gone);
        // It says what was so when it began.
        let age = scanned.age.max(begun.elapsed());
        // What is not there to one who may not read is there to others.
        if !gone.is_empty() && self.access.is_allowed(&asked) {
            self.forget(&context, &subject, (gone, scanned.age + begun.elapsed()))
                .await;
        }
        // The right was proven a moment ago, however short it is remembered.
        if let ScanAnswer::ForReaders(found) = &answer {
            self.access.is_told(&asked, found.basis.fingerprint(&subject));
            if scanned.lasting {
                let key = Key::answer(&context.repository_key, &context.epoch, &subject);
                self.cache.put_aged(key, Arc::new(found.clone()), age).await;
            }
        }
        Ok(answer)
    }

    /// Whether the registry tells this caller no more than what the answer rests on. Where nobody knows, its own listing decides.
    async fn is_for(&self, context: &RepositoryContext, answer: &RememberedAnswer) -> bool {
        let basis = &answer.basis;
        if self.was_told_no_less(context, answer) {
            return true;
        }
        if basis.lacks_own_api && !self.lacks_own_api(context) {
            return false;
        }
        let listed = self.listings.remembered(context).await;
        let Some(listed) = listed.filter(|listed| listed.value.fingerprint == basis.names) else {
            return false;
        };
        let listings = &self.listings;
        let asked = listings.lists_no_more(context, &listed.value.names, basis.names).await;
        asked.unwrap_or_else(|error| {
            tracing::debug!(upstream = self.upstream.name(), %error, "not known whether others' list is this caller's");
            false
        })
    }

    /// The same, where nobody is asked: it was told all of it itself, or as much.
    fn was_told_no_less(&self, context: &RepositoryContext, answer: &RememberedAnswer) -> bool {
        let (basis, subject) = (&answer.basis, &answer.links.subject);
        basis.is_of_nobody(&context.caller)
            || self.access.was_told(context, basis.fingerprint(subject))
            || self.listings.was_listed(context, basis.names) && (!basis.lacks_own_api || self.lacks_own_api(context))
    }

    fn lacks_own_api(&self, context: &RepositoryContext) -> bool {
        let support = self.upstream.native().support(&context.repository, &context.caller);
        support.is_missing()
    }

    /// Nothing but memory may have named these, which the upstream did not have `age` ago: they need not be asked for again.
    async fn forget(&self, context: &RepositoryContext, subject: &Digest, (gone, age): (&HashSet<Digest>, Duration)) {
        let is_unchanged = self.cache.epoch(&context.repository_key).await == context.epoch;
        let age = if is_unchanged { age } else { age + LATELY };
        self.observed
            .forget(&self.cache, &context.repository_key, subject, (gone, age))
            .await;
        for digest in gone {
            self.recently_parsed.forget(&context.repository_key, digest);
        }
    }

    /// Scans in the background: whoever asked may go.
    fn refresh_behind(&self, context: &RepositoryContext, subject: &Digest) {
        let begin = || self.queue_scan(context, subject);
        if let Err(error) = self.flights.try_start(flight_key(context, subject), begin) {
            tracing::debug!(upstream = self.upstream.name(), %error, "not refreshed in the background");
        }
    }

    /// Whether it may be served while the upstream fails. A stale "none" is no answer.
    fn serves_stale(&self, known: &CacheEntry<ReferrerList>) -> bool {
        known.age < self.freshness.stale_if_error && !known.value.referrers.is_empty()
    }

    /// What was known when the upstream fails, within its limit.
    fn stale(&self, known: Option<CacheEntry<ReferrerList>>, error: UpstreamError) -> Result<Lookup, ResolveError> {
        match known {
            Some(known) if self.serves_stale(&known) => {
                tracing::warn!(upstream = self.upstream.name(), %error, age = ?known.age, "answered from stale state");
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
        let known = known.filter(|_| self.access.anyone_was_allowed(context, self.freshness.stale_if_error));
        self.stale(known, error)
    }
}

fn flight_key(context: &RepositoryContext, subject: &Digest) -> (RepositoryKey, Epoch, Digest) {
    (context.repository_key.clone(), context.epoch.clone(), subject.clone())
}

/// Whether a scan failed because the upstream limits requests.
fn is_limited(answered: Option<&ScanResult>) -> bool {
    matches!(
        answered,
        Some(Err(ResolveError::Upstream(
            UpstreamError::Limited { .. } | UpstreamError::Paused { .. }
        )))
    )
}

/// Whether the context's caller has this credential.
fn is_of(context: &RepositoryContext, authorization: Option<&HeaderValue>) -> bool {
    context.caller.authorization() == authorization
}

fn links_of(known: &CacheEntry<RememberedAnswer>) -> CacheEntry<ReferrerList> {
    CacheEntry {
        value: known.value.links.clone(),
        age: known.age,
        verified: known.verified,
    }
}

fn from_scan(links: Arc<ReferrerList>) -> Lookup {
    Lookup {
        links,
        from: AnsweredFrom::Scan,
        age: None,
    }
}

fn remembered(known: &CacheEntry<ReferrerList>, from: AnsweredFrom) -> Lookup {
    Lookup {
        links: known.value.clone(),
        from,
        age: Some(known.age),
    }
}

/// Up to three entries of a list: whoever is given one of them may read.
fn some_entries(links: &ReferrerList) -> impl Iterator<Item = Reference> {
    let entries = &links.referrers;
    spread(entries.len()).filter_map(|at| Some(entries.get(at)?.descriptor.digest.clone().into()))
}

/// To this caller the repository does not exist, so nothing in it refers to anything.
fn none(subject: &Digest) -> Arc<ReferrerList> {
    Arc::new(ReferrerList::new(subject.clone(), Vec::new()))
}
