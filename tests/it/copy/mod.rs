//! Promise: `refshim copy` takes an image along with everything that refers to it, byte for byte, between registries and layouts; exit
//! code 0 says that all of it is there, and whatever goes wrong or is interrupted, nobody sees the image without its signatures.

mod broken;
mod layouts;
mod registries;
mod repositories;

use serde_json::{Value, json};

use crate::support::cli::refshim;
use crate::support::content::{self, IMAGE, INDEX};
use crate::support::{Endpoint, Pushed};

const SPDX: &str = "application/spdx+json";

/// An image for two platforms, linked to in every way that clients use.
struct SignedImage {
    index: Pushed,
    /// What refers to the index, or to something that does.
    sbom: Pushed,
    signature_of_sbom: Pushed,
    /// Under cosign's tag, without a subject.
    cosign: Pushed,
    /// Of one platform.
    platform: Pushed,
    scan_of_platform: Pushed,
    /// Linked by nothing but the index.
    provenance: Pushed,
    /// Linked by nothing but its Proposal D tag.
    tagged: Pushed,
}

impl SignedImage {
    async fn push(endpoint: &Endpoint, repository: &str, tag: &str) -> Self {
        endpoint.push_blob(repository, "{}").await;
        let layer = endpoint.push_blob(repository, format!("layer of {tag}")).await;
        let mut platform = content::bare_image(&format!("{tag} for amd64"));
        platform["layers"] = json!([{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer.to_string(),
            "size": format!("layer of {tag}").len()}]);
        let platform = endpoint.put_manifest(repository, "", IMAGE, &platform).await;
        let other = endpoint
            .put_manifest(repository, "", IMAGE, &content::bare_image(tag))
            .await;
        let provenance = content::bare_image(&format!("provenance of {tag}"));
        let provenance = endpoint.put_manifest(repository, "", IMAGE, &provenance).await;
        let on = |pushed: &Pushed, architecture: &str| {
            let mut entry = pushed.descriptor();
            entry["platform"] = json!({"os": "linux", "architecture": architecture});
            entry
        };
        let mut attestation = provenance.annotated(json!({
            "vnd.docker.reference.type": "attestation-manifest",
            "vnd.docker.reference.digest": platform.digest,
        }));
        attestation["platform"] = json!({"os": "unknown", "architecture": "unknown"});
        let index = content::index([on(&platform, "amd64"), on(&other, "arm64"), attestation]);
        let index = endpoint.put_manifest(repository, tag, INDEX, &index).await;
        let sbom = endpoint.attach(repository, &index, SPDX, "sbom").await;
        let signature_of_sbom = endpoint
            .attach(repository, &sbom, "application/x.signature", "of sbom")
            .await;
        let scan_of_platform = endpoint
            .attach(repository, &platform, "application/x.scan", "scan")
            .await;
        let cosign = content::bare_image(&format!("signature of {tag}"));
        let cosign_tag = format!("{}.sig", index.referrers_tag());
        let cosign = endpoint.put_manifest(repository, &cosign_tag, IMAGE, &cosign).await;
        let tagged = Pushed::of(IMAGE, &content::bare_image(&format!("tagged for {tag}")));
        let link = tagged.proposal_d_tag(&index, "note");
        endpoint.put_bytes(repository, &link, &tagged).await.expect_status(201);
        Self {
            index,
            sbom,
            signature_of_sbom,
            cosign,
            platform,
            scan_of_platform,
            provenance,
            tagged,
        }
    }

    fn cosign_tag(&self) -> String {
        format!("{}.sig", self.index.referrers_tag())
    }

    /// Manifests that any way to the image leads to.
    fn manifests(&self) -> [&Pushed; 8] {
        [
            &self.index,
            &self.sbom,
            &self.signature_of_sbom,
            &self.cosign,
            &self.platform,
            &self.scan_of_platform,
            &self.provenance,
            &self.tagged,
        ]
    }

    /// The digests that refshim lists, by subject.
    fn referrers(&self) -> [(&Pushed, Vec<String>); 3] {
        let digests = |referrers: &[&Pushed]| {
            let mut digests: Vec<String> = referrers.iter().map(|referrer| referrer.digest.clone()).collect();
            digests.sort();
            digests
        };
        [
            (&self.index, digests(&[&self.sbom, &self.cosign, &self.tagged])),
            (&self.sbom, digests(&[&self.signature_of_sbom])),
            (&self.platform, digests(&[&self.scan_of_platform, &self.provenance])),
        ]
    }

    /// Fails unless all of it is in the repository under this tag, and found as it was at the source.
    async fn is_at(&self, endpoint: &Endpoint, repository: &str, tag: &str) {
        let tagged = endpoint.manifest(repository, tag).await.expect_status(200);
        assert_eq!(tagged.body, self.index.bytes);
        for manifest in self.manifests() {
            let stored = endpoint.manifest(repository, &manifest.digest).await.expect_status(200);
            assert_eq!(stored.body, manifest.bytes);
            assert_eq!(stored.header("content-type"), Some(manifest.media_type.as_str()));
        }
        let signature = endpoint
            .manifest(repository, &self.cosign_tag())
            .await
            .expect_status(200);
        assert_eq!(signature.body, self.cosign.bytes, "cosign 2 looks for this tag");
        for (subject, expected) in self.referrers() {
            let target = endpoint.image(repository, &subject.digest);
            let listed = refshim(&["referrers", "--output", "json", &target]).await.json();
            assert_eq!(digests(&listed), expected, "{} at {target}", subject.digest);
        }
    }
}

fn digests(report: &Value) -> Vec<String> {
    let listed = report["referrers"].as_array().unwrap().iter();
    // What names no subject is listed in another form than it is stored in.
    let stored = |entry: &Value| {
        entry["original"]
            .as_str()
            .or(entry["digest"].as_str())
            .map(str::to_owned)
    };
    let mut digests: Vec<String> = listed.filter_map(stored).collect();
    digests.sort();
    digests
}

/// `refshim copy … --output json`, which must succeed.
async fn copy(arguments: &[&str]) -> Value {
    let all = [&["copy", "--output", "json"], arguments].concat();
    let report = refshim(&all).await.json();
    assert_eq!(report["complete"], true, "{report}");
    report
}

async fn tags(endpoint: &Endpoint, repository: &str) -> Vec<String> {
    let reply = endpoint.get(&format!("/v2/{repository}/tags/list")).await;
    let mut names: Vec<String> = match reply.status {
        404 => Vec::new(),
        _ => serde_json::from_value(reply.expect_status(200).json()["tags"].clone()).unwrap_or_default(),
    };
    names.sort();
    names
}
