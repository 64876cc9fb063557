//! One registry behind refshim.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer};
use url::Url;

use super::credentials::CredentialsConfig;
use super::egress::{EgressConfig, ProxyChoice};
use super::tls::TlsVersion;
use super::values;
use crate::oci::{RepositoryName, SiblingTemplate};

/// Name of the first upstream where the configuration gives it none.
pub const DEFAULT_UPSTREAM: &str = "default";

/// One `[[upstream]]` table.
#[derive(Clone, Debug, Deserialize)]
#[serde(default = "UpstreamConfig::unset", deny_unknown_fields)]
pub struct UpstreamConfig {
    /// Its name in logs and metrics. `default` if `--upstream` gives the URL.
    pub name: String,
    /// Scheme, authority and an optional path prefix in front of `/v2`.
    #[serde(deserialize_with = "values::url")]
    pub url: Url,
    /// Values of containerd's `ns` parameter that mean this upstream, in lower case. Empty: the URL's host.
    #[serde(deserialize_with = "values::host_names")]
    pub ns: BTreeSet<String>,
    /// Host names of the proxy that mean this upstream, in lower case. One without a port counts for every port.
    #[serde(deserialize_with = "values::host_names")]
    pub hosts: BTreeSet<String>,
    /// First part of repository names that means this upstream: `/v2/<prefix>/<name>/…` is its `/v2/<name>/…`.
    pub prefix: Option<RepositoryName>,
    /// Speak HTTP/2 without TLS (prior knowledge). With TLS, ALPN decides.
    pub http2_prior_knowledge: bool,
    /// Longest time until a connection is established.
    #[serde(deserialize_with = "values::duration")]
    pub connect_timeout: Duration,
    /// Longest time from the end of a request to the head of its response.
    #[serde(deserialize_with = "values::duration")]
    pub first_byte_timeout: Duration,
    /// Longest time between two reads of a body.
    #[serde(deserialize_with = "values::duration")]
    pub idle_timeout: Duration,
    /// How often a failed read is repeated.
    pub retries: u32,
    /// Number of searches for referrers that may run at the same time; further ones are queued.
    #[serde(deserialize_with = "values::at_least_one")]
    pub scans: usize,
    /// Number of manifests that the searches in one repository read at the same time; all repositories together at most twice as many.
    #[serde(deserialize_with = "values::at_least_one")]
    pub scan_concurrency: usize,
    /// Number of requests a second that refshim makes before anybody asks.
    pub background_rate: u32,
    /// Hosts (names or IP addresses) on private addresses to which refshim follows redirects.
    #[serde(deserialize_with = "values::texts")]
    pub redirect_hosts: BTreeSet<String>,
    /// Whether the registry's `tags/list` names every tag.
    pub listing: ListingKind,
    /// In the place of `links.repository`.
    pub links_repository: LinksRepository,
    /// In the place of `links.upstream`; its own name is itself.
    #[serde(deserialize_with = "values::optional_text")]
    pub links_upstream: Option<String>,
    /// Who fetches blobs from the storage that the registry redirects to.
    pub blobs: Blobs,
    /// Through which HTTP proxy the registry, and the hosts that it names, are reached.
    pub proxy: ProxyChoice,
    /// PEM file of certificates to trust instead of the system's: of authorities, or the registry's own.
    pub ca_file: Option<PathBuf>,
    /// Accept any certificate from the registry's host.
    pub insecure_skip_verify: bool,
    /// PEM file with the client certificate that refshim presents to the registry, followed by intermediate certificates.
    pub client_cert_file: Option<PathBuf>,
    /// PEM file: that certificate's private key.
    pub client_key_file: Option<PathBuf>,
    /// The oldest TLS version accepted from the registry.
    pub min_tls_version: TlsVersion,
    /// The credentials that refshim sends to the registry.
    pub credentials: CredentialsConfig,
    /// The account of `links.credentials`.
    #[serde(skip)]
    pub listing_credentials: CredentialsConfig,
    /// What `links_repository` and `links.repository` add up to: how the repositories are named that keep the links of others.
    #[serde(skip)]
    pub siblings: Option<SiblingTemplate>,
    /// The name of the other upstream in which they are.
    #[serde(skip)]
    pub siblings_upstream: Option<String>,
    /// How repositories here are named that keep the links of other upstreams, each with the name of that upstream.
    #[serde(skip)]
    pub kept_for_others: Vec<(String, SiblingTemplate)>,
    /// The proxies that `proxy` and the environment add up to.
    #[serde(skip)]
    pub egress: EgressConfig,
}

