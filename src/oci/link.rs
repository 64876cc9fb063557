//! Links: that one manifest refers to another, and every known way to write that down.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::descriptor::{Annotations, Descriptor};
use super::digest::Digest;
use super::manifest::{ANNOTATION_REFERENCE, ANNOTATION_REFERENCE_DIGEST};

const ANNOTATION_BUILDKIT_TYPE: &str = "vnd.docker.reference.type";
const ANNOTATION_BUILDKIT_DIGEST: &str = "vnd.docker.reference.digest";
const BUILDKIT_ATTESTATION: &str = "attestation-manifest";

/// How a link was written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkSource {
    /// OCI 1.1 (Proposal E, final): `subject` in an image manifest or index.
    Subject,
    /// Proposal E, early text: `refers`.
    Refers,
    /// Proposal A: `subject` in an artifact manifest.
    ProposalA,
    /// ORAS artifacts-spec: `subject` in its artifact manifest.
    Oras,
    /// Proposal B: `reference`, at the top or on a descriptor.
    ProposalB,
    /// Proposal C: `reference` of a node manifest.
    ProposalC,
    /// Proposal D: tag `<alg>-<ref>.<hash>.<type>`.
    ProposalDTag,
    /// Proposal D: annotation `org.opencontainers.reference` on a descriptor in an index.
    ProposalDAnnotation,
    /// Proposal D: the same annotation among a manifest's own.
    ProposalDManifestAnnotation,
    /// Proposal F: annotation `org.opencontainers.reference.digest` on a descriptor in an index.
    ProposalFAnnotation,
    /// cosign: tag `<alg>-<hex>.sig`, `.att`, `.sbom`.
    CosignTag,
    /// OCI 1.1: the referrers tag `<alg>-<ref>` ("fallback tag").
    ReferrersTag,
    /// BuildKit: `vnd.docker.reference.digest` on a descriptor in an index.
    Buildkit,
    /// The upstream's own `/referrers`.
    Native,
}

impl LinkSource {
    /// Every way to write down a link.
    pub const ALL: [Self; 14] = [
        Self::Subject,
        Self::Refers,
        Self::ProposalA,
        Self::Oras,
        Self::ProposalB,
        Self::ProposalC,
        Self::ProposalDTag,
        Self::ProposalDAnnotation,
        Self::ProposalDManifestAnnotation,
        Self::ProposalFAnnotation,
        Self::CosignTag,
        Self::ReferrersTag,
        Self::Buildkit,
        Self::Native,
    ];

    /// The name in JSON output, metrics and configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Subject => "subject",
            Self::Refers => "refers",
            Self::ProposalA => "proposal-a",
            Self::Oras => "oras",
            Self::ProposalB => "proposal-b",
            Self::ProposalC => "proposal-c",
            Self::ProposalDTag => "proposal-d-tag",
            Self::ProposalDAnnotation => "proposal-d-annotation",
            Self::ProposalDManifestAnnotation => "proposal-d-manifest-annotation",
            Self::ProposalFAnnotation => "proposal-f-annotation",
            Self::CosignTag => "cosign-tag",
            Self::ReferrersTag => "referrers-tag",
            Self::Buildkit => "buildkit",
            Self::Native => "native",
        }
    }
}

impl fmt::Display for LinkSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What refers to the subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LinkTarget {
    /// The manifest itself in which the link was found.
    This,
    /// A manifest that this one lists. Its descriptor is only a hint, so the manifest has to be read.
    Manifest(Descriptor),
    /// A blob: Proposal B's `reference` on a layer or config.
    Blob(Descriptor),
}

impl LinkTarget {
    /// Bytes of memory that it uses besides the enum itself.
    pub fn held(&self) -> usize {
        match self {
            Self::This => 0,
            Self::Manifest(descriptor) | Self::Blob(descriptor) => descriptor.held(),
        }
    }
}

/// A link found in a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestLink {
    pub subject: Digest,
    pub target: LinkTarget,
    #[serde(rename = "dialect")]
    pub source: LinkSource,
}

impl Descriptor {
    /// The subjects that this descriptor, in an index's `manifests`, is annotated with.
    pub fn stated_subjects(&self) -> impl Iterator<Item = (Digest, LinkSource)> {
        let annotations = &self.annotations;
        let buildkit = annotations
            .get(ANNOTATION_BUILDKIT_TYPE)
            .is_some_and(|t| t == BUILDKIT_ATTESTATION);
        let reference = self.reference.as_ref().map(|r| r.digest.clone());
        [
            (
                digest_in(annotations, ANNOTATION_REFERENCE),
                LinkSource::ProposalDAnnotation,
            ),
            (
                digest_in(annotations, ANNOTATION_REFERENCE_DIGEST),
                LinkSource::ProposalFAnnotation,
            ),
            (
                digest_in(annotations, ANNOTATION_BUILDKIT_DIGEST).filter(|_| buildkit),
                LinkSource::Buildkit,
            ),
            (reference, LinkSource::ProposalB),
        ]
        .into_iter()
        .filter_map(|(subject, source)| Some((subject?, source)))
    }
}

pub(super) fn digest_in(annotations: &Annotations, key: &str) -> Option<Digest> {
    Digest::parse(annotations.get(key)?).ok()
}
