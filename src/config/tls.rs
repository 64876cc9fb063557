//! TLS of a listener.

use std::path::PathBuf;

use serde::{Deserialize, Deserializer};

use super::values;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// PEM file: the listener's certificate, then those between it and an authority. Without it, TLS is not spoken.
    pub cert_file: Option<PathBuf>,
    /// PEM file: the certificate's private key.
    pub key_file: Option<PathBuf>,
    /// PEM file of authorities: callers need a certificate of one of them.
    pub client_ca_file: Option<PathBuf>,
    /// Older versions are refused.
    pub min_version: TlsVersion,
}

/// Versions of TLS that are spoken at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsVersion {
    #[default]
    Tls12,
    Tls13,
}

impl TlsVersion {
    const NAMES: [(&'static str, Self); 2] = [("1.2", Self::Tls12), ("1.3", Self::Tls13)];
}

impl<'de> Deserialize<'de> for TlsVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        values::choice(deserializer, &Self::NAMES)
    }
}
