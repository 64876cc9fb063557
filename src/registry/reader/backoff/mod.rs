//! When searches leave the upstream alone: for as long as it asks for (`Retry-After`), and in growing pauses while it fails.
//!
//! What one search was told holds for the next one as well, so that it is not asked again. It holds for one repository and one
//! credential. Once several repositories have failed, and none has answered in between, all searches of the credential wait; once
//! that happened to several credentials, everybody's do. A caller's own request, an access check and what a push needs never wait
//! for what a search met.

mod period;

use std::time::Duration;

use http::StatusCode;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::asker::Asker;
use crate::expiring_map::{EntryChange, ExpiringMap};
use crate::registry::counts::{BackoffCounts, BackoffOutcome};
use crate::registry::error::UpstreamError;
use crate::registry::retry::{ReadFailure, is_transient};
use period::{BackoffOwner, BackoffPeriod};

/// No `Retry-After` keeps searches away for longer: after that, asking is the only way to know.
const LONGEST_ASKED: Duration = Duration::from_secs(10 * 60);
/// A pause that ends sooner is waited out; with a later end, the search fails at once.
const PATIENCE: Duration = Duration::from_secs(5);
/// A pause that ends sooner is no reason for an old answer: GHCR asks for less than a millisecond.
const MOMENT: Duration = Duration::from_millis(100);
/// The mean first pause of an upstream that fails; doubles with each failure.
const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(30);
/// One artifact that cannot be read, between others that can, must not slow down every search: it takes this many failures in
/// a row, and no success between them, until the next one means a pause.
const FREE_FAILURES: u32 = 2;
/// Pauses that are remembered. Forgetting one costs a request.
const MOST_PAUSES: u64 = 20_000;

/// What one upstream's searches have to wait for.
pub(super) struct Backoff {
    backoff: ExpiringMap<BackoffOwner, BackoffPeriod>,
    /// All callers are one to the upstream.
    one_credential: bool,
    counts: BackoffCounts,
    changed: Notify,
}

impl Backoff {
    /// `one_credential`: refshim's own credentials are sent, not the callers'.
    pub(super) fn new(one_credential: bool) -> Self {
        let backoff = ExpiringMap::builder(MOST_PAUSES);
        Self {
            backoff: backoff.time_to_idle(2 * LONGEST_ASKED).build(),
            one_credential,
            counts: BackoffCounts::from_zero(),
            changed: Notify::new(),
        }
    }

    pub(super) fn counts(&self) -> &BackoffCounts {
        &self.counts
    }

    /// Waits until `asker`'s searches may go on. Fails when that is not soon.
    pub(super) async fn pass(&self, asker: Asker) -> Result<(), UpstreamError> {
        let deadline = Instant::now() + PATIENCE;
        let mut waited = false;
        while let Some(pause) = self.current(asker) {
            if pause.until > deadline {
                self.counts.get(BackoffOutcome::GivenUp).inc();
                return Err(pause.into());
            }
            if !std::mem::replace(&mut waited, true) {
                self.counts.get(BackoffOutcome::Waited).inc();
            }
            sleep_until(pause.until).await;
        }
        Ok(())
    }

    /// Whether `asker`'s searches are to wait.
    pub(super) fn holds_back(&self, asker: Asker) -> bool {
        self.current(asker).is_some()
    }

    /// Back once `asker`'s searches are to wait for more than a moment, with the reason. Until then, never.
    pub(super) async fn held_back(&self, asker: Asker) -> UpstreamError {
        self.begins(|| self.current(asker)).await
    }

    /// The same for the searches of anybody in the asker's repository.
    pub(super) async fn anybody_held_back(&self, asker: Asker) -> UpstreamError {
        let whom = BackoffOwner::Repository(asker.repository);
        self.begins(|| self.longest([whom]).or_else(|| self.current(asker)))
            .await
    }

    async fn begins(&self, current: impl Fn() -> Option<BackoffPeriod>) -> UpstreamError {
        loop {
            let changed = self.changed.notified();
            if let Some(pause) = current()
                && pause.until > Instant::now() + MOMENT
            {
                return pause.into();
            }
            changed.await;
        }
    }

    /// The pause that ends last of those that `asker` is in.
    fn current(&self, asker: Asker) -> Option<BackoffPeriod> {
        let asker = self.sent(asker);
        self.longest([
            BackoffOwner::Asker(asker),
            BackoffOwner::Credential(asker.credential),
            BackoffOwner::Everybody,
        ])
    }

