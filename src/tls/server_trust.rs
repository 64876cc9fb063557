//! Which servers refshim believes to be who they say: those whose certificate an authority issued, or whose certificate `ca_file` itself
//! holds.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::der::oid::db::rfc5280::{ANY_EXTENDED_KEY_USAGE, ID_KP_SERVER_AUTH};
use x509_cert::ext::pkix::ExtendedKeyUsage;

use super::TlsError;
use super::pem::certificates;

/// What servers' certificates are checked against.
#[derive(Clone, Debug)]
pub struct ServerTrust {
    authorities: RootCertStore,
    /// Certificates that are trusted also when a server presents them as its own.
    listed: Vec<CertificateDer<'static>>,
    /// The host whose certificate is not checked.
    unverified: Option<ServerName<'static>>,
}

impl ServerTrust {
    /// In nobody.
    pub fn empty() -> Self {
        Self {
            authorities: RootCertStore::empty(),
            listed: Vec::new(),
            unverified: None,
        }
    }

    /// Adds those of the system's certificate authorities that can be read.
    pub fn add_system(&mut self) {
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::debug!(%error, "a certificate authority of the system cannot be read");
        }
        self.authorities.add_parsable_certificates(found.certs);
    }

    /// Adds the certificates in a file, at least one: of authorities, or of servers themselves. A certificate as
    /// `openssl req -x509` makes it is both.
    pub fn add_file(&mut self, file: &Path) -> Result<(), TlsError> {
        for certificate in certificates(file)? {
            let added = self.authorities.add(certificate.clone());
            added.map_err(|error| TlsError::file(file, error))?;
            self.listed.push(certificate);
        }
        Ok(())
    }

    /// Accepts every certificate that `host` presents.
    pub fn skip_host(&mut self, host: &str) {
        let host = host.trim_matches(['[', ']']).to_owned();
        // A host that is no server name cannot be connected to by TLS either.
        self.unverified = ServerName::try_from(host).ok();
    }

    /// Whether nobody is trusted.
    pub fn is_empty(&self) -> bool {
        self.authorities.is_empty() && self.unverified.is_none()
    }

    /// What asks these questions in a handshake.
    pub fn into_verifier(self, provider: &Arc<CryptoProvider>) -> Arc<dyn ServerCertVerifier> {
        let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(self.authorities), Arc::clone(provider));
        Arc::new(ServerVerifier {
            // Fails without authorities.
            issued: builder.build().ok(),
            listed: self.listed,
            unverified: self.unverified,
            algorithms: provider.signature_verification_algorithms,
        })
    }
}

