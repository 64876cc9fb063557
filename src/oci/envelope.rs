//! Envelopes: ordinary image manifests in which refshim stores a manifest that the registry refuses.
//!
//! The original's exact bytes are a blob, so the blob's digest is the original's digest. The envelope's layers are that blob
//! and every blob the original lists, so that the registry's garbage collection keeps them.

use std::collections::HashSet;
use std::sync::LazyLock;

use bytes::Bytes;
use memchr::memmem;
use serde_json::json;

use super::descriptor::Descriptor;
use super::digest::Digest;
use super::manifest::Manifest;
use super::media_type::{ManifestKind, OCI_IMAGE_MANIFEST};

/// Annotation: the original's digest.
pub const ANNOTATION_DIGEST: &str = "dev.refshim.envelope.digest";
/// Annotation: the original's media type.
pub const ANNOTATION_MEDIA_TYPE: &str = "dev.refshim.envelope.media-type";
/// Media type of the envelope's config, which tells people what an envelope is.
pub const CONFIG_MEDIA_TYPE: &str = "application/vnd.dev.refshim.envelope.config.v1+json";
/// Media type of the layer with the original's bytes. It is not the original's own type, because registries look for a manifest, not a
/// blob, if a layer has a manifest's type.
pub const ORIGINAL_MEDIA_TYPE: &str = "application/vnd.dev.refshim.envelope.original.v1";
/// The config's content.
pub const CONFIG: &[u8] = b"{}";

/// The manifest in an envelope: its `digest`, `size` and `media_type`. Its bytes are a blob with this digest.
pub type Original = Descriptor;

/// Builds the envelope of `original`, which `manifest` is the parsed form of.
pub fn seal(original: &Original, manifest: &Manifest) -> Bytes {
    let layer = |d: &Descriptor| json!({"mediaType": d.media_type, "digest": d.digest, "size": d.size});
    let mut listed = HashSet::from([&original.digest]);
    let mut layers = vec![json!({"mediaType": ORIGINAL_MEDIA_TYPE, "digest": original.digest, "size": original.size})];
    let blobs = manifest
        .blobs
        .iter()
        .chain(&manifest.objects)
        .chain(&manifest.layers)
        .chain(&manifest.config);
    for blob in blobs {
        // Manifests are not blobs of the repository, so the registry would refuse them as layers.
        if ManifestKind::of(&blob.media_type).is_none() && listed.insert(&blob.digest) {
            layers.push(layer(blob));
        }
    }
    let envelope = json!({
        "schemaVersion": 2,
        "mediaType": OCI_IMAGE_MANIFEST,
        "config": {"mediaType": CONFIG_MEDIA_TYPE, "digest": Digest::sha256(CONFIG), "size": CONFIG.len()},
        "layers": layers,
        "annotations": {ANNOTATION_DIGEST: original.digest, ANNOTATION_MEDIA_TYPE: original.media_type},
    });
    Bytes::from(envelope.to_string())
}

/// Whether `bytes` may be an envelope: a quick test before they are parsed.
pub fn may_be(bytes: &[u8]) -> bool {
    // Made once: to ready a search costs more than to search one manifest.
    static ANNOTATION: LazyLock<memmem::Finder<'static>> = LazyLock::new(|| memmem::Finder::new(ANNOTATION_DIGEST));
    ANNOTATION.find(bytes).is_some()
}

/// The original, if `manifest` is an envelope: it must have the layer that its annotation names.
pub fn open(manifest: &Manifest) -> Option<Original> {
    let is_envelope = manifest
        .config
        .as_ref()
        .is_some_and(|c| c.media_type == CONFIG_MEDIA_TYPE);
    let digest = Digest::parse(manifest.annotations.get(ANNOTATION_DIGEST)?).ok()?;
    let media_type = manifest.annotations.get(ANNOTATION_MEDIA_TYPE)?;
    let layer = manifest
        .layers
        .iter()
        .find(|layer| is_envelope && layer.digest == digest)?;
    Some(Descriptor::new(media_type.clone(), digest, layer.size))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::media_type::OCI_ARTIFACT_MANIFEST;

    #[test]
    fn what_was_sealed_opens() {
        let blob = Digest::sha256(b"blob");
        let bytes = json!({"mediaType": OCI_ARTIFACT_MANIFEST, "artifactType": "a/b",
            "blobs": [{"mediaType": "x/y", "digest": blob, "size": 4}]})
        .to_string();
        let manifest = Manifest::parse(bytes.as_bytes(), "").unwrap();
        let original = Descriptor::new(
            OCI_ARTIFACT_MANIFEST,
            Digest::sha256(bytes.as_bytes()),
            bytes.len() as u64,
        );
        let envelope = Manifest::parse(&seal(&original, &manifest), OCI_IMAGE_MANIFEST).unwrap();
        assert_eq!(open(&envelope), Some(original));
        assert!(envelope.layers.iter().any(|l| l.digest == blob));
        assert!(
            envelope
                .layers
                .iter()
                .all(|l| ManifestKind::of(&l.media_type).is_none())
        );
        assert_eq!(open(&manifest), None);
    }
}
