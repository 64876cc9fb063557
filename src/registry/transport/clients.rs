//! The HTTP clients of one upstream, each with its certificate authorities.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::uri::PathAndQuery;

use crate::config::UpstreamConfig;
use crate::http::client::HttpClient;
use crate::http::connector::{self, ClientOptions};
use crate::http::egress_proxy::EgressProxies;
use crate::http::redirect_policy::RedirectPolicy;
use crate::registry::error::SetupError;
use crate::registry::origin::Origin;
use crate::tls::{self, Identity, ServerTrust};

/// Longer timeouts are cut to this, so that a deadline can always be computed.
pub(super) const NEVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Which other hosts may be asked for tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::registry) enum TokenHosts {
    /// Those that redirects may lead to.
    ByPolicy,
    /// Any that the registry names.
    Any,
}

/// One client for each group of hosts that is trusted alike.
pub(super) struct Clients {
    /// For the registry itself: shows refshim's certificate, where there is one.
    pub(super) registry: HttpClient,
    /// For redirects to other origins, which the policy also checks once their names are resolved.
    pub(super) elsewhere: HttpClient,
    /// For token endpoints on other origins, as [`TokenHosts`] says.
    pub(super) token_endpoints: HttpClient,
    /// Which proxies they go through.
    pub(super) proxies: Arc<EgressProxies>,
    /// When the certificate that refshim shows ends, or one between that and an authority.
    pub(super) certificate_expires: Option<SystemTime>,
}

impl Clients {
    /// Reads certificates and authorities; connects to nothing.
    pub(super) fn new(
        config: &UpstreamConfig,
        origin: &Origin,
        policy: &Arc<RedirectPolicy>,
        token_hosts: TokenHosts,
    ) -> Result<Self, SetupError> {
        let identity = own_identity(config)?;
        let certificate_expires = identity.as_ref().and_then(Identity::expires);
        let http2_only = config.http2_prior_knowledge && !origin.is_tls();
        let proxies = Arc::new(EgressProxies::new(config.egress.clone(), http2_only));
        let foreign = foreign_trust(config)?;
        let proxy_tls = client_tls(config, foreign.clone(), None)?;
        let options = |tls, http2_only, policy| ClientOptions {
            tls,
            proxies: Arc::clone(&proxies),
            proxy_tls: proxy_tls.clone(),
            connect_timeout: config.connect_timeout.min(NEVER),
            http2_only,
            policy,
        };
        let own_tls = client_tls(config, own_trust(config, origin)?, identity)?;
        let own_origin = origin.at(PathAndQuery::from_static("/"));
        let registry = HttpClient::new(options(own_tls, http2_only, None), Some(&own_origin));
        // The registry may also name its own host, at another port.
        let foreign_tls = client_tls(config, with_exemption(foreign, config, origin), None)?;
        let elsewhere = HttpClient::new(options(foreign_tls.clone(), false, Some(Arc::clone(policy))), None);
        let token_endpoints = match token_hosts {
            TokenHosts::Any => HttpClient::new(options(foreign_tls, false, None), None),
            TokenHosts::ByPolicy => elsewhere.clone(),
        };
        Ok(Self {
            registry,
            elsewhere,
            token_endpoints,
            proxies,
            certificate_expires,
        })
    }
}

fn client_tls(
    config: &UpstreamConfig,
    trust: ServerTrust,
    identity: Option<Identity>,
) -> Result<rustls::ClientConfig, SetupError> {
    connector::tls(trust, config.min_tls_version, identity).map_err(|error| SetupError::Tls {
        name: config.name.clone(),
        reason: error.to_string(),
    })
}

/// The certificate that refshim shows the registry.
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

/// Of the registry: the configured certificates, else the system's authorities.
fn own_trust(config: &UpstreamConfig, origin: &Origin) -> Result<ServerTrust, SetupError> {
    let mut trust = with_exemption(ServerTrust::empty(), config, origin);
    if config.ca_file.is_some() {
        add_file(&mut trust, config)?;
    } else if origin.is_tls() {
        trust.add_system();
        if trust.is_empty() {
            return Err(SetupError::Authorities {
                name: config.name.clone(),
                reason: "the system has none; name a ca_file".into(),
            });
        }
    }
    Ok(trust)
}

/// `trust`, and also in whoever speaks for the registry's host, where the configuration wants it so.
fn with_exemption(mut trust: ServerTrust, config: &UpstreamConfig, origin: &Origin) -> ServerTrust {
    if config.insecure_skip_verify {
        trust.skip_host(origin.host());
    }
    trust
}

/// Of foreign hosts: storage and proxies may be anyone's, so the system's authorities count beside the configured certificates.
fn foreign_trust(config: &UpstreamConfig) -> Result<ServerTrust, SetupError> {
    let mut trust = ServerTrust::empty();
    trust.add_system();
    if config.ca_file.is_some() {
        add_file(&mut trust, config)?;
    }
    Ok(trust)
}

fn add_file(trust: &mut ServerTrust, config: &UpstreamConfig) -> Result<(), SetupError> {
    let Some(file) = &config.ca_file else { return Ok(()) };
    trust.add_file(file).map_err(|error| SetupError::Authorities {
        name: config.name.clone(),
        reason: error.to_string(),
    })
}
