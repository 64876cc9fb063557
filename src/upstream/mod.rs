//! One registry as typed calls: pool, TLS, credentials, retry, and what has been learned about it.
//!
//! Every request leaves through `send`, which times and counts it. refshim's own reads go through `scan` (bounded, retried,
//! redirected under a policy; those of searches also held back by `pauses`), callers' requests through [`Upstream::forward`],
//! which no scan can starve.

mod answer;
mod asker;
mod blobs;
mod caller;
mod client;
mod connection_use;
mod counts;
mod error;
mod fair_queue;
mod forward;
mod learned;
mod link_header;
mod listing_end;
mod login;
mod manifests;
mod native;
mod native_support;
mod origin;
mod own;
mod page_reader;
mod paging;
mod pauses;
mod pull_limit;
mod read;
mod redirect;
mod retry;
mod scan;
mod scope;
mod search_budget;
mod seek;
mod send;
mod some_tags;
mod storage;
mod tag_names;
mod tag_page;
mod tags;
mod timed;
mod trial;
mod turns;
mod via;
mod write;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{Method, Response, StatusCode};
use rustls::RootCertStore;
use url::Url;

use crate::config::{Blobs, LimitsConfig, ListingKind, UpstreamConfig};
use crate::oci::RepositoryName;
use crate::tls::{self, Identity};
use asker::{Asker, Askers};
use client::{ClientOptions, HttpClient};
use fair_queue::FairQueue;
use login::Login;
use native_support::NativeKnowledge;
use origin::Origin;
use paging::KnownPaging;
use pauses::Pauses;
use pull_limit::PullLimit;
use redirect::RedirectPolicy;
use scan::{Ask, Redirects};
use send::Timeouts;

pub use answer::{Answer, HeadOutcome, ManifestHead, Native, RawManifest, Refusal, Reply};
pub use caller::Caller;
pub use counts::{Held, HeldBack, Outcome, RequestCounts, RequestKind};
pub use error::{SetupError, UpstreamError};
pub use fair_queue::Permit;
pub use manifests::is_encoded;
pub use native_support::NativeSupport;
pub use seek::CalibratedWithin;
pub use tag_names::{TagNames, TagNamesBuilder, TooManyNames};
pub use tags::Tags;
pub use trial::Trial;
pub use via::is_loop;

/// For the fuzz targets.
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing {
    pub(crate) use super::link_header::next as next_link;
    pub(crate) use super::retry::retry_after;
    pub(crate) use super::tag_page::parse as parse_tag_page;
}

/// Places in the queues, however few connections of callers there may be.
const MIN_PLACES: usize = 64;
/// Reads of our own that may wait at once for each connection of callers: over HTTP/2 one connection has several requests.
const READS_PER_CONNECTION: usize = 4;

/// Longer timeouts are cut to this, so that a deadline can always be computed.
const NEVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// One registry.
pub struct Upstream {
    name: String,
    url: Url,
    origin: Origin,
    own_client: HttpClient,
    /// For redirects to other origins.
    foreign_client: HttpClient,
    policy: Arc<RedirectPolicy>,
    certificate_expires: Option<SystemTime>,
    /// refshim's own credentials, where it has some.
    login: Option<Login>,
    /// The account that lists tags on behalf of callers.
    listing_account: Option<Login>,
    /// How much its tag listings show.
    listing_kind: ListingKind,
    /// Blobs are fetched from where the upstream redirects to.
    streams_blobs: bool,
    timeouts: Timeouts,
    retries: u32,
    askers: Askers,
    /// Reads of searches.
    scan_reads: Arc<FairQueue>,
    /// Other reads of our own: access checks, heads, what a push needs.
    other_reads: Arc<FairQueue>,
    /// What searches met.
    pauses: Pauses,
    /// Searches for links, each of many reads.
    searches: Arc<FairQueue>,
    /// Tag listings that are no part of a search.
    listings: Arc<FairQueue>,
    manifest_bytes: usize,
    tag_list_bytes: usize,
    counts: RequestCounts,
    paging: KnownPaging,
    native: NativeKnowledge,
    pull_limit: PullLimit,
}

