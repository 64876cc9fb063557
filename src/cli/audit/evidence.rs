//! What a referrer is evidence of, as its manifest says. Where that leaves the type of a statement open, its content has to be read. Pure.

use std::collections::BTreeSet;

use clap::ValueEnum;
use serde::Serialize;

use crate::oci::{Descriptor, Manifest, Referrer, timestamp};
use crate::ui::{ArtifactClaims, Badge, ContentFormat, logged_at, predicate_type, readable_parts};

/// cosign's annotation with a statement's type, on the layer that holds it.
const ANNOTATION_COSIGN_PREDICATE: &str = "predicateType";
/// Says of a sigstore bundle whether it holds a signature or a statement.
const ANNOTATION_BUNDLE_CONTENT: &str = "dev.sigstore.bundle.content";
const SECOND: i128 = 1_000_000_000;

/// What can be required of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(super) enum EvidenceKind {
    /// A signature of cosign or notation.
    Signature,
    /// A list of what is in the image, in SPDX or CycloneDX.
    Sbom,
    /// A statement on how the image was built, in SLSA's form.
    Provenance,
}

impl EvidenceKind {
    pub(super) const ALL: [Self; 3] = [Self::Signature, Self::Sbom, Self::Provenance];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Signature => "signature",
            Self::Sbom => "sbom",
            Self::Provenance => "provenance",
        }
    }

    /// Of a statement of this type; `None` for all other statements.
    fn of_predicate(predicate: &str) -> Option<Self> {
        let predicate = predicate.to_ascii_lowercase();
        match Badge::of_predicate(&predicate) {
            Badge::Signature => Some(Self::Signature),
            Badge::Sbom => Some(Self::Sbom),
            Badge::Attestation | Badge::Other => {
                let is_provenance =
                    predicate.contains("slsa.dev/provenance") || predicate.contains("in-toto.io/provenance");
                is_provenance.then_some(Self::Provenance)
            }
        }
    }
}

/// What a referrer is evidence of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct StatedEvidence {
    pub(super) kinds: BTreeSet<EvidenceKind>,
    /// Parts that have to be read before it is known what else it is.
    pub(super) unread: Vec<(ContentFormat, Descriptor)>,
    /// Whether it holds statements of which nobody can tell what they state.
    pub(super) is_unclear: bool,
    /// The earliest date that it states, in nanoseconds since 1970.
    pub(super) since: Option<i128>,
}

impl StatedEvidence {
    /// `manifest` is the referrer's; `None` for a blob.
    pub(super) fn of(referrer: &Referrer, manifest: Option<&Manifest>) -> Self {
        let parts = || manifest.into_iter().flat_map(|m| m.layers.iter().chain(&m.blobs));
        let logged = parts().filter_map(logged_at).min();
        let mut stated = Self {
            since: referrer.created.or(logged.map(|seconds| i128::from(seconds) * SECOND)),
            ..Self::default()
        };
        // Without content it signs and states nothing.
        if manifest.is_some_and(|manifest| manifest.contents().is_empty()) {
            stated.is_unclear = Badge::of(referrer) == Badge::Attestation;
            return stated;
        }
        let annotations = &referrer.descriptor.annotations;
        if let Some(predicate) = predicate_type(annotations) {
            stated.kinds.extend(EvidenceKind::of_predicate(predicate));
            return stated;
        }
        let is_open_bundle = is_bundle(&referrer.descriptor) && !annotations.contains_key(ANNOTATION_BUNDLE_CONTENT);
        let readable = manifest.map(readable_parts).unwrap_or_default();
        match Badge::of(referrer) {
            Badge::Signature if is_open_bundle && !readable.is_empty() => {
                let parts = readable.into_iter().map(|(format, part)| (format, part.clone()));
                stated.unread.extend(parts);
            }
            Badge::Signature => stated.kinds.extend([EvidenceKind::Signature]),
            Badge::Sbom => stated.kinds.extend([EvidenceKind::Sbom]),
            Badge::Attestation => {
                stated.is_unclear = parts().next().is_none();
                for part in parts() {
                    stated.add_statement(part, &readable);
                }
            }
            Badge::Other => {
                for predicate in parts().filter_map(part_predicate) {
                    stated.kinds.extend(EvidenceKind::of_predicate(predicate));
                }
            }
        }
        stated
    }

