//! What reads, searches and whole listings wait in, and who asks: as much at once as the configuration lets the registry see.

use std::sync::Arc;

use super::Reader;
use super::asker::{Asker, Askers};
use super::search_queue::{Permit, SearchQueue};
use crate::config::{LimitsConfig, UpstreamConfig};
use crate::oci::RepositoryName;
use crate::registry::caller::Caller;
use crate::registry::counts::BackoffCounts;
use crate::registry::error::UpstreamError;

/// Places in the queues, however few connections of callers there may be.
const MIN_PLACES: usize = 64;
/// Reads of our own that may wait at once for each connection of callers: over HTTP/2 one connection has several requests.
const READS_PER_CONNECTION: usize = 4;

/// The queues of one upstream.
pub(super) struct Queues {
    askers: Askers,
    /// Reads of searches.
    pub(super) scan_reads: Arc<SearchQueue>,
    /// Other reads of our own: access checks, heads, what a push needs.
    pub(super) other_reads: Arc<SearchQueue>,
    /// Searches for links, each of many reads.
    searches: Arc<SearchQueue>,
    /// Tag listings that are no part of a search.
    listings: Arc<SearchQueue>,
}

impl Queues {
    pub(super) fn new(config: &UpstreamConfig, limits: &LimitsConfig) -> Self {
        // One repository alone gets half of the permits.
        let reads = config.scan_concurrency.max(1).saturating_mul(2);
        let places = limits.connections.max(MIN_PLACES);
        Self {
            askers: Askers::default(),
            // Searches are bounded, and each has a few reads at once.
            scan_reads: SearchQueue::new(reads, usize::MAX),
            other_reads: SearchQueue::new(reads, places.saturating_mul(READS_PER_CONNECTION)),
            searches: SearchQueue::new(config.scans.max(1), places),
            listings: SearchQueue::new(config.scans.max(1), places),
        }
    }

    /// `repository` is empty for what concerns none.
    pub(super) fn asker(&self, repository: &str, caller: &Caller) -> Asker {
        self.askers.of(repository, caller)
    }
}

impl Reader {
    fn asker(&self, repository: &RepositoryName, caller: &Caller) -> Asker {
        self.queues.asker(repository.as_str(), caller)
    }

    /// A place in the queue of searches, to be waited in for a permit and held while the search goes on. Fails where too many
    /// wait: see `docs/limits.md`.
    pub fn queue_search(&self, repository: &RepositoryName, caller: &Caller) -> Result<Permit, UpstreamError> {
        self.queues.searches.join(self.asker(repository, caller))
    }

    /// The same for a whole tag listing, with the permit at once. `None` for those of searches, which have theirs.
    pub async fn listing_permit(
        &self,
        repository: &RepositoryName,
        caller: &Caller,
    ) -> Result<Option<Permit>, UpstreamError> {
        match caller.searches() {
            true => Ok(None),
            false => self
                .queues
                .listings
                .permit(self.asker(repository, caller))
                .await
                .map(Some),
        }
    }

    /// Fails where [`Reader::listing_permit`] would, so that nothing is begun for it.
    pub fn check_listing(&self, repository: &RepositoryName, caller: &Caller) -> Result<(), UpstreamError> {
        match caller.searches() {
            true => Ok(()),
            false => self.queues.listings.check_place(self.asker(repository, caller)),
        }
    }

    /// Fails where a read that is no part of a search would find no place to wait in, so that nothing is begun for it.
    pub fn check_room(&self, repository: &RepositoryName, caller: &Caller) -> Result<(), UpstreamError> {
        self.queues.other_reads.check_place(self.asker(repository, caller))
    }

    /// How often reads of searches were held back since start-up.
    pub fn held_back(&self) -> &BackoffCounts {
        self.backoff.counts()
    }

    /// Whether reads of this repository for this caller have to wait, which only those of searches ever have.
    pub fn holds_back(&self, repository: &RepositoryName, caller: &Caller) -> bool {
        caller.searches() && self.backoff.holds_back(self.asker(repository, caller))
    }

    /// Back once reads of this caller's searches in the repository have to wait, with the reason. Until then, never.
    pub async fn begins_to_hold_back(&self, repository: &RepositoryName, caller: &Caller) -> UpstreamError {
        self.backoff.held_back(self.asker(repository, caller)).await
    }

    /// The same for anybody's searches in the repository: a search that this caller joined waits when whoever began it has to.
    pub async fn begins_to_hold_back_anybody(&self, repository: &RepositoryName, caller: &Caller) -> UpstreamError {
        self.backoff.anybody_held_back(self.asker(repository, caller)).await
    }
}
