//! Searches for one subject: who leads, who follows, and what becomes of what was found.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use crate::cache::{Ends, Epoch, Key, RepositoryKey};
use crate::oci::{Digest, ReferrerList};
use crate::registry::{Permit, UpstreamError};

use super::lookup::{from_scan, links_of, remembered};
use super::{Lookup, Resolver, SCAN_DEADLINE};
use crate::referrers::access::RepositoryAccess;
use crate::referrers::basis::RememberedAnswer;
use crate::referrers::context::RepositoryContext;
use crate::referrers::counts::AnsweredFrom;
use crate::referrers::error::ResolveError;
use crate::referrers::scan::context::Scan;
use crate::referrers::scan::run::ScanReport;
use crate::referrers::scan::sources::observed::LATELY;
use crate::referrers::scan::unfinished;
use crate::referrers::shared_work::{AnswerScope, FollowerVerdict, LedBy};

/// Whose what a scan found is.
#[derive(Clone)]
pub(super) enum ScanAnswer {
    /// The scan's caller may read, which the registry proved by giving it a manifest: for everybody who may.
    /// And is told no less than the basis says.
    ForReaders(RememberedAnswer),
    /// It rests on what the registry told its caller's credential alone: nobody else may be told the same.
    ForCredential(Result<Arc<ReferrerList>, ResolveError>),
}

pub(super) type ScanResult = Result<ScanAnswer, ResolveError>;

impl Resolver {
    /// Scans on this caller's behalf, together with everybody who asks the same.
    pub(super) async fn scan_for(
        &self,
        context: &RepositoryContext,
        subject: &Digest,
        ends: Ends,
    ) -> Result<Lookup, ResolveError> {
        let searching = context.clone().searching();
        let verdict =
            |found: &ScanResult, led_by: LedBy| led_by.verdict(scope(found), &self.inner.upstream, &searching);
        let (mut found, mut led_by) = self.scan_together(context, subject, ends).await?;
        if scope(&found) == AnswerScope::HeldBack && verdict(&found, led_by) == FollowerVerdict::Again {
            (found, led_by) = self.scan_together(context, subject, ends).await?;
        }
        let is_taken = verdict(&found, led_by) == FollowerVerdict::Take;
        let is_held_back = scope(&found) == AnswerScope::HeldBack;
        match found {
            Ok(ScanAnswer::ForReaders(answer)) if led_by != LedBy::Another && self.inner.access.is_allowed(context) => {
                Ok(from_scan(answer.links))
            }
            Ok(ScanAnswer::ForReaders(answer)) => self.ask_alone(context, subject, Some(answer)).await,
            Ok(ScanAnswer::ForCredential(found)) if is_taken => found.map(from_scan),
            Err(error) if is_taken || is_held_back => Err(error),
            // Somebody else's scan says nothing about what this caller may see: ask on its own behalf.
            _ => self.ask_alone(context, subject, None).await,
        }
    }

    async fn scan_together(
        &self,
        context: &RepositoryContext,
        subject: &Digest,
        ends: Ends,
    ) -> Result<(ScanResult, LedBy), UpstreamError> {
        let begin = || self.queue_scan(context, subject);
        self.inner
            .scans
            .join(flight_key(context, subject), context, ends, begin)
            .await
    }

