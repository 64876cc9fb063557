//! Who a certificate says that it was issued to, and by whom. Certificates of sigstore's authority (Fulcio) name the identity and the
//! service that vouched for it.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::der::asn1::{ObjectIdentifier, Utf8StringRef};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// Fulcio's extension with the issuer of the OIDC token, as the bytes of a text.
const ISSUER: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.1.1");
/// The same as a DER string.
const ISSUER_V2: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.1.8");

/// Who signed, as the signature itself says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signer {
    /// The certificate's subject alternative name, else its subject.
    pub identity: Option<String>,
    /// Who vouches for the identity, else the authority that issued the certificate.
    pub issuer: Option<String>,
    /// The certificate's validity in seconds since 1970.
    pub validity: Option<(i64, i64)>,
    /// A hint at the public key, where there is no certificate.
    pub key_hint: Option<String>,
    /// The place in the transparency log.
    pub log_index: Option<i64>,
    /// When the log took it, in seconds since 1970.
    pub logged: Option<i64>,
}

impl Signer {
    /// `None` if `der` is not a certificate.
    pub(super) fn of_der(der: &[u8]) -> Option<Self> {
        let certificate = Certificate::from_der(der).ok()?;
        let signed = certificate.tbs_certificate();
        let names = signed.get_extension::<SubjectAltName>().ok().flatten();
        let identity = names.and_then(|(_, names)| names.0.iter().find_map(name_of));
        let extensions = signed.extensions().map(Vec::as_slice).unwrap_or_default();
        let extension = |id: ObjectIdentifier| {
            let found = extensions.iter().find(|extension| extension.extn_id == id)?;
            Some(found.extn_value.as_bytes())
        };
        let vouching = extension(ISSUER_V2)
            .and_then(|der| Some(Utf8StringRef::from_der(der).ok()?.as_str().to_owned()))
            .or_else(|| Some(std::str::from_utf8(extension(ISSUER)?).ok()?.to_owned()));
        let validity = signed.validity();
        let seconds = |time: x509_cert::time::Time| i64::try_from(time.to_unix_duration().as_secs()).ok();
        Some(Self {
            identity: identity.or_else(|| Some(signed.subject().to_string()).filter(|name| !name.is_empty())),
            issuer: vouching.or_else(|| Some(signed.issuer().to_string())),
            validity: seconds(validity.not_before).zip(seconds(validity.not_after)),
            ..Self::default()
        })
    }

    /// From the first certificate of a PEM text.
    pub(super) fn of_pem(pem: &str) -> Option<Self> {
        Self::of_der(&CertificateDer::from_pem_slice(pem.as_bytes()).ok()?)
    }
}

fn name_of(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::Rfc822Name(text) | GeneralName::DnsName(text) | GeneralName::UniformResourceIdentifier(text) => {
            Some(text.to_string())
        }
        _ => None,
    }
}
