//! The media types that refshim distinguishes.

/// An image index (image-spec).
pub const OCI_IMAGE_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// An image manifest (image-spec).
pub const OCI_IMAGE_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub const DOCKER_MANIFEST_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Proposal A.
pub const OCI_ARTIFACT_MANIFEST: &str = "application/vnd.oci.artifact.manifest.v1+json";
/// ORAS artifacts-spec.
pub const ORAS_ARTIFACT_MANIFEST: &str = "application/vnd.cncf.oras.artifact.manifest.v1+json";
/// Proposal C.
pub const OCI_NODE: &str = "application/vnd.oci.node.v1+json";
/// The two-byte JSON object `{}`, a placeholder config (image-spec 1.1).
pub const OCI_EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// The `Accept` header of every manifest request: without the index types, Distribution 2.8 and GHCR answer 404 for an index.
pub const ACCEPT_MANIFESTS: &str = concat!(
    "application/vnd.oci.image.index.v1+json, ",
    "application/vnd.oci.image.manifest.v1+json, ",
    "application/vnd.docker.distribution.manifest.list.v2+json, ",
    "application/vnd.docker.distribution.manifest.v2+json, ",
    "application/vnd.oci.artifact.manifest.v1+json, ",
    "application/vnd.cncf.oras.artifact.manifest.v1+json, ",
    "application/vnd.oci.node.v1+json, ",
    "*/*;q=0.1"
);

/// The kind of a [`super::Manifest`], by its media type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ManifestKind {
    /// An image manifest, OCI's or Docker's.
    Image,
    /// An image index, or Docker's manifest list.
    Index,
    /// Proposal A's artifact manifest.
    Artifact,
    /// ORAS' artifact manifest.
    OrasArtifact,
    /// Proposal C's node manifest.
    Node,
}

impl ManifestKind {
    /// `None` if the media type is not a manifest's.
    pub fn of(media_type: &str) -> Option<Self> {
        match media_type {
            OCI_IMAGE_MANIFEST | DOCKER_MANIFEST => Some(Self::Image),
            OCI_IMAGE_INDEX | DOCKER_MANIFEST_LIST => Some(Self::Index),
            OCI_ARTIFACT_MANIFEST => Some(Self::Artifact),
            ORAS_ARTIFACT_MANIFEST => Some(Self::OrasArtifact),
            OCI_NODE => Some(Self::Node),
            _ => None,
        }
    }
}

/// Whether a media type says nothing of what the content is: what a server gives that keeps no types, or none.
pub fn says_nothing(media_type: &str) -> bool {
    const GENERIC: [&str; 3] = ["application/json", "application/octet-stream", "text/plain"];
    media_type.is_empty() || GENERIC.iter().any(|generic| media_type.eq_ignore_ascii_case(generic))
}

/// The media type without its parameters, trimmed.
pub fn essence(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}
