//! What one scan needs, and what it learns of its caller while it goes on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::absences::Absences;
use super::sources::ordinary_tags::links::OrdinaryTagWork;
use crate::config::{Depth, LinksConfig};
use crate::oci::{Digest, LinkSource};
use crate::referrers::basis::MissingNames;
use crate::referrers::context::RepositoryContext;
use crate::referrers::given::DigestAnswer;
use crate::referrers::manifest_store::ManifestStore;
use crate::referrers::names::TagMemory;
use crate::referrers::tag_listings::TagListings;
use crate::registry::Fingerprint;

/// What all scans of one upstream read, and remember.
pub(in crate::referrers) struct Stores {
    pub manifests: ManifestStore,
    pub listings: TagListings,
    pub tags: TagMemory,
    pub absences: Absences,
    pub ordinary_tag_work: OrdinaryTagWork,
    pub config: LinksConfig,
    pub fresh_for: Duration,
}

/// One scan: who asks for what, and what came up on the way. A clone is the same scan.
#[derive(Clone)]
pub(in crate::referrers) struct Scan {
    pub stores: Arc<Stores>,
    pub context: RepositoryContext,
    pub subject: Digest,
    /// How long ago the search began, where it goes on with one that made all the requests that it may. What the registry
    /// said since then is not asked for again.
    pub since: Duration,
    pub begun: Instant,
    /// What the registry answered to this caller for the subject, once it was asked.
    pub subject_answer: Arc<OnceCell<DigestAnswer>>,
    /// The media type and size of the subject, where the registry gave it.
    pub subject_head: Arc<OnceLock<(String, u64)>>,
    /// Whether something that should be there was not, a moment ago: perhaps the registry lags.
    pub is_unsettled: Arc<AtomicBool>,
    /// Whether the registry withheld something behind an ordinary tag from this caller: another credential perhaps gets more.
    pub is_withheld: Arc<AtomicBool>,
    /// What was named and the registry says to this caller that it does not have: another credential perhaps gets it.
    missing: Arc<Mutex<MissingNames>>,
    /// When the registry gave this caller a manifest where the scan asked for that alone, as time since 1970.
    read_proven: Arc<Mutex<Option<Duration>>>,
}

impl Scan {
    /// `since`: see [`Self::since`].
    pub fn new(stores: Arc<Stores>, context: RepositoryContext, subject: Digest, since: Duration) -> Self {
        Self {
            stores,
            context,
            subject,
            since,
            begun: Instant::now(),
            subject_answer: Arc::default(),
            subject_head: Arc::default(),
            is_unsettled: Arc::default(),
            is_withheld: Arc::default(),
            missing: Arc::default(),
            read_proven: Arc::default(),
        }
    }

    /// Whether the registry is known to let this caller read, if only since this scan began. What is not there to anybody else may be
    /// there to others: it is remembered for nobody.
    pub fn may_read(&self) -> bool {
        let access = &self.stores.manifests.access;
        self.read_proven()
            .is_some_and(|proven| !access.was_refused_since(&self.context, proven))
            || access.is_allowed(&self.context)
            || access.was_proven(&self.context, self.begun.elapsed())
    }

    /// The registry gave this caller a manifest, which it was asked for at the time `asked`.
    pub fn prove_reading(&self, asked: Duration) {
        let mut proven = self.read_proven.lock().unwrap_or_else(PoisonError::into_inner);
        *proven = (*proven).max(Some(asked));
    }

    pub fn read_proven(&self) -> Option<Duration> {
        *self.read_proven.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer lacks this, which something named and the registry does not give this caller.
    pub fn lacks(&self, what: &impl ToString) {
        let mut missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        missing.add(what);
    }

    /// What the answer lacks.
    pub fn missing(&self) -> Option<Fingerprint> {
        let missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        missing.fingerprint()
    }

    /// The answer is this caller's alone, and not remembered.
    pub fn withhold(&self) {
        self.is_withheld.store(true, Ordering::Relaxed);
    }

    pub fn reads(&self, source: LinkSource) -> bool {
        self.stores.config.sources.contains(&source)
    }

    /// Whether a GET of a manifest is a pull that is counted, so that nothing is read behind ordinary tags. Where the configuration
    /// asks for depth `manifests`, they are read all the same.
    pub fn counts_pulls(&self) -> Option<bool> {
        match self.stores.config.depth {
            Depth::Manifests => Some(false),
            Depth::Auto | Depth::Names => self.stores.manifests.upstream.counts_pulls(),
        }
    }
}
