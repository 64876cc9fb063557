//! Parsers of addresses: of listeners, and of networks.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ipnet::IpNet;
use serde::Deserializer;
use serde::de::Error;

use super::values::{text, texts};

pub(super) fn socket_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    listen_address(&text(deserializer)?).map_err(D::Error::custom)
}

/// Parses the address of a listener. `localhost` is 127.0.0.1, and no host at all every IPv4 address of the machine.
///
/// # Errors
/// One line without the key.
pub fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let named = text.rsplit_once(':').and_then(|(host, port)| {
        let address = match host {
            "localhost" => Ipv4Addr::LOCALHOST,
            "" => Ipv4Addr::UNSPECIFIED,
            _ => return None,
        };
        Some(SocketAddr::from((address, port.parse().ok()?)))
    });
    named.or_else(|| text.parse().ok()).ok_or_else(|| {
        format!("'{text}' is not an address: write it like 127.0.0.1:5100, localhost:5100, :5100 or [::]:5100")
    })
}

/// A list of networks as in [`texts`], such as `10.0.0.0/8`, or single addresses.
pub(super) fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    let written = texts(deserializer)?;
    let networks = written.iter().map(|text| {
        let address = || text.parse::<IpAddr>().map(IpNet::from);
        text.parse::<IpNet>().or_else(|_| address()).map_err(|_| text)
    });
    networks.collect::<Result<_, _>>().map_err(|text| {
        D::Error::custom(format!(
            "'{text}' is not a network: write it like 10.0.0.0/8, fd00::/8 or 192.0.2.1"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_written_as_people_write_them() {
        let address = |text: &str| listen_address(text).map(|address| address.to_string());
        for (text, shown) in [
            ("127.0.0.1:5100", "127.0.0.1:5100"),
            ("localhost:5100", "127.0.0.1:5100"),
            (":5100", "0.0.0.0:5100"),
            ("[::]:0", "[::]:0"),
        ] {
            assert_eq!(address(text).unwrap(), shown);
        }
        for wrong in ["", "5100", "localhost", "refs.example.org:5100", ":70000", ":::5100"] {
            assert!(address(wrong).unwrap_err().contains("write it like"), "{wrong}");
        }
    }
}