impl Upstream {
    /// Reads certificate authorities; connects to nothing.
    pub fn new(config: &UpstreamConfig, limits: &LimitsConfig) -> Result<Self, SetupError> {
        let origin = Origin::of(&config.url).ok_or_else(|| SetupError::Url {
            name: config.name.clone(),
            url: config.url.to_string(),
        })?;
        let policy = Arc::new(RedirectPolicy::new(origin.host(), &config.redirect_hosts));
        let identity = own_identity(config)?;
        let certificate_expires = identity.as_ref().and_then(Identity::expires);
        let own_client = client::client(ClientOptions {
            tls: client_tls(config, own_roots(config, &origin)?, identity)?,
            connect_timeout: config.connect_timeout.min(NEVER),
            http2_only: config.http2_prior_knowledge && !origin.is_tls(),
            policy: None,
        });
        let foreign_client = client::client(ClientOptions {
            tls: client_tls(config, foreign_roots(config)?, None)?,
            connect_timeout: config.connect_timeout.min(NEVER),
            http2_only: false,
            policy: Some(Arc::clone(&policy)),
        });
        let login = Login::new(&config.credentials, config);
        // One repository alone gets half of the permits.
        let reads = config.scan_concurrency.max(1).saturating_mul(2);
        let places = limits.connections.max(MIN_PLACES);
        Ok(Self {
            name: config.name.clone(),
            url: config.url.clone(),
            origin,
            own_client,
            foreign_client,
            policy,
            certificate_expires,
            pauses: Pauses::new(login.is_some()),
            login,
            listing_account: Login::new(&config.listing_credentials, config),
            listing_kind: config.listing,
            streams_blobs: config.blobs == Blobs::Stream,
            timeouts: Timeouts {
                connect: config.connect_timeout.min(NEVER),
                first_byte: config.first_byte_timeout.min(NEVER),
                idle: config.idle_timeout.min(NEVER),
            },
            retries: config.retries,
            askers: Askers::default(),
            // Searches are bounded, and each has a few reads at once.
            scan_reads: FairQueue::new(reads, usize::MAX),
            other_reads: FairQueue::new(reads, places.saturating_mul(READS_PER_CONNECTION)),
            searches: FairQueue::new(config.scans.max(1), places),
            listings: FairQueue::new(config.scans.max(1), places),
            manifest_bytes: limits.manifest_bytes,
            tag_list_bytes: limits.tag_list_bytes,
            counts: RequestCounts::default(),
            paging: KnownPaging::default(),
            native: NativeKnowledge::default(),
            pull_limit: PullLimit::of(config.url.host_str()),
        })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn url(&self) -> &Url {
        &self.url
    }

    /// How much its tag listings show, as far as the configuration says.
    pub fn listing_kind(&self) -> ListingKind {
        self.listing_kind
    }

    /// When the certificate that refshim shows it ends, or one between that and an authority.
    pub fn certificate_expires(&self) -> Option<SystemTime> {
        self.certificate_expires
    }

    /// A place in the queue of searches, to be waited in for a permit and held while the search goes on. Fails where too many
    /// wait: see `docs/limits.md`.
    pub fn queue_search(&self, repository: &RepositoryName, caller: &Caller) -> Result<Permit, UpstreamError> {
        self.searches.join(self.asker(repository.as_str(), caller))
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
                .listings
                .permit(self.asker(repository.as_str(), caller))
                .await
                .map(Some),
        }
    }

    /// Fails where [`Upstream::listing_permit`] would, so that nothing is begun for it.
    pub fn check_listing(&self, repository: &RepositoryName, caller: &Caller) -> Result<(), UpstreamError> {
        match caller.searches() {
            true => Ok(()),
            false => self.listings.check_place(self.asker(repository.as_str(), caller)),
        }
    }

    /// Fails where a read that is no part of a search would find no place to wait in, so that nothing is begun for it.
    pub fn check_room(&self, repository: &RepositoryName, caller: &Caller) -> Result<(), UpstreamError> {
        self.other_reads.check_place(self.asker(repository.as_str(), caller))
    }

    fn asker(&self, repository: &str, caller: &Caller) -> Asker {
        self.askers.of(repository, caller)
    }

    /// The largest manifest that is read, in bytes.
    pub fn manifest_bytes(&self) -> usize {
        self.manifest_bytes
    }

    /// What was asked of it since start-up.
    pub fn requests(&self) -> &RequestCounts {
        &self.counts
    }

