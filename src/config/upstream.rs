//! One registry behind refshim.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer};
use url::Url;

use super::credentials::CredentialsConfig;
use super::tls::TlsVersion;
use super::values;
use crate::oci::RepositoryName;

/// Name of the first upstream where the configuration gives it none.
pub const DEFAULT_UPSTREAM: &str = "default";

#[derive(Clone, Debug, Deserialize)]
#[serde(default = "UpstreamConfig::unset", deny_unknown_fields)]
pub struct UpstreamConfig {
    /// Names it in logs, metrics and cache keys. `default` when given by the flag.
    pub name: String,
    /// Scheme, authority and an optional path prefix in front of `/v2`.
    #[serde(deserialize_with = "values::url")]
    pub url: Url,
    /// Names under which containerd asks for it (`?ns=`), in lower case. Empty: the URL's host.
    #[serde(deserialize_with = "values::host_names")]
    pub ns: BTreeSet<String>,
    /// Host names of the proxy that stand for it, in lower case, with a port or for any.
    #[serde(deserialize_with = "values::host_names")]
    pub hosts: BTreeSet<String>,
    /// First part of repository names that stands for it: `/v2/<prefix>/<name>/…` is its `/v2/<name>/…`.
    pub prefix: Option<RepositoryName>,
    /// Speak HTTP/2 without TLS (prior knowledge). With TLS, ALPN decides.
    pub http2_prior_knowledge: bool,
    /// Until a connection is there.
    #[serde(deserialize_with = "values::duration")]
    pub connect_timeout: Duration,
    /// From the request sent to the response's head.
    #[serde(deserialize_with = "values::duration")]
    pub first_byte_timeout: Duration,
    /// Between two reads of a body.
    #[serde(deserialize_with = "values::duration")]
    pub idle_timeout: Duration,
    /// Attempts of an idempotent request beyond the first.
    pub retries: u32,
    /// Searches for a subject's referrers at once; more wait for their turn.
    #[serde(deserialize_with = "values::at_least_one")]
    pub scans: usize,
    /// Manifests that searches in one repository read at once; all repositories together at most twice as many.
    #[serde(deserialize_with = "values::at_least_one")]
    pub scan_concurrency: usize,
    /// Hosts (names or IP addresses) on private addresses to which refshim's own reads may be redirected.
    #[serde(deserialize_with = "values::texts")]
    pub redirect_hosts: BTreeSet<String>,
    /// Whether `tags/list` can be relied on to name every tag.
    pub listing: ListingKind,
    /// Who fetches blobs from the storage that the registry redirects to.
    pub blobs: Blobs,
    /// PEM file of certificate authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// PEM file: the certificate that refshim shows the registry, then those between it and an authority.
    pub client_cert_file: Option<PathBuf>,
    /// PEM file: that certificate's private key.
    pub client_key_file: Option<PathBuf>,
    /// Older versions are not spoken with the registry.
    pub min_tls_version: TlsVersion,
    pub credentials: CredentialsConfig,
    /// The account that lists tags on behalf of callers: what `links.credentials` says of this upstream.
    #[serde(skip)]
    pub listing_credentials: CredentialsConfig,
}

/// How much of a repository its tag listing shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListingKind {
    /// Found out for each repository.
    #[default]
    Auto,
    /// Tags may be there that no listing names, as in proxy caches.
    Partial,
    /// Every tag.
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

/// What becomes of a redirect from a blob to storage elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Blobs {
    /// The caller follows it.
    #[default]
    Redirect,
    /// refshim follows it and streams the blob to the caller.
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
    /// The registry at `url` with everything else by default.
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
            redirect_hosts: BTreeSet::new(),
            listing: ListingKind::default(),
            blobs: Blobs::default(),
            ca_file: None,
            client_cert_file: None,
            client_key_file: None,
            min_tls_version: TlsVersion::default(),
            credentials: CredentialsConfig::default(),
            listing_credentials: CredentialsConfig::default(),
        }
    }

    /// What a table that says nothing becomes: it has no name and no usable URL yet, which [`super::load`] sees to.
    fn unset() -> Self {
        Self {
            name: String::new(),
            ..Self::new(no_url())
        }
    }

    /// What `ns` may say to mean it.
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

/// A URL that [`values::url`] never lets through.
fn no_url() -> Url {
    #[expect(clippy::expect_used, reason = "a literal that is a URL")]
    Url::parse("unset:").expect("a URL")
}