    /// Takes in one layer of an attestation.
    fn add_statement(&mut self, part: &Descriptor, readable: &[(ContentFormat, &Descriptor)]) {
        if let Some(predicate) = part_predicate(part) {
            self.kinds.extend(EvidenceKind::of_predicate(predicate));
            return;
        }
        let readable = readable.iter().find(|(_, found)| found.digest == part.digest);
        match readable {
            Some((format, part)) => self.unread.push((*format, (*part).clone())),
            None => self.is_unclear = true,
        }
    }

    /// Takes in what a part turned out to say.
    pub(super) fn add_claims(&mut self, format: ContentFormat, claims: &ArtifactClaims) {
        let logged = claims.signer.as_ref().and_then(|signer| signer.logged);
        let logged = logged.map(|seconds| i128::from(seconds) * SECOND);
        self.since = self.since.or(logged);
        match (&claims.predicate_type, format) {
            (Some(predicate), _) => self.kinds.extend(EvidenceKind::of_predicate(predicate)),
            // It signs a digest and states nothing.
            (None, ContentFormat::Bundle) if claims.all_subjects > 0 => self.kinds.extend([EvidenceKind::Signature]),
            (None, _) => self.is_unclear = true,
        }
    }

    /// As JSON has it.
    pub(super) fn since_text(&self) -> Option<String> {
        self.since.and_then(timestamp::to_rfc3339)
    }
}

fn is_bundle(descriptor: &Descriptor) -> bool {
    let artifact_type = descriptor.artifact_type.as_deref().unwrap_or_default();
    artifact_type.contains("dev.sigstore.bundle")
}

