//! The queues in which refshim's own reads, its searches and its tag listings wait, so that the registry gets no more of them at once
//! than the configuration allows.

use std::sync::Arc;

use super::Reader;
use super::asker::{Asker, Askers};
use super::search_queue::{Permit, SearchQueue};
use crate::config::{LimitsConfig, UpstreamConfig};
use crate::oci::RepositoryName;
use crate::registry::caller::Caller;
use crate::registry::counts::BackoffCounts;
use crate::registry::error::UpstreamError;

/// The fewest places that a queue has, however few connections callers may open.
const MIN_PLACES: usize = 64;
/// Reads that may wait for each connection that callers may open: over HTTP/2 one connection has several requests.
const READS_PER_CONNECTION: usize = 4;

/// The queues of one upstream.
pub(super) struct Queues {
    askers: Askers,
    /// Reads of searches.
    pub(super) scan_reads: Arc<SearchQueue>,
    /// Other reads: access checks, heads, what a push needs.
    pub(super) other_reads: Arc<SearchQueue>,
    /// Searches for links, each of many reads.
    searches: Arc<SearchQueue>,
    /// Tag listings that are no part of a search.
    listings: Arc<SearchQueue>,
}

impl Queues {
    pub(super) fn new(config: &UpstreamConfig, limits: &LimitsConfig) -> Self {
        // A single repository gets half of the permits.
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

    /// Joins the queue of searches. The caller waits for the permit and holds it while the search runs. Fails with
    /// [`UpstreamError::Busy`] where the queue is full: see `docs/limits.md`.
    pub fn queue_search(&self, repository: &RepositoryName, caller: &Caller) -> Result<Permit, UpstreamError> {
        self.queues.searches.join(self.asker(repository, caller))
    }

    /// Waits for a permit to read a whole tag listing. `None` for listings that are part of a search, which has its own permit.
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

    /// Fails where [`Reader::listing_permit`] would fail, before any work is begun.
    pub fn check_listing(&self, repository: &RepositoryName, caller: &Caller) -> Result<(), UpstreamError> {
        match caller.searches() {
            true => Ok(()),
            false => self.queues.listings.check_place(self.asker(repository, caller)),
        }
    }

    /// Fails where the queue of reads outside searches is full, before any work is begun.
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

    /// Returns, with the reason, as soon as this caller's searches in the repository have to wait; until then it stays pending.
    pub async fn begins_to_hold_back(&self, repository: &RepositoryName, caller: &Caller) -> UpstreamError {
        self.backoff.held_back(self.asker(repository, caller)).await
    }

    /// The same for anybody's searches in the repository: a search that this caller joined waits when whoever began it has to
    /// wait.
    pub async fn begins_to_hold_back_anybody(&self, repository: &RepositoryName, caller: &Caller) -> UpstreamError {
        self.backoff.anybody_held_back(self.asker(repository, caller)).await
    }
}
