//! To which hosts refshim follows redirects itself. A registry must not be able to make refshim send requests to hosts that only refshim can
//! reach: metadata services, the pod's loopback, internal addresses of the cluster.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::Uri;
use url::Host;

/// Hosts that are permitted although their addresses are not public.
#[derive(Debug)]
pub(crate) struct RedirectPolicy {
    /// In lower case, IPv6 addresses without brackets.
    trusted: BTreeSet<String>,
}

/// A redirect that is not followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("redirected to {0}, which is not a public address; add it to redirect_hosts if that is intended")]
pub(crate) struct Forbidden(String);

impl RedirectPolicy {
    /// `own_host` is the upstream's host; `listed` are names or addresses from the configuration.
    pub(crate) fn new<'a>(own_host: &'a str, listed: impl IntoIterator<Item = &'a String>) -> Self {
        let listed = listed.into_iter().map(|host| plain(host));
        Self {
            trusted: listed.chain([plain(own_host)]).collect(),
        }
    }

    /// Checks a target before refshim connects to it. The addresses of a name are checked again when it is resolved, unless a proxy
    /// resolves it: so an address counts however it is written (`127.1`, `0x7f000001`).
    pub(crate) fn check(&self, uri: &Uri) -> Result<(), Forbidden> {
        let host = plain(uri.host().unwrap_or_default());
        if let Ok(address) = host.parse::<IpAddr>() {
            return self.check_address(&host, address);
        }
        match Host::parse(&host) {
            Ok(Host::Ipv4(address)) => self.check_address(&host, address.into()),
            Ok(Host::Ipv6(address)) => self.check_address(&host, address.into()),
            Ok(Host::Domain(name)) if name == "localhost" || name.ends_with(".localhost") => {
                self.check_address(&host, Ipv4Addr::LOCALHOST.into())
            }
            Ok(Host::Domain(_)) => Ok(()),
            // Neither a name nor an address.
            Err(_) if self.trusted.contains(&host) => Ok(()),
            Err(_) => Err(Forbidden(host)),
        }
    }

    /// Checks one address of `host`.
    pub(crate) fn check_address(&self, host: &str, address: IpAddr) -> Result<(), Forbidden> {
        let trusted = self.trusted.contains(&plain(host)) || self.trusted.contains(&address.to_string());
        if trusted || is_public(address) {
            Ok(())
        } else {
            Err(Forbidden(plain(host)))
        }
    }
}

fn plain(host: &str) -> String {
    host.trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase()
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// IANA's special-purpose address blocks, without those that are globally reachable.
fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = a == 0
        || a >= 240
        || address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation()
        || (a, b & 0xc0) == (100, 64)
        || (a, b, c) == (192, 0, 0)
        || (a, b & 0xfe) == (198, 18);
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    if let Some(inner) = embedded_v4(address) {
        return is_public_v4(inner);
    }
    // Global unicast addresses are assigned from 2000::/3 only; 2001:db8::/32 is for documentation.
    let segments = address.segments();
    segments[0] & 0xe000 == 0x2000 && segments[..2] != [0x2001, 0x0db8]
}

/// The IPv4 address that an IPv6 address contains: mapped, NAT64 or 6to4.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let segments = address.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match segments {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(v4(high, low)),
        [0x2002, high, low, ..] => Some(v4(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(listed: &[&str], target: &str) -> bool {
        let listed: Vec<String> = listed.iter().map(|&host| host.to_owned()).collect();
        let policy = RedirectPolicy::new("registry.internal", &listed);
        policy.check(&target.parse().unwrap()).is_ok()
    }

    #[test]
    fn public_addresses_and_names_pass() {
        for target in [
            "https://1.1.1.1/x",
            "https://[2606:4700::1111]/x",
            "https://storage.example/x",
        ] {
            assert!(check(&[], target), "{target}");
        }
    }

    #[test]
    fn inner_addresses_need_to_be_listed() {
        for (target, host) in [
            ("http://127.0.0.2:1/x", "127.0.0.2"),
            ("http://10.0.0.1/x", "10.0.0.1"),
            ("http://169.254.169.254/latest", "169.254.169.254"),
            ("http://100.100.100.200/", "100.100.100.200"),
            ("http://0.0.0.0/", "0.0.0.0"),
            ("http://2130706434/", "127.0.0.2"),
            ("http://0xa9fea9fe/", "0xa9fea9fe"),
            ("http://0251.0376.0251.0376/", "169.254.169.254"),
            ("http://127.1/", "127.1"),
            ("http://localhost./", "localhost"),
            ("http://a.localhost/", "a.localhost"),
            ("http://1.2.3.4.5/", "1.2.3.4.5"),
            ("http://[::1]/", "::1"),
            ("http://[::ffff:10.0.0.1]/", "[::ffff:10.0.0.1]"),
            ("http://[64:ff9b::a00:1]/", "64:ff9b::a00:1"),
            ("http://[2002:a00:1::]/", "2002:a00:1::"),
            ("http://[fd00:ec2::254]/", "FD00:EC2::254"),
            ("http://[fe80::1]/", "fe80::1"),
        ] {
            assert!(!check(&[], target), "{target}");
            assert!(check(&[host], target), "{target}");
        }
    }

    #[test]
    fn names_are_checked_by_what_they_resolve_to() {
        let policy = RedirectPolicy::new("Registry.internal.", &["minio.internal".to_owned()]);
        let inner = IpAddr::from([10, 0, 0, 1]);
        assert!(policy.check_address("minio.internal", inner).is_ok());
        assert!(policy.check_address("registry.internal", inner).is_ok());
        assert!(policy.check_address("other.example", inner).is_err());
        assert!(
            policy
                .check_address("other.example", IpAddr::from([1, 1, 1, 1]))
                .is_ok()
        );
    }
}
