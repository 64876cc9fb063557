//! The kind of a referrer that the pages show: signature, SBOM, attestation, or other.

use maud::{Markup, html};

use crate::oci::descriptor::Annotations;
use crate::oci::{Descriptor, Digest, LinkSource, Manifest, Referrer, reference_type};

/// Annotations with a statement's type: of sigstore bundles, and of in-toto layers by buildx and attest-build-provenance.
const PREDICATE_TYPES: [&str; 2] = ["dev.sigstore.bundle.predicateType", "in-toto.io/predicate-type"];
/// cosign 3 signs with a statement of this type.
const COSIGN_SIGN: &str = "https://sigstore.dev/cosign/sign/v1";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Badge {
    Signature,
    Attestation,
    Sbom,
    Other,
}

impl Badge {
    pub fn of(referrer: &Referrer) -> Self {
        match referrer.sources.contains(&LinkSource::Buildkit) {
            true => Self::Attestation,
            false => Self::of_descriptor(&referrer.descriptor),
        }
    }

    /// Of a manifest that states to be an artifact, or refers to something; `None` for an image.
    pub fn of_manifest(manifest: &Manifest, own: &Digest) -> Option<Self> {
        let config = manifest.config.as_ref().map(|config| config.media_type.as_str());
        let states_type = manifest.artifact_type.as_deref() != config;
        let badge = Self::of_descriptor(&manifest.descriptor(own.clone(), 0));
        (badge != Self::Other || states_type || manifest.parent().is_some()).then_some(badge)
    }

    fn of_descriptor(descriptor: &Descriptor) -> Self {
        let annotations = &descriptor.annotations;
        if let Some(predicate) = predicate_type(annotations) {
            return Self::of_predicate(&predicate.to_ascii_lowercase());
        }
        let artifact_type = descriptor.artifact_type.as_deref().unwrap_or_default();
        match reference_type::of(artifact_type, annotations).as_str() {
            "sig" => Self::Signature,
            "att" => Self::Attestation,
            "sbom" => Self::Sbom,
            _ => Self::Other,
        }
    }

    /// Of a statement of this type, in lower case.
    pub fn of_predicate(predicate: &str) -> Self {
        match predicate {
            COSIGN_SIGN => Self::Signature,
            _ if predicate.contains("spdx") || predicate.contains("cyclonedx") => Self::Sbom,
            _ => Self::Attestation,
        }
    }

    /// The name in the singular.
    pub fn label(self) -> &'static str {
        match self {
            Self::Signature => "Signature",
            Self::Attestation => "Attestation",
            Self::Sbom => "SBOM",
            Self::Other => "Other",
        }
    }

    fn class(self) -> &'static str {
        match self {
            Self::Signature => "badge signature",
            Self::Attestation => "badge attestation",
            Self::Sbom => "badge sbom",
            Self::Other => "badge other",
        }
    }

    /// The path of an icon of 16 by 16.
    fn icon(self) -> &'static str {
        match self {
            // A pen over a line.
            Self::Signature => "M2 13.5h12M4 10.5l.6-2.6 6.2-6.2 2 2-6.2 6.2z",
            // A shield.
            Self::Attestation => "M8 1.5l5.5 2v4c0 3.4-2.3 5.9-5.5 7-3.2-1.1-5.5-3.6-5.5-7v-4z",
            // A list.
            Self::Sbom => "M2.5 3.5h1M6 3.5h7.5M2.5 8h1M6 8h7.5M2.5 12.5h1M6 12.5h7.5",
            // A paper clip.
            Self::Other => "M12.5 7.5L7.6 12.4a2.9 2.9 0 0 1-4.1-4.1l5.4-5.4a1.9 1.9 0 0 1 2.7 2.7l-5.2 5.2",
        }
    }

    /// The name, with the number of them if there is more than one.
    pub(super) fn print(self, count: usize) -> Markup {
        let spoken = match count {
            1 => self.label().to_owned(),
            _ => format!("{}: {count}", self.label()),
        };
        html! {
            span class=(self.class()) role="img" aria-label=(spoken) title=(spoken) {
                svg viewBox="0 0 16 16" width="14" height="14" aria-hidden="true" {
                    path d=(self.icon()) {}
                }
                span aria-hidden="true" {
                    (self.label())
                    @if count > 1 { " ×" (count) }
                }
            }
        }
    }
}

/// The type of the statement that a manifest holds, from its annotations.
pub fn predicate_type(annotations: &Annotations) -> Option<&str> {
    PREDICATE_TYPES
        .iter()
        .find_map(|key| annotations.get(*key).map(String::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn badge(artifact_type: &str, annotations: &[(&str, &str)]) -> Badge {
        let mut descriptor = Descriptor::new("application/x", Digest::sha256(b"x"), 1);
        descriptor.artifact_type = Some(artifact_type.into());
        let annotations = annotations.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        descriptor.annotations = annotations.collect();
        Badge::of_descriptor(&descriptor)
    }

    #[test]
    fn people_see_what_it_is() {
        const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
        let statement = |predicate| badge(BUNDLE, &[("dev.sigstore.bundle.predicateType", predicate)]);
        assert_eq!(statement(COSIGN_SIGN), Badge::Signature);
        assert_eq!(statement("https://slsa.dev/provenance/v1"), Badge::Attestation);
        assert_eq!(statement("https://spdx.dev/Document"), Badge::Sbom);
        assert_eq!(badge(BUNDLE, &[]), Badge::Signature);
        assert_eq!(badge("application/vnd.cncf.notary.signature", &[]), Badge::Signature);
        assert_eq!(badge("application/vnd.cyclonedx+json", &[]), Badge::Sbom);
        assert_eq!(badge("application/x", &[]), Badge::Other);
    }
}
