//! Notation's signatures in JWS (notaryproject, "JWS signature envelope"). Those in COSE are not read.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde::de::Error as _;

use super::capped::Capped;
use super::{ArtifactClaims, Signer};

#[derive(Deserialize)]
struct Jws {
    /// In base64url.
    payload: String,
    header: Option<JwsHeader>,
}

#[derive(Deserialize)]
struct JwsHeader {
    #[serde(default)]
    x5c: Capped<String, 1>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NotationPayload {
    target_artifact: TargetArtifact,
}

#[derive(Deserialize)]
struct TargetArtifact {
    digest: String,
}

pub(super) fn read(bytes: &[u8]) -> Result<ArtifactClaims, serde_json::Error> {
    let jws: Jws = serde_json::from_slice(bytes)?;
    let payload = URL_SAFE_NO_PAD
        .decode(&jws.payload)
        .map_err(serde_json::Error::custom)?;
    let payload: NotationPayload = serde_json::from_slice(&payload)?;
    let leaf = jws.header.and_then(|header| header.x5c.first.into_iter().next());
    let leaf = leaf.and_then(|base64| STANDARD.decode(base64).ok());
    Ok(ArtifactClaims {
        signer: leaf.and_then(|der| Signer::of_der(&der)),
        subjects: vec![payload.target_artifact.digest],
        all_subjects: 1,
        ..ArtifactClaims::default()
    })
}
