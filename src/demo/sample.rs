//! The sample of `refshim demo`: a small image with two signatures and an SBOM, each linked in another dialect.
//!
//! The image is the same on every machine, so its signatures were made once, with cosign and a private key that no longer exists. They verify
//! with the public key, which is a blob in the registry.

use bytes::Bytes;
use serde_json::{Value, json};

use super::error::RegistryError;
use super::registry::DemoRegistry;
use crate::oci::media_type::{OCI_EMPTY, OCI_IMAGE_INDEX, OCI_IMAGE_MANIFEST};
use crate::oci::tag_scheme::proposal_d_tag;
use crate::oci::{Digest, Reference, RepositoryName, SubjectKey, Tag};

const REPOSITORY: &str = "demo/app";
const TAG: &str = "1.0";
/// The creation date of everything in the sample, fixed so that digests never change.
const CREATED: &str = "2026-01-02T03:04:05Z";
const IMAGE_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const IMAGE_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const SIGSTORE_BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const SPDX: &str = "application/spdx+json";
const PUBLIC_KEY: &[u8] = include_bytes!("sample/cosign.pub");
/// The signature of the payload that [`simple_signing`] builds, in base64.
const SIGNATURE: &str = include_str!("sample/signature.b64");
const BUNDLE: &[u8] = include_bytes!("sample/bundle.json");

/// The contents that [`fill`] put into the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    pub repository: RepositoryName,
    pub tag: Tag,
    /// The image's digest.
    pub digest: Digest,
    /// The digest of the blob with the public key for the image's signatures (PEM).
    pub public_key: Digest,
    /// The manifests that refer to the image: by cosign tag, Proposal D tag, referrers tag.
    pub referrers: [Digest; 3],
}

/// Puts the sample into `registry`.
pub fn fill(registry: &DemoRegistry) -> Result<Sample, RegistryError> {
    let invalid = |name: &str| RegistryError::manifest_unknown(json!({ "Name": name }));
    let repository = RepositoryName::parse(REPOSITORY).map_err(|_| invalid(REPOSITORY))?;
    let tag = Tag::parse(TAG).map_err(|_| invalid(TAG))?;
    let shelf = SampleRepository {
        registry,
        repository: &repository,
    };
    let image = shelf.image(&tag)?;
    let referrers = [shelf.signature(&image)?, shelf.sbom(&image)?, shelf.bundle(&image)?];
    let public_key = registry.store().put_blob(&repository, PUBLIC_KEY);
    Ok(Sample {
        digest: image.digest,
        public_key,
        referrers: referrers.map(|put| put.digest),
        repository,
        tag,
    })
}

/// A manifest in the registry.
struct StoredSample {
    digest: Digest,
    size: usize,
}

impl StoredSample {
    fn descriptor(&self) -> Value {
        json!({"mediaType": OCI_IMAGE_MANIFEST, "digest": self.digest, "size": self.size})
    }
}

/// The repository for the sample.
struct SampleRepository<'a> {
    registry: &'a DemoRegistry,
    repository: &'a RepositoryName,
}

