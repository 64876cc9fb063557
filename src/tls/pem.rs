//! Certificates and keys out of PEM files.

use std::path::Path;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{RootCertStore, SupportedProtocolVersion};

use super::TlsError;
use crate::config::TlsVersion;

/// A certificate, those between it and an authority, and its key.
pub struct Identity {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
}

/// Reads an identity.
pub fn identity(certificate: &Path, key: &Path) -> Result<Identity, TlsError> {
    Ok(Identity {
        chain: certificates(certificate)?,
        key: PrivateKeyDer::from_pem_file(key).map_err(|error| TlsError::file(key, error))?,
    })
}

/// Adds the authorities of a file, at least one.
pub fn add_authorities(roots: &mut RootCertStore, file: &Path) -> Result<(), TlsError> {
    for certificate in certificates(file)? {
        roots.add(certificate).map_err(|error| TlsError::file(file, error))?;
    }
    Ok(())
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |error| TlsError::file(file, error);
    let found = CertificateDer::pem_file_iter(file).map_err(failed)?;
    let found = found.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    if found.is_empty() {
        return Err(TlsError::file(file, "holds no certificate"));
    }
    Ok(found)
}

static TLS13_ALONE: [&SupportedProtocolVersion; 1] = [&rustls::version::TLS13];

/// What is spoken where nothing older than `least` may be.
pub fn versions(least: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    match least {
        TlsVersion::Tls12 => rustls::DEFAULT_VERSIONS,
        TlsVersion::Tls13 => &TLS13_ALONE,
    }
}
