//! The HTTP clients of one upstream, each with its certificate authorities.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::RootCertStore;

use crate::config::UpstreamConfig;
use crate::http::connector::{self, ClientOptions, HttpClient};
use crate::http::redirect_policy::RedirectPolicy;
use crate::registry::error::SetupError;
use crate::registry::origin::Origin;
use crate::tls::{self, Identity};

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
        let registry = connector::client(ClientOptions {
            tls: client_tls(config, own_roots(config, origin)?, identity)?,
            connect_timeout: config.connect_timeout.min(NEVER),
            http2_only: config.http2_prior_knowledge && !origin.is_tls(),
            policy: None,
        });
        let elsewhere = other_origins_client(config, Some(Arc::clone(policy)))?;
        let token_endpoints = match token_hosts {
            TokenHosts::Any => other_origins_client(config, None)?,
            TokenHosts::ByPolicy => elsewhere.clone(),
        };
        Ok(Self {
            registry,
            elsewhere,
            token_endpoints,
            certificate_expires,
        })
    }
}

/// A client for hosts that are not the registry's own.
fn other_origins_client(
    config: &UpstreamConfig,
    policy: Option<Arc<RedirectPolicy>>,
) -> Result<HttpClient, SetupError> {
    Ok(connector::client(ClientOptions {
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
    connector::tls(roots, config.min_tls_version, identity).map_err(|error| SetupError::Tls {
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

/// The configured authorities, else the system's.
fn own_roots(config: &UpstreamConfig, origin: &Origin) -> Result<RootCertStore, SetupError> {
    let mut roots = RootCertStore::empty();
    if config.ca_file.is_some() {
        add_file(&mut roots, config)?;
    } else if origin.is_tls() {
        connector::add_system(&mut roots);
        if roots.is_empty() {
            return Err(SetupError::Authorities {
                name: config.name.clone(),
                reason: "the system has none; name a ca_file".into(),
            });
        }
    }
    Ok(roots)
}

/// Storage on other hosts may be anyone's, so the system's authorities count beside the configured ones.
fn foreign_roots(config: &UpstreamConfig) -> Result<RootCertStore, SetupError> {
    let mut roots = RootCertStore::empty();
    connector::add_system(&mut roots);
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
