//! The distribution-spec's endpoints as typed calls of one registry: manifests, blobs, tags, referrers; and callers' requests, passed
//! through.

mod blob_calls;
pub(in crate::registry) mod blob_copy;
pub(in crate::registry) mod blob_download;
pub(in crate::registry) mod blob_transfer;
mod by_last;
pub(in crate::registry) mod caller_login;
mod catalog;
mod content_check;
pub(in crate::registry) mod credential_calls;
mod forward;
mod listing_end;
mod listing_so_far;
pub(in crate::registry) mod manifest_calls;
pub(in crate::registry) mod optimistic_put;
mod page_link;
mod page_reader;
pub(in crate::registry) mod ping;
mod referrers_api;
mod refresh;
pub(in crate::registry) mod registry_page;
pub(in crate::registry) mod seek;
pub(in crate::registry) mod sibling;
mod some_tags;
mod span;
pub(in crate::registry) mod tag_listing;
pub(in crate::registry) mod tag_page;
pub(in crate::registry) mod walk;
pub(in crate::registry) mod walked_listing;
mod write;
pub(in crate::registry) mod write_condition;
pub(in crate::registry) mod write_headers;

use std::sync::Arc;
use std::time::SystemTime;

use http::Method;
use prometheus_client::metrics::histogram::Histogram;
use url::Url;

use crate::auth::CredentialsSource;
use crate::config::{Blobs, Config, LimitsConfig, ListingKind, NamedProxy, UpstreamConfig};
use crate::metrics::{CounterFamily, FixedFamily};
use crate::oci::{RepositoryName, SiblingTemplate};
use crate::registry::answer::RegistryResponse;
use crate::registry::authentication::AuthenticatedTransport;
use crate::registry::authentication::login::{self, Login};
use crate::registry::caller::Caller;
use crate::registry::capabilities::Capabilities;
use crate::registry::capabilities::native_support::NativeKnowledge;
use crate::registry::capabilities::paging::RepositoryPaging;
use crate::registry::counts::{RequestKind, RequestOutcome};
use crate::registry::error::{SetupError, UpstreamError};
use crate::registry::origin::Origin;
use crate::registry::reader::Reader;
use crate::registry::reader::request::{ReadRequest, Redirects};
use crate::registry::request_allowance::RequestAllowance;

/// One registry, as the calls that can be made to it.
pub struct Upstream {
    name: String,
    url: Url,
    reader: Reader,
    capabilities: Arc<Capabilities>,
    /// How much its tag listings show.
    listing_kind: ListingKind,
    /// How the repositories are named that keep the links of others.
    siblings: Option<SiblingTemplate>,
    /// The other registry that has those; `None`: this one.
    links_upstream: Option<Arc<Self>>,
    /// How the repositories are named that keep the links of other registries here.
    kept_for_others: Vec<SiblingTemplate>,
    /// Blobs are fetched from where the upstream redirects to.
    streams_blobs: bool,
    /// The largest manifest that is read.
    manifest_bytes: usize,
    /// The largest tag listing that is read, and the largest list of the referrers API, all pages together.
    tag_list_bytes: usize,
}

impl Upstream {
    /// A registry that is asked on the callers' credentials, or on those that the configuration gives refshim. Reads certificate
    /// authorities; connects to nothing.
    pub fn new(config: &UpstreamConfig, limits: &LimitsConfig) -> Result<Self, SetupError> {
        let is_tls = config.url.scheme() == "https";
        let source = login::source(&config.credentials, config);
        let login = source.map(|source| Login::of_proxy(source, is_tls));
        Self::with_login(config, limits, login, RequestAllowance::default())
    }

    /// All registries of the configuration, in its order, each with the one that keeps its links.
    pub fn of_all(config: &Config) -> Result<Vec<Arc<Self>>, SetupError> {
        config.link_upstreams(|_, upstream, links_upstream| {
            let upstream = Self::new(upstream, &config.limits)?;
            Ok(Arc::new(upstream.with_links_in(links_upstream)))
        })
    }

