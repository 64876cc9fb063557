//! One registry as typed calls: pool, TLS, credentials, retry, and what has been learned about it.
//!
//! Every request leaves through `send`, which times and counts it. refshim's own reads go through `scan` (bounded, retried,
//! redirected under a policy; those of searches also held back by `pauses`), callers' requests through [`Upstream::forward`],
//! which no scan can starve.

mod answer;
mod blobs;
mod caller;
mod client;
mod counts;
mod error;
mod forward;
mod learned;
mod link_header;
mod listing_end;
mod login;
mod manifests;
mod native;
mod origin;
mod own;
mod page_reader;
mod paging;
mod pauses;
mod presence;
mod pull_limit;
mod read;
mod redirect;
mod retry;
mod scan;
mod scope;
mod search_budget;
mod seek;
mod send;
mod storage;
mod tag_names;
mod tag_page;
mod tags;
mod timed;
mod trial;
mod turns;
mod write;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{Method, Response, StatusCode};
use rustls::RootCertStore;
use tokio::sync::{Semaphore, SemaphorePermit};
use url::Url;

use crate::config::{Blobs, LimitsConfig, UpstreamConfig};
use crate::tls::{self, Identity};
use client::{ClientOptions, HttpClient};
use learned::Learned;
use login::Login;
use origin::Origin;
use paging::KnownPaging;
use pauses::Pauses;
use pull_limit::PullLimit;
use redirect::RedirectPolicy;
use scan::{Ask, Redirects};
use send::Timeouts;

pub use answer::{Answer, ManifestHead, Native, RawManifest, Refusal, Reply};
pub use caller::Caller;
pub use counts::{Held, HeldBack, Outcome, RequestCounts, RequestKind};
pub use error::{SetupError, UpstreamError};
pub use seek::CalibratedWithin;
pub use tag_names::{TagNames, TagNamesBuilder, TooManyNames};
pub use tags::Tags;
pub use trial::Trial;

/// For the fuzz targets.
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing {
    pub(crate) use super::link_header::next as next_link;
    pub(crate) use super::retry::retry_after;
    pub(crate) use super::tag_page::parse as parse_tag_page;
}

const NATIVE_FOR: Duration = Duration::from_secs(10 * 60);
/// A "no" costs requests, not truth: it is soon asked again.
const NOT_FOR: Duration = Duration::from_secs(10 * 60);

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
    /// Blobs are fetched from where the upstream redirects to.
    streams_blobs: bool,
    timeouts: Timeouts,
    retries: u32,
    /// Reads of searches at once.
    scan_reads: Semaphore,
    /// Other reads of our own at once: access checks, heads, what a push needs.
    other_reads: Semaphore,
    /// What searches met.
    pauses: Pauses,
    /// Searches for links at once, each of many reads.
    searches: Semaphore,
    /// Tag listings at once that are no part of a search.
    listings: Semaphore,
    manifest_bytes: usize,
    tag_list_bytes: usize,
    counts: RequestCounts,
    paging: KnownPaging,
    native: Learned,
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
        let login = Login::new(config);
        let reads = config.scan_concurrency.clamp(1, Semaphore::MAX_PERMITS);
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
            streams_blobs: config.blobs == Blobs::Stream,
            timeouts: Timeouts {
                connect: config.connect_timeout.min(NEVER),
                first_byte: config.first_byte_timeout.min(NEVER),
                idle: config.idle_timeout.min(NEVER),
            },
            retries: config.retries,
            scan_reads: Semaphore::new(reads),
            other_reads: Semaphore::new(reads),
            searches: Semaphore::new(config.scans.clamp(1, Semaphore::MAX_PERMITS)),
            listings: Semaphore::new(config.scans.clamp(1, Semaphore::MAX_PERMITS)),
            manifest_bytes: limits.manifest_bytes,
            tag_list_bytes: limits.tag_list_bytes,
            counts: RequestCounts::default(),
            paging: KnownPaging::default(),
            native: Learned::new(NATIVE_FOR, NOT_FOR),
            pull_limit: PullLimit::of(config.url.host_str()),
        })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn url(&self) -> &Url {
        &self.url
    }

    /// When the certificate that refshim shows it ends, or one between that and an authority.
    pub fn certificate_expires(&self) -> Option<SystemTime> {
        self.certificate_expires
    }

    /// Waits until one more search for links is not too many. It is one until the permit is dropped.
    pub async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // The semaphore is never closed, so there always is a permit.
        self.searches.acquire().await.ok()
    }

    /// The same for a whole tag listing. `None` for those of searches, which have had their turn.
    pub async fn listing_turn(&self, caller: &Caller) -> Option<SemaphorePermit<'_>> {
        match caller.searches() {
            true => None,
            false => self.listings.acquire().await.ok(),
        }
    }

    /// What was asked of it since start-up.
    pub fn requests(&self) -> &RequestCounts {
        &self.counts
    }

    /// How often reads of searches were held back since start-up.
    pub fn held_back(&self) -> &HeldBack {
        self.pauses.counts()
    }

    /// Whether reads for this caller have to wait, which only those of searches ever have.
    pub fn holds_back(&self, caller: &Caller) -> bool {
        caller.searches() && self.pauses.holds_back(caller)
    }

    /// Back once reads of this caller's searches have to wait, with the reason. Until then, never.
    pub async fn begins_to_hold_back(&self, caller: &Caller) -> UpstreamError {
        self.pauses.held_back(caller).await
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
