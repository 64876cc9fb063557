//! What cosign up to version 2 writes: a payload or an envelope as a layer, with certificate and log entry in the layer's annotations.

use serde::Deserialize;

use super::capped::WrittenNumber;
use super::statement::{self, DsseEnvelope};
use super::{ArtifactClaims, Signer};
use crate::oci::Descriptor;

const CERTIFICATE: &str = "dev.sigstore.cosign/certificate";
const LOG_ENTRY: &str = "dev.sigstore.cosign/bundle";

#[derive(Deserialize)]
struct SimpleSigning {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    identity: Option<SignedIdentity>,
    image: Option<SignedImage>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct SignedIdentity {
    docker_reference: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct SignedImage {
    docker_manifest_digest: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RekorBundle {
    payload: RekorPayload,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RekorPayload {
    integrated_time: Option<WrittenNumber>,
    log_index: Option<WrittenNumber>,
}

pub(super) fn read(part: &Descriptor, bytes: &[u8]) -> Result<ArtifactClaims, serde_json::Error> {
    let payload: SimpleSigning = serde_json::from_slice(bytes)?;
    let digest = payload.critical.image.and_then(|image| image.docker_manifest_digest);
    let name = payload.critical.identity.and_then(|identity| identity.docker_reference);
    Ok(ArtifactClaims {
        signer: signer(part),
        all_subjects: usize::from(digest.is_some()),
        subjects: digest.into_iter().collect(),
        signed_name: name.filter(|name| !name.is_empty()),
        ..ArtifactClaims::default()
    })
}

/// A statement in an envelope, or alone as BuildKit writes it.
pub(super) fn read_attestation(part: &Descriptor, bytes: &[u8]) -> Result<ArtifactClaims, serde_json::Error> {
    let mut claims = match serde_json::from_slice::<DsseEnvelope>(bytes) {
        Ok(envelope) => envelope.claims()?,
        Err(_) => statement::read(bytes)?,
    };
    claims.signer = signer(part);
    Ok(claims)
}

/// When the transparency log took what is in this layer, in seconds since 1970, as the layer's annotations say.
pub fn logged_at(part: &Descriptor) -> Option<i64> {
    log_entry(part)?.integrated_time.map(|time| time.0)
}

fn log_entry(part: &Descriptor) -> Option<RekorPayload> {
    let entry = part.annotations.get(LOG_ENTRY)?;
    let entry: RekorBundle = serde_json::from_str(entry).ok()?;
    Some(entry.payload)
}

fn signer(part: &Descriptor) -> Option<Signer> {
    let certificate = part.annotations.get(CERTIFICATE);
    let signer = certificate.and_then(|pem| Signer::of_pem(pem));
    match (signer, log_entry(part)) {
        (None, None) => None,
        (signer, entry) => Some(Signer {
            log_index: entry.as_ref().and_then(|entry| entry.log_index).map(|index| index.0),
            logged: entry.and_then(|entry| entry.integrated_time).map(|time| time.0),
            ..signer.unwrap_or_default()
        }),
    }
}