    /// How often reads of searches were held back since start-up.
    pub fn held_back(&self) -> &HeldBack {
        self.pauses.counts()
    }

    /// Whether reads of this repository for this caller have to wait, which only those of searches ever have.
    pub fn holds_back(&self, repository: &RepositoryName, caller: &Caller) -> bool {
        caller.searches() && self.pauses.holds_back(self.asker(repository.as_str(), caller))
    }

    /// Back once reads of this caller's searches in the repository have to wait, with the reason. Until then, never.
    pub async fn begins_to_hold_back(&self, repository: &RepositoryName, caller: &Caller) -> UpstreamError {
        self.pauses.held_back(self.asker(repository.as_str(), caller)).await
    }

    /// The same for anybody's searches in the repository: a search that this caller joined waits when whoever began it has to.
    pub async fn begins_to_hold_back_anybody(&self, repository: &RepositoryName, caller: &Caller) -> UpstreamError {
        self.pauses
            .anybody_held_back(self.asker(repository.as_str(), caller))
            .await
    }

    /// Whether a GET of a manifest counts against its caller's pulls here, as on Docker Hub. `None` where no manifest was read
    /// lately that would tell.
    pub fn counts_pulls(&self) -> Option<bool> {
        self.pull_limit.counts_pulls()
    }

    /// Learns from the head of an answer to a request for a manifest.
    fn saw_manifest<B>(&self, method: &Method, response: &Response<B>) {
        let is_pull = *method == Method::GET && response.status() == StatusCode::OK;
        self.pull_limit.saw(response.headers(), is_pull);
    }

    /// A small read as it is, whatever its status but 429 and 5xx: `/v2/`, an access check, a discovery. Redirects to other
    /// origins are the answer.
    pub async fn get(&self, path_and_query: &str, caller: &Caller, limit: usize) -> Result<Reply, UpstreamError> {
        let ask = Ask {
            kind: RequestKind::Other,
            method: Method::GET,
            uri: self.origin.uri(path_and_query)?,
            accept: "application/json, */*;q=0.1",
            redirects: Redirects::Own,
            caller,
        };
        self.ask(&ask, limit).await
    }
}

fn client_tls(
    config: &UpstreamConfig,
    roots: RootCertStore,
    identity: Option<Identity>,
) -> Result<rustls::ClientConfig, SetupError> {
    client::tls(roots, config.min_tls_version, identity).map_err(|error| SetupError::Tls {
        name: config.name.clone(),
        reason: error.to_string(),
    })
}

/// What refshim shows the registry.
fn own_identity(config: &UpstreamConfig) -> Result<Option<Identity>, SetupError> {
    let (Some(certificate), Some(key)) = (&config.client_cert_file, &config.client_key_file) else {
        return Ok(None);
    };
    let identity = tls::identity(certificate, key).map_err(|error| SetupError::Tls {
        name: config.name.clone(),
        reason: error.to_string(),
    });
    identity.map(Some)
}

/// The configured authorities, else the system's.
fn own_roots(config: &UpstreamConfig, origin: &Origin) -> Result<RootCertStore, SetupError> {
    let mut roots = RootCertStore::empty();
    if config.ca_file.is_some() {
        add_file(&mut roots, config)?;
    } else if origin.is_tls() {
        client::add_system(&mut roots);
        if roots.is_empty() {
            return Err(SetupError::Authorities {
                name: config.name.clone(),
                reason: "the system has none; name a ca_file".into(),
            });
        }
    }
    Ok(roots)
}

/// Storage elsewhere may be anyone's: the system's authorities and the configured ones.
fn foreign_roots(config: &UpstreamConfig) -> Result<RootCertStore, SetupError> {
    let mut roots = RootCertStore::empty();
    client::add_system(&mut roots);
    if config.ca_file.is_some() {
        add_file(&mut roots, config)?;
    }
    Ok(roots)
}

fn add_file(roots: &mut RootCertStore, config: &UpstreamConfig) -> Result<(), SetupError> {
    let Some(file) = &config.ca_file else { return Ok(()) };
    tls::add_authorities(roots, file).map_err(|error| SetupError::Authorities {
        name: config.name.clone(),
        reason: error.to_string(),
    })
}