/// The type of the statement in a layer, from its annotations.
fn part_predicate(part: &Descriptor) -> Option<&str> {
    let cosign = || part.annotations.get(ANNOTATION_COSIGN_PREDICATE).map(String::as_str);
    predicate_type(&part.annotations).or_else(cosign)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::oci::media_type::OCI_IMAGE_MANIFEST;
    use crate::oci::{Digest, LinkSource};

    const SPDX: &str = "https://spdx.dev/Document";
    const SLSA: &str = "https://slsa.dev/provenance/v1";

    fn stated(manifest: &Value, source: LinkSource) -> StatedEvidence {
        let bytes = manifest.to_string();
        let manifest = Manifest::parse(bytes.as_bytes(), OCI_IMAGE_MANIFEST).unwrap();
        let descriptor = manifest.descriptor(Digest::sha256(bytes.as_bytes()), 1);
        let referrer = Referrer {
            created: timestamp::created(&descriptor.annotations),
            descriptor,
            sources: [source].into(),
            objects: None,
            adopted: None,
        };
        StatedEvidence::of(&referrer, Some(&manifest))
    }

    fn layer(media_type: &str, annotations: Value) -> Value {
        json!({"mediaType": media_type, "digest": Digest::sha256(media_type.as_bytes()), "size": 1, "annotations": annotations})
    }

    fn kinds(manifest: &Value) -> Vec<EvidenceKind> {
        stated(manifest, LinkSource::Subject).kinds.into_iter().collect()
    }

    #[test]
    fn a_buildkit_attestation_is_what_its_layers_state() {
        let in_toto = |predicate: &str| {
            layer(
                "application/vnd.in-toto+json",
                json!({"in-toto.io/predicate-type": predicate}),
            )
        };
        let both = json!({"layers": [in_toto(SPDX), in_toto("https://slsa.dev/provenance/v0.2")]});
        let found = stated(&both, LinkSource::Buildkit);
        assert_eq!(found.kinds, [EvidenceKind::Sbom, EvidenceKind::Provenance].into());
        assert!(found.unread.is_empty() && !found.is_unclear);
        // Another statement is neither.
        let vulnerabilities = json!({"layers": [in_toto("https://cosign.sigstore.dev/attestation/vuln/v1")]});
        assert_eq!(stated(&vulnerabilities, LinkSource::Buildkit).kinds, [].into());
    }

    #[test]
    fn an_attestation_that_does_not_say_of_what_is_read_or_unclear() {
        const ATTESTATION: &str = "application/vnd.dev.cosign.artifact.att.v1+json";
        let of = |layers: Value| json!({"artifactType": ATTESTATION, "layers": layers});
        const DSSE: &str = "application/vnd.dsse.envelope.v1+json";
        assert_eq!(
            kinds(&of(json!([layer(DSSE, json!({"predicateType": SLSA}))]))),
            [EvidenceKind::Provenance]
        );
        let open = stated(&of(json!([layer(DSSE, json!({}))])), LinkSource::CosignTag);
        assert_eq!((open.unread.len(), open.is_unclear), (1, false));
        for odd in [json!([]), json!([layer("application/x", json!({}))])] {
            let odd = stated(&of(odd), LinkSource::CosignTag);
            assert!(odd.is_unclear && odd.kinds.is_empty(), "{odd:?}");
        }
    }

    #[test]
    fn bundles_say_in_annotations_or_in_their_content_what_they_hold() {
        const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
        let of = |annotations: Value| json!({"artifactType": BUNDLE, "layers": [layer(BUNDLE, json!({}))], "annotations": annotations});
        let statement = |predicate: &str| of(json!({"dev.sigstore.bundle.predicateType": predicate}));
        assert_eq!(kinds(&statement(SLSA)), [EvidenceKind::Provenance]);
        assert_eq!(
            kinds(&statement("https://sigstore.dev/cosign/sign/v1")),
            [EvidenceKind::Signature]
        );
        assert_eq!(kinds(&statement(SPDX)), [EvidenceKind::Sbom]);
        let message = of(json!({"dev.sigstore.bundle.content": "message-signature"}));
        assert_eq!(kinds(&message), [EvidenceKind::Signature]);
        let mut open = stated(&of(json!({})), LinkSource::Subject);
        assert_eq!((open.unread.len(), open.kinds.len()), (1, 0));
        let mut empty = open.clone();
        empty.add_claims(ContentFormat::Bundle, &ArtifactClaims::default());
        assert!(empty.is_unclear && empty.kinds.is_empty());
        let signed = ArtifactClaims {
            all_subjects: 1,
            ..ArtifactClaims::default()
        };
        open.add_claims(ContentFormat::Bundle, &signed);
        assert_eq!((open.kinds, open.is_unclear), ([EvidenceKind::Signature].into(), false));
    }

    #[test]
    fn what_has_no_content_is_no_evidence_whatever_it_is_called() {
        for empty in [
            json!({"artifactType": "application/vnd.cncf.notary.signature", "layers": []}),
            json!({"artifactType": "application/vnd.dev.cosign.artifact.sig.v1+json"}),
            json!({"artifactType": "application/spdx+json", "config": layer("application/x", json!({}))}),
            json!({"annotations": {"in-toto.io/predicate-type": SPDX}}),
        ] {
            assert_eq!(kinds(&empty), [], "{empty}");
        }
    }

    #[test]
    fn dates_are_stated_or_there_are_none() {
        let logged = json!({"dev.sigstore.cosign/bundle": r#"{"Payload":{"integratedTime":1767323050}}"#});
        let signed = |annotations: Value, own: Value| {
            const SIGNED: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
            let manifest = json!({"artifactType": SIGNED, "layers": [layer(SIGNED, annotations)], "annotations": own});
            stated(&manifest, LinkSource::CosignTag).since_text()
        };
        assert_eq!(signed(json!({}), json!({})), None);
        assert_eq!(
            signed(logged.clone(), json!({})).as_deref(),
            Some("2026-01-02T03:04:10Z")
        );
        let created = json!({"org.opencontainers.image.created": "2025-01-01T00:00:00Z"});
        assert_eq!(signed(logged, created).as_deref(), Some("2025-01-01T00:00:00Z"));
    }
}
