//! Envelopes: plain image manifests that keep a manifest which the upstream refuses (design, "Writing").
//!
//! The original's exact bytes are a blob, so the blob's digest is the original's digest. The envelope's layers are that blob
//! and every blob the original lists, so that the registry's garbage collection keeps them.

use std::collections::HashSet;

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
/// The envelope's config; marks it for people who meet one without refshim.
pub const CONFIG_MEDIA_TYPE: &str = "application/vnd.dev.refshim.envelope.config.v1+json";
/// The layer with the original's bytes. Not the original's own type: registries look for a manifest, not a blob, behind a
/// layer that claims to be one.
pub const ORIGINAL_MEDIA_TYPE: &str = "application/vnd.dev.refshim.envelope.original.v1";
/// The config's content.
pub const CONFIG: &[u8] = b"{}";

/// What an envelope holds: `digest` and `size` of the blob with the original's bytes, and its `media_type`.
pub type Original = Descriptor;

/// The envelope of `original`, whose parsed form is `manifest`.
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
        // A manifest is no blob of the repository; the registry would refuse it as a layer.
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

/// Whether it is worth parsing `bytes` to see if they are an envelope.
pub fn may_be(bytes: &[u8]) -> bool {
    memmem::find(bytes, ANNOTATION_DIGEST.as_bytes()).is_some()
}

/// What `manifest` holds when it is an envelope: the layer that its annotation names must be there.
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
