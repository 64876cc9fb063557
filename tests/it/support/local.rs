//! refshim's gateway and server in the test's own process, for what can only be seen from inside.

use std::net::Ipv4Addr;
use std::sync::Arc;

use refshim::testing::auth::Htpasswd;
use refshim::testing::cache::{Bounds, Cache};
use refshim::testing::config::{Config, UpstreamConfig};
use refshim::testing::metrics::Metrics;
use refshim::testing::proxy::Gateway;
use refshim::testing::referrers::Resolver;
use refshim::testing::registry::Upstream;
use refshim::testing::server;
use refshim::testing::server::{Limits, Listener};
use refshim::testing::tls::{Acceptor, ClientAuth, Protocols};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::endpoint::Endpoint;
use super::wait::within;

pub struct Local {
    url: String,
    metrics: Arc<Metrics>,
    upstream: Arc<Upstream>,
    stop: Option<oneshot::Sender<()>>,
    server: JoinHandle<()>,
}

impl Local {
    /// With defaults.
    pub async fn in_front_of(upstream: &str) -> Self {
        Self::configured(upstream, |_| ()).await
    }

    /// With what `change` makes of the defaults.
    pub async fn configured(upstream: &str, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config {
            upstreams: vec![UpstreamConfig::new(upstream.parse().expect("a URL"))],
            ..Config::default()
        };
        change(&mut config);
        Self::of(config).await
    }

    /// With all the upstreams of a configuration.
    pub async fn of(config: Config) -> Self {
        let upstreams = Upstream::of_all(&config).expect("upstreams");
        let cache = Arc::new(Cache::new(Bounds {
            manifests: config.cache.manifest_bytes,
            lists: config.cache.list_bytes,
        }));
        let resolvers = Resolver::of_all(&upstreams, &cache, &config);
        let metrics = Arc::new(Metrics::default());
        let gateway = Gateway::new(resolvers, &config, metrics.clone(), &Arc::default());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a loopback port");
        let users = config.server.auth.htpasswd_file.as_deref();
        let users = users.map(|file| Arc::new(Htpasswd::read(file).expect("users")));
        let callers = match users {
            Some(_) => ClientAuth::MayHaveCertificate,
            None => ClientAuth::NeedCertificate,
        };
        let tls = Acceptor::new(&config.server.tls, callers, Protocols::Http1And2).expect("certificates");
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}", listener.local_addr().expect("a bound address"));
        let (stop, stopped) = oneshot::channel::<()>();
        let limits = Limits::of(&config);
        let server = tokio::spawn(server::run(
            Listener { tcp: listener, tls },
            Arc::new(gateway.with_users(users)),
            limits,
            async {
                // A dropped sender stops it too.
                let _ = stopped.await;
            },
        ));
        Self {
            url,
            metrics,
            upstream: upstreams[0].clone(),
            stop: Some(stop),
            server,
        }
    }

    pub fn endpoint(&self) -> Endpoint {
        Endpoint::new(&self.url)
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// `host:port`
    pub fn authority(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The default one.
    pub fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    /// Begins an orderly end.
    pub fn stop(&mut self) {
        self.stop.take();
    }

    /// Back when the server has ended.
    pub async fn ended(self) {
        within("the server ends", self.server)
            .await
            .expect("the server does not panic");
    }
}
