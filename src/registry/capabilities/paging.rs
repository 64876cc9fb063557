//! What has been learned about how listings of a repository go on, for a while. Hosts route repositories to different
//! registries, so it is learned for each.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::expiring_map::ExpiringMap;
use crate::http::attempt_lock::AttemptLock;
use crate::oci::RepositoryName;
use crate::registry::error::UpstreamError;

/// How long [`Paging`] is believed: registries are updated and reconfigured, and a question a repository is all that it costs.
const PAGING_FOR: Duration = Duration::from_secs(10 * 60);
/// How long it is believed that seeking does not work. That costs requests, never truth.
const NO_SEEKING_FOR: Duration = Duration::from_secs(10 * 60);
/// Repositories that are remembered.
const REMEMBERED: u64 = 10_000;

/// How a listing goes on where there is more than fits a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::registry) enum Paging {
    /// Pages link to the next one, so that a page without `Link` is the last.
    Links,
    /// There is one page, whatever `n` and `last` say (Distribution 2.8).
    AllAtOnce,
    /// Without `Link`: names follow until a page after the last name is empty.
    ByLast,
}

/// A place in a listing at which seeking was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::registry) struct Calibration {
    /// What was asked for as `last`: no name, and sorted just before `first`.
    pub(in crate::registry) last: String,
    /// The name that follows.
    pub(in crate::registry) first: String,
    pub(in crate::registry) seeks: bool,
    /// Whether it was the account of `links.credentials` that asked.
    pub(in crate::registry) by_listing_account: bool,
    pub(in crate::registry) at: Instant,
}

/// What is known about one repository's listings.
#[derive(Default)]
pub(in crate::registry) struct RepositoryPaging {
    paging: Mutex<Option<(Paging, Instant)>>,
    calibration: Mutex<Option<Calibration>>,
    /// Of those who calibrate.
    pub(in crate::registry) attempt_lock: AttemptLock<UpstreamError>,
}

/// The same by repository; those that were not asked for lately are forgotten.
pub(in crate::registry) struct KnownPaging(ExpiringMap<RepositoryName, Arc<RepositoryPaging>>);

impl Default for KnownPaging {
    fn default() -> Self {
        Self(ExpiringMap::new(REMEMBERED))
    }
}

impl KnownPaging {
    pub(in crate::registry) fn of(&self, repository: &RepositoryName) -> Arc<RepositoryPaging> {
        self.0.get_or_insert_with(repository, Arc::default)
    }
}

impl RepositoryPaging {
    /// `None` when nothing was learned lately.
    pub(in crate::registry) fn paging(&self) -> Option<Paging> {
        let (paging, learned) = (*lock(&self.paging))?;
        (learned.elapsed() < PAGING_FOR).then_some(paging)
    }

    pub(in crate::registry) fn learn_paging(&self, paging: Paging) {
        *lock(&self.paging) = Some((paging, Instant::now()));
    }

    /// It turned out to be otherwise.
    pub(in crate::registry) fn forget_paging(&self) {
        *lock(&self.paging) = None;
    }

    /// Where seeking was tried last, and with which outcome.
    pub(in crate::registry) fn calibration(&self) -> Option<Calibration> {
        let known = lock(&self.calibration).clone()?;
        (known.seeks || known.at.elapsed() < NO_SEEKING_FOR).then_some(known)
    }

    pub(in crate::registry) fn learn_calibration(&self, calibration: Option<Calibration>) {
        *lock(&self.calibration) = calibration;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_was_learned_of_a_repository_expires_and_is_its_own() {
        let known = KnownPaging::default();
        let [a, b] = ["a", "b"].map(|name| RepositoryName::parse(name).unwrap());
        known.of(&a).learn_paging(Paging::AllAtOnce);
        known.of(&a).learn_calibration(Some(Calibration {
            last: "v".into(),
            first: "v1".into(),
            seeks: false,
            by_listing_account: false,
            at: Instant::now(),
        }));
        tokio::time::advance(PAGING_FOR.min(NO_SEEKING_FOR) - Duration::from_secs(1)).await;
        assert_eq!(
            (known.of(&a).paging(), known.of(&b).paging()),
            (Some(Paging::AllAtOnce), None)
        );
        assert!(known.of(&a).calibration().is_some() && known.of(&b).calibration().is_none());
        tokio::time::advance(PAGING_FOR.max(NO_SEEKING_FOR)).await;
        assert!(known.of(&a).calibration().is_none() && known.of(&a).paging().is_none());
    }
}
