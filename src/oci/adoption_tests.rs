use super::*;
use crate::oci::media_type::{DOCKER_MANIFEST, OCI_IMAGE_INDEX, OCI_IMAGE_MANIFEST};

const IMAGE_DIGEST: &str = "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";

fn subject() -> AdoptionSubject {
    AdoptionSubject {
        media_type: OCI_IMAGE_MANIFEST.to_owned(),
        digest: Digest::parse(IMAGE_DIGEST).unwrap(),
        size: 1234,
    }
}

const COSIGN: ArtifactHint = ArtifactHint {
    cosign: Some(CosignKind::Signature),
    is_attestation: false,
};
const BUILDKIT: ArtifactHint = ArtifactHint {
    cosign: None,
    is_attestation: true,
};

fn adopted(original: &str, media_type: &str, hint: ArtifactHint) -> Option<String> {
    let adoption = Adoption::of(original.as_bytes(), media_type, &subject(), hint)?;
    let bytes = adoption.apply(original.as_bytes(), media_type)?;
    Some(String::from_utf8(bytes.into()).unwrap())
}

/// A signature of cosign 2, to the byte: every process of refshim, of whatever version, makes this of it.
#[test]
fn cosigns_signature_becomes_these_bytes() {
    let original = include_str!("../../tests/golden/adopt/cosign.original.json");
    let expected = include_str!("../../tests/golden/adopt/cosign.adopted.json");
    let made = adopted(original, OCI_IMAGE_MANIFEST, COSIGN).unwrap();
    assert_eq!(made, expected);
    let digest = Digest::sha256(made.as_bytes());
    assert_eq!(
        digest.as_str(),
        "sha256:2966fc2b6811db2f7c94ca2f5e160e1d90f635f704dbec15fb63724ddd6b2851"
    );
}

#[test]
fn buildkits_attestation_becomes_these_bytes() {
    let original = include_str!("../../tests/golden/adopt/buildkit.original.json");
    let expected = include_str!("../../tests/golden/adopt/buildkit.adopted.json");
    let made = adopted(original, OCI_IMAGE_MANIFEST, BUILDKIT).unwrap();
    assert_eq!(made, expected);
    let digest = Digest::sha256(made.as_bytes());
    assert_eq!(
        digest.as_str(),
        "sha256:30091ec3e35c9dc05d82f7e73f46e89f50e5abe387cb69a05b79466f09f5bd8e"
    );
}

#[test]
fn white_space_escapes_and_numbers_stay_as_they_are() {
    let original = "{\n  \"annotations\": {\"a\": \"\\u00e9 }\", \"b\": \"\\/\"},\n  \"schemaVersion\" : 2.0\n}\n\n";
    let made = adopted(original, OCI_IMAGE_INDEX, ArtifactHint::default()).unwrap();
    let expected = format!(
        "{}\n,\"subject\":{{\"mediaType\":\"{OCI_IMAGE_MANIFEST}\",\"digest\":\"{IMAGE_DIGEST}\",\"size\":1234}}}}",
        original.trim_end().trim_end_matches('}').trim_end_matches('\n')
    );
    assert_eq!(made, expected);
    let manifest = Manifest::parse(made.as_bytes(), OCI_IMAGE_INDEX).unwrap();
    assert_eq!(manifest.subject.unwrap().digest.as_str(), IMAGE_DIGEST);
}

#[test]
fn what_names_a_subject_or_is_of_another_kind_is_not_adopted() {
    for (original, media_type) in [
        (r#"{"schemaVersion":2,"subject":null}"#, OCI_IMAGE_MANIFEST),
        // Go's parser takes these for `subject`.
        (r#"{"schemaVersion":2,"Subject":{}}"#, OCI_IMAGE_MANIFEST),
        (r#"{"schemaVersion":2,"ſubject":{}}"#, OCI_IMAGE_MANIFEST),
        (r#"{"schemaVersion":2}"#, DOCKER_MANIFEST),
        (
            r#"{"mediaType":"application/vnd.oci.image.index.v1+json"}"#,
            OCI_IMAGE_MANIFEST,
        ),
        (r#"{"mediaType":7}"#, OCI_IMAGE_MANIFEST),
        ("{}", OCI_IMAGE_MANIFEST),
        ("[]", OCI_IMAGE_MANIFEST),
    ] {
        assert_eq!(adopted(original, media_type, COSIGN), None, "{original}");
    }
}

#[test]
fn an_artifact_type_is_added_only_where_there_is_none() {
    let types = |original: &str, hint| {
        let adoption = Adoption::of(original.as_bytes(), OCI_IMAGE_MANIFEST, &subject(), hint);
        adoption.unwrap().artifact_type
    };
    let config =
        |media_type: &str| format!(r#"{{"config":{{"mediaType":"{media_type}","digest":"{IMAGE_DIGEST}","size":2}}}}"#);
    let sig = CosignKind::Signature.artifact_type();
    assert_eq!(types(&config(IMAGE_CONFIGS[0]), COSIGN).as_deref(), Some(sig));
    assert_eq!(
        types(&config(IMAGE_CONFIGS[0]), BUILDKIT).as_deref(),
        Some(BUILDKIT_ATTESTATION)
    );
    assert_eq!(types(&config(IMAGE_CONFIGS[0]), ArtifactHint::default()), None);
    assert_eq!(types(&config("application/vnd.acme"), COSIGN), None);
    assert_eq!(types(r#"{"artifactType":"application/vnd.acme"}"#, COSIGN), None);
    assert_eq!(types(r#"{"artifactType":""}"#, COSIGN), None);
}

#[test]
fn a_predicate_type_is_known_where_all_statements_have_it() {
    let predicate = |layers: &str, rest: &str| {
        let original = format!(r#"{{"layers":[{layers}]{rest}}}"#);
        Adoption::of(original.as_bytes(), OCI_IMAGE_MANIFEST, &subject(), BUILDKIT)
            .unwrap()
            .predicate_type
    };
    let layer = |predicate: &str| {
        format!(
            r#"{{"mediaType":"application/vnd.in-toto+json","digest":"{IMAGE_DIGEST}","size":2,"annotations":{{"{ANNOTATION_PREDICATE_TYPE}":"{predicate}"}}}}"#
        )
    };
    assert_eq!(predicate(&layer("p"), "").as_deref(), Some("p"));
    assert_eq!(predicate(&[layer("p"), layer("p")].join(","), "").as_deref(), Some("p"));
    assert_eq!(predicate(&[layer("p"), layer("q")].join(","), ""), None);
    assert_eq!(predicate(&layer("p"), r#","annotations":{}"#), None);
    assert_eq!(predicate("", ""), None);
}
