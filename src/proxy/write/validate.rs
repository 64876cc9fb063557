//! What a pushed manifest must be like for its links to be found again.

use serde_json::Value;

use crate::oci::media_type::ManifestKind;
use crate::oci::{Descriptor, Manifest};

use super::error::WriteError;

/// The fields that hold one descriptor of a subject, in any dialect.
const SUBJECT_FIELDS: [&str; 3] = ["subject", "refers", "reference"];

/// Checks what proposals A, ORAS and C ask of their manifests, and that a subject which is named can be understood: it would
/// be acknowledged and never found otherwise.
pub(super) fn validate(manifest: &Manifest, bytes: &[u8]) -> Result<(), WriteError> {
    let Ok(Value::Object(object)) = serde_json::from_slice(bytes) else {
        return Err(WriteError::invalid("the manifest is not a JSON object"));
    };
    for field in SUBJECT_FIELDS {
        match object.get(field) {
            None | Some(Value::Null) => {}
            Some(Value::Object(none)) if none.is_empty() => {}
            Some(Value::Array(several)) if several.len() > 1 => {
                return Err(WriteError::invalid(format!(
                    "'{field}' holds {} descriptors, one is allowed",
                    several.len()
                )));
            }
            Some(value) if Descriptor::from_json(value).is_none() => {
                return Err(WriteError::invalid(format!(
                    "'{field}' is not a descriptor with a valid digest"
                )));
            }
            Some(_) => {}
        }
    }
    match manifest.kind {
        ManifestKind::Artifact | ManifestKind::OrasArtifact if manifest.artifact_type.is_none() => {
            Err(WriteError::invalid("an artifact manifest needs an 'artifactType'"))
        }
        ManifestKind::Node if manifest.objects.iter().any(is_node) => Err(WriteError::invalid(
            "'objects' must not hold a descriptor of another node",
        )),
        _ => Ok(()),
    }
}

fn is_node(descriptor: &Descriptor) -> bool {
    ManifestKind::of(&descriptor.media_type) == Some(ManifestKind::Node)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::oci::Digest;
    use crate::oci::media_type::{OCI_ARTIFACT_MANIFEST, OCI_IMAGE_MANIFEST, OCI_NODE};

    fn check(media_type: &str, json: &Value) -> Result<(), String> {
        let bytes = json.to_string();
        let manifest = Manifest::parse(bytes.as_bytes(), media_type).unwrap();
        validate(&manifest, bytes.as_bytes()).map_err(|e| e.to_string())
    }

    #[test]
    fn refuses_what_the_proposals_refuse() {
        let descriptor = json!({"mediaType": OCI_NODE, "digest": Digest::sha256(b""), "size": 0});
        for (media_type, json, reason) in [
            (OCI_ARTIFACT_MANIFEST, json!({"blobs": []}), "artifactType"),
            (OCI_NODE, json!({"objects": [descriptor]}), "another node"),
            (
                OCI_NODE,
                json!({"reference": [descriptor, descriptor]}),
                "2 descriptors",
            ),
            (
                OCI_IMAGE_MANIFEST,
                json!({"subject": {"digest": "sha256:x"}}),
                "'subject' is not",
            ),
            (OCI_IMAGE_MANIFEST, json!({"subject": 7}), "'subject' is not"),
        ] {
            let refused = check(media_type, &json).unwrap_err();
            assert!(refused.contains(reason), "{refused}");
        }
    }

    #[test]
    fn accepts_no_reference_and_one() {
        let descriptor = json!({"mediaType": "x/y", "digest": Digest::sha256(b""), "size": 0});
        for json in [
            json!({}),
            json!({"reference": {}}),
            json!({"reference": null}),
            json!({"reference": descriptor}),
        ] {
            assert_eq!(check(OCI_NODE, &json), Ok(()), "{json}");
        }
    }
}
