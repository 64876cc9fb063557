//! Sigstore bundles (protobuf-specs, `sigstore_bundle.proto`, in its JSON form).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::capped::{Capped, WrittenNumber};
use super::statement::DsseEnvelope;
use super::{ArtifactClaims, Signer};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    verification_material: Option<Material>,
    message_signature: Option<MessageSignature>,
    dsse_envelope: Option<DsseEnvelope>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Material {
    certificate: Option<RawCertificate>,
    x509_certificate_chain: Option<CertificateChain>,
    public_key: Option<KeyHint>,
    #[serde(default)]
    tlog_entries: Capped<LogEntry, 1>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawCertificate {
    raw_bytes: String,
}

#[derive(Deserialize)]
struct CertificateChain {
    #[serde(default)]
    certificates: Capped<RawCertificate, 1>,
}

#[derive(Deserialize)]
struct KeyHint {
    hint: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LogEntry {
    log_index: Option<WrittenNumber>,
    integrated_time: Option<WrittenNumber>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MessageSignature {
    message_digest: Option<MessageDigest>,
}

#[derive(Deserialize)]
struct MessageDigest {
    algorithm: String,
    digest: String,
}

pub(super) fn read(bytes: &[u8]) -> Result<ArtifactClaims, serde_json::Error> {
    let bundle: Bundle = serde_json::from_slice(bytes)?;
    let mut claims = match &bundle.dsse_envelope {
        Some(envelope) => envelope.claims()?,
        None => ArtifactClaims::default(),
    };
    let message = bundle.message_signature.and_then(|signature| signature.message_digest);
    if let Some(digest) = message.and_then(|message| message.spelled_out()) {
        claims.all_subjects += 1;
        claims.subjects.push(digest);
    }
    claims.signer = bundle.verification_material.map(Material::signer);
    Ok(claims)
}

impl Material {
    fn signer(self) -> Signer {
        let chain = self.x509_certificate_chain.map(|chain| chain.certificates.first);
        let certificate = self.certificate.or_else(|| chain?.into_iter().next());
        let der = certificate.and_then(|certificate| STANDARD.decode(certificate.raw_bytes).ok());
        let entry = self.tlog_entries.first.first();
        Signer {
            key_hint: self.public_key.and_then(|key| key.hint),
            log_index: entry.and_then(|entry| entry.log_index).map(|index| index.0),
            logged: entry.and_then(|entry| entry.integrated_time).map(|time| time.0),
            ..der.and_then(|der| Signer::of_der(&der)).unwrap_or_default()
        }
    }
}

impl MessageDigest {
    /// `SHA2_256` and base64 as `sha256:…`; `None` for an algorithm that is not known.
    fn spelled_out(&self) -> Option<String> {
        let algorithm = match self.algorithm.as_str() {
            "SHA2_256" => "sha256",
            "SHA2_512" => "sha512",
            _ => return None,
        };
        let bytes = STANDARD.decode(&self.digest).ok()?;
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Some(format!("{algorithm}:{digits}"))
    }
}
