//! A repository with one of everything that a page shows.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use crate::support::content::{IMAGE, INDEX, artifact, index};
use crate::support::{Endpoint, Pushed};

/// Of a workflow at GitHub, as sigstore's authority would issue it.
const CERTIFICATE: &str = include_str!("../../../src/ui/contents/samples/certificate.pem");
pub const WORKFLOW: &str = "https://github.com/o/app/.github/workflows/release.yaml@refs/tags/v1";
pub const ISSUER: &str = "https://token.actions.githubusercontent.com";
pub const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub const APP: &str = "o/app";

/// What is in the repository.
pub struct Contents {
    /// For amd64 and arm64, tagged `1.10`.
    pub index: Pushed,
    pub platforms: [Pushed; 2],
    pub signature: Pushed,
    pub provenance: Pushed,
    pub sbom: Pushed,
}

impl Contents {
    /// Puts everything into a registry, linked by tags.
    pub async fn push(at: &Endpoint) -> Self {
        let platforms = [platform(at, "amd64").await, platform(at, "arm64").await];
        let entries = platforms.iter().zip(["amd64", "arm64"]).map(|(image, architecture)| {
            let mut entry = image.descriptor();
            entry["platform"] = json!({"os": "linux", "architecture": architecture});
            entry
        });
        let both = at.put_manifest(APP, "1.10", INDEX, &index(entries)).await;
        let signature = attach(at, &both, BUNDLE, None, &bundle(&both)).await;
        let provenance = attach(at, &both, "application/vnd.in-toto+json", None, &provenance(&both)).await;
        let sbom = attach(
            at,
            &platforms[0],
            "application/spdx+json",
            Some("sbom.spdx.json"),
            &spdx(120),
        )
        .await;
        Self {
            index: both,
            platforms,
            signature,
            provenance,
            sbom,
        }
    }
}

async fn platform(at: &Endpoint, architecture: &str) -> Pushed {
    let layer = vec![b'x'; 5000];
    let config = json!({
        "os": "linux", "architecture": architecture, "created": "2026-03-04T05:06:07Z",
        "rootfs": {"type": "layers", "diff_ids": []}, "config": {},
    });
    let manifest = json!({
        "schemaVersion": 2, "mediaType": IMAGE,
        "config": blob(at, CONFIG, config.to_string()).await, "layers": [blob(at, LAYER, layer).await],
    });
    at.put_manifest(APP, "", IMAGE, &manifest).await
}

async fn blob(at: &Endpoint, media_type: &str, bytes: impl Into<bytes::Bytes>) -> Value {
    let bytes = bytes.into();
    let size = bytes.len();
    let digest = at.push_blob(APP, bytes).await;
    json!({"mediaType": media_type, "digest": digest.to_string(), "size": size})
}

/// An artifact under its Proposal D tag; with a title as oras attaches a file.
pub async fn attach(
    at: &Endpoint,
    subject: &Pushed,
    artifact_type: &str,
    title: Option<&str>,
    content: &Value,
) -> Pushed {
    at.push_blob(APP, "{}").await;
    let mut manifest = artifact(subject, artifact_type, artifact_type);
    let mut layer = blob(at, title.map_or(artifact_type, |_| LAYER), content.to_string()).await;
    if let Some(title) = title {
        layer["annotations"] = json!({"org.opencontainers.image.title": title});
    }
    manifest["layers"] = json!([layer]);
    let pushed = at.put_manifest(APP, "", IMAGE, &manifest).await;
    at.put_tag(APP, &pushed.proposal_d_tag(subject, "x"), &pushed).await;
    pushed
}

fn statement(subject: &Pushed, predicate_type: &str, predicate: &Value) -> Value {
    json!({
        "_type": "https://in-toto.io/Statement/v1", "predicateType": predicate_type, "predicate": predicate,
        "subject": [{"name": "app", "digest": {"sha256": subject.hex()}}],
    })
}

/// As cosign 3 signs without a key.
fn bundle(subject: &Pushed) -> Value {
    let certificate = CertificateDer::from_pem_slice(CERTIFICATE.as_bytes()).expect("a certificate");
    let statement = statement(subject, "https://sigstore.dev/cosign/sign/v1", &json!({}));
    json!({
        "mediaType": BUNDLE,
        "verificationMaterial": {
            "certificate": {"rawBytes": STANDARD.encode(certificate)},
            "tlogEntries": [{"logIndex": "4711", "integratedTime": "1795739100"}],
        },
        "dsseEnvelope": {
            "payload": STANDARD.encode(statement.to_string()), "payloadType": "application/vnd.in-toto+json", "signatures": [],
        },
    })
}

fn provenance(subject: &Pushed) -> Value {
    let predicate = json!({
        "buildDefinition": {
            "buildType": "https://actions.github.io/buildtypes/workflow/v1",
            "externalParameters": {"workflow": {"repository": "https://github.com/o/app", "ref": "refs/tags/v1"}},
        },
        "runDetails": {"builder": {"id": "https://github.com/actions/runner/github-hosted"}},
    });
    statement(subject, "https://slsa.dev/provenance/v1", &predicate)
}

pub fn spdx(packages: usize) -> Value {
    let packages: Vec<Value> = (0..packages)
        .map(|number| json!({"name": format!("package-{number}"), "versionInfo": "1.2.3", "licenseConcluded": "MIT"}))
        .collect();
    json!({"spdxVersion": "SPDX-2.3", "packages": packages})
}
