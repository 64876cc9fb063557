//! What a pushed manifest must fulfil for its links to be found again.

use serde_json::{Map, Value};

use crate::oci::media_type::ManifestKind;
use crate::oci::{Descriptor, Digest, LinkTag, LinkTagKind, Manifest, SubjectKey, Tag, tag_scheme};

use super::error::WriteError;

/// The fields that hold one descriptor of a subject, in any dialect.
const SUBJECT_FIELDS: [&str; 3] = ["subject", "refers", "reference"];

/// Checks what proposals A, ORAS and C ask of their manifests, and that a subject which is named can be understood: it would
/// be acknowledged and never found otherwise. `members` are the manifest's JSON.
pub(super) fn validate(manifest: &Manifest, members: &Map<String, Value>) -> Result<(), WriteError> {
    for field in SUBJECT_FIELDS {
        match members.get(field) {
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

/// Checks that what goes under a Proposal D tag is what the tag links: otherwise whoever may push could replace another
/// artifact's link by something else. `manifest` is what `bytes` are, where that is known.
pub(super) fn fits_tag(tag: &Tag, manifest: Option<&Manifest>, bytes: &[u8]) -> Result<(), WriteError> {
    let Some(LinkTag {
        subject,
        kind: LinkTagKind::ProposalD { hash, .. },
    }) = tag_scheme::parse(tag.as_str())
    else {
        return Ok(());
    };
    let own = Digest::encoded_by_all(bytes);
    if own.iter().any(|encoded| encoded.starts_with(&hash)) {
        return Ok(());
    }
    let lists_it = manifest.is_some_and(|manifest| {
        manifest
            .parts()
            .any(|listed| listed.digest.encoded().starts_with(&hash))
            || manifest
                .manifests
                .iter()
                .any(|listed| SubjectKey::of(&listed.digest) == subject)
    });
    match lists_it {
        true => Ok(()),
        false => Err(WriteError::invalid(format!(
            "the tag {tag} links a manifest whose digest begins with {hash}; this one's is sha256:{}, and it lists none \
             either: push it under another tag",
            own[0]
        ))),
    }
}

fn is_node(descriptor: &Descriptor) -> bool {
    ManifestKind::of(&descriptor.media_type) == Some(ManifestKind::Node)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::oci::media_type::{OCI_ARTIFACT_MANIFEST, OCI_IMAGE_INDEX, OCI_IMAGE_MANIFEST, OCI_NODE};

    fn check(media_type: &str, json: &Value) -> Result<(), String> {
        let members = json.as_object().unwrap();
        let manifest = Manifest::from_members(members, media_type).unwrap();
        validate(&manifest, members).map_err(|e| e.to_string())
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

    /// Pushes `json` under the tag by which `linked` refers to `subject`.
    fn fits(linked: &Digest, subject: &Digest, media_type: &str, json: &Value) -> bool {
        let bytes = json.to_string();
        let tag = tag_scheme::proposal_d_tag(subject, linked, "sig").unwrap();
        let manifest = Manifest::parse(bytes.as_bytes(), media_type).ok();
        fits_tag(&tag, manifest.as_ref(), bytes.as_bytes()).is_ok()
    }

    #[test]
    fn a_link_tag_takes_only_what_it_links() {
        let (subject, linked) = (Digest::sha256(b"subject"), Digest::sha256(b"linked"));
        let listing = |digest: &Digest| json!({"mediaType": OCI_IMAGE_MANIFEST, "digest": digest, "size": 1});
        let artifact = json!({"annotations": {"a": "b"}});
        let own = Digest::sha256(artifact.to_string().as_bytes());
        let blake3 = format!("blake3:{}", Digest::encoded_by_all(artifact.to_string().as_bytes())[3]);
        let blake3 = Digest::parse(&blake3).unwrap();
        for (linked, media_type, json) in [
            (&own, OCI_IMAGE_MANIFEST, artifact.clone()),
            (&own, "application/x-unknown", artifact.clone()),
            (&blake3, OCI_IMAGE_MANIFEST, artifact.clone()),
            (&linked, OCI_IMAGE_INDEX, json!({"manifests": [listing(&linked)]})),
            (&linked, OCI_IMAGE_INDEX, json!({"manifests": [listing(&subject)]})),
            (&linked, OCI_IMAGE_MANIFEST, json!({"layers": [listing(&linked)]})),
        ] {
            assert!(fits(linked, &subject, media_type, &json), "{json}");
        }
        for (media_type, json) in [
            (OCI_IMAGE_MANIFEST, artifact),
            ("application/x-unknown", json!("junk")),
            (OCI_IMAGE_INDEX, json!({"manifests": [listing(&own)]})),
            // Anybody may name the other artifact as a subject.
            (OCI_IMAGE_MANIFEST, json!({"subject": listing(&linked)})),
            (OCI_IMAGE_MANIFEST, json!({"layers": [listing(&subject)]})),
        ] {
            assert!(!fits(&linked, &subject, media_type, &json), "{json}");
        }
        let ordinary = Tag::parse("v1").unwrap();
        assert!(fits_tag(&ordinary, None, b"junk").is_ok());
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
