//! When searches leave the upstream alone: for as long as it asks for (`Retry-After`), and in growing pauses while it fails.
//!
//! Only searches for links are held back, across all of them: what one was told, the next need not be told again. A caller's
//! own request, an access check and what a push needs are never refused by what a search met.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use moka::ops::compute::Op;
use moka::sync::Cache;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::counts::{Held, HeldBack};
use super::retry::{Failure, is_transient};
use super::{Caller, UpstreamError};

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
/// Credentials of which something is remembered. Forgetting one costs a request.
const MOST_CREDENTIALS: u64 = 10_000;

/// Whom a pause is for: one credential (by a hash that no other process makes), or `None` for everybody.
type Whom = Option<u64>;

#[derive(Clone)]
struct Pause {
    until: Instant,
    /// The part of it that the upstream asked for.
    asked: Instant,
    /// The one credential whose requests failed; `None` when there are several.
    only: Whom,
    /// When it was last made longer.
    since: Instant,
    /// In a row.
    failures: u32,
    cause: UpstreamError,
}

impl From<Pause> for UpstreamError {
    fn from(pause: Pause) -> Self {
        Self::Paused {
            cause: Arc::new(pause.cause),
            seconds: whole_seconds(pause.until.saturating_duration_since(Instant::now())),
        }
    }
}

/// What one upstream's searches have to wait for.
pub(super) struct Pauses {
    pauses: Cache<Whom, Pause>,
    hasher: RandomState,
    /// All callers are one to the upstream.
    one_credential: bool,
    counts: HeldBack,
    changed: Notify,
}

impl Pauses {
    /// `one_credential`: refshim's own credentials are sent, not the callers'.
    pub(super) fn new(one_credential: bool) -> Self {
        let pauses = Cache::builder().max_capacity(MOST_CREDENTIALS);
        Self {
            pauses: pauses.time_to_idle(2 * LONGEST_ASKED).build(),
            hasher: RandomState::new(),
            one_credential,
            counts: HeldBack::default(),
            changed: Notify::new(),
        }
    }

    pub(super) fn counts(&self) -> &HeldBack {
        &self.counts
    }

    /// Waits until `caller`'s searches may go on. Fails when that is not soon.
    pub(super) async fn pass(&self, caller: &Caller) -> Result<(), UpstreamError> {
        let deadline = Instant::now() + PATIENCE;
        let mut waited = false;
        while let Some(pause) = self.current(caller) {
            if pause.until > deadline {
                self.counts.add(Held::GivenUp);
                return Err(pause.into());
            }
            if !std::mem::replace(&mut waited, true) {
                self.counts.add(Held::Waited);
            }
            sleep_until(pause.until).await;
        }
        Ok(())
    }

    /// Whether `caller`'s searches are to wait.
    pub(super) fn holds_back(&self, caller: &Caller) -> bool {
        self.current(caller).is_some()
    }

    /// Back once `caller`'s searches are to wait for more than a moment, with the reason. Until then, never.
    pub(super) async fn held_back(&self, caller: &Caller) -> UpstreamError {
        loop {
            let changed = self.changed.notified();
            if let Some(pause) = self.current(caller)
                && pause.until > Instant::now() + MOMENT
            {
                return pause.into();
            }
            changed.await;
        }
    }

    /// The pause that ends last of those that `caller` is in.
    fn current(&self, caller: &Caller) -> Option<Pause> {
        let now = Instant::now();
        let credential = self.credential(caller);
        let everybodys = self.pauses.get(&None).map(|mut pause| {
            // What fails for one alone may be that one's doing.
            if pause.only.is_some() && pause.only != credential {
                pause.until = pause.asked;
            }
            pause
        });
        let pauses = everybodys.into_iter().chain(self.pauses.get(&credential));
        pauses.filter(|pause| now < pause.until).max_by_key(|pause| pause.until)
    }

    /// An attempt failed, after which the upstream perhaps asked to be left alone.
    pub(super) fn asked(&self, caller: &Caller, failure: &Failure) {
        let Some(asked) = failure.wait else { return };
        self.change(caller, &failure.error, |pause, now| {
            pause.asked = pause.asked.max(now + asked.min(LONGEST_ASKED));
            pause.until = pause.until.max(pause.asked);
        });
    }

    /// A request that began at `begun` came to nothing, its repetitions included.
    pub(super) fn failed(&self, caller: &Caller, error: &UpstreamError, begun: Instant) {
        if !is_transient(error) {
            return;
        }
        let free = if is_limit(error) { 0 } else { FREE_FAILURES };
        let credential = self.credential(caller);
        self.change(caller, error, |pause, now| {
            let is_alone = pause.failures == 0 || pause.only == credential;
            pause.only = credential.filter(|_| is_alone);
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

    /// The upstream answered `caller`'s search: failures are counted anew. What it asked for stays.
    pub(super) fn succeeded(&self, caller: &Caller) {
        let now = Instant::now();
        for whom in [None, self.credential(caller)] {
            if self.pauses.contains_key(&whom) {
                // In one step: a pause that is put in between stays.
                self.pauses.entry(whom).and_compute_with(|known| match known {
                    None => Op::Nop,
                    Some(known) if known.value().asked <= now => Op::Remove,
                    Some(known) => {
                        let pause = known.into_value();
                        Op::Put(Pause {
                            until: pause.asked,
                            failures: 0,
                            ..pause
                        })
                    }
                });
            }
        }
    }

    fn change(&self, caller: &Caller, error: &UpstreamError, change: impl FnOnce(&mut Pause, Instant)) {
        let whom = if is_limit(error) { self.credential(caller) } else { None };
        let now = Instant::now();
        self.pauses.entry(whom).and_upsert_with(|known| {
            let none = || Pause {
                until: now,
                asked: now,
                only: None,
                since: now,
                failures: 0,
                cause: error.clone(),
            };
            let mut pause = known.map_or_else(none, |known| known.into_value());
            pause.cause = error.clone();
            change(&mut pause, now);
            pause
        });
        self.changed.notify_waiters();
    }

    fn credential(&self, caller: &Caller) -> Whom {
        let authorization = caller.authorization().filter(|_| !self.one_credential);
        let bytes = authorization.map(|value| value.as_bytes());
        Some(self.hasher.hash_one(bytes))
    }
}

/// 429 is about whoever asked; every other failure is the upstream's own.
fn is_limit(error: &UpstreamError) -> bool {
    matches!(error, UpstreamError::Limited { status, .. } if *status == StatusCode::TOO_MANY_REQUESTS)
}

pub(super) fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

#[cfg(test)]
#[path = "pauses_tests.rs"]
mod tests;
