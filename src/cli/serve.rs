//! `refshim serve`: binds, wires the layers together, and serves until it is told to stop.

mod announce;

use std::cell::Cell;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::ValueEnum;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

use crate::admin::{self, Admin, AdminSources};
use crate::config::{Config, LogFormat, Overrides, listen_address, load};
use crate::metrics::Metrics;
use crate::proxy::Gateway;
use crate::referrers::Resolver;
use crate::registry::Upstream;
use crate::server::{self, Listener};
use crate::telemetry::{self, LogLevel};

use super::assembly::{ListenerSecurity, cache, events};
use super::error::CliError;
use super::loops;
use super::reload::{ConfigSource, Reload};
use super::warming;
use announce::announce;

/// Run the proxy in front of a registry.
///
/// On SIGTERM or Ctrl-C it accepts no new connections, and running transfers have server.shutdown_grace to finish. A second signal ends
/// it at once. On SIGHUP it reads certificates, users, credentials and the log's level again.
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
    #[arg(short, long, value_name = "FILE", env = super::CONFIG_VARIABLE)]
    config: Option<PathBuf>,
    /// URL of the registry; replaces the first one in the configuration.
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
    /// Certificates (PEM) to trust instead of the system's, of authorities or the registry's own; for the first registry.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Address and port for clients; ':5100' is port 5100 of every IPv4 address [default: 127.0.0.1:5100].
    #[arg(long, value_name = "ADDR", value_parser = listen_address)]
    listen: Option<SocketAddr>,
    /// Address and port of /healthz, /readyz, /metrics and /events [default: 127.0.0.1:5101].
    #[arg(long, value_name = "ADDR", value_parser = listen_address)]
    admin_listen: Option<SocketAddr>,
    /// What is logged: error, warn, info, debug, trace, or directives like info,refshim=debug [default: info].
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
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
        log_level: args.log_level,
        log_format: args.log_format.map(LogFormat::from),
        ui: args.ui,
    };
    let mut hangups = hangups()?;
    let config = load(args.config.as_deref(), &overrides)?;
    let metrics = Arc::new(Metrics::default());
    let telemetry = telemetry::init(&config.log, &config.telemetry, &metrics.lost_log_lines);
    let telemetry = telemetry.map_err(|error| CliError::usage(error.to_string()))?;
    let source = ConfigSource {
        file: args.config,
        overrides,
    };
    // Until everything else has ended, also where it ends by a panic.
    let _log = telemetry.log;
    let ended = serve(&config, source, (telemetry.level, metrics), &mut hangups).await;
    telemetry.traces.finish().await;
    ended
}

async fn serve(
    config: &Config,
    source: ConfigSource,
    (log_level, metrics): (LogLevel, Arc<Metrics>),
    hangups: &mut Signal,
) -> Result<(), CliError> {
    let mut signals = Signals::new()?;
    let upstreams = Upstream::of_all(config).map_err(|error| CliError::usage(error.to_string()))?;
    let token = events_token(config)?;
    let cache = cache(config)?;
    let resolvers = Resolver::of_all(&upstreams, &cache, config);
    let security = ListenerSecurity::new(config)?;
    let listeners = security.acceptors();
    let mut reload = Reload {
        source,
        config: config.clone(),
        log_level,
        users: security.users.clone(),
        acceptors: listeners.iter().map(|(_, tls)| tls.clone()).collect(),
        upstreams: upstreams.clone(),
    };
    let (publisher, upstream_events) = events(config).await?;
    let gateway = Gateway::new(resolvers.clone(), config, metrics.clone(), &publisher).with_users(security.users);
    let gateway = Arc::new(gateway);
    let watched = AdminSources {
        resolvers: resolvers.clone(),
        metrics,
        events: upstream_events,
        publisher: publisher.clone(),
        cache: cache.clone(),
        connections_limit: config.limits.connections,
        listeners,
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
    announce(
        config,
        &upstreams,
        &listener,
        (&admin_listener, security.admin_tls.is_some()),
    );

    server::open_files::raise_limit(config.limits.connections);
    warming::start(&resolvers, config);
    let watching = tokio::spawn(admin::run(admin_listener, security.admin_tls, admin.clone()));
    let checking = tokio::spawn({
        let admin = admin.clone();
        async move { admin.check_upstreams().await }
    });
    let limits = server::Limits::of(config);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = server::run(listener, gateway.clone(), limits, async {
        // Dropped or sent: either way it is time to stop.
        let _ = stopped.await;
    });
    // When everything has to be done.
    let deadline = Cell::new(Instant::now());
    let stopping = async {
        signals.next().await;
        admin.shut_down();
        deadline.set(Instant::now() + config.server.shutdown_grace);
        drop(stop);
        signals.next().await;
        deadline.set(Instant::now());
    };
    let reloading = async {
        while hangups.recv().await.is_some() {
            reload.run();
        }
        std::future::pending().await
    };
    tokio::select! {
        () = reloading => {}
        () = serving => {}
        () = stopping => tracing::warn!("a second signal to stop came: transfers are cut"),
    }
    gateway.finish().await;
    publisher.finish(deadline.get()).await;
    watching.abort();
    checking.abort();
    cache.finish().await;
    tracing::info!("stopped");
    Ok(())
}

/// SIGHUP, which ends a process that does not listen to it.
fn hangups() -> Result<Signal, CliError> {
    signal(SignalKind::hangup()).map_err(not_listening)
}

fn not_listening(error: std::io::Error) -> CliError {
    CliError::failed(format!("signals cannot be listened to: {error}"))
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

/// What tells a process to stop.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub(super) fn new() -> Result<Self, CliError> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).map_err(not_listening)?,
            terminate: signal(SignalKind::terminate()).map_err(not_listening)?,
        })
    }

    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
