//! Requests to one upstream that end with a 5xx: a line in the log for each new reason, and one when they are over. Each request's own
//! reason is in its line of the access log.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::failure::{FailureKind, FailureReason};
use crate::metrics::RequestNotes;

/// Time without a failure after which they count as over: where only some requests fail, each would be a change otherwise.
const QUIET: Duration = Duration::from_secs(60);

pub(super) struct UpstreamFailures {
    /// Of the upstream.
    name: String,
    /// Whether there is a spell, so that requests that go well take no lock.
    is_failing: AtomicBool,
    spell: Mutex<Option<Spell>>,
}

/// A time of failures.
struct Spell {
    /// Those that were logged.
    reasons: Vec<FailureKind>,
    failed: u64,
    last: Instant,
}

impl UpstreamFailures {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            is_failing: AtomicBool::new(false),
            spell: Mutex::default(),
        }
    }

    /// The upstream's name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// A request was answered: as a failure, or not.
    pub(super) fn answered(&self, reason: Option<&FailureReason>, notes: &RequestNotes) {
        match reason {
            Some(reason) => self.failed(reason),
            // An answer from memory says nothing of the upstream.
            None if self.is_failing.load(Ordering::Relaxed) && notes.upstream_requests() > 0 => self.went_well(),
            None => {}
        }
    }

    fn failed(&self, reason: &FailureReason) {
        let mut spell = self.spell.lock().unwrap_or_else(PoisonError::into_inner);
        let spell = spell.get_or_insert_with(|| Spell {
            reasons: Vec::new(),
            failed: 0,
            last: Instant::now(),
        });
        spell.failed += 1;
        spell.last = Instant::now();
        self.is_failing.store(true, Ordering::Relaxed);
        if !spell.reasons.contains(&reason.kind()) {
            spell.reasons.push(reason.kind());
            tracing::warn!(
                upstream = self.name,
                reason = reason.message(),
                "requests fail; further ones for this reason are in the access log only"
            );
        }
    }

    fn went_well(&self) {
        let mut spell = self.spell.lock().unwrap_or_else(PoisonError::into_inner);
        let over = spell.take_if(|spell| spell.last.elapsed() >= QUIET);
        if let Some(Spell { failed, .. }) = over {
            self.is_failing.store(false, Ordering::Relaxed);
            tracing::info!(upstream = self.name, failed, "no request has failed for a minute");
        }
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;
    use crate::registry::UpstreamError;

    fn reasons(failures: &UpstreamFailures) -> Option<usize> {
        let spell = failures.spell.lock().unwrap();
        spell.as_ref().map(|spell| spell.reasons.len())
    }

    #[tokio::test(start_paused = true)]
    async fn each_reason_is_a_change_once_until_a_minute_has_passed_without_any() {
        let failures = UpstreamFailures::new("one");
        let notes = RequestNotes::default();
        let failed = |error: UpstreamError| {
            let reason = FailureReason::new(StatusCode::BAD_GATEWAY, Some(&error), error.to_string());
            failures.answered(Some(&reason), &notes);
        };
        failed(UpstreamError::Connect("refused".into()));
        failed(UpstreamError::Connect("no route".into()));
        let cause = UpstreamError::Connect("refused".into()).into();
        failed(UpstreamError::Paused { cause, seconds: 7 });
        assert_eq!(reasons(&failures), Some(1), "what a pause is for is not another reason");
        failed(UpstreamError::Timeout("no answer began"));
        assert_eq!(reasons(&failures), Some(2));

        tokio::time::advance(QUIET).await;
        failures.answered(None, &notes);
        assert_eq!(reasons(&failures), Some(2), "the upstream was not asked");
        notes.upstream_request(Duration::ZERO);
        failures.answered(None, &notes);
        assert_eq!(reasons(&failures), None);
        failed(UpstreamError::Timeout("no answer began"));
        failures.answered(None, &notes);
        assert_eq!(reasons(&failures), Some(1), "one success among failures ends nothing");
    }
}
