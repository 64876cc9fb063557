//! In-toto statements, and the DSSE envelopes in which they are signed.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde::Deserialize;
use serde::de::Error as _;

use super::capped::Capped;
use super::{ArtifactClaims, sbom, slsa};

/// Subjects that are shown.
const MAX_SUBJECTS: usize = 20;

#[derive(Deserialize)]
pub(super) struct DsseEnvelope {
    /// In base64.
    payload: String,
}

impl DsseEnvelope {
    pub(super) fn claims(&self) -> Result<ArtifactClaims, serde_json::Error> {
        let decoded = STANDARD
            .decode(&self.payload)
            .or_else(|_| URL_SAFE.decode(&self.payload));
        read(&decoded.map_err(serde_json::Error::custom)?)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StatementHead {
    #[serde(default)]
    subject: Capped<StatementSubject, MAX_SUBJECTS>,
    predicate_type: Option<String>,
}

#[derive(Deserialize)]
struct StatementSubject {
    #[serde(default)]
    digest: BTreeMap<String, String>,
}

/// A statement, signed or not.
pub(super) fn read(bytes: &[u8]) -> Result<ArtifactClaims, serde_json::Error> {
    let head: StatementHead = serde_json::from_slice(bytes)?;
    let subjects = head.subject.first.iter().filter_map(|subject| {
        let (algorithm, digits) = subject.digest.first_key_value()?;
        Some(format!("{algorithm}:{digits}"))
    });
    let mut claims = ArtifactClaims {
        subjects: subjects.collect(),
        all_subjects: head.subject.total,
        ..ArtifactClaims::default()
    };
    let predicate_type = head.predicate_type.unwrap_or_default();
    let lower = predicate_type.to_ascii_lowercase();
    if lower.contains("slsa.dev/provenance") {
        claims.facts = slsa::facts(bytes, lower.contains("/v0."))?;
    } else if lower.contains("spdx") {
        claims.packages = Some(sbom::read_spdx_predicate(bytes)?);
    } else if lower.contains("cyclonedx") {
        claims.packages = Some(sbom::read_cyclonedx_predicate(bytes)?);
    }
    claims.predicate_type = Some(predicate_type).filter(|text| !text.is_empty());
    Ok(claims)
}
