//! Promise: `refshim audit` says which images have a signature, an SBOM and a provenance, in which dialects and since when, and which links
//! are broken; what could not be established is unknown, never missing and never there; and it costs what it says, and no more than it may.

mod bounds;
mod evidence;
mod faults;
mod formats;
mod pulls;
mod targets;
mod unknown;

use serde_json::{Value, json};

use crate::support::cli::{Ended, refshim};
use crate::support::content::{self, IMAGE, INDEX};
use crate::support::{Endpoint, Pushed};

const SPDX: &str = "application/spdx+json";
const IN_TOTO: &str = "application/vnd.in-toto+json";
const CREATED: &str = "org.opencontainers.image.created";
const SBOM_STATEMENT: &str = "https://spdx.dev/Document";
const PROVENANCE_STATEMENT: &str = "https://slsa.dev/provenance/v1";

/// Images of every kind in one repository.
struct Images {
    /// `signed`: a cosign signature, and an SBOM in the referrers tag.
    signed: Pushed,
    signature: Pushed,
    sbom: Pushed,
    /// `multi`: an index for two platforms.
    amd64: Pushed,
    arm: Pushed,
    index: Pushed,
}

impl Images {
    /// `attested`: the platforms that have attestations as BuildKit writes them.
    async fn push(endpoint: &Endpoint, attested: usize) -> Self {
        let signed = endpoint.push_image("app", "signed", "signed").await;
        let signature = content::bare_image("signature");
        let tag = format!("{}.sig", signed.referrers_tag());
        let signature = endpoint.put_manifest("app", &tag, IMAGE, &signature).await;
        let mut sbom = content::artifact(&signed, SPDX, "sbom");
        sbom["annotations"][CREATED] = "2026-01-02T03:04:05Z".into();
        let sbom = endpoint.put_manifest("app", "", IMAGE, &sbom).await;
        let mut entry = sbom.descriptor();
        entry["artifactType"] = SPDX.into();
        let list = content::index([entry]);
        endpoint
            .put_manifest("app", &signed.referrers_tag(), INDEX, &list)
            .await;
        endpoint.push_image("app", "plain", "plain").await;

        let amd64 = endpoint.push_image("app", "", "amd64").await;
        let arm = endpoint.push_image("app", "", "arm").await;
        let on = |pushed: &Pushed, platform: Value| {
            let mut entry = pushed.descriptor();
            entry["platform"] = platform;
            entry
        };
        let mut entries = vec![
            on(&amd64, json!({"os": "linux", "architecture": "amd64"})),
            on(&arm, json!({"os": "linux", "architecture": "arm", "variant": "v7"})),
        ];
        for platform in [&amd64, &arm].into_iter().take(attested) {
            let attestation = attestation(endpoint, platform).await;
            let mut entry = on(&attestation, json!({"os": "unknown", "architecture": "unknown"}));
            entry["annotations"] = json!({"vnd.docker.reference.type": "attestation-manifest",
                "vnd.docker.reference.digest": platform.digest});
            entries.push(entry);
        }
        let index = endpoint
            .put_manifest("app", "multi", INDEX, &content::index(entries))
            .await;
        Self {
            signed,
            signature,
            sbom,
            amd64,
            arm,
            index,
        }
    }
}

/// An attestation manifest as BuildKit writes it: one layer for each statement.
async fn attestation(endpoint: &Endpoint, of: &Pushed) -> Pushed {
    let mut layers = Vec::new();
    for statement in [SBOM_STATEMENT, PROVENANCE_STATEMENT] {
        let text = format!("{statement} of {}", of.digest);
        let digest = endpoint.push_blob("app", text.clone()).await;
        layers.push(
            json!({"mediaType": IN_TOTO, "digest": digest.to_string(), "size": text.len(),
            "annotations": {"in-toto.io/predicate-type": statement}}),
        );
    }
    let mut manifest = content::bare_image(&format!("attestation of {}", of.digest));
    manifest["layers"] = layers.into();
    endpoint.put_manifest("app", "", IMAGE, &manifest).await
}

/// Signs with cosign's tag.
async fn sign(endpoint: &Endpoint, image: &Pushed) -> Pushed {
    let tag = format!("{}.sig", image.referrers_tag());
    let signature = content::bare_image(&format!("signature of {}", image.digest));
    endpoint.put_manifest("app", &tag, IMAGE, &signature).await
}

/// `refshim audit … --output json`, and how it ended.
async fn audit(arguments: &[&str]) -> (Value, Ended) {
    let ended = refshim(&[&["audit", "--output", "json"], arguments].concat()).await;
    let report = serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
    (report, ended)
}

/// The same, which must succeed.
async fn complete(arguments: &[&str]) -> Value {
    let (report, ended) = audit(arguments).await;
    assert_eq!((ended.code, &report["complete"]), (Some(0), &json!(true)), "{ended:?}");
    report
}

/// The image with this tag, in the first repository that has it.
#[track_caller]
fn image<'a>(report: &'a Value, tag: &str) -> &'a Value {
    let repositories = report["repositories"].as_array().unwrap().iter();
    let mut images = repositories.flat_map(|repository| repository["images"].as_array().unwrap());
    let found = images.find(|image| image["tags"].as_array().unwrap().contains(&json!(tag)));
    found.unwrap_or_else(|| panic!("no image {tag} in {report:#}"))
}

/// Whether an image or platform has signature, SBOM, provenance.
fn presence(of: &Value) -> [&str; 3] {
    ["signature", "sbom", "provenance"].map(|kind| of[kind]["presence"].as_str().unwrap())
}
