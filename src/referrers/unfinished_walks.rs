//! Walks through tag listings that nobody waits for any more, or at which a page failed: kept, so that the next question with the
//! same credential goes on with them, and how far they are. Registries list to each credential only what it may see, so that a walk
//! of which another credential reads the rest is nobody's listing.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::cache::{Epoch, RepositoryKey};
use crate::expiring_map::ExpiringMap;
use crate::registry::{CredentialHash, ListingWalk, UpstreamError};

/// A walk goes on while somebody asked for what it brings within this time.
const ASKED_WITHIN: Duration = Duration::from_secs(60);
/// What was walked is kept for so long after the last page.
const KEPT_FOR: Duration = Duration::from_secs(10 * 60);
/// Bytes of all walks that are kept; beyond, the least used go.
const KEPT: u64 = 32 << 20;
const REMEMBERED: u64 = 10_000;
/// Seconds after which a listing is asked for again that is still being walked.
const ASK_AGAIN_AFTER: u64 = 5;

/// With whose rights a walk's pages are asked for.
#[derive(Clone, Copy)]
pub(super) struct Walker {
    pub credential: CredentialHash,
    pub followers: Followers,
}

/// Who joins a walk that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Followers {
    /// Whoever searches: what is listed is shown to nobody, and where it was listed to another credential it is compared with what
    /// the registry lists to this one.
    Searches,
    /// Whoever has this credential.
    OfCredential(CredentialHash),
}

type WalkKey = (RepositoryKey, Followers);

/// See the module documentation.
pub(super) struct UnfinishedWalks {
    kept: ExpiringMap<(RepositoryKey, CredentialHash), Arc<KeptWalk>>,
    asked: ExpiringMap<RepositoryKey, Instant>,
    progress: ExpiringMap<WalkKey, Progress>,
}

/// How far a walk is.
#[derive(Clone)]
struct Progress {
    names: usize,
    /// In which epoch whoever walks asked; `None` where nobody walks now.
    asked_in: Option<Epoch>,
}

struct KeptWalk {
    /// Taken by whoever goes on with it.
    walk: Mutex<Option<ListingWalk>>,
    weight: usize,
    began: Duration,
}

impl Default for UnfinishedWalks {
    fn default() -> Self {
        let weigher = |_: &_, kept: &Arc<KeptWalk>| u32::try_from(kept.weight).unwrap_or(u32::MAX);
        Self {
            kept: ExpiringMap::builder(KEPT)
                .weigher(weigher)
                .time_to_live(KEPT_FOR)
                .build(),
            asked: ExpiringMap::builder(REMEMBERED).time_to_live(ASKED_WITHIN).build(),
            progress: ExpiringMap::builder(REMEMBERED).time_to_live(KEPT_FOR).build(),
        }
    }
}

impl UnfinishedWalks {
    /// Somebody asks for what a walk brings.
    pub fn asked(&self, repository_key: &RepositoryKey) {
        self.asked.insert(repository_key.clone(), Instant::now());
    }

    /// Whether anybody did within the last minute.
    pub fn is_asked(&self, repository_key: &RepositoryKey) -> bool {
        self.asked
            .get(repository_key)
            .is_some_and(|at| at.elapsed() < ASKED_WITHIN)
    }

    /// Goes on with the walk of the repository that is kept for the walker, or begins one at the time `now`, since 1970.
    pub fn go_on(
        self: &Arc<Self>,
        (repository_key, walker): (&RepositoryKey, Walker),
        now: Duration,
        begin: impl FnOnce() -> Result<ListingWalk, UpstreamError>,
    ) -> Result<WalkInProgress, UpstreamError> {
        let kept = self.kept.remove(&(repository_key.clone(), walker.credential));
        let kept = kept.and_then(|kept| {
            let walk = kept.walk.lock().unwrap_or_else(PoisonError::into_inner).take();
            Some((walk?, kept.began))
        });
        let (walk, began) = match kept {
            Some(kept) => kept,
            None => (begin()?, now),
        };
        Ok(self.begin((repository_key, walker), began, walk))
    }

    /// Begins `walk`, whatever is kept.
    pub fn begin(
        self: &Arc<Self>,
        (repository_key, walker): (&RepositoryKey, Walker),
        began: Duration,
        walk: ListingWalk,
    ) -> WalkInProgress {
        WalkInProgress {
            walks: self.clone(),
            repository_key: repository_key.clone(),
            walker,
            walk: Some(walk),
            began,
        }
    }

    /// In which epoch the walk was asked for that is under way and has more than a page before it. Whoever asks after a write
    /// joins it all the same.
    pub fn under_way(&self, repository_key: &RepositoryKey, followers: Followers) -> Option<Epoch> {
        self.progress.get(&(repository_key.clone(), followers))?.asked_in
    }

    /// What whoever has waited long enough is told.
    pub fn still_listing(&self, repository_key: &RepositoryKey, followers: Followers) -> UpstreamError {
        let progress = self.progress.get(&(repository_key.clone(), followers));
        UpstreamError::StillListing {
            names: progress.map_or(0, |progress| progress.names),
            seconds: ASK_AGAIN_AFTER,
        }
    }
}

/// A walk that is kept when this is dropped before it has ended.
pub(super) struct WalkInProgress {
    walks: Arc<UnfinishedWalks>,
    repository_key: RepositoryKey,
    walker: Walker,
    walk: Option<ListingWalk>,
    /// As time since 1970.
    pub began: Duration,
}

impl WalkInProgress {
    pub fn walk(&mut self) -> Option<&mut ListingWalk> {
        self.walk.as_mut()
    }

    /// A page was read, and there is more.
    pub fn got_on(&self, asked_in: &Epoch) {
        self.note(Some(asked_in.clone()));
    }

    fn note(&self, asked_in: Option<Epoch>) {
        let names = self.walk.as_ref().map_or(0, ListingWalk::names_read);
        let key = (self.repository_key.clone(), self.walker.followers);
        self.walks.progress.insert(key, Progress { names, asked_in });
    }

    /// It has ended, or is not to be gone on with.
    pub fn end(mut self) {
        self.note(None);
        self.walk = None;
    }
}

impl Drop for WalkInProgress {
    fn drop(&mut self) {
        if self.walk.is_some() {
            self.note(None);
        }
        let Some(mut walk) = self.walk.take() else {
            return;
        };
        if !walk.leave() {
            return;
        }
        let kept = KeptWalk {
            weight: walk.weight(),
            walk: Mutex::new(Some(walk)),
            began: self.began,
        };
        let key = (self.repository_key.clone(), self.walker.credential);
        self.walks.kept.insert(key, Arc::new(kept));
    }
}
