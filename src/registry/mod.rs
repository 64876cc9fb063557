//! One registry as typed calls: pool, TLS, credentials, retry, and what has been learned about it.
//!
//! Every request leaves through `transport`, which times and counts it. refshim's own reads go through `reader` (bounded, retried,
//! redirected under a policy; those of searches also held back by `backoff`), callers' requests through [`Upstream::forward`],
//! which no scan can starve.

mod answer;
mod asker;
pub(crate) mod client;

mod caller;

mod capability;
mod counts;
mod error;
mod forward;
mod search_queue;

mod authenticated;
mod login;
mod native_support;
mod origin;

mod backoff;
mod collect;
mod pull_limit;

mod reader;
mod retry;

mod search_budget;

mod blob_redirect;
mod some_tags;
mod tag_names;
mod transport;

mod credential_check;
mod idle_timeout;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{Method, Response, StatusCode};
use rustls::RootCertStore;
use url::Url;

use crate::auth::CredentialsSource;
use crate::config::{Blobs, LimitsConfig, ListingKind, UpstreamConfig};
use crate::http::connector::{ClientOptions, HttpClient};
use crate::http::redirect_policy::RedirectPolicy;
use crate::oci::RepositoryName;
use crate::tls::{self, Identity};
use asker::{Asker, Askers};
use backoff::Backoff;
use client::paging::KnownPaging;
use login::{Login, LoginOwner};
use native_support::NativeKnowledge;
use origin::Origin;
use pull_limit::PullLimit;
use reader::{ReadRequest, Redirects};
use search_queue::SearchQueue;
use transport::Timeouts;

pub use answer::{Answer, HeadOutcome, ManifestHead, Native, RawManifest, Refusal, RegistryResponse};
pub use caller::Caller;
pub use client::manifest_calls::is_encoded;
pub use client::seek::CalibratedWithin;
pub use client::tag_listing::Tags;
pub use counts::{BackoffCounts, BackoffOutcome, RequestCounts, RequestKind, RequestOutcome};
pub use credential_check::CredentialCheck;
pub use error::{SetupError, UpstreamError};
pub use native_support::{NativeAbsence, NativeSupport};
pub use search_queue::Permit;
pub use tag_names::{Fingerprint, TagNames, TagNamesBuilder};

/// For the fuzz targets.
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing {
    pub(crate) use super::client::tag_page::parse as parse_tag_page;
    pub(crate) use super::retry::retry_after;
    pub(crate) use super::tag_names::TagNamesBuilder;
    pub(crate) use crate::http::link_header::next as next_link;
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
    authenticated_client: HttpClient,
    /// For redirects to other origins.
    foreign_client: HttpClient,
    /// For token endpoints on other origins: those of a user's own login may be on any address.
    login_client: HttpClient,
    policy: Arc<RedirectPolicy>,
    certificate_expires: Option<SystemTime>,
    /// Which requests go on, instead of callers' credentials, where there is one.
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
    scan_reads: Arc<SearchQueue>,
    /// Other reads of our own: access checks, heads, what a push needs.
    other_reads: Arc<SearchQueue>,
    /// What searches met.
    backoff: Backoff,
    /// Searches for links, each of many reads.
    searches: Arc<SearchQueue>,
    /// Tag listings that are no part of a search.
    listings: Arc<SearchQueue>,
    manifest_bytes: usize,
    tag_list_bytes: usize,
    counts: RequestCounts,
    paging: KnownPaging,
    native: NativeKnowledge,
    pull_limit: PullLimit,
}

impl Upstream {
    /// A registry that is asked on the callers' credentials, or on those that the configuration gives refshim. Reads certificate
    /// authorities; connects to nothing.
    pub fn new(config: &UpstreamConfig, limits: &LimitsConfig) -> Result<Self, SetupError> {
        let is_tls = config.url.scheme() == "https";
        let source = login::source(&config.credentials, config.url.authority());
        Self::with_login(config, limits, source.map(|source| Login::of_proxy(source, is_tls)))
    }

    /// A registry that is asked on the credentials of the user who runs refshim. Otherwise as [`Upstream::new`].
    pub fn of_user(
        config: &UpstreamConfig,
        limits: &LimitsConfig,
        source: CredentialsSource,
    ) -> Result<Self, SetupError> {
        let is_tls = config.url.scheme() == "https";
        Self::with_login(config, limits, Some(Login::of_user(source, is_tls)))
    }

