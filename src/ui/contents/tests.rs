//! The forms in which signers and builders write what they say.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use super::*;
use crate::oci::Digest;

const BUNDLE: &[u8] = include_bytes!("../../demo/sample/bundle.json");
/// Of a workflow at GitHub, with Fulcio's extensions in both spellings.
const CERTIFICATE: &str = include_str!("samples/certificate.pem");
const WORKFLOW: &str = "https://github.com/o/app/.github/workflows/release.yaml@refs/tags/v1";
const GITHUB: &str = "https://token.actions.githubusercontent.com";

fn part(media_type: &str) -> Descriptor {
    Descriptor::new(media_type, Digest::sha256(b"x"), 1)
}

fn read(format: ContentFormat, content: &Value) -> ArtifactClaims {
    read_claims(format, &part("x"), content.to_string().as_bytes()).unwrap()
}

fn der() -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(CERTIFICATE.as_bytes()).unwrap()
}

/// What the certificate says.
fn signer() -> Signer {
    Signer {
        identity: Some(WORKFLOW.to_owned()),
        issuer: Some(GITHUB.to_owned()),
        validity: Some((1_795_739_029, 1_795_825_429)),
        ..Signer::default()
    }
}

#[test]
fn formats_are_told_by_media_type() {
    for (media_type, format) in [
        (
            "application/vnd.dev.sigstore.bundle.v0.3+json",
            Some(ContentFormat::Bundle),
        ),
        (
            "application/vnd.dev.cosign.simplesigning.v1+json",
            Some(ContentFormat::SimpleSigning),
        ),
        ("application/vnd.dsse.envelope.v1+json", Some(ContentFormat::Statement)),
        ("application/vnd.in-toto+json", Some(ContentFormat::Statement)),
        ("application/jose+json", Some(ContentFormat::Notation)),
        ("text/spdx+json; charset=utf-8", Some(ContentFormat::Spdx)),
        ("application/vnd.cyclonedx+json", Some(ContentFormat::CycloneDx)),
        ("application/vnd.cyclonedx+xml", None),
        ("text/spdx", None),
        ("application/cose", None),
        ("application/vnd.oci.image.layer.v1.tar", None),
    ] {
        assert_eq!(ContentFormat::of(media_type), format, "{media_type}");
    }
    let attached = json!({
        "mediaType": "application/vnd.oci.image.manifest.v1+json", "artifactType": "application/spdx+json",
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": Digest::sha256(b"x"), "size": 1}],
    });
    let attached = Manifest::parse(attached.to_string().as_bytes(), "").unwrap();
    assert_eq!(
        readable_parts(&attached)[0].0,
        ContentFormat::Spdx,
        "as oras attaches files"
    );
}

#[test]
fn a_bundle_names_its_signer_and_what_was_signed() {
    let claims = read_claims(ContentFormat::Bundle, &part("x"), BUNDLE).unwrap();
    let image = "sha256:1b31c453fc391e47e772fbd016991a5dc7241f5250df61b28a545ee5353e6dd7";
    assert_eq!(claims.subjects, [image]);
    assert_eq!(
        claims.predicate_type.as_deref(),
        Some("https://sigstore.dev/cosign/sign/v1")
    );
    assert!(claims.signer.unwrap().key_hint.is_some());

    let keyless = json!({
        "verificationMaterial": {
            "certificate": {"rawBytes": STANDARD.encode(der())},
            "tlogEntries": [{"logIndex": "42", "integratedTime": "1767323050"}, {}],
        },
        "messageSignature": {"messageDigest": {"algorithm": "SHA2_256", "digest": STANDARD.encode([0xab; 32])}},
    });
    let claims = read(ContentFormat::Bundle, &keyless);
    assert_eq!(claims.subjects, [format!("sha256:{}", "ab".repeat(32))]);
    let logged = Signer {
        log_index: Some(42),
        logged: Some(1_767_323_050),
        ..signer()
    };
    assert_eq!(claims.signer, Some(logged.clone()));
    let chain = json!({"verificationMaterial": {
        "x509CertificateChain": {"certificates": [{"rawBytes": STANDARD.encode(der())}, {"rawBytes": ""}]},
    }});
    assert_eq!(read(ContentFormat::Bundle, &chain).signer, Some(signer()));
}