    /// The scan as work that waits for its permit, or why there is no place in the queue for it. Until it has its permit it
    /// takes little memory.
    pub(super) fn queue_scan(
        &self,
        context: &RepositoryContext,
        subject: &Digest,
    ) -> Result<impl Future<Output = ScanResult> + Send + 'static, UpstreamError> {
        let mut permit = self
            .inner
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
                Some(answer) if self.is_for(context, &answer, Duration::ZERO).await => Ok(from_scan(answer.links)),
                _ => self.scan_alone(context, subject).await,
            },
            unseen @ (RepositoryAccess::Empty | RepositoryAccess::Unseen) => {
                if found.is_some() && matches!(unseen, RepositoryAccess::Unseen) {
                    self.inner.access.warn_of_hidden(context);
                }
                self.scan_by_itself(context, subject).await
            }
        }
    }

    /// Scans for a caller who may read, where what others were told is not for it: together with whoever asks now, or alone.
    async fn scan_alone(&self, context: &RepositoryContext, subject: &Digest) -> Result<Lookup, ResolveError> {
        let key = Key::answer(&context.repository_key, &context.epoch, subject);
        if let Some(known) = self.inner.cache.get::<RememberedAnswer>(&key).await
            && known.within(self.inner.freshness.fresh_for)
            && self.is_for(context, &known.value, known.age).await
        {
            return Ok(remembered(&links_of(&known), AnsweredFrom::Fresh));
        }
        let (found, led_by) = self.scan_together(context, subject, Ends::WithLastWaiter).await?;
        match (led_by.verdict(scope(&found), &self.inner.upstream, context), found) {
            (FollowerVerdict::Take, Ok(ScanAnswer::ForReaders(answer))) => Ok(from_scan(answer.links)),
            (FollowerVerdict::Take, Ok(ScanAnswer::ForCredential(found))) => found.map(from_scan),
            (FollowerVerdict::Take, Err(error)) if led_by == LedBy::Itself => Err(error),
            (FollowerVerdict::Check, Ok(ScanAnswer::ForReaders(answer)))
                if self.is_for(context, &answer, Duration::ZERO).await =>
            {
                Ok(from_scan(answer.links))
            }
            _ => self.scan_by_itself(context, subject).await,
        }
    }

    /// What this caller's own search finds, as it may see it.
    async fn scan_by_itself(&self, context: &RepositoryContext, subject: &Digest) -> Result<Lookup, ResolveError> {
        let scan = self.queue_scan(context, subject)?;
        let scanned = tokio::time::timeout(SCAN_DEADLINE, scan).await;
        match scanned.map_err(|_| ResolveError::lost())?? {
            ScanAnswer::ForReaders(answer) => Ok(from_scan(answer.links)),
            ScanAnswer::ForCredential(found) => found.map(from_scan),
        }
    }

    async fn scan_and_remember(self, asked: RepositoryContext, subject: Digest, _permit: Permit) -> ScanResult {
        let context = asked.searching_within(unfinished::REQUESTS);
        let search = self
            .inner
            .unfinished
            .go_on(&context.repository_key, &context.epoch, &subject, &context.caller);
        let scan = Scan::new(
            self.inner.stores.clone(),
            context.clone(),
            subject.clone(),
            search.since(),
        );
        let report = scan.run().await;
        self.grant(&asked, &report);
        let scanned = report.found;
        if !matches!(scanned, Err(ResolveError::Upstream(UpstreamError::Unfinished { .. }))) {
            search.finish();
        }
        self.counts()
            .scanned(scanned.as_ref().ok().map(|scanned| &*scanned.links));
        let scanned = scanned?;
        let (answer, gone) = (self.answer(&asked, &scanned).await, &scanned.gone);
        // It says what was so when it began.
        let age = scanned.age.max(scan.begun.elapsed());
        // What is not there to one who may not read is there to others.
        if !gone.is_empty() && self.inner.access.is_allowed(&asked) {
            self.forget(&context, &subject, (gone, scanned.age + scan.begun.elapsed()))
                .await;
        }
        // The right was proven a moment ago, however short it is remembered.
        if let ScanAnswer::ForReaders(found) = &answer {
            self.inner.access.remember_told(&asked, &subject, found.basis);
            if scanned.lasting {
                let key = Key::answer(&context.repository_key, &context.epoch, &subject);
                self.inner.cache.put_aged(key, Arc::new(found.clone()), age).await;
            }
        }
        Ok(answer)
    }

    /// Remembers what the scan proved, as of when it was proven. What the registry refused since then stays refused.
    fn grant(&self, asked: &RepositoryContext, report: &ScanReport) {
        match (&report.found, report.read_proven) {
            (Err(ResolveError::Refused(refusal)), _) => {
                if refusal.is_about_access() {
                    self.inner.access.forget(asked);
                }
            }
            (Ok(_) | Err(ResolveError::Upstream(_)), Some(proven)) => self.inner.access.allow_as_of(asked, proven),
            (Ok(_) | Err(ResolveError::Upstream(_)), None) => {}
        }
    }

    /// Nothing but memory may have named these, which the upstream did not have `age` ago: they need not be asked for again.
    async fn forget(&self, context: &RepositoryContext, subject: &Digest, (gone, age): (&HashSet<Digest>, Duration)) {
        let is_unchanged = self.inner.cache.epoch(&context.repository_key).await == context.epoch;
        let age = if is_unchanged { age } else { age + LATELY };
        self.inner
            .observed
            .forget(&self.inner.cache, &context.repository_key, subject, (gone, age))
            .await;
        for digest in gone {
            self.inner.recently_parsed.forget(&context.repository_key, digest);
        }
    }

    /// Scans in the background: whoever asked may go.
    pub(super) fn refresh_behind(&self, context: &RepositoryContext, subject: &Digest) {
        let begin = || self.queue_scan(context, subject);
        if let Err(error) = self.inner.scans.start(flight_key(context, subject), context, begin) {
            tracing::debug!(upstream = self.inner.upstream.name(), %error, "not refreshed in the background");
        }
    }
}

pub(super) fn flight_key(context: &RepositoryContext, subject: &Digest) -> (RepositoryKey, Epoch, Digest) {
    (context.repository_key.clone(), context.epoch.clone(), subject.clone())
}

/// Whose what a scan found is, where somebody else led it.
fn scope(found: &ScanResult) -> AnswerScope {
    match found {
        Ok(ScanAnswer::ForReaders(_)) => AnswerScope::ToldNoMore,
        Ok(ScanAnswer::ForCredential(_)) => AnswerScope::Credential,
        Err(error) => AnswerScope::of_error(error),
    }
}
