//! One manifest of an image, and what it is made of: manifests and blobs. It is read strictly: what is not understood cannot be copied.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::oci::media_type::ManifestKind;
use crate::oci::{Descriptor, Digest, Manifest};
use crate::registry::RawManifest;

/// A manifest.
#[derive(Clone, Debug)]
pub(super) struct GraphNode {
    pub(super) raw: RawManifest,
    pub(super) manifest: Manifest,
    /// The manifests that it lists.
    pub(super) children: Vec<Descriptor>,
    /// The blobs that it lists.
    pub(super) blobs: BTreeMap<Digest, Descriptor>,
    /// Links from the image to it: 0 for what the image itself is made of.
    pub(super) level: usize,
}

/// Lists of descriptors in manifests of any kind.
const LISTS: [&str; 4] = ["manifests", "layers", "blobs", "objects"];

impl GraphNode {
    /// # Errors
    /// If it is no manifest that is known, or lists something that cannot be read.
    pub(super) fn new(raw: RawManifest, level: usize) -> Result<Self, String> {
        let members: Map<String, Value> = serde_json::from_slice(&raw.bytes).map_err(|error| error.to_string())?;
        let manifest = Manifest::from_members(&members, &raw.media_type).map_err(|error| error.to_string())?;
        for list in LISTS {
            let entries = members.get(list).and_then(Value::as_array).into_iter().flatten();
            if let Some(odd) = entries.into_iter().find(|entry| Descriptor::from_json(entry).is_none()) {
                return Err(format!("it lists something without a digest in '{list}': {odd}"));
            }
        }
        let (children, blobs): (Vec<_>, Vec<_>) =
            listed(&manifest).partition(|(descriptor, is_blob)| !is_blob && may_be_manifest(&descriptor.media_type));
        let raw = RawManifest {
            media_type: manifest.media_type.clone(),
            ..raw
        };
        Ok(Self {
            children: children.into_iter().map(|(child, _)| child).collect(),
            blobs: blobs.into_iter().map(|(blob, _)| (blob.digest.clone(), blob)).collect(),
            raw,
            manifest,
            level,
        })
    }

    /// As a layout lists it.
    pub(super) fn descriptor(&self) -> Descriptor {
        let raw = &self.raw;
        let config = self.manifest.config.as_ref().map(|config| &config.media_type);
        // An image's config is no type of an artifact.
        let artifact_type = self.manifest.artifact_type.clone().filter(|own| Some(own) != config);
        Descriptor {
            artifact_type,
            ..Descriptor::new(raw.media_type.clone(), raw.digest.clone(), raw.bytes.len() as u64)
        }
    }

    /// Whether only registries of one proposal take it, and others keep it in an envelope.
    pub(super) fn is_of_a_proposal(&self) -> bool {
        match self.manifest.kind {
            ManifestKind::Artifact | ManifestKind::OrasArtifact | ManifestKind::Node => true,
            ManifestKind::Image | ManifestKind::Index => false,
        }
    }

    /// Whether it says itself that it refers to `subject`.
    pub(super) fn states(&self, subject: &Digest) -> bool {
        self.manifest.own_subjects().iter().any(|(stated, _)| stated == subject)
    }
}

/// Everything that a manifest lists, and whether it is a blob whatever its media type says.
fn listed(manifest: &Manifest) -> impl Iterator<Item = (Descriptor, bool)> {
    let in_blobs = manifest
        .layers
        .iter()
        .chain(&manifest.config)
        .map(|blob| (blob.clone(), true));
    let by_type = manifest
        .manifests
        .iter()
        .chain(&manifest.blobs)
        .chain(&manifest.objects);
    in_blobs.chain(by_type.map(|listed| (listed.clone(), false)))
}

/// What an index lists without a type is looked at.
fn may_be_manifest(media_type: &str) -> bool {
    media_type.is_empty() || ManifestKind::of(media_type).is_some()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::oci::media_type::{OCI_IMAGE_INDEX, OCI_IMAGE_MANIFEST};

    fn node(media_type: &str, manifest: &Value) -> Result<GraphNode, String> {
        let bytes = manifest.to_string();
        let raw = RawManifest {
            digest: Digest::sha256(bytes.as_bytes()),
            media_type: media_type.to_owned(),
            bytes: bytes.into(),
        };
        GraphNode::new(raw, 0)
    }

    fn entry(media_type: &str, name: &str) -> Value {
        json!({"mediaType": media_type, "digest": Digest::sha256(name.as_bytes()), "size": 1})
    }

    #[test]
    fn manifests_are_told_from_blobs() {
        let image = json!({"schemaVersion": 2, "config": entry("x/y", "config"), "layers": [entry(OCI_IMAGE_MANIFEST, "layer")]});
        let image = node("", &image).unwrap();
        assert_eq!((image.children.len(), image.blobs.len()), (0, 2));
        assert_eq!(image.raw.media_type, OCI_IMAGE_MANIFEST);
        // A build cache is an index of layers.
        let index = json!({"manifests": [entry(OCI_IMAGE_MANIFEST, "image"), entry("x/layer", "layer")]});
        let index = node(OCI_IMAGE_INDEX, &index).unwrap();
        assert_eq!((index.children.len(), index.blobs.len()), (1, 1));
    }

    #[test]
    fn what_is_not_understood_is_no_node() {
        for (media_type, manifest) in [
            (OCI_IMAGE_INDEX, json!({"manifests": [{"digest": "x"}]})),
            (OCI_IMAGE_MANIFEST, json!({"layers": [7]})),
            (
                "application/vnd.docker.distribution.manifest.v1+prettyjws",
                json!({"fsLayers": []}),
            ),
            ("", json!({})),
            ("", json!([])),
        ] {
            assert!(node(media_type, &manifest).is_err(), "{manifest}");
        }
    }
}
