//! `refshim serve`: binds, wires the layers together, and serves until it is told to stop.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::ValueEnum;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::admin::{self, Admin, AdminSources};
use crate::config::{Config, LogFormat, Overrides, load};
use crate::metrics::Metrics;
use crate::proxy::Gateway;
use crate::registry::Upstream;
use crate::server::{self, Listener};
use crate::telemetry;

use super::assembly::{ListenerSecurity, cache, resolvers};
use super::error::CliError;
use super::loops;
use super::users::CredentialUsers;
use super::warming;

/// Run the proxy in front of a registry.
///
/// On SIGTERM or Ctrl-C it accepts no new connections, and running transfers have server.shutdown_grace to finish. A second signal ends
/// it at once.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  refshim serve --upstream https://ghcr.io
  refshim serve --upstream http://127.0.0.1:5000 --listen 127.0.0.1:5100
  refshim serve --upstream http://127.0.0.1:5000 --ui     # and open http://127.0.0.1:5100/ui/
  refshim serve --config /etc/refshim.toml
  REFSHIM_UPSTREAM=https://ghcr.io REFSHIM_CACHE__FRESH_FOR=1m refshim serve

config.example.toml has every configuration key with its default. Each can also be set as an environment variable:
server.listen is REFSHIM_SERVER__LISTEN. Flags take precedence over environment variables, and these over the file.")]
pub(super) struct ServeArgs {
    /// Configuration file (TOML).
    #[arg(long, value_name = "FILE", env = super::CONFIG_VARIABLE)]
    config: Option<PathBuf>,
    /// URL of the registry; replaces the first one in the configuration.
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
    /// Certificates (PEM) to trust instead of the system's, of authorities or the registry's own; for the first registry.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Address and port for clients [default: 127.0.0.1:5100].
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Address and port of /healthz, /readyz, /metrics and /events [default: 127.0.0.1:5101].
    #[arg(long, value_name = "ADDR")]
    admin_listen: Option<SocketAddr>,
    /// Format of log lines [default: text].
    #[arg(long, value_enum)]
    log_format: Option<LogFormatFlag>,
    /// Serve web pages at /ui/.
    #[arg(long)]
    ui: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormatFlag {
    Text,
    Json,
}

impl From<LogFormatFlag> for LogFormat {
    fn from(flag: LogFormatFlag) -> Self {
        match flag {
            LogFormatFlag::Text => Self::Text,
            LogFormatFlag::Json => Self::Json,
        }
    }
}

pub(super) async fn run(args: ServeArgs) -> Result<(), CliError> {
    let overrides = Overrides {
        upstream: args.upstream,
        ca_file: args.ca_file,
        listen: args.listen,
        admin_listen: args.admin_listen,
        log_format: args.log_format.map(LogFormat::from),
        ui: args.ui,
    };
    let config = load(args.config.as_deref(), &overrides)?;
    let traces = telemetry::init(&config.log, &config.telemetry);
    let traces = traces.map_err(|error| CliError::usage(error.to_string()))?;
    let ended = serve(&config).await;
    traces.finish().await;
    ended
}

async fn serve(config: &Config) -> Result<(), CliError> {
    let mut signals = Signals::new()?;
    let upstreams = upstreams(config)?;
    let metrics = Arc::new(Metrics::default());
    let token = events_token(config)?;
    let cache = cache(config)?;
    let resolvers = resolvers(&upstreams, &cache, config);
    let security = ListenerSecurity::new(config)?;
    let gateway = Gateway::new(resolvers.clone(), config, metrics.clone()).with_users(security.users);
    let gateway = Arc::new(gateway);
    let listeners = [("server", &security.tls), ("admin", &security.admin_tls)];
    let watched = AdminSources {
        resolvers: resolvers.clone(),
        metrics,
        cache: cache.clone(),
        listeners: listeners
            .into_iter()
            .filter_map(|(name, tls)| Some((name, tls.clone()?)))
            .collect(),
    };
    let admin = Arc::new(Admin::new(watched, token.as_deref()));
    let listener = Listener {
        tls: security.tls,
        tcp: bind("server.listen", "--listen", config.server.listen).await?,
    };
    let admin_listener = bind("admin.listen", "--admin-listen", config.admin.listen).await?;
    let bound = |key, listener: &TcpListener| Some((key, listener.local_addr().ok()?));
    let own = [
        bound("server.listen", &listener.tcp),
        bound("admin.listen", &admin_listener),
    ];
    let own: Vec<_> = own.into_iter().flatten().collect();
    loops::refuse(upstreams.iter().map(Arc::as_ref), &own).await?;
    announce(&listener, &admin_listener, security.admin_tls.is_some(), &upstreams);
    announce_connections(config, &upstreams);
    announce_own_credentials(config);
    announce_older_spellings(config);

    server::open_files::raise_limit(config.limits.connections);
    warming::start(&resolvers, config);
    let watching = tokio::spawn(admin::run(admin_listener, security.admin_tls, admin.clone()));
    let limits = server::Limits::of(config);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = server::run(listener, gateway.clone(), limits, async {
        // Dropped or sent: either way it is time to stop.
        let _ = stopped.await;
    });
    let stopping = async {
        signals.next().await;
        admin.shut_down();
        drop(stop);
        signals.next().await;
    };
    tokio::select! {
        () = serving => {}
        () = stopping => tracing::warn!("a second signal to stop came: transfers are cut"),
    }
    gateway.finish().await;
    watching.abort();
    cache.finish().await;
    tracing::info!("stopped");
    Ok(())
}

fn upstreams(config: &Config) -> Result<Vec<Arc<Upstream>>, CliError> {
    let upstreams = config.upstreams.iter().map(|upstream| {
        let upstream = Upstream::new(upstream, &config.limits);
        upstream
            .map(Arc::new)
            .map_err(|error| CliError::usage(error.to_string()))
    });
    upstreams.collect()
}

fn events_token(config: &Config) -> Result<Option<String>, CliError> {
    let Some(file) = &config.admin.events_token_file else {
        return Ok(None);
    };
    let key = "admin.events_token_file";
    let token = std::fs::read_to_string(file);
    let token =
        token.map_err(|error| CliError::usage(format!("{key}: '{}' cannot be read: {error}", file.display())))?;
    match token.trim() {
        "" => Err(CliError::usage(format!("{key}: '{}' is empty", file.display()))),
        token => Ok(Some(token.to_owned())),
    }
}

pub(super) async fn bind(key: &str, flag: &str, address: SocketAddr) -> Result<TcpListener, CliError> {
    TcpListener::bind(address).await.map_err(|error| {
        CliError::failed(format!(
            "{key}: {address} cannot be listened on ({error}); choose another with {flag}"
        ))
    })
}

fn announce(listener: &Listener, admin_listener: &TcpListener, admin_tls: bool, upstreams: &[Arc<Upstream>]) {
    let registries: Vec<&str> = upstreams.iter().map(|upstream| upstream.url().as_str()).collect();
    let (url, registries) = (shown(&listener.tcp, listener.tls.is_some()), registries.join(", "));
    tracing::info!("listening on {url} in front of {registries}");
    tracing::info!("admin on {}", shown(admin_listener, admin_tls));
}

/// Logs which proxies lead to the registries, and whose certificates are not checked.
fn announce_connections(config: &Config, upstreams: &[Arc<Upstream>]) {
    for (upstream, config) in upstreams.iter().zip(&config.upstreams) {
        let name = upstream.name();
        if let Some(proxy) = upstream.proxy() {
            tracing::info!("upstream '{name}' is reached through the proxy {proxy}");
        }
        if config.insecure_skip_verify {
            tracing::warn!(
                "upstream '{name}' may be anybody: insecure_skip_verify accepts every certificate for its host; use ca_file instead"
            );
        }
    }
}

/// Logs who may use the credentials that the configuration gives refshim.
fn announce_own_credentials(config: &Config) {
    let users = CredentialUsers::of(&config.server);
    for upstream in config
        .upstreams
        .iter()
        .filter(|upstream| upstream.credentials.are_own())
    {
        let (name, kind) = (&upstream.name, upstream.credentials.kind.as_str());
        let users = users.at(config.server.listen);
        tracing::info!("upstream '{name}' is asked on refshim's own credentials ({kind}), usable by {users}");
    }
}

/// Logs which keys of the configuration have a newer spelling.
fn announce_older_spellings(config: &Config) {
    let advice = match config.writing.maintain_fallback_tag {
        Some(true) => "is the default: remove it",
        Some(false) => "is an older spelling: write links = [\"proposal-d\"] instead",
        None => return,
    };
    tracing::warn!("writing.maintain_fallback_tag {advice}");
}

fn shown(listener: &TcpListener, tls: bool) -> String {
    let scheme = if tls { "https" } else { "http" };
    let address = listener.local_addr().map(|address| address.to_string());
    format!("{scheme}://{}", address.unwrap_or_default())
}

/// What tells a process to stop.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub(super) fn new() -> Result<Self, CliError> {
        let failed = |error| CliError::failed(format!("signals cannot be listened to: {error}"));
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).map_err(failed)?,
            terminate: signal(SignalKind::terminate()).map_err(failed)?,
        })
    }

    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
