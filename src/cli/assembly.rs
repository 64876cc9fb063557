//! From the configuration to the layers that answer requests.

use std::sync::Arc;

use crate::auth::Htpasswd;
use crate::cache::{Bounds, Cache, DiskOptions, RedisOptions};
use crate::config::{Config, TlsConfig};
use crate::events::{EventPublisher, UpstreamEvents};
use crate::oci::Digest;
use crate::tls::{Acceptor, ClientAuth, Protocols};

use super::error::CliError;

pub(super) fn cache(config: &Config) -> Result<Arc<Cache>, CliError> {
    let mut cache = Cache::new(Bounds {
        manifests: config.cache.manifest_bytes,
        lists: config.cache.list_bytes,
    });
    if let Some(dir) = config.cache.dir.clone() {
        let options = DiskOptions {
            dir,
            bytes: config.cache.disk_bytes,
        };
        // No wrong usage: a process that has just ended, or a disk, may be the cause.
        let kept = cache.with_disk(&options);
        cache = kept.map_err(|error| CliError::failed(format!("cache.dir: {error}")))?;
    }
    let Some(options) = redis(config) else {
        return Ok(Arc::new(cache));
    };
    cache
        .with_redis(options, config.cache.fresh_for)
        .map(Arc::new)
        .map_err(|error| CliError::usage(format!("cache.redis: {error}")))
}

/// Starts what tells of links: for all, and of each upstream.
pub(super) async fn events(config: &Config) -> Result<(Arc<EventPublisher>, Vec<UpstreamEvents>), CliError> {
    let publisher = EventPublisher::start(&config.events).await;
    let publisher = publisher.map_err(|(name, error)| CliError::usage(format!("events.webhooks '{name}': {error}")))?;
    let upstreams = config.upstreams.iter();
    let upstreams = upstreams.map(|upstream| UpstreamEvents::new(&publisher, upstream, config));
    let upstreams = upstreams.collect();
    Ok((publisher, upstreams))
}

fn redis(config: &Config) -> Option<RedisOptions> {
    let (cache, redis) = (&config.cache, &config.cache.redis);
    let stale_for = cache.stale_while_revalidate.max(cache.stale_if_error);
    Some(RedisOptions {
        url: redis.url.as_ref()?.reveal().to_owned(),
        password: redis.password.as_ref().map(|password| password.reveal().to_owned()),
        password_file: redis.password_file.clone(),
        ca_file: redis.ca_file.clone(),
        prefix: redis.prefix.clone(),
        view: view(config),
        timeout: redis.timeout,
        ttl: redis.ttl,
        list_ttl: redis.ttl.min(cache.fresh_for + stale_for),
        max_value_bytes: redis.max_value_bytes,
    })
}

/// Names what finished lists depend on besides the registry: how links are looked for, and by which version.
fn view(config: &Config) -> String {
    let seen = format!("{} {:?}", env!("CARGO_PKG_VERSION"), config.links);
    Digest::sha256(seen.as_bytes()).encoded()[..8].to_owned()
}

/// What callers must show at the listeners.
pub(super) struct ListenerSecurity {
    pub(super) users: Option<Arc<Htpasswd>>,
    pub(super) tls: Option<Arc<Acceptor>>,
    pub(super) admin_tls: Option<Arc<Acceptor>>,
}

impl ListenerSecurity {
    /// Those of listeners that speak TLS, each by the name of its certificate.
    pub(super) fn acceptors(&self) -> Vec<(&'static str, Arc<Acceptor>)> {
        let all = [("server", &self.tls), ("admin", &self.admin_tls)];
        all.into_iter()
            .filter_map(|(name, tls)| Some((name, tls.clone()?)))
            .collect()
    }

    /// Reads certificates and users.
    pub(super) fn new(config: &Config) -> Result<Self, CliError> {
        let (server, admin) = (&config.server, &config.admin);
        let users = server.auth.htpasswd_file.as_deref().map(Htpasswd::read).transpose();
        let users = users.map_err(|error| CliError::usage(format!("server.auth.htpasswd_file: {error}")))?;
        let callers = match users {
            Some(_) => ClientAuth::MayHaveCertificate,
            None => ClientAuth::NeedCertificate,
        };
        let acceptor = |section: &str, config: &TlsConfig, callers, protocols| {
            Acceptor::new(config, callers, protocols).map_err(|error| CliError::usage(format!("{section}: {error}")))
        };
        Ok(Self {
            users: users.map(Arc::new),
            tls: acceptor("server.tls", &server.tls, callers, Protocols::Http1And2)?,
            admin_tls: acceptor("admin.tls", &admin.tls, ClientAuth::NeedCertificate, Protocols::Http1)?,
        })
    }
}
