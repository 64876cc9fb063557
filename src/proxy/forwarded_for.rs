//! The caller behind trusted proxies (`server.trusted_proxies`), for the log alone: no right depends on it.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName};
use ipnet::IpNet;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The address nearest to refshim in `X-Forwarded-For` that is no trusted proxy's. What stands before it could have been written by
/// anybody. `None` where the connection comes from no trusted proxy, or that names nobody.
pub(super) fn forwarded_for(headers: &HeaderMap, peer: SocketAddr, trusted: &[IpNet]) -> Option<IpAddr> {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(&address));
    if !is_trusted(peer.ip().to_canonical()) {
        return None;
    }
    let mut nearest = None;
    for line in headers.get_all(FORWARDED_FOR).iter().rev() {
        for written in line.to_str().ok()?.rsplit(',') {
            let address = address(written.trim())?;
            nearest = Some(address);
            if !is_trusted(address) {
                return nearest;
            }
        }
    }
    nearest
}

/// An address, with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let with_port = || text.parse::<SocketAddr>().map(|address| address.ip());
    let bare = text.parse::<IpAddr>().or_else(|_| with_port()).ok()?;
    Some(bare.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(peer: &str, lines: &[&str]) -> Option<String> {
        let trusted = ["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()];
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED_FOR, line.parse().unwrap());
        }
        forwarded_for(&headers, peer.parse().unwrap(), &trusted).map(|address| address.to_string())
    }

    #[test]
    fn the_nearest_address_that_no_trusted_proxy_has_is_the_callers() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(found("10.0.0.1:9", &["192.0.2.7"]), some("192.0.2.7"));
        assert_eq!(found("[::ffff:10.0.0.1]:9", &["192.0.2.7:4711"]), some("192.0.2.7"));
        assert_eq!(
            found("10.0.0.1:9", &["1.1.1.1, 192.0.2.7, 10.0.0.2"]),
            some("192.0.2.7")
        );
        assert_eq!(
            found("10.0.0.1:9", &["1.1.1.1", "192.0.2.7 ,10.0.0.2"]),
            some("192.0.2.7")
        );
        assert_eq!(found("[2001:db8::1]:9", &["[2001:db9::7]:80"]), some("2001:db9::7"));
        assert_eq!(found("10.0.0.1:9", &["10.0.0.3, 10.0.0.2"]), some("10.0.0.3"));
    }

    #[test]
    fn nobody_else_is_believed() {
        assert_eq!(found("192.0.2.1:9", &["192.0.2.7"]), None);
        assert_eq!(found("10.0.0.1:9", &[]), None);
        for nonsense in ["unknown", "", "192.0.2.7, ", "\"192.0.2.7\""] {
            assert_eq!(found("10.0.0.1:9", &[nonsense]), None, "{nonsense}");
        }
    }
}