/// Whether tag listings are complete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListingKind {
    /// refshim finds out for each repository.
    #[default]
    Auto,
    /// Listings may lack tags that exist, as in proxy caches.
    Partial,
    /// Listings name every tag.
    Complete,
}

impl ListingKind {
    const NAMES: [(&'static str, Self); 3] = [
        ("auto", Self::Auto),
        ("partial", Self::Partial),
        ("complete", Self::Complete),
    ];
}

impl<'de> Deserialize<'de> for ListingKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        values::choice(deserializer, &Self::NAMES)
    }
}

/// Where the links of one registry's repositories are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LinksRepository {
    /// As `links.repository` says.
    #[default]
    AsLinks,
    /// With the images.
    WithImages,
    /// In sibling repositories.
    Sibling(SiblingTemplate),
}

impl<'de> Deserialize<'de> for LinksRepository {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let template = values::sibling_template(deserializer)?;
        Ok(template.map_or(Self::WithImages, Self::Sibling))
    }
}

/// Who follows the registry's redirect from a blob to a storage service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Blobs {
    /// The caller, who gets the redirect.
    #[default]
    Redirect,
    /// refshim, which streams the blob to the caller.
    Stream,
}

impl Blobs {
    const NAMES: [(&'static str, Self); 2] = [("redirect", Self::Redirect), ("stream", Self::Stream)];
}

impl<'de> Deserialize<'de> for Blobs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        values::choice(deserializer, &Self::NAMES)
    }
}

impl UpstreamConfig {
    /// The registry at `url`, with defaults for everything else.
    pub fn new(url: Url) -> Self {
        Self {
            name: DEFAULT_UPSTREAM.to_owned(),
            url,
            ns: BTreeSet::new(),
            hosts: BTreeSet::new(),
            prefix: None,
            http2_prior_knowledge: false,
            connect_timeout: Duration::from_secs(5),
            first_byte_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(60),
            retries: 2,
            scans: 32,
            scan_concurrency: 16,
            background_rate: 10,
            redirect_hosts: BTreeSet::new(),
            listing: ListingKind::default(),
            links_repository: LinksRepository::default(),
            links_upstream: None,
            blobs: Blobs::default(),
            proxy: ProxyChoice::default(),
            ca_file: None,
            insecure_skip_verify: false,
            client_cert_file: None,
            client_key_file: None,
            min_tls_version: TlsVersion::default(),
            credentials: CredentialsConfig::default(),
            listing_credentials: CredentialsConfig::default(),
            siblings: None,
            siblings_upstream: None,
            kept_for_others: Vec::new(),
            egress: EgressConfig::default(),
        }
    }

    /// The values of an empty `[[upstream]]` table: without a name, which [`super::load`] then sets, and without a URL, which it reports.
    fn unset() -> Self {
        Self {
            name: String::new(),
            ..Self::new(no_url())
        }
    }

    /// The values of the `ns` parameter that mean this upstream.
    pub fn namespaces(&self) -> BTreeSet<String> {
        match self.ns.is_empty() {
            true => [self.url.authority().to_ascii_lowercase()].into(),
            false => self.ns.clone(),
        }
    }

    pub(super) fn has_url(&self) -> bool {
        self.url != no_url()
    }
}

/// The placeholder for a missing URL, which [`values::url`] would reject.
fn no_url() -> Url {
    #[expect(clippy::expect_used, reason = "a literal that is a URL")]
    Url::parse("unset:").expect("a URL")
}