impl SampleRepository<'_> {
    /// Stores content and returns its descriptor.
    fn blob(&self, media_type: &str, bytes: impl Into<Bytes>) -> Value {
        let bytes = bytes.into();
        let size = bytes.len();
        let digest = self.registry.store().put_blob(self.repository, bytes);
        json!({"mediaType": media_type, "digest": digest, "size": size})
    }

    /// Stores a manifest under `tag`, or by its digest alone.
    fn manifest(&self, manifest: &Value, tag: Option<&Tag>) -> Result<StoredSample, RegistryError> {
        let bytes = Bytes::from(manifest.to_string());
        let size = bytes.len();
        let digest = Digest::sha256(&bytes);
        let reference = tag.map_or_else(|| Reference::from(digest), |tag| tag.clone().into());
        let media_type = manifest["mediaType"].as_str().unwrap_or_default();
        let mut store = self.registry.store();
        let digest = store.put_manifest(self.repository, &reference, media_type, bytes)?;
        Ok(StoredSample { digest, size })
    }

    fn image(&self, tag: &Tag) -> Result<StoredSample, RegistryError> {
        let layer = tar("etc/motd", b"Signed, attested, itemised.\n");
        let config = json!({
            "created": CREATED, "architecture": "amd64", "os": "linux", "config": {},
            "rootfs": {"type": "layers", "diff_ids": [Digest::sha256(&layer)]},
            "history": [{"created": CREATED, "created_by": "refshim demo"}],
        });
        let annotations = json!({
            "org.opencontainers.image.created": CREATED,
            "org.opencontainers.image.description": "A very small image that has referrers",
        });
        let manifest = json!({
            "schemaVersion": 2, "mediaType": OCI_IMAGE_MANIFEST, "annotations": annotations,
            "config": self.blob(IMAGE_CONFIG, config.to_string()), "layers": [self.blob(IMAGE_LAYER, layer)],
        });
        self.manifest(&manifest, Some(tag))
    }

    /// As `cosign sign` up to version 2: a tag that ends in `.sig`.
    fn signature(&self, image: &StoredSample) -> Result<StoredSample, RegistryError> {
        let payload = simple_signing(&image.digest);
        let config = json!({
            "architecture": "", "created": "0001-01-01T00:00:00Z", "config": {}, "os": "",
            "rootfs": {"type": "layers", "diff_ids": [Digest::sha256(payload.as_bytes())]},
            "history": [{"created": "0001-01-01T00:00:00Z"}],
        });
        let mut layer = self.blob(SIMPLE_SIGNING, payload);
        layer["annotations"] = json!({"dev.cosignproject.cosign/signature": SIGNATURE.trim_end()});
        let manifest = json!({
            "schemaVersion": 2, "mediaType": OCI_IMAGE_MANIFEST, "layers": [layer],
            "config": self.blob(IMAGE_CONFIG, config.to_string()),
        });
        self.manifest(
            &manifest,
            Some(&tag(&format!("{}.sig", SubjectKey::of(&image.digest)))?),
        )
    }

    /// Proposal D: a tag that names subject, artifact and type, and nothing in the manifest.
    fn sbom(&self, image: &StoredSample) -> Result<StoredSample, RegistryError> {
        let document = json!({
            "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT", "name": REPOSITORY,
            "documentNamespace": format!("https://refshim.example/{REPOSITORY}/{}", image.digest.encoded()),
            "creationInfo": {"created": CREATED, "creators": ["Tool: refshim-demo"]},
            "packages": [{"SPDXID": "SPDXRef-motd", "name": "motd", "versionInfo": TAG, "downloadLocation": "NOASSERTION"}],
        });
        let manifest = self.artifact(SPDX, SPDX, document.to_string(), None);
        let digest = Digest::sha256(manifest.to_string().as_bytes());
        let tag = proposal_d_tag(&image.digest, &digest, "sbom").ok_or_else(|| no_tag("sbom"))?;
        self.manifest(&manifest, Some(&tag))
    }

    /// As `cosign sign` of version 3: `subject` in the manifest, and the referrers tag because there is no API.
    fn bundle(&self, image: &StoredSample) -> Result<StoredSample, RegistryError> {
        let mut manifest = self.artifact(SIGSTORE_BUNDLE, SIGSTORE_BUNDLE, BUNDLE, Some(image));
        manifest["annotations"]["dev.sigstore.bundle.content"] = json!("dsse-envelope");
        manifest["annotations"]["dev.sigstore.bundle.predicateType"] = json!("https://sigstore.dev/cosign/sign/v1");
        let bundle = self.manifest(&manifest, None)?;
        let index = json!({"schemaVersion": 2, "mediaType": OCI_IMAGE_INDEX, "manifests": [bundle.descriptor()]});
        self.manifest(&index, Some(&tag(SubjectKey::of(&image.digest).as_str())?))?;
        Ok(bundle)
    }

    fn artifact(
        &self,
        artifact_type: &str,
        layer_type: &str,
        layer: impl Into<Bytes>,
        subject: Option<&StoredSample>,
    ) -> Value {
        let mut manifest = json!({
            "schemaVersion": 2, "mediaType": OCI_IMAGE_MANIFEST, "artifactType": artifact_type,
            "config": self.blob(OCI_EMPTY, "{}"), "layers": [self.blob(layer_type, layer)],
            "annotations": {"org.opencontainers.image.created": CREATED},
        });
        if let Some(subject) = subject {
            manifest["subject"] = subject.descriptor();
        }
        manifest
    }
}

fn tag(text: &str) -> Result<Tag, RegistryError> {
    Tag::parse(text).map_err(|_| no_tag(text))
}

fn no_tag(text: &str) -> RegistryError {
    RegistryError::manifest_unknown(json!({ "Tag": text }))
}

/// The payload that cosign signs. Its bytes are signed, so they are spelled out.
fn simple_signing(image: &Digest) -> String {
    format!(
        r#"{{"critical":{{"identity":{{"docker-reference":"{REPOSITORY}"}},"image":{{"docker-manifest-digest":"{image}"}},"type":"cosign container image signature"}},"optional":null}}"#
    )
}

/// A tar archive (POSIX ustar) of one file.
fn tar(path: &str, content: &[u8]) -> Bytes {
    const BLOCK: usize = 512;
    let mut header = [0_u8; BLOCK];
    let mut field = |offset: usize, value: &[u8]| header[offset..offset + value.len()].copy_from_slice(value);
    field(0, path.as_bytes());
    field(100, b"0000644\0");
    field(108, b"0000000\0");
    field(116, b"0000000\0");
    field(124, format!("{:011o}\0", content.len()).as_bytes());
    field(136, b"00000000000\0");
    field(148, b"        ");
    field(156, b"0");
    field(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut archive = Vec::with_capacity(4 * BLOCK);
    archive.extend_from_slice(&header);
    archive.extend_from_slice(content);
    // The file is filled up to a block; two empty blocks end the archive.
    archive.resize(archive.len().next_multiple_of(BLOCK) + 2 * BLOCK, 0);
    archive.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Signatures are over digests: whoever changes the image, or how it is printed, must sign anew.
    #[test]
    fn the_image_is_the_one_that_was_signed() {
        let sample = fill(&DemoRegistry::default()).unwrap();
        let signed = "sha256:1b31c453fc391e47e772fbd016991a5dc7241f5250df61b28a545ee5353e6dd7";
        assert_eq!(sample.digest.as_str(), signed);
        let payload = Digest::sha256(simple_signing(&sample.digest).as_bytes());
        let signed = "sha256:4890567fd07c317f47cb0f9aae5b83b9c05fe4a34b48facf3b4fbeecfee8389a";
        assert_eq!(payload.as_str(), signed);
    }

    #[test]
    fn all_content_of_the_sample_is_there() {
        let registry = DemoRegistry::default();
        let sample = fill(&registry).unwrap();
        let store = registry.store();
        assert_eq!(store.tags(&sample.repository).unwrap().len(), 4);
        for stored in store.manifests(&sample.repository) {
            let manifest = crate::oci::Manifest::parse(&stored.bytes, &stored.media_type).unwrap();
            for listed in manifest.contents().iter().chain(&manifest.config) {
                assert!(store.holds(&sample.repository, &listed.digest), "{listed:?}");
            }
        }
    }
}