    fn with_login(config: &UpstreamConfig, limits: &LimitsConfig, login: Option<Login>) -> Result<Self, SetupError> {
        let origin = Origin::of(&config.url).ok_or_else(|| SetupError::Url {
            name: config.name.clone(),
            url: config.url.to_string(),
        })?;
        let policy = Arc::new(RedirectPolicy::new(origin.host(), &config.redirect_hosts));
        let identity = own_identity(config)?;
        let certificate_expires = identity.as_ref().and_then(Identity::expires);
        let authenticated_client = crate::http::connector::client(ClientOptions {
            tls: client_tls(config, own_roots(config, &origin)?, identity)?,
            connect_timeout: config.connect_timeout.min(NEVER),
            http2_only: config.http2_prior_knowledge && !origin.is_tls(),
            policy: None,
        });
        let foreign_client = other_origins_client(config, Some(Arc::clone(&policy)))?;
        let login_client = match &login {
            Some(login) if login.owner == LoginOwner::User => other_origins_client(config, None)?,
            _ => foreign_client.clone(),
        };
        let listing_account = login::source(&config.listing_credentials, config.url.authority());
        let listing_account = listing_account.map(|source| Login::of_proxy(source, origin.is_tls()));
        // One repository alone gets half of the permits.
        let reads = config.scan_concurrency.max(1).saturating_mul(2);
        let places = limits.connections.max(MIN_PLACES);
        Ok(Self {
            name: config.name.clone(),
            url: config.url.clone(),
            origin,
            authenticated_client,
            foreign_client,
            login_client,
            policy,
            certificate_expires,
            backoff: Backoff::new(login.is_some()),
            login,
            listing_account,
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
            scan_reads: SearchQueue::new(reads, usize::MAX),
            other_reads: SearchQueue::new(reads, places.saturating_mul(READS_PER_CONNECTION)),
            searches: SearchQueue::new(config.scans.max(1), places),
            listings: SearchQueue::new(config.scans.max(1), places),
            manifest_bytes: limits.manifest_bytes,
            tag_list_bytes: limits.tag_list_bytes,
            counts: RequestCounts::default(),
            paging: KnownPaging::default(),
            native: NativeKnowledge::default(),
            pull_limit: PullLimit::of(config.url.host_str()),
        })
    }

    /// Its name in the configuration.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its URL.
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
    pub fn held_back(&self) -> &BackoffCounts {
        self.backoff.counts()
    }

    /// Whether reads of this repository for this caller have to wait, which only those of searches ever have.
    pub fn holds_back(&self, repository: &RepositoryName, caller: &Caller) -> bool {
        caller.searches() && self.backoff.holds_back(self.asker(repository.as_str(), caller))
    }

    /// Back once reads of this caller's searches in the repository have to wait, with the reason. Until then, never.
    pub async fn begins_to_hold_back(&self, repository: &RepositoryName, caller: &Caller) -> UpstreamError {
        self.backoff.held_back(self.asker(repository.as_str(), caller)).await
    }

    /// The same for anybody's searches in the repository: a search that this caller joined waits when whoever began it has to.
    pub async fn begins_to_hold_back_anybody(&self, repository: &RepositoryName, caller: &Caller) -> UpstreamError {
        self.backoff
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
    pub async fn get(
        &self,
        path_and_query: &str,
        caller: &Caller,
        limit: usize,
    ) -> Result<RegistryResponse, UpstreamError> {
        let ask = ReadRequest {
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

/// A client for hosts that are not the registry's own.
fn other_origins_client(
    config: &UpstreamConfig,
    policy: Option<Arc<RedirectPolicy>>,
) -> Result<HttpClient, SetupError> {
    Ok(crate::http::connector::client(ClientOptions {
        tls: client_tls(config, foreign_roots(config)?, None)?,
        connect_timeout: config.connect_timeout.min(NEVER),
        http2_only: false,
        policy,
    }))
}

fn client_tls(
    config: &UpstreamConfig,
    roots: RootCertStore,
    identity: Option<Identity>,
) -> Result<rustls::ClientConfig, SetupError> {
    crate::http::connector::tls(roots, config.min_tls_version, identity).map_err(|error| SetupError::Tls {
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
        crate::http::connector::add_system(&mut roots);
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
    crate::http::connector::add_system(&mut roots);
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