    fn longest(&self, whom: impl IntoIterator<Item = BackoffOwner>) -> Option<BackoffPeriod> {
        let now = Instant::now();
        let backoff = whom.into_iter().filter_map(|whom| {
            let pause = self.backoff.get(&whom)?;
            (now < pause.until && pause.concerns(whom)).then_some(pause)
        });
        backoff.max_by_key(|pause| pause.until)
    }

    /// An attempt failed, after which the upstream perhaps asked to be left alone.
    pub(super) fn asked(&self, asker: Asker, failure: &ReadFailure) {
        let Some(asked) = failure.wait else { return };
        self.change(asker, &failure.error, |pause, now| {
            pause.asked = pause.asked.max(now + asked.min(LONGEST_ASKED));
            pause.until = pause.until.max(pause.asked);
        });
    }

    /// A request that began at `begun` came to nothing, its repetitions included.
    pub(super) fn failed(&self, asker: Asker, error: &UpstreamError, begun: Instant) {
        if !is_transient(error) {
            return;
        }
        let free = if is_limit(error) { 0 } else { FREE_FAILURES };
        self.change(asker, error, |pause, now| {
            // Many requests that fail together are one failure.
            if pause.failures > 0 && begun <= pause.since {
                return;
            }
            pause.since = now;
            pause.failures = pause.failures.saturating_add(1);
            if pause.failures > free {
                // Jitter: replicas that failed together do not come back together.
                let mean = FIRST.saturating_mul(1 << (pause.failures - free - 1).min(16));
                let wait = mean.min(LONGEST).mul_f64(rand::random_range(0.5..1.0));
                pause.until = pause.until.max(now + wait);
            }
        });
    }

    /// The upstream answered `asker`'s search: failures are counted anew. What it asked for in this repository stays.
    pub(super) fn succeeded(&self, asker: Asker) {
        let asker = self.sent(asker);
        let now = Instant::now();
        for whom in [BackoffOwner::Asker(asker), BackoffOwner::Repository(asker.repository)] {
            if self.backoff.contains_key(&whom) {
                // In one step: a pause that is put in between stays.
                self.backoff.change(&whom, |known| match known {
                    None => EntryChange::Keep,
                    Some(pause) if pause.asked <= now => EntryChange::Remove,
                    Some(pause) => EntryChange::Put(BackoffPeriod {
                        until: pause.asked,
                        failures: 0,
                        ..pause
                    }),
                });
            }
        }
        self.answered(asker);
    }

    /// The upstream answered something else: it does not fail as a whole.
    pub(super) fn answered(&self, asker: Asker) {
        let asker = self.sent(asker);
        for whom in [BackoffOwner::Credential(asker.credential), BackoffOwner::Everybody] {
            if self.backoff.contains_key(&whom) {
                self.backoff.remove(&whom);
            }
        }
    }

    fn change(&self, asker: Asker, error: &UpstreamError, change: impl Fn(&mut BackoffPeriod, Instant)) {
        let asker = self.sent(asker);
        let now = Instant::now();
        let one = [
            BackoffOwner::Asker(asker),
            BackoffOwner::Repository(asker.repository),
            BackoffOwner::Credential(asker.credential),
        ];
        // A limit is about whoever asked.
        let all = (!is_limit(error)).then_some(BackoffOwner::Everybody);
        for whom in one.into_iter().chain(all) {
            self.backoff.change(&whom, |known| {
                let mut pause = known.unwrap_or_else(|| BackoffPeriod::new(now, error.clone()));
                pause.cause = error.clone();
                pause.repositories.add(asker.repository);
                pause.credentials.add(asker.credential);
                change(&mut pause, now);
                EntryChange::Put(pause)
            });
        }
        self.changed.notify_waiters();
    }

    /// Who asks as the upstream sees it.
    fn sent(&self, asker: Asker) -> Asker {
        match self.one_credential {
            true => Asker { credential: 0, ..asker },
            false => asker,
        }
    }
}

/// 429 is about whoever asked.
fn is_limit(error: &UpstreamError) -> bool {
    matches!(error, UpstreamError::Limited { status, .. } if *status == StatusCode::TOO_MANY_REQUESTS)
}

#[cfg(test)]
mod tests;