#[derive(Debug)]
struct ServerVerifier {
    /// Finds the authority that issued a certificate.
    issued: Option<Arc<WebPkiServerVerifier>>,
    listed: Vec<CertificateDer<'static>>,
    unverified: Option<ServerName<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.unverified.as_ref() == Some(name) {
            return Ok(ServerCertVerified::assertion());
        }
        let issued = match &self.issued {
            Some(verifier) => verifier.verify_server_cert(certificate, intermediates, name, ocsp, now),
            None => Err(CertificateError::UnknownIssuer.into()),
        };
        match issued {
            Err(_) if self.listed.contains(certificate) => verify_listed(certificate, name, now),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Checks all of a certificate but who issued it, as nobody need vouch for one that `ca_file` holds: its names, its time, and that
/// it may be a server's.
fn verify_listed(
    certificate: &CertificateDer<'_>,
    name: &ServerName<'_>,
    now: UnixTime,
) -> Result<ServerCertVerified, Error> {
    let parsed = Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding)?;
    let parsed = parsed.tbs_certificate();
    let (validity, now) = (parsed.validity(), Duration::from_secs(now.as_secs()));
    if now < validity.not_before.to_unix_duration() {
        return Err(CertificateError::NotValidYet.into());
    }
    if now > validity.not_after.to_unix_duration() {
        return Err(CertificateError::Expired.into());
    }
    let usage = parsed.get_extension::<ExtendedKeyUsage>();
    let usage = usage.map_err(|_| CertificateError::BadEncoding)?;
    let is_servers = |usage: &ExtendedKeyUsage| {
        let mut purposes = usage.0.iter();
        purposes.any(|purpose| [ID_KP_SERVER_AUTH, ANY_EXTENDED_KEY_USAGE].contains(purpose))
    };
    if usage.is_some_and(|(_, usage)| !is_servers(&usage)) {
        return Err(CertificateError::InvalidPurpose.into());
    }
    verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
    Ok(ServerCertVerified::assertion())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use rustls::pki_types::pem::PemObject as _;

    use super::*;

    /// As `openssl req -x509` makes it: of registry.test, from 2026 to 2126, an authority.
    const SERVER: &str = "\
-----BEGIN CERTIFICATE-----
MIIBoTCCAUegAwIBAgIUR7YDOm/zpSfhHzqno3AhqBzNaM8wCgYIKoZIzj0EAwIw
GDEWMBQGA1UEAwwNcmVnaXN0cnkudGVzdDAgFw0yNjExMjYyMDU0MjJaGA8yMTI2
MTEwMjIwNTQyMlowGDEWMBQGA1UEAwwNcmVnaXN0cnkudGVzdDBZMBMGByqGSM49
AgEGCCqGSM49AwEHA0IABID8jD5cSnwiamGjyVfqwyhsFmqRAmA3mv+C0xtUKJHL
mvyKAplQnvIHRM+FszlNyaL3gkUd8oqBcCQIAdhELjujbTBrMB0GA1UdDgQWBBR7
N8vezql01UlFPEg7U/EaCS5liDAfBgNVHSMEGDAWgBR7N8vezql01UlFPEg7U/Ea
CS5liDAPBgNVHRMBAf8EBTADAQH/MBgGA1UdEQQRMA+CDXJlZ2lzdHJ5LnRlc3Qw
CgYIKoZIzj0EAwIDSAAwRQIgAoa+iUwMZPrmXO2O8P3U6iz+gJSu0rfJDgbXtLRb
0ZACIQCIqEtqxjifNdCuedDv9F5gOwamhKgy4UdLHhChBlACjQ==
-----END CERTIFICATE-----
";
    /// The same, but for clients.
    const CLIENT: &str = "\
-----BEGIN CERTIFICATE-----
MIIBuTCCAV6gAwIBAgIUcQB8j4y3wX26wbyGNzhXgJtWGlYwCgYIKoZIzj0EAwIw
GDEWMBQGA1UEAwwNcmVnaXN0cnkudGVzdDAgFw0yNjExMjYyMDU0MjJaGA8yMTI2
MTEwMjIwNTQyMlowGDEWMBQGA1UEAwwNcmVnaXN0cnkudGVzdDBZMBMGByqGSM49
AgEGCCqGSM49AwEHA0IABIseowE9jDhVRM555yUYfadSbvk/iRNpZ6Z6dtumKB23
NSy/Y9do1aw2Xbbbd7ZAbZd9rGAk7BadqIz8k3/MgrKjgYMwgYAwHQYDVR0OBBYE
FJhj+niXec+uR7PXq59lBE1M0C+YMB8GA1UdIwQYMBaAFJhj+niXec+uR7PXq59l
BE1M0C+YMA8GA1UdEwEB/wQFMAMBAf8wGAYDVR0RBBEwD4INcmVnaXN0cnkudGVz
dDATBgNVHSUEDDAKBggrBgEFBQcDAjAKBggqhkjOPQQDAgNJADBGAiEAuRefZODa
5a5xuH3Hkh2gMnyYJfQUZRBieeTxvoM0FKoCIQDAa4cLH2KX3ej473OXWGg8g0Jn
Nk9cYxoTjxjokQksHg==
-----END CERTIFICATE-----
";
    const IN_2030: u64 = 1_900_000_000;

    /// Presents `shown` as `name` at `time` to somebody whose `ca_file` is `listed`.
    fn verify(trust: ServerTrust, shown: &str, name: &str, time: u64) -> Result<(), Error> {
        let verifier = trust.into_verifier(&Arc::new(rustls::crypto::ring::default_provider()));
        let certificate = CertificateDer::from_pem_slice(shown.as_bytes()).unwrap();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(time));
        let name = ServerName::try_from(name.to_owned()).unwrap();
        verifier
            .verify_server_cert(&certificate, &[], &name, &[], now)
            .map(drop)
    }

    fn trusting(listed: &str) -> ServerTrust {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(listed.as_bytes()).unwrap();
        let mut trust = ServerTrust::empty();
        trust.add_file(file.path()).unwrap();
        trust
    }

    #[test]
    fn an_authority_in_ca_file_may_be_the_server_itself() {
        assert_eq!(verify(trusting(SERVER), SERVER, "registry.test", IN_2030), Ok(()));
    }

    #[test]
    fn it_is_trusted_for_its_names_its_time_and_its_purpose_alone() {
        let refused = |listed: &str, shown: &str, name: &str, time| match verify(trusting(listed), shown, name, time) {
            Err(Error::InvalidCertificate(reason)) => reason,
            other => panic!("{other:?}"),
        };
        let name = refused(SERVER, SERVER, "other.test", IN_2030);
        assert!(
            matches!(name, CertificateError::NotValidForNameContext { .. }),
            "{name:?}"
        );
        assert_eq!(
            refused(SERVER, SERVER, "registry.test", 1_700_000_000),
            CertificateError::NotValidYet
        );
        assert_eq!(
            refused(SERVER, SERVER, "registry.test", 5_000_000_000),
            CertificateError::Expired
        );
        assert_eq!(
            refused(CLIENT, CLIENT, "registry.test", IN_2030),
            CertificateError::InvalidPurpose
        );
        // Of the same subject and names, but not the one that is listed.
        for shown in [SERVER, CLIENT] {
            let listed = if shown == SERVER { CLIENT } else { SERVER };
            refused(listed, shown, "registry.test", IN_2030);
        }
    }

    #[test]
    fn only_the_exempt_host_may_present_anything() {
        let mut trust = ServerTrust::empty();
        trust.skip_host("registry.test");
        assert!(!trust.is_empty());
        assert_eq!(verify(trust.clone(), CLIENT, "registry.test", IN_2030), Ok(()));
        assert!(verify(trust, SERVER, "auth.registry.test", IN_2030).is_err());
        let mut trust = ServerTrust::empty();
        trust.skip_host("[::1]");
        assert_eq!(verify(trust, SERVER, "::1", IN_2030), Ok(()));
    }
}
