//! What the log says first: where refshim listens, in front of what, and who may do what.

use std::sync::Arc;

use tokio::net::TcpListener;

use crate::cli::users::CredentialUsers;
use crate::config::Config;
use crate::registry::Upstream;
use crate::server::Listener;

pub(super) fn announce(
    config: &Config,
    upstreams: &[Arc<Upstream>],
    listener: &Listener,
    (admin_listener, admin_tls): (&TcpListener, bool),
) {
    let registries: Vec<&str> = upstreams.iter().map(|upstream| upstream.url().as_str()).collect();
    let (url, registries) = (shown(&listener.tcp, listener.tls.is_some()), registries.join(", "));
    tracing::info!("listening on {url} in front of {registries}");
    tracing::info!("admin on {}", shown(admin_listener, admin_tls));
    connections(config, upstreams);
    own_credentials(config);
    older_spellings(config);
}

/// Logs which proxies lead to the registries, and whose certificates are not checked.
fn connections(config: &Config, upstreams: &[Arc<Upstream>]) {
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
fn own_credentials(config: &Config) {
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
fn older_spellings(config: &Config) {
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