#[test]
fn cosigns_layers_have_their_certificate_beside_them() {
    let mut layer = part("application/vnd.dev.cosign.simplesigning.v1+json");
    layer.annotations = [
        ("dev.sigstore.cosign/certificate", CERTIFICATE),
        (
            "dev.sigstore.cosign/bundle",
            r#"{"Payload": {"integratedTime": 1767323050, "logIndex": 7}}"#,
        ),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into();
    let payload = json!({"critical": {
        "identity": {"docker-reference": "ghcr.io/o/app"}, "image": {"docker-manifest-digest": "sha256:ab"}, "type": "x",
    }, "optional": null});
    let claims = read_claims(ContentFormat::SimpleSigning, &layer, payload.to_string().as_bytes()).unwrap();
    assert_eq!(claims.subjects, ["sha256:ab"]);
    assert_eq!(claims.signed_name.as_deref(), Some("ghcr.io/o/app"));
    let signer = claims.signer.unwrap();
    assert_eq!(
        (signer.identity.as_deref(), signer.log_index),
        (Some(WORKFLOW), Some(7))
    );
}

#[test]
fn notations_payload_names_the_image() {
    let payload = json!({"targetArtifact": {"digest": "sha256:cd", "size": 1}}).to_string();
    let jws = json!({"payload": URL_SAFE_NO_PAD.encode(payload), "protected": "", "signature": "",
        "header": {"x5c": [STANDARD.encode(der()), "more"]}});
    let claims = read(ContentFormat::Notation, &jws);
    assert_eq!(claims.subjects, ["sha256:cd"]);
    assert_eq!(claims.signer, Some(signer()));
}

#[test]
fn provenance_says_what_built_the_image_from_what() {
    let statement = |kind: &str, predicate: Value| {
        let subject = json!([{"name": "app", "digest": {"sha256": "ef"}}]);
        json!({"_type": "https://in-toto.io/Statement/v1", "subject": subject, "predicateType": kind, "predicate": predicate})
    };
    let modern = statement(
        "https://slsa.dev/provenance/v1",
        json!({
            "buildDefinition": {
                "buildType": "https://actions.github.io/buildtypes/workflow/v1",
                "externalParameters": {"workflow": {"ref": "refs/heads/main", "repository": "https://github.com/o/app", "path": "x.yml"}},
                "resolvedDependencies": [{}, {}],
            },
            "runDetails": {"builder": {"id": "https://github.com/actions/runner"}, "metadata": {"invocationId": "run/1"}},
        }),
    );
    let claims = read(ContentFormat::Statement, &modern);
    assert_eq!(claims.subjects, ["sha256:ef"]);
    for fact in [
        ("Builder", "https://github.com/actions/runner"),
        ("Source", "https://github.com/o/app"),
        ("Dependencies", "2"),
    ] {
        assert!(
            claims.facts.contains(&(fact.0, fact.1.to_owned())),
            "{fact:?} in {:?}",
            claims.facts
        );
    }
    let early = statement(
        "https://slsa.dev/provenance/v0.2",
        json!({"builder": {"id": "b"}, "buildType": "t", "invocation": {"configSource": {"uri": "git+x"}}, "materials": [1]}),
    );
    let envelope = json!({"payloadType": "application/vnd.in-toto+json", "payload": STANDARD.encode(early.to_string()), "signatures": []});
    let claims = read(ContentFormat::Statement, &envelope);
    assert!(
        claims.facts.contains(&("Source", "git+x".to_owned())),
        "{:?}",
        claims.facts
    );
    let sbom = statement(
        "https://spdx.dev/Document",
        json!({"spdxVersion": "SPDX-2.3", "packages": [{"name": "p"}]}),
    );
    assert_eq!(read(ContentFormat::Statement, &sbom).packages.unwrap().total, 1);
}

#[test]
fn packages_are_listed_up_to_a_limit() {
    let spdx = json!({"spdxVersion": "SPDX-2.3", "packages": [
        {"name": "a", "versionInfo": "1", "licenseConcluded": "NOASSERTION", "licenseDeclared": "MIT"}, {"name": "b"},
    ]});
    let list = read(ContentFormat::Spdx, &spdx).packages.unwrap();
    assert_eq!((list.format.as_str(), list.total), ("SPDX-2.3", 2));
    let first = &list.packages[0];
    assert_eq!([&*first.name, &*first.version, &*first.licence], ["a", "1", "MIT"]);

    let components: Vec<Value> = (0..5000)
        .map(|number| json!({"group": "g", "name": number.to_string()}))
        .collect();
    let list = read(
        ContentFormat::CycloneDx,
        &json!({"specVersion": "1.6", "components": components}),
    );
    let list = list.packages.unwrap();
    assert_eq!(
        (list.format.as_str(), list.total, list.packages.len()),
        ("CycloneDX 1.6", 5000, 2000)
    );
    assert_eq!(list.packages[7].name, "g/7");
    let licences = json!([{"license": {"id": "MIT"}}, {"expression": "Apache-2.0 OR BSD"}]);
    let list = read(
        ContentFormat::CycloneDx,
        &json!({"components": [{"name": "x", "licenses": licences}]}),
    );
    assert_eq!(list.packages.unwrap().packages[0].licence, "MIT, Apache-2.0 OR BSD");
}

#[test]
fn platforms_and_configs_are_read_leniently() {
    let digest = Digest::sha256(b"x");
    let index = json!({"manifests": [
        {"digest": digest, "platform": {"os": "linux", "architecture": "arm", "variant": "v7"}}, {"digest": "x"}, {},
    ]});
    let names = platform_names(index.to_string().as_bytes());
    assert_eq!(names.get(&digest).map(String::as_str), Some("linux/arm/v7"));
    assert!(platform_names(b"[").is_empty());
    let config = ImageConfig::parse(br#"{"os":"linux","architecture":"amd64","created":"2026-01-02T03:04:05Z"}"#);
    assert_eq!(config.unwrap().platform().as_deref(), Some("linux/amd64"));
    assert_eq!(ImageConfig::parse(b"not json"), None);
}

#[test]
fn what_is_something_else_is_said_to_be() {
    for format in [
        ContentFormat::Bundle,
        ContentFormat::SimpleSigning,
        ContentFormat::Statement,
        ContentFormat::Notation,
    ] {
        for content in ["", "[]", "<html>", r#"{"payload":"!"}"#, "{\"critical\":1}"] {
            let read = read_claims(format, &part("x"), content.as_bytes());
            assert!(
                read.is_err() || read.as_ref().is_ok_and(|claims| claims.subjects.is_empty()),
                "{read:?}"
            );
        }
    }
    let bad = json!({"verificationMaterial": {"certificate": {"rawBytes": "AAAA"}}});
    assert_eq!(read(ContentFormat::Bundle, &bad).signer, Some(Signer::default()));
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
        let _ = Signer::of_der(&bytes);
        let _ = read_claims(ContentFormat::Bundle, &part("x"), &bytes);
    }
}
