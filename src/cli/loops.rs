//! Refuses to start in front of oneself, as far as the configuration shows it. Other circles end with 508, by `Via`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use tokio::net::lookup_host;
use url::{Host, Url};

use crate::registry::Upstream;

use super::error::CliError;

/// How long a name may take to resolve. One that takes longer is asked for again with the first request, which reports it.
const RESOLVING: Duration = Duration::from_secs(2);

/// Fails if the URL of one of the `upstreams` leads to one of the `listeners`, each with its key in the configuration.
pub(super) async fn refuse<'a>(
    upstreams: impl IntoIterator<Item = &'a Upstream>,
    listeners: &[(&'static str, SocketAddr)],
) -> Result<(), CliError> {
    for upstream in upstreams {
        // What a proxy connects to is not seen from here.
        if upstream.proxy().is_some() {
            continue;
        }
        if let Some(key) = own_listener(upstream.url(), listeners).await {
            return Err(CliError::usage(format!(
                "upstream '{}': {} is refshim's own address ({key}): give the registry's",
                upstream.name(),
                upstream.url()
            )));
        }
    }
    Ok(())
}

/// The key of the listener that `url` leads to.
async fn own_listener(url: &Url, listeners: &[(&'static str, SocketAddr)]) -> Option<&'static str> {
    let port = url.port_or_known_default()?;
    let mut same_port = listeners
        .iter()
        .filter(|(_, listener)| listener.port() == port)
        .peekable();
    // Names are resolved only where that may tell something.
    same_port.peek()?;
    let addresses = addresses(url, port).await;
    let own = same_port.find(|(_, listener)| addresses.iter().any(|address| accepts(listener.ip(), *address)));
    own.map(|(key, _)| *key)
}

/// What the URL's host resolves to; nothing where it does not.
async fn addresses(url: &Url, port: u16) -> Vec<IpAddr> {
    match url.host() {
        Some(Host::Ipv4(address)) => vec![address.into()],
        Some(Host::Ipv6(address)) => vec![address.into()],
        Some(Host::Domain(name)) => match tokio::time::timeout(RESOLVING, lookup_host((name, port))).await {
            Ok(Ok(found)) => found.map(|address| address.ip()).collect(),
            Ok(Err(_)) | Err(_) => Vec::new(),
        },
        None => Vec::new(),
    }
}

/// Whether a listener at `listener` gets the connections to `address` from this machine.
fn accepts(listener: IpAddr, address: IpAddr) -> bool {
    let address = match address.is_unspecified() {
        true => Ipv4Addr::LOCALHOST.into(),
        false => address.to_canonical(),
    };
    let family = listener.is_ipv6() || address.is_ipv4();
    match listener.is_unspecified() {
        true => family && is_of_this_machine(address),
        false => listener.to_canonical() == address,
    }
}

/// Only an address of this machine can be bound to.
fn is_of_this_machine(address: IpAddr) -> bool {
    address.is_loopback() || UdpSocket::bind((address, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn leads_to(url: &str, listener: &str) -> bool {
        let listeners = [("server.listen", listener.parse().unwrap())];
        own_listener(&url.parse().unwrap(), &listeners).await.is_some()
    }

    #[tokio::test]
    async fn an_own_address_is_recognised_however_it_is_written() {
        for (url, listener) in [
            ("http://127.0.0.1:5100", "127.0.0.1:5100"),
            ("http://127.0.0.1:5100", "0.0.0.0:5100"),
            ("http://127.0.0.1:5100", "[::]:5100"),
            ("http://localhost:5100/prefix", "0.0.0.0:5100"),
            ("http://0.0.0.0:5100", "127.0.0.1:5100"),
            ("http://[::1]:5100", "[::]:5100"),
            ("https://127.0.0.9", "0.0.0.0:443"),
        ] {
            assert!(leads_to(url, listener).await, "{url} {listener}");
        }
    }

    #[tokio::test]
    async fn other_addresses_and_ports_are_none() {
        for (url, listener) in [
            ("http://127.0.0.1:5000", "0.0.0.0:5100"),
            ("http://127.0.0.2:5100", "127.0.0.1:5100"),
            ("http://192.0.2.1:5100", "0.0.0.0:5100"),
            ("http://[::1]:5100", "0.0.0.0:5100"),
            ("http://no-such-host.invalid:5100", "0.0.0.0:5100"),
        ] {
            assert!(!leads_to(url, listener).await, "{url} {listener}");
        }
    }
}
