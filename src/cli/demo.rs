//! `refshim demo`: a registry without referrers and refshim in front of it, for whoever has no registry at hand.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use tokio::net::TcpListener;
use url::Url;

use crate::config::{Config, UpstreamConfig, listen_address};
use crate::demo::{self, Demo, Sample};
use crate::metrics::Metrics;
use crate::proxy::Gateway;
use crate::referrers::Resolver;
use crate::registry::Upstream;
use crate::{server, telemetry};

use super::assembly::cache;
use super::error::CliError;
use super::output;
use super::serve::{Signals, bind};

/// Try refshim without a registry: starts a registry without the referrers API, with a signed sample image, and refshim in front of it.
///
/// Both run in this process on this machine and keep everything in memory; Ctrl-C ends them.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  refshim demo
  refshim demo --listen 127.0.0.1:8080")]
pub(super) struct DemoArgs {
    /// Address and port on which refshim listens.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:5100", value_parser = listen_address)]
    listen: SocketAddr,
}

pub(super) async fn run(args: DemoArgs) -> Result<(), CliError> {
    let mut signals = Signals::new()?;
    let listener = bind("the demo", "--listen", args.listen).await?;
    let address = listener.local_addr().map_err(failed)?;
    let demo = start_registry().await?;
    let url = Url::parse(&format!("http://{}", demo.address())).map_err(failed)?;
    let config = config(UpstreamConfig::new(url));
    let metrics = Arc::new(Metrics::default());
    let telemetry = telemetry::init(&config.log, &config.telemetry, &metrics.lost_log_lines).map_err(failed)?;
    let _log = telemetry.log;
    let upstream = Upstream::new(&config.upstreams[0], &config.limits).map_err(failed)?;
    let resolvers = Resolver::of_all(&[Arc::new(upstream)], &cache(&config)?, &config);
    let gateway = Gateway::new(resolvers, &config, metrics, &Arc::default());
    output::print(&introduction(demo.address(), reachable(address), &demo.sample))?;
    let limits = server::Limits::of(&config);
    server::run(listener, Arc::new(gateway), limits, signals.next()).await;
    telemetry.traces.finish().await;
    Ok(())
}

async fn start_registry() -> Result<Demo, CliError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(failed)?;
    demo::start(listener).map_err(failed)
}

/// Defaults, but for a log that leaves the screen to the introduction.
fn config(upstream: UpstreamConfig) -> Config {
    let mut config = Config {
        upstreams: vec![upstream],
        ..Config::default()
    };
    config.log.level = "warn".to_owned();
    config.server.ui = true;
    config
}

fn failed(error: impl std::fmt::Display) -> CliError {
    CliError::failed(format!("the demo cannot start: {error}"))
}

/// The address to connect to where this is what was listened on.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn introduction(registry: SocketAddr, refshim: SocketAddr, sample: &Sample) -> String {
    let Sample {
        repository,
        tag,
        digest,
        public_key,
        ..
    } = sample;
    let (image, referrers) = (
        format!("{refshim}/{repository}:{tag}"),
        format!("{repository}/referrers/{digest}"),
    );
    let key = format!("http://{refshim}/v2/{repository}/blobs/{public_key}");
    let mut text = format!(
        "A registry without the referrers API: http://{registry}\n\
         refshim in front of it:               http://{refshim}\n\n\
         The registry holds {repository}:{tag}, an image with two signatures and an SBOM. Try in another terminal:\n\n"
    );
    for (command, what) in [
        (
            format!("curl -s http://{registry}/v2/{referrers}"),
            "the registry alone: 404",
        ),
        (
            format!("curl -s http://{refshim}/v2/{referrers}"),
            "through refshim: all three referrers",
        ),
        (format!("refshim referrers {image}"), "the same as a table"),
        (format!("refshim tree {image}"), "and as a tree"),
        (format!("oras discover --plain-http {image}"), ""),
        (
            format!("regctl --host reg={refshim},tls=disabled artifact tree {image}"),
            "",
        ),
        (format!("cosign tree {image}"), ""),
        (
            format!("cosign verify --insecure-ignore-tlog=true --key {key} {image}"),
            "verifies its signature",
        ),
    ] {
        let comment = if what.is_empty() {
            String::new()
        } else {
            format!("  # {what}")
        };
        // Writing to a String does not fail.
        let _ = writeln!(text, "  {command}{comment}");
    }
    text.push_str(&format!(
        "\nFor a browser: http://{refshim}/ui/r/{repository}:{tag}\nCtrl-C ends both.\n"
    ));
    text
}
