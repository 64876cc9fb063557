//! Reads certificates and keys from PEM files.

use std::path::Path;
use std::time::{Duration, SystemTime};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{RootCertStore, SupportedProtocolVersion};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

use super::TlsError;
use crate::config::TlsVersion;

/// A certificate with its intermediate certificates and its key.
pub struct Identity {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
}

impl Identity {
    /// When the first of the certificates expires. `None` if none can be parsed.
    pub fn expires(&self) -> Option<SystemTime> {
        let ends = self.chain.iter().filter_map(|certificate| expiry(certificate));
        ends.min().map(|end| SystemTime::UNIX_EPOCH + end)
    }
}

/// When a certificate expires, as time since 1970.
fn expiry(certificate: &CertificateDer<'_>) -> Option<Duration> {
    let certificate = Certificate::from_der(certificate).ok()?;
    Some(certificate.tbs_certificate().validity().not_after.to_unix_duration())
}

/// Reads an identity.
pub fn identity(certificate: &Path, key: &Path) -> Result<Identity, TlsError> {
    Ok(Identity {
        chain: certificates(certificate)?,
        key: PrivateKeyDer::from_pem_file(key).map_err(|error| TlsError::file(key, error))?,
    })
}

/// Adds the certificate authorities in a file, at least one.
pub fn add_authorities(roots: &mut RootCertStore, file: &Path) -> Result<(), TlsError> {
    for certificate in certificates(file)? {
        roots.add(certificate).map_err(|error| TlsError::file(file, error))?;
    }
    Ok(())
}

pub(super) fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |error| TlsError::file(file, error);
    let found = CertificateDer::pem_file_iter(file).map_err(failed)?;
    let found = found.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    if found.is_empty() {
        return Err(TlsError::file(file, "contains no certificate"));
    }
    Ok(found)
}

static TLS13_ALONE: [&SupportedProtocolVersion; 1] = [&rustls::version::TLS13];

/// The TLS versions from `least` on.
pub fn versions(least: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    match least {
        TlsVersion::Tls12 => rustls::DEFAULT_VERSIONS,
        TlsVersion::Tls13 => &TLS13_ALONE,
    }
}