    /// A registry that is asked on the credentials of the user who runs refshim, no more than is allowed. Otherwise as [`Upstream::new`].
    pub fn of_user(
        config: &UpstreamConfig,
        limits: &LimitsConfig,
        source: CredentialsSource,
        allowance: RequestAllowance,
    ) -> Result<Self, SetupError> {
        let is_tls = config.url.scheme() == "https";
        Self::with_login(config, limits, Some(Login::of_user(source, is_tls)), allowance)
    }

    fn with_login(
        config: &UpstreamConfig,
        limits: &LimitsConfig,
        login: Option<Login>,
        allowance: RequestAllowance,
    ) -> Result<Self, SetupError> {
        let capabilities = Arc::new(Capabilities::of(config.url.host_str()));
        let transport = AuthenticatedTransport::new(config, login, allowance)?;
        Ok(Self {
            name: config.name.clone(),
            url: config.url.clone(),
            reader: Reader::new(config, limits, transport, Arc::clone(&capabilities)),
            capabilities,
            listing_kind: config.listing,
            siblings: config.siblings.clone(),
            links_upstream: None,
            kept_for_others: config
                .kept_for_others
                .iter()
                .map(|(_, template)| template.clone())
                .collect(),
            streams_blobs: config.blobs == Blobs::Stream,
            manifest_bytes: limits.manifest_bytes,
            tag_list_bytes: limits.tag_list_bytes,
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

    /// The HTTP proxy through which it is reached.
    pub fn proxy(&self) -> Option<&NamedProxy> {
        let root = self.origin().uri("/v2/").ok()?;
        self.reader.transport().transport().proxy_of(&root)
    }

    /// The HTTP proxy through which a URL is reached that it names, such as a realm.
    pub fn proxy_to(&self, url: &str) -> Option<&NamedProxy> {
        self.reader.transport().transport().proxy_of(&url.parse().ok()?)
    }

    /// How much its tag listings show, as far as the configuration says.
    pub fn listing_kind(&self) -> ListingKind {
        self.listing_kind
    }

    /// The largest manifest that is read, in bytes.
    pub fn manifest_bytes(&self) -> usize {
        self.manifest_bytes
    }

    /// When the certificate that refshim shows it ends, or one between that and an authority.
    pub fn certificate_expires(&self) -> Option<SystemTime> {
        self.reader.transport().transport().certificate_expires()
    }

    /// What was asked of it since start-up.
    pub fn requests(&self) -> &CounterFamily<(RequestKind, RequestOutcome)> {
        &self.reader.transport().transport().counts().ended
    }

    /// How long those requests took, in seconds.
    pub fn request_durations(&self) -> &FixedFamily<RequestKind, Histogram> {
        &self.reader.transport().transport().counts().durations
    }

    /// How refshim's own reads of it are queued and held back.
    pub fn reads(&self) -> &Reader {
        &self.reader
    }

    /// Where its own referrers API was seen to answer, and where it was proven to be missing.
    pub fn native(&self) -> &NativeKnowledge {
        &self.capabilities.native
    }

    /// Whether a GET of a manifest counts against its caller's pulls here, as on Docker Hub. `None` where no manifest was read
    /// lately that would tell.
    pub fn counts_pulls(&self) -> Option<bool> {
        self.capabilities.pull_limit.counts_pulls()
    }

    /// How many requests a second may be made that nobody waits for.
    pub fn background_rate(&self) -> u32 {
        self.reader.background_rate()
    }

    fn origin(&self) -> &Origin {
        self.reader.origin()
    }

    /// What was learned about the listings of `repository`.
    fn paging(&self, repository: &RepositoryName) -> Arc<RepositoryPaging> {
        self.capabilities.paging.of(repository)
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
            uri: self.origin().uri(path_and_query)?,
            accept: "application/json, */*;q=0.1",
            redirects: Redirects::Own,
            caller,
        };
        self.reader.ask(&ask, limit).await
    }
}
