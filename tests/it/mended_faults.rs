//! Promise: the faults of today that docs/mended-faults.md describes show straight at the registry, and not through refshim.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::process::Command;

use serde_json::{Value, json};

use crate::support::content::{IMAGE, INDEX, bare_image, index};
use crate::support::fake::knobs::{Knobs, Pushes, Referrers};
use crate::support::fake::{Fake, profiles};
use crate::support::{Endpoint, Refshim, Registry, Tools};

const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// What a client that filters by artifact type finds.
async fn bundles(tools: &Tools, image: &str) -> usize {
    let discover = [
        "discover",
        "--plain-http",
        "--format",
        "json",
        "--artifact-type",
        BUNDLE,
        image,
    ];
    let found: Value = serde_json::from_str(&tools.oras(&discover).await.ok()).expect("JSON");
    found["referrers"].as_array().map_or(0, Vec::len)
}

/// An image of `crane append`, for clients that read what they sign.
async fn image(tools: &Tools, at: &Endpoint) -> String {
    tools.file("layer", "a layer\n");
    let tar = Command::new("tar")
        .args(["-cf", "layer.tar", "layer"])
        .current_dir(tools.folder())
        .status();
    assert!(tar.is_ok_and(|status| status.success()));
    let name = at.image("app", "v1");
    tools
        .crane(&["append", "--oci-empty-base", "-f", "layer.tar", "-t", &name])
        .await
        .ok();
    tools.crane(&["digest", &name]).await.ok().trim().to_owned()
}

/// kyverno#16664: older versions of cosign 3 list their bundles in the referrers tag as `application/vnd.oci.empty.v1+json`.
#[tokio::test]
async fn bundles_with_a_wrong_type_in_the_referrers_tag_are_found_by_their_type() {
    let registry = Registry::v2().await;
    let tools = Tools::new();
    let digest = image(&tools, &registry.endpoint()).await;
    let straight = registry.endpoint().image("app", &digest);
    tools.cosign_sign_bundle(&straight).await;
    let tag = digest.replace(':', "-");
    let listed = registry
        .endpoint()
        .manifest("app", &tag)
        .await
        .expect_status(200)
        .json();
    let mut entry = listed["manifests"][0].clone();
    entry["artifactType"] = json!("application/vnd.oci.empty.v1+json");
    registry
        .endpoint()
        .put_manifest("app", &tag, INDEX, &index([entry]))
        .await;

    assert_eq!(bundles(&tools, &straight).await, 0, "the fault does not show");
    let refshim = Refshim::in_front_of(&registry.url()).await;
    let through = refshim.endpoint().image("app", &digest);
    assert_eq!(bundles(&tools, &through).await, 1);

    // Without a proxy, once: the same index with what the manifests say.
    let arguments = ["materialize", &straight, "--as", "referrers-tag", "--apply"];
    crate::support::cli::refshim(&arguments).await.ok();
    assert_eq!(bundles(&tools, &straight).await, 1);
}

/// buildkit#5561: attestations are entries of the index, and state no subject.
#[tokio::test]
async fn attestations_of_buildkit_are_found_at_the_image_that_they_are_about() {
    let registry = Registry::v2().await;
    let endpoint = registry.endpoint();
    let image = endpoint.push_image("app", "", "amd64").await;
    let attestation = endpoint.put_manifest("app", "", IMAGE, &bare_image("provenance")).await;
    let mut entry = attestation.annotated(json!({
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": image.digest,
    }));
    entry["platform"] = json!({"architecture": "unknown", "os": "unknown"});
    endpoint
        .put_manifest("app", "v1", INDEX, &index([image.descriptor(), entry]))
        .await;

    let listed = attestation.adopted(&image, Some("application/vnd.docker.attestation.manifest.v1+json"));
    let tools = Tools::new();
    let discover = async |endpoint: &Endpoint| {
        let name = endpoint.image("app", &image.digest);
        let said = tools
            .oras(&["discover", "--plain-http", "--format", "json", &name])
            .await
            .ok();
        said.contains(&listed.digest)
    };
    assert!(!discover(&endpoint).await, "the fault does not show");
    let refshim = Refshim::in_front_of(&registry.url()).await;
    assert!(discover(&refshim.endpoint()).await);
}

/// GHCR has no list, in one of two ways: a 404, or a redirect to a page of its web site.
#[tokio::test]
async fn ghcrs_missing_list_is_there() {
    for missing in [Referrers::ManifestUnknown, Referrers::WebPage] {
        let knobs = Knobs {
            auth: Knobs::default().auth,
            redirect: None,
            referrers: missing,
            ..profiles::ghcr()
        };
        let fake = Fake::start(knobs).await;
        let tools = Tools::new();
        let digest = image(&tools, &fake.endpoint()).await;
        let path = format!("/v2/app/referrers/{digest}");
        assert_ne!(fake.endpoint().get(&path).await.status, 200, "the fault does not show");
        let refshim = Refshim::in_front_of(&fake.url()).await;
        // Straight, cosign fails at the web page.
        tools
            .cosign_sign_bundle(&refshim.endpoint().image("app", &digest))
            .await;
        let listed = refshim.endpoint().referrers("app", &digest).await;
        assert_eq!(listed.len(), 1, "{listed:?}");
        assert_eq!(listed[0]["artifactType"], BUNDLE);
    }
}

/// cosign#313: the tag that all signatures of an image share is written once, and never again.
#[tokio::test]
async fn an_image_is_signed_twice_where_tags_cannot_be_overwritten() {
    let knobs = Knobs {
        pushes: Pushes {
            immutable_tags: true,
            ..Pushes::default()
        },
        ..Knobs::default()
    };
    let fake = Fake::start(knobs).await;
    let tools = Tools::new();
    let sign = [
        "sign",
        "--key",
        "cosign.key",
        "--yes",
        "--tlog-upload=false",
        "--use-signing-config=false",
    ];
    tools.cosign_key().await;
    let digest = image(&tools, &fake.endpoint()).await;
    let straight = fake.endpoint().image("app", &digest);
    tools.cosign(&[&sign[..], &[&straight]].concat()).await.ok();
    tools
        .cosign(&[&sign[..], &["--annotations", "by=second", &straight]].concat())
        .await
        .failed();

    let refshim = Refshim::in_front_of(&fake.url()).await;
    let through = refshim.endpoint().image("app", &digest);
    for signer in ["by=third", "by=fourth"] {
        tools
            .cosign(&[&sign[..], &["--annotations", signer, &through]].concat())
            .await
            .ok();
    }
    let listed = refshim.endpoint().referrers("app", &digest).await;
    assert!(listed.len() >= 3, "{listed:?}");
    let verify = ["verify", "--key", "cosign.pub", "--insecure-ignore-tlog=true", &through];
    tools.cosign(&verify).await.ok();
    let tags = fake.endpoint().get("/v2/app/tags/list").await.expect_status(200).json();
    // Proposal D's: the referrers tag has no dot.
    let own = |tag: &&Value| {
        tag.as_str()
            .is_some_and(|tag| tag.starts_with("sha256-") && tag.contains('.'))
    };
    let tags = tags["tags"].as_array().expect("tags");
    assert_eq!(tags.iter().filter(own).count(), 2, "{tags:?}");
}
