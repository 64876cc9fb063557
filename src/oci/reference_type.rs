//! The short `<type>` at the end of a Proposal D tag.

use super::descriptor::Annotations;
use super::manifest::{ANNOTATION_REFERENCE_TYPE, Manifest};

/// Longest type, in characters: what remains of a tag's 128 besides a sha256 subject. For types from the author's annotation.
const MAX_STATED: usize = 39;
/// Longest type that refshim derives from an artifact type, in characters.
const MAX_DERIVED: usize = 24;

/// Artifact types (or a characteristic part of one) and their usual short names. The first match counts.
const WELL_KNOWN: [(&str, &str); 13] = [
    ("dev.cosign.artifact.sbom", "sbom"),
    ("dev.cosign.artifact.att", "att"),
    ("dev.cosign.artifact.sig", "sig"),
    ("dev.cosign.simplesigning", "sig"),
    ("cncf.notary.signature", "sig"),
    ("cncf.notary.v2", "sig"),
    ("dev.sigstore.bundle", "sig"),
    ("spdx", "sbom"),
    ("cyclonedx", "sbom"),
    ("syft", "sbom"),
    ("in-toto", "att"),
    ("dsse.envelope", "att"),
    ("docker.attestation", "att"),
];

/// The annotation of a sigstore bundle that says whether it contains an attestation or a plain signature.
const ANNOTATION_BUNDLE_CONTENT: &str = "dev.sigstore.bundle.content";

/// The `<type>` for a tag on `manifest`: the one in its annotation, the usual short name of its artifact type, or one derived from
/// that. It is valid in a tag and never empty.
pub fn reference_type_of(manifest: &Manifest) -> String {
    of(
        manifest.artifact_type.as_deref().unwrap_or_default(),
        &manifest.annotations,
    )
}

/// As [`reference_type_of`], from a manifest's artifact type and annotations.
pub fn of(artifact_type: &str, annotations: &Annotations) -> String {
    if let Some(stated) = annotations
        .get(ANNOTATION_REFERENCE_TYPE)
        .and_then(|t| tag_safe(t, MAX_STATED))
    {
        return stated;
    }
    let artifact_type = artifact_type.to_ascii_lowercase();
    let attestation = annotations
        .get(ANNOTATION_BUNDLE_CONTENT)
        .is_some_and(|content| content == "dsse-envelope");
    let known = WELL_KNOWN.iter().find(|(part, _)| artifact_type.contains(part));
    match known {
        Some((part, _)) if *part == "dev.sigstore.bundle" && attestation => "att".to_owned(),
        Some((_, kind)) => (*kind).to_owned(),
        None => tag_safe(telling_part(&artifact_type), MAX_DERIVED).unwrap_or_else(|| "artifact".to_owned()),
    }
}

/// `application/vnd.acme.rocket-config.v1+json` → `acme.rocket-config`
fn telling_part(artifact_type: &str) -> &str {
    let subtype = artifact_type.rsplit('/').next().unwrap_or_default();
    let subtype = subtype.split('+').next().unwrap_or_default();
    let subtype = subtype.strip_prefix("vnd.").unwrap_or(subtype);
    match subtype.rsplit_once(".v") {
        Some((before, version)) if version.bytes().all(|b| b.is_ascii_digit() || b == b'.') => before,
        _ => subtype,
    }
}

/// `text` without characters that a tag may not contain, cut to `length`. `None` if nothing is left, or if it is the type of envelopes.
fn tag_safe(text: &str, length: usize) -> Option<String> {
    let mapped: String = text
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') {
                c
            } else {
                '-'
            }
        })
        .take(length)
        .collect();
    let trimmed = mapped.trim_matches(|c| matches!(c, '.' | '_' | '-'));
    (!trimmed.is_empty() && trimmed != super::tag_scheme::ENVELOPE_KIND).then(|| trimmed.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::media_type::OCI_IMAGE_MANIFEST;

    fn kind(artifact_type: &str) -> String {
        let json = serde_json::json!({ "artifactType": artifact_type }).to_string();
        reference_type_of(&Manifest::parse(json.as_bytes(), OCI_IMAGE_MANIFEST).unwrap())
    }

    #[test]
    fn well_known_types_have_short_names_and_others_are_derived() {
        assert_eq!(kind("application/vnd.dev.sigstore.bundle.v0.3+json"), "sig");
        assert_eq!(kind("application/spdx+json"), "sbom");
        assert_eq!(kind("application/vnd.in-toto+json"), "att");
        assert_eq!(kind("application/vnd.acme.rocket-config.v1+json"), "acme.rocket-config");
        assert_eq!(kind("../../é"), "artifact");
        assert_eq!(kind(""), "artifact");
        assert_eq!(kind("envelope"), "artifact");
    }

    #[test]
    fn a_stated_type_keeps_what_a_tag_has_room_for() {
        let stated = |text: &str| {
            let json = serde_json::json!({"annotations": {ANNOTATION_REFERENCE_TYPE: text}}).to_string();
            reference_type_of(&Manifest::parse(json.as_bytes(), OCI_IMAGE_MANIFEST).unwrap())
        };
        let longest = "vex.openvex-0.2.0_with.dots-and-dashes1";
        assert_eq!(stated(longest), longest);
        assert_eq!(stated(&format!("{longest}2")), longest);
        let (subject, own) = (crate::oci::Digest::sha256(b"s"), crate::oci::Digest::sha256(b"o"));
        let tag = crate::oci::tag_scheme::proposal_d_tag(&subject, &own, longest).unwrap();
        assert_eq!(tag.as_str().len(), crate::oci::name::MAX_TAG);
    }
}
