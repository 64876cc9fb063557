//! One pause of searches: whom it is for, how long it lasts, and who met what it is for.

use std::sync::Arc;

use tokio::time::Instant;

use crate::registry::error::UpstreamError;
use crate::registry::reader::asker::Asker;
use crate::registry::retry::whole_seconds;

/// So many repositories, or so many credentials, make what they meet the upstream's.
const SEVERAL_REPOSITORIES: usize = 3;
const SEVERAL_CREDENTIALS: usize = 2;

/// Whom a pause is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum BackoffOwner {
    Asker(Asker),
    /// Holds nobody back: it says whether somebody's searches in the repository wait.
    Repository(u64),
    Credential(u64),
    Everybody,
}

#[derive(Clone)]
pub(super) struct BackoffPeriod {
    pub(super) until: Instant,
    /// The part of it that the upstream asked for.
    pub(super) asked: Instant,
    /// Who failed since one last succeeded: as many different ones as it takes to be several.
    pub(super) repositories: Several<SEVERAL_REPOSITORIES>,
    pub(super) credentials: Several<SEVERAL_CREDENTIALS>,
    /// When it was last made longer.
    pub(super) since: Instant,
    /// In a row.
    pub(super) failures: u32,
    pub(super) cause: UpstreamError,
}

/// Up to `N` different ones.
#[derive(Clone, Copy)]
pub(super) struct Several<const N: usize>([Option<u64>; N]);

impl<const N: usize> Several<N> {
    const NONE: Self = Self([None; N]);

    pub(super) fn add(&mut self, one: u64) {
        if !self.0.contains(&Some(one))
            && let Some(free) = self.0.iter_mut().find(|place| place.is_none())
        {
            *free = Some(one);
        }
    }

    fn are_there(&self) -> bool {
        self.0.iter().all(Option::is_some)
    }
}

impl BackoffPeriod {
    pub(super) fn new(now: Instant, cause: UpstreamError) -> Self {
        Self {
            until: now,
            asked: now,
            repositories: Several::NONE,
            credentials: Several::NONE,
            since: now,
            failures: 0,
            cause,
        }
    }

    /// Whether enough of them met it to hold back `whom`.
    pub(super) fn concerns(&self, whom: BackoffOwner) -> bool {
        match whom {
            BackoffOwner::Asker(_) | BackoffOwner::Repository(_) => true,
            BackoffOwner::Credential(_) => self.repositories.are_there(),
            BackoffOwner::Everybody => self.repositories.are_there() && self.credentials.are_there(),
        }
    }
}

impl From<BackoffPeriod> for UpstreamError {
    fn from(pause: BackoffPeriod) -> Self {
        Self::Paused {
            cause: Arc::new(pause.cause),
            seconds: whole_seconds(pause.until.saturating_duration_since(Instant::now())),
        }
    }
}
