//! What the content of an artifact says: a signature's certificate and payload, an attestation's statement, an SBOM's packages.
//!
//! Everything is foreign, and nothing is verified: who reads this on a page is told so. Documents are read into types that keep a bounded
//! number of entries, so that no document takes much more memory than its bytes.

mod bundle;
mod capped;
mod certificate;
mod cosign;
mod image_config;
mod index_platforms;
mod notation;
mod sbom;
mod slsa;
mod statement;

use crate::oci::media_type::essence;
use crate::oci::{Descriptor, Manifest};

pub use certificate::Signer;
pub use cosign::logged_at;
pub use image_config::ImageConfig;
pub use index_platforms::platform_names;
pub use sbom::PackageList;

/// Largest content that is read, in bytes.
pub const MAX_CONTENT: usize = 8 << 20;
/// Parts of an artifact that are read.
const MAX_PARTS: usize = 4;

/// What can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentFormat {
    /// A sigstore bundle.
    Bundle,
    /// cosign's simple signing payload, with its signature and certificate in the layer's annotations.
    SimpleSigning,
    /// An in-toto statement, in a DSSE envelope or without.
    Statement,
    /// A notation signature in JWS.
    Notation,
    Spdx,
    CycloneDx,
}

impl ContentFormat {
    /// For the fuzz targets.
    #[cfg(any(test, fuzzing))]
    pub(crate) const ALL: [Self; 6] = [
        Self::Bundle,
        Self::SimpleSigning,
        Self::Statement,
        Self::Notation,
        Self::Spdx,
        Self::CycloneDx,
    ];

    /// By media type; `None` for what cannot be read.
    fn of(media_type: &str) -> Option<Self> {
        let media_type = essence(media_type).to_ascii_lowercase();
        let json = media_type.contains("json");
        Some(match media_type.as_str() {
            "application/jose+json" => Self::Notation,
            _ if media_type.contains("dev.sigstore.bundle") => Self::Bundle,
            _ if media_type.contains("dev.cosign.simplesigning") => Self::SimpleSigning,
            _ if media_type.contains("dsse.envelope") || media_type.contains("in-toto") => Self::Statement,
            _ if media_type.contains("spdx") && json => Self::Spdx,
            _ if media_type.contains("cyclonedx") && json => Self::CycloneDx,
            _ => return None,
        })
    }
}

/// The parts of an artifact that can be read, each with its format: by its own media type, or where it is the only part and its type
/// says nothing (as `oras attach` writes it), by the artifact's.
pub fn readable_parts(manifest: &Manifest) -> Vec<(ContentFormat, &Descriptor)> {
    let parts: Vec<&Descriptor> = manifest.layers.iter().chain(&manifest.blobs).collect();
    let whole = manifest.artifact_type.as_deref().and_then(ContentFormat::of);
    let whole = whole.filter(|_| parts.len() == 1);
    let formats = parts.iter().filter_map(|part| {
        let format = ContentFormat::of(&part.media_type).or(whole)?;
        Some((format, *part))
    });
    formats.take(MAX_PARTS).collect()
}

/// What one part of an artifact says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArtifactClaims {
    pub signer: Option<Signer>,
    /// The digests that were signed, such as `sha256:…`.
    pub subjects: Vec<String>,
    /// Number of subjects, of which `subjects` has the first.
    pub all_subjects: usize,
    /// The name under which the image was signed.
    pub signed_name: Option<String>,
    pub predicate_type: Option<String>,
    /// What an attestation's predicate says, each with its name.
    pub facts: Vec<(&'static str, String)>,
    pub packages: Option<PackageList>,
}

/// Reads a part.
///
/// # Errors
/// If it is not what its media type says.
pub fn read_claims(
    format: ContentFormat,
    part: &Descriptor,
    bytes: &[u8],
) -> Result<ArtifactClaims, serde_json::Error> {
    match format {
        ContentFormat::Bundle => bundle::read(bytes),
        ContentFormat::SimpleSigning => cosign::read(part, bytes),
        ContentFormat::Statement => cosign::read_attestation(part, bytes),
        ContentFormat::Notation => notation::read(bytes),
        ContentFormat::Spdx => sbom::read_spdx(bytes).map(of_packages),
        ContentFormat::CycloneDx => sbom::read_cyclonedx(bytes).map(of_packages),
    }
}

fn of_packages(packages: PackageList) -> ArtifactClaims {
    ArtifactClaims {
        packages: Some(packages),
        ..ArtifactClaims::default()
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
